//! In the embedded cluster, which runs what was made for Faasm as it is.

use crate::guests::{BUILT, GUARDED, link};
use faasm_bridge::faasm::{BYTES, Output};
use faasm_relay::cluster::embedded::{Embedded, EmbeddedConfig};
use faasm_relay::cluster::{Call, Cluster, Outcome};
use faasm_relay::store::Stores;

const USER: &str = "demo";

/// Outputs its input; each output takes pages of its own.
const ECHO: &str = r#"(module
  (import "env" "__faasm_read_input" (func $input (param i32 i32) (result i32)))
  (import "env" "__faasm_write_output" (func $output (param i32 i32)))
  (memory (export "memory") 8)
  (func (export "_start")
    (call $output (i32.const 7) (call $input (i32.const 7) (i32.const 400000)))))"#;

/// The same, with an allocator that has one block, and traps when that is taken or given back twice.
const ECHO_MALLOC: &str = r#"(module
  (import "env" "__faasm_read_input" (func $input (param i32 i32) (result i32)))
  (import "env" "__faasm_write_output" (func $output (param i32 i32)))
  (memory (export "memory") 32)
  (global $taken (mut i32) (i32.const 0))
  (func (export "malloc") (param i32) (result i32)
    (if (global.get $taken) (then unreachable))
    (global.set $taken (i32.const 1))
    (i32.const 500001))
  (func (export "free") (param i32)
    (if (i32.ne (local.get 0) (i32.const 500001)) (then unreachable))
    (if (i32.eqz (global.get $taken)) (then unreachable))
    (global.set $taken (i32.const 0)))
  (func (export "_start")
    (call $output (i32.const 7) (call $input (i32.const 7) (i32.const 400000)))
    (call $output (i32.const 7) (call $input (i32.const 7) (i32.const 400000)))))"#;

