//! The functions to call. Each appends its input, which names the call, to the list `calls` once, and has no other
//! lasting effect; so the list says how often each call ran.

use anyhow::{Context as _, Result};

/// The list they append to.
pub const CALLS: &str = "calls";

/// Length of a name in bytes.
pub const NAME_BYTES: usize = 16;

/// The functions by name, as text.
const FUNCTIONS: [(&str, &str); 3] = [("note", NOTE), ("slow", SLOW), ("chain", CHAIN)];

/// Returns 7.
const NOTE: &str = r#"(module
    (import "env" "__faasm_read_input" (func $read (param i32 i32) (result i32)))
    (import "env" "__faasm_append_state" (func $append (param i32 i32 i32)))
    (import "env" "__faasm_write_output" (func $write (param i32 i32)))
    (memory 1)
    (data (i32.const 0) "calls\00")
    (func (export "main") (result i32)
        (drop (call $read (i32.const 16) (i32.const 16)))
        (call $append (i32.const 0) (i32.const 16) (i32.const 16))
        (call $write (i32.const 16) (i32.const 16))
        (i32.const 7)))"#;

/// The same with a pause before and after, so that a relay often ends during the call.
const SLOW: &str = r#"(module
    (import "env" "__faasm_read_input" (func $read (param i32 i32) (result i32)))
    (import "env" "__faasm_append_state" (func $append (param i32 i32 i32)))
    (import "env" "__faasm_write_output" (func $write (param i32 i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory 1)
    (data (i32.const 0) "calls\00")
    (func $pause
        (i64.store (i32.const 224) (i64.const 40000000))
        (drop (call $poll (i32.const 200) (i32.const 300) (i32.const 1) (i32.const 400))))
    (func (export "main") (result i32)
        (drop (call $read (i32.const 16) (i32.const 16)))
        (call $pause)
        (call $append (i32.const 0) (i32.const 16) (i32.const 16))
        (call $pause)
        (call $write (i32.const 16) (i32.const 16))
        (i32.const 7)))"#;

/// Chains `note`, and returns its return value.
const CHAIN: &str = r#"(module
    (import "env" "__faasm_read_input" (func $read (param i32 i32) (result i32)))
    (import "env" "__faasm_chain_name" (func $chain (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
    (import "env" "__faasm_write_output" (func $write (param i32 i32)))
    (memory 1)
    (data (i32.const 0) "note\00")
    (func (export "main") (result i32)
        (drop (call $read (i32.const 16) (i32.const 16)))
        (call $write (i32.const 16) (i32.const 16))
        (call $await (call $chain (i32.const 0) (i32.const 16) (i32.const 16)))))"#;

/// Return value of a function that succeeded.
pub const RETURNS: i32 = 7;

/// Every function, as bytes.
pub fn all() -> Result<Vec<(&'static str, Vec<u8>)>> {
    let assemble = |(name, text)| Ok((name, wat::parse_str(text).context(name)?));
    FUNCTIONS.into_iter().map(assemble).collect()
}
