//! What the rewriter makes of functions for clusters that carry text only, run by the embedded cluster.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use faasm_bridge::faasm::BYTES as ENCODED;
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

fn original(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

fn made(text: &str) -> Vec<u8> {
    faasm_asyncify::text_output(&original(text)).unwrap().expect("it outputs")
}

fn inputs() -> Vec<Vec<u8>> {
    let bytes: Vec<u8> =
        (0..100_003_u32).map(|n| (n.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect();
    let mut inputs: Vec<Vec<u8>> = (0..9).map(|length| bytes[..length].to_vec()).collect();
    inputs.push((0..=255).collect());
    inputs.push(vec![0xff; 64]);
    inputs.push(bytes);
    // Text that looks encoded is encoded, too.
    inputs.push(format!("{ENCODED}AAAA").into_bytes());
    inputs
}

#[tokio::test]
async fn what_is_output_is_text() {
    let functions: [(&str, &[u8]); 2] = [("echo", &made(ECHO)), ("malloc", &made(ECHO_MALLOC))];
    let cluster = cluster(&functions).await;
    for (function, _) in functions {
        for input in inputs() {
            let output = String::from_utf8(output(&cluster, function, &input).await).unwrap();
            let text = output.strip_prefix(ENCODED).expect("it says that it is encoded");
            assert_eq!(STANDARD.decode(text).unwrap(), input, "{function}");
        }
    }
}

#[tokio::test]
async fn outputs_that_are_awaited_are_what_was_output() {
    for (inner, is_decoded) in
        [(made(ECHO), true), (made(ECHO_MALLOC), true), (original(ECHO), false)]
    {
        let cluster = cluster(&[("inner", &inner), ("outer", &made(OUTER))]).await;
        for input in inputs() {
            // One that does not encode may output something that looks so.
            if !is_decoded && input.starts_with(ENCODED.as_bytes()) {
                continue;
            }
            let output = String::from_utf8(output(&cluster, "outer", &input).await).unwrap();
            assert_eq!(STANDARD.decode(output.strip_prefix(ENCODED).unwrap()).unwrap(), input);
        }
    }
}

#[tokio::test]
async fn a_function_that_outputs_nothing_stays_as_it_is() {
    let quiet = original(r#"(module (memory (export "memory") 1) (func (export "_start")))"#);
    assert_eq!(faasm_asyncify::text_output(&quiet).unwrap(), None);
}