/// Hands its input to a chained call, through a table, and outputs what that outputs.
const OUTER: &str = r#"(module
  (import "env" "__faasm_read_input" (func $input (param i32 i32) (result i32)))
  (import "env" "__faasm_write_output" (func $output (param i32 i32)))
  (import "env" "__faasm_chain_name" (func $chain (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_await_call_output" (func $await (param i32 i32 i32) (result i32)))
  (type $awaiting (func (param i32 i32 i32) (result i32)))
  (type $writing (func (param i32 i32)))
  (memory (export "memory") 64)
  (table (export "__indirect_function_table") 2 funcref)
  (elem (i32.const 0) $await $output)
  (data (i32.const 16) "inner\00")
  (global $next (mut i32) (i32.const 2000000))
  (func (export "malloc") (param i32) (result i32)
    (global.get $next)
    (global.set $next (i32.add (global.get $next) (local.get 0))))
  (func (export "_start") (local $call i32)
    (local.set $call (call $chain (i32.const 16) (i32.const 64)
      (call $input (i32.const 64) (i32.const 400000))))
    (drop (call_indirect (type $awaiting) (local.get $call) (i32.const 0) (i32.const 4) (i32.const 0)))
    (call_indirect (type $writing) (i32.load (i32.const 0)) (i32.load (i32.const 4)) (i32.const 1))))"#;

/// Chains two of its pointers, one of which chains the other, and gives the sum of what they return.
const POINTERS: &str = r#"(module
  (import "env" "__faasm_chain_ptr" (func $chain (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
  (import "env" "__faasm_write_output" (func $output (param i32 i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 2)
  (data (i32.const 8) "-20")
  (table 3 funcref)
  (elem (i32.const 1) $outer $double)
  (func $double (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
  (func $outer (result i32)
    (i32.add (i32.const 1) (call $await (call $chain (i32.const 2) (i32.const 8) (i32.const 3)))))
  (func (export "_start")
    (call $output (i32.const 8) (i32.const 2))
    (call $exit (call $await (call $chain (i32.const 1) (i32.const 0) (i32.const 0))))))"#;

/// Writes, pushes, clears and reads lists; ends with the number of the step that went wrong.
const STATE: &str = r#"(module
  (import "env" "__faasm_write_state" (func $write (param i32 i32 i32)))
  (import "env" "__faasm_push_state" (func $push (param i32) (result i32)))
  (import "env" "__faasm_read_state" (func $read (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_append_state" (func $append (param i32 i32 i32)))
  (import "env" "__faasm_read_appended_state" (func $appended (param i32 i32 i32 i32)))
  (import "env" "__faasm_clear_appended_state" (func $clear (param i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 2)
  (data (i32.const 8) "key\00")
  (data (i32.const 16) "value")
  (func (export "_start")
    (call $write (i32.const 8) (i32.const 16) (i32.const 5))
    (drop (call $push (i32.const 8)))
    (if (i32.ne (call $read (i32.const 8) (i32.const 32) (i32.const 9)) (i32.const 5)) (then (call $exit (i32.const 1))))
    (if (i32.ne (i32.load (i32.const 32)) (i32.load (i32.const 16))) (then (call $exit (i32.const 2))))
    (call $append (i32.const 8) (i32.const 16) (i32.const 4))
    (call $clear (i32.const 8))
    (call $append (i32.const 8) (i32.const 17) (i32.const 4))
    (call $appended (i32.const 8) (i32.const 48) (i32.const 4) (i32.const 1))
    (if (i32.ne (i32.load (i32.const 48)) (i32.load (i32.const 17))) (then (call $exit (i32.const 3))))))"#;

async fn cluster(functions: &[(&str, &[u8])]) -> Embedded {
    let stores = Stores::in_memory().unwrap();
    let cluster = Embedded::new(EmbeddedConfig::default(), stores).unwrap();
    for (name, wasm) in functions {
        cluster.upload(USER.into(), (*name).into(), wasm.to_vec()).await.unwrap();
    }
    cluster
}

async fn output(cluster: &Embedded, function: &str, input: &[u8]) -> Vec<u8> {
    match cluster.call(Call::new(USER, function, input.to_vec())).await.unwrap() {
        Outcome::Returned(result) if result.return_value == 0 => result.output,
        outcome => panic!("{outcome:?}"),
    }
}

/// What an output stands for.
fn meant(output: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8(output).unwrap();
    match Output::read(&text) {
        Output::Plain(text) => text.as_bytes().to_vec(),
        Output::Bytes(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

fn inputs() -> Vec<Vec<u8>> {
    let bytes: Vec<u8> =
        (0..100_003_u32).map(|n| (n.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect();
    let mut inputs: Vec<Vec<u8>> = (0..9).map(|length| bytes[..length].to_vec()).collect();
    inputs.push((0..=255).collect());
    inputs.push(vec![0xff; 64]);
    inputs.push(bytes);
    inputs.push(b"text".to_vec());
    // Text that looks encoded is encoded, too.
    inputs.push(format!("{BYTES}AAAA").into_bytes());
    inputs
}

#[tokio::test]
async fn what_is_output_is_text() {
    let functions: [(&str, &[u8]); 3] = [
        ("echo", &link(ECHO, BUILT)),
        ("malloc", &link(ECHO_MALLOC, BUILT)),
        ("guarded", &link(ECHO, GUARDED)),
    ];
    let cluster = cluster(&functions).await;
    for (function, _) in functions {
        for input in inputs() {
            assert_eq!(meant(output(&cluster, function, &input).await), input, "{function}");
        }
    }
}

#[tokio::test]
async fn outputs_that_are_awaited_are_what_was_output() {
    let original = wat::parse_str(ECHO).unwrap();
    for (inner, is_decoded) in
        [(link(ECHO, BUILT), true), (link(ECHO_MALLOC, BUILT), true), (original, false)]
    {
        let cluster = cluster(&[("inner", &inner), ("outer", &link(OUTER, BUILT))]).await;
        for input in inputs() {
            // One that does not encode may output something that looks so.
            if !is_decoded && input.starts_with(BYTES.as_bytes()) {
                continue;
            }
            assert_eq!(meant(output(&cluster, "outer", &input).await), input);
        }
    }
}

#[tokio::test]
async fn pointers_that_chain_pointers_give_what_they_return() {
    let cluster = cluster(&[("pointers", &link(POINTERS, BUILT))]).await;
    let output = output(&cluster, "pointers", b"").await;
    let text = String::from_utf8(output).unwrap();
    assert_eq!(Output::read(&text), Output::Result { value: -39, output: b"-2".to_vec() });
}

#[tokio::test]
async fn state_is_what_it_was() {
    for options in [BUILT, GUARDED] {
        let cluster = cluster(&[("state", &link(STATE, options))]).await;
        assert_eq!(output(&cluster, "state", b"").await, b"");
    }
}
