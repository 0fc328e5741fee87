//! Functions, as text.

/// Greets its input.
pub(crate) const HELLO: &str = r#"(module
    (import "env" "__faasm_read_input" (func $read (param i32 i32) (result i32)))
    (import "env" "__faasm_write_output" (func $write (param i32 i32)))
    (memory (export "memory") 1)
    (data (i32.const 16) "Hello, ")
    (func (export "_start")
        (call $write (i32.const 16)
            (i32.add (i32.const 7) (call $read (i32.const 23) (i32.const 1000))))))"#;

/// Chains slot 1, which chains slot 2 with the input "41"; outputs travel back by `malloc`.
///
/// Slot 0 is null, slot 3 has a signature that cannot be chained, slot 4 returns nothing.
pub(crate) const CHAIN: &str = r#"(module
    (import "env" "__faasm_chain_ptr" (func $chain (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_await_call_output" (func $await (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_await_call" (func $await_only (param i32) (result i32)))
    (import "env" "__faasm_write_output" (func $write (param i32 i32)))
    (memory (export "memory") 1)
    (data (i32.const 100) "41inner")
    (table 10 funcref)
    (elem (i32.const 1) $outer $inner $odd $nothing)
    (global $top (mut i32) (i32.const 4096))
    (func (export "malloc") (param $size i32) (result i32)
        ;; A host call that may wait, nested in another: nobody has this id.
        (drop (call $await_only (i32.const 99)))
        (global.set $top (i32.add (global.get $top) (local.get $size)))
        (i32.sub (global.get $top) (local.get $size)))
    (func $run (param $slot i32) (result i32)
        (local $value i32)
        (local.set $value (call $await
            (call $chain (local.get $slot) (i32.const 100) (i32.const 2)) (i32.const 0) (i32.const 4)))
        (call $write (i32.load (i32.const 0)) (i32.load (i32.const 4)))
        (local.get $value))
    (func $outer (result i32) (i32.add (i32.const 1) (call $run (i32.const 2))))
    (func $inner (param $number i32) (result i32)
        (call $write (i32.const 102) (i32.const 5))
        (local.get $number))
    (func $odd (param i64))
    (func $nothing)
    (func (export "main") (result i32) (call $run (i32.const 1))))"#;

/// Chains itself by name, for ever, and gives back what the deepest call said.
pub(crate) const DEEP: &str = r#"(module
    (import "env" "__faasm_chain_name" (func $chain (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_await_call_output" (func $await (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_write_output" (func $write (param i32 i32)))
    (memory (export "memory") 1)
    (data (i32.const 100) "deep\00")
    (func (export "malloc") (param i32) (result i32) (i32.const 4096))
    (func (export "main") (result i32)
        (local $value i32)
        (local.set $value (call $await
            (call $chain (i32.const 100) (i32.const 0) (i32.const 0)) (i32.const 0) (i32.const 4)))
        (call $write (i32.load (i32.const 0)) (i32.load (i32.const 4)))
        (local.get $value)))"#;

/// Makes its input the value of state `k` and pushes it.
pub(crate) const PUSH: &str = r#"(module
    (import "env" "__faasm_read_input" (func $read (param i32 i32) (result i32)))
    (import "env" "__faasm_write_state" (func $write (param i32 i32 i32)))
    (import "env" "__faasm_push_state" (func $push (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "k\00")
    (func (export "_start")
        (call $write (i32.const 0) (i32.const 16) (call $read (i32.const 16) (i32.const 99)))
        (call $push (i32.const 0))))"#;

/// Pulls state `k`, and gives it as output and its size as return value.
pub(crate) const PULL: &str = r#"(module
    (import "env" "__faasm_pull_state" (func $pull (param i32 i32)))
    (import "env" "__faasm_read_state" (func $read (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_write_output" (func $write (param i32 i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "k\00")
    (func (export "main") (result i32)
        (local $size i32)
        (call $pull (i32.const 0) (i32.const 0))
        (local.set $size (call $read (i32.const 0) (i32.const 16) (i32.const 99)))
        (call $write (i32.const 16) (local.get $size))
        (local.get $size)))"#;

/// Counts its runs in state `count` (1 byte), then pulls state `gate` (1 byte) until it is not 0, and returns that.
pub(crate) const GATE: &str = r#"(module
    (import "env" "__faasm_pull_state" (func $pull (param i32 i32)))
    (import "env" "__faasm_push_state" (func $push (param i32)))
    (import "env" "__faasm_read_state" (func $read (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_write_state" (func $write (param i32 i32 i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "count\00")
    (data (i32.const 8) "gate\00")
    (func (export "main") (result i32)
        (call $pull (i32.const 0) (i32.const 1))
        (drop (call $read (i32.const 0) (i32.const 16) (i32.const 1)))
        (i32.store8 (i32.const 16) (i32.add (i32.const 1) (i32.load8_u (i32.const 16))))
        (call $write (i32.const 0) (i32.const 16) (i32.const 1))
        (call $push (i32.const 0))
        (loop $again
            (call $pull (i32.const 8) (i32.const 1))
            (drop (call $read (i32.const 8) (i32.const 17) (i32.const 1)))
            (br_if $again (i32.eqz (i32.load8_u (i32.const 17)))))
        (i32.load8_u (i32.const 17))))"#;

pub(crate) const LOOP: &str = r#"(module (memory 1)
    (func (export "_start") (loop $again (br $again))))"#;

pub(crate) const TRAP: &str = r#"(module (memory (export "memory") 1)
    (func $boom (unreachable))
    (func (export "_start") (call $boom)))"#;

/// Says 3 before its program begins.
pub(crate) const EXIT_EARLY: &str = r#"(module
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory 1)
    (func $__wasm_call_ctors (call $exit (i32.const 3)))
    (func (export "_start") (unreachable))
    (export "__wasm_call_ctors" (func $__wasm_call_ctors)))"#;

/// Returns what growing its memory by 64 MiB gives.
pub(crate) const GROW: &str = r#"(module (memory 1)
    (func (export "main") (result i32) (memory.grow (i32.const 1024))))"#;

/// Has 64 MiB from the start.
pub(crate) const LARGE: &str = r#"(module (memory 1024) (func (export "_start")))"#;

/// Imports what nobody has; calls it where there is an input.
pub(crate) const FOREIGN: &str = r#"(module
    (import "env" "__faasm_read_input" (func $read (param i32 i32) (result i32)))
    (import "env" "mystery" (func $mystery (param f64)))
    (memory 1)
    (func (export "_start")
        (if (call $read (i32.const 0) (i32.const 0)) (then (call $mystery (f64.const 0))))))"#;

/// Appends its input to list `ticks` and gives it as output.
pub(crate) const TICK: &str = r#"(module
    (import "env" "__faasm_read_input" (func $read (param i32 i32) (result i32)))
    (import "env" "__faasm_append_state" (func $append (param i32 i32 i32)))
    (import "env" "__faasm_write_output" (func $write (param i32 i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "ticks\00")
    (func (export "_start") (local $length i32)
        (local.set $length (call $read (i32.const 16) (i32.const 99)))
        (call $append (i32.const 0) (i32.const 16) (local.get $length))
        (call $write (i32.const 16) (local.get $length))))"#;

/// Pulls state `gate` (1 byte) until it is not 0, and then appends a byte to list `ticks`.
pub(crate) const LATE: &str = r#"(module
    (import "env" "__faasm_pull_state" (func $pull (param i32 i32)))
    (import "env" "__faasm_read_state" (func $read (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_append_state" (func $append (param i32 i32 i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "ticks\00")
    (data (i32.const 8) "gate\00")
    (func (export "_start")
        (loop $again
            (call $pull (i32.const 8) (i32.const 1))
            (drop (call $read (i32.const 8) (i32.const 17) (i32.const 1)))
            (br_if $again (i32.eqz (i32.load8_u (i32.const 17)))))
        (call $append (i32.const 0) (i32.const 0) (i32.const 1))))"#;
