//! Every way a run can fail has one code, and the relay goes on.

use crate::fixtures::*;
use crate::support::*;
use faasm_bridge::guest::Stream;
use faasm_bridge::wire::CallEntry;
use faasm_relay::Config;
use faasm_relay::cluster::embedded::{EmbeddedConfig, Printing};
use faasm_relay::cluster::{Call, Cluster, Outcome, failure};
use std::sync::{Arc, Mutex};

/// Calls itself until its stack is used up; makes a host call at every step where there is an input.
const RECURSE: &str = r#"(module
    (import "env" "__faasm_read_input" (func $read (param i32 i32) (result i32)))
    (import "env" "__faasm_backtrace" (func $trace (param i32)))
    (memory 1)
    (func $down (param $input i32) (param $depth i64) (result i64)
        (if (local.get $input) (then (call $trace (i32.const 1))))
        (i64.add (local.get $depth)
            (call $down (local.get $input) (i64.add (local.get $depth) (i64.const 1)))))
    (func (export "_start")
        (drop (call $down (call $read (i32.const 0) (i32.const 0)) (i64.const 0)))))"#;

/// Chains `recurse` and gives what came back.
const AWAITS: &str = r#"(module
    (import "env" "__faasm_chain_name" (func $chain (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_await_call_output" (func $await (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_write_output" (func $write (param i32 i32)))
    (memory 1)
    (data (i32.const 100) "recurse\00")
    (func (export "malloc") (param i32) (result i32) (i32.const 4096))
    (func (export "main") (result i32) (local $value i32)
        (local.set $value (call $await
            (call $chain (i32.const 100) (i32.const 0) (i32.const 0)) (i32.const 0) (i32.const 4)))
        (call $write (i32.load (i32.const 0)) (i32.load (i32.const 4)))
        (local.get $value)))"#;

/// Awaits the output of `hello`; MALLOC stands for an allocator, of which there may be none.
const ALLOCATES: &str = r#"(module
    (import "env" "__faasm_chain_name" (func $chain (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_await_call_output" (func $await (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory 1)
    (data (i32.const 100) "hello\00")
    MALLOC
    (func $get (result i32)
        (call $await (call $chain (i32.const 100) (i32.const 0) (i32.const 0)) (i32.const 0) (i32.const 4)))
    (func (export "main") (result i32) (call $get)))"#;

const SLEEPS: &str = r#"(func (export "malloc") (param i32) (result i32)
    (i64.store (i32.const 224) (i64.const 1000000000))
    (call $poll (i32.const 200) (i32.const 300) (i32.const 1) (i32.const 400)))"#;

/// Has no memory left.
const REFUSES: &str = r#"(func (export "malloc") (param i32) (result i32) (i32.const 0))"#;

/// Maps `m`, and again in the `malloc` that this needs, and so on.
const MAPS_IN_MALLOC: &str = r#"(module
    (import "env" "__faasm_write_state" (func $write (param i32 i32 i32)))
    (import "env" "__faasm_read_state_ptr" (func $map (param i32 i32) (result i32)))
    (memory 1)
    (data (i32.const 0) "m\00")
    (func $again (export "malloc") (param i32) (result i32) (call $map (i32.const 0) (i32.const 4)))
    (func (export "_start")
        (call $write (i32.const 0) (i32.const 0) (i32.const 4))
        (drop (call $again (i32.const 0)))))"#;

/// Chains itself with index 7; the callee gives its index and its input.
const THIS: &str = r#"(module
    (import "env" "__faasm_chain_this" (func $chain (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_get_idx" (func $index (result i32)))
    (import "env" "__faasm_await_call_output" (func $await (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_read_input" (func $read (param i32 i32) (result i32)))
    (import "env" "__faasm_write_output" (func $write (param i32 i32)))
    (memory 1)
    (data (i32.const 100) "input")
    (func (export "malloc") (param i32) (result i32) (i32.const 4096))
    (func (export "main") (result i32) (local $value i32)
        (if (call $index) (then
            (call $write (i32.const 200) (call $read (i32.const 200) (i32.const 99)))
            (return (call $index))))
        (local.set $value (call $await
            (call $chain (i32.const 7) (i32.const 100) (i32.const 5)) (i32.const 0) (i32.const 4)))
        (call $write (i32.load (i32.const 0)) (i32.load (i32.const 4)))
        (local.get $value)))"#;

/// Prints where it is.
const WHERE: &str = r#"(module
    (import "env" "__faasm_backtrace" (func $trace (param i32)))
    (memory 1)
    (func $inner (call $trace (i32.const 0)))
    (func $outer (call $inner))
    (func (export "_start") (call $outer)))"#;

#[tokio::test]
async fn a_used_up_stack_ends_the_run_and_nothing_else() {
    let relay = Relay::start().await;
    let relay = relay.with(&[("recurse", RECURSE), ("hello", HELLO), ("awaits", AWAITS)]).await;
    for input in [&b""[..], b"1"] {
        let (code, reason) = relay.fail("recurse", input).await;
        assert_eq!(code, failure::STACK_EXHAUSTED);
        assert!(reason.starts_with("the function used up its stack (in down, "), "{reason}");
    }
    assert_eq!(relay.call("hello", b"x").await, (0, "Hello, x".into()));
    let (value, output) = relay.call("awaits", b"").await;
    assert_eq!(value, 1, "who awaits it goes on");
    assert!(output.starts_with("the function used up its stack"), "{output}");
}

#[tokio::test]
async fn what_a_malloc_cannot_do() {
    let with = |malloc: &str| ALLOCATES.replace("MALLOC", malloc);
    let recursive = r#"(func (export "malloc") (param i32) (result i32) (call $get))"#;
    for (malloc, expected, why) in [
        (SLEEPS, "operation-failed", "malloc makes a host call that suspends"),
        (REFUSES, "out-of-memory", "no memory for the 7 bytes"),
        (
            "(func (export \"malloc\") (param i32) (result i32) (unreachable))",
            "trap",
            "called by get",
        ),
        (recursive, "operation-failed", "malloc makes a host call that suspends"),
    ] {
        let relay = Relay::start().await.with(&[("hello", HELLO), ("f", &with(malloc))]).await;
        let (code, reason) = relay.fail("f", b"").await;
        assert_eq!(code, expected, "{malloc}: {reason}");
        assert!(reason.contains(why), "{malloc}: {reason}");
    }
}

#[tokio::test]
async fn a_malloc_that_needs_malloc_comes_to_an_end() {
    let relay = Relay::start().await.with(&[("maps", MAPS_IN_MALLOC)]).await;
    assert_eq!(relay.fail("maps", b"").await.0, failure::STACK_EXHAUSTED);
}

#[tokio::test]
async fn a_function_chains_itself_with_an_index() {
    let relay = Relay::start().await.with(&[("this", THIS)]).await;
    assert_eq!(relay.call("this", b"").await, (7, "input".into()));
    let mut client = relay.client().await;
    let entered = client.ask(enter("this", CallEntry::Index(9)), b"by page").await;
    assert_eq!(returned(entered), (9, "by page".into()));
}

#[tokio::test]
async fn what_a_function_prints_can_be_captured() {
    type Printed = (String, String, Stream, String);
    let printed: Arc<Mutex<Vec<Printed>>> = Arc::default();
    let sink = Arc::clone(&printed);
    let printing = Printing::Capture(Arc::new(move |user, function, stream, bytes| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        sink.lock().unwrap().push((user.into(), function.into(), stream, text));
    }));
    let embedded = EmbeddedConfig { printing, ..Default::default() };
    let relay =
        Relay::start_with(Config::default(), embedded).await.with(&[("where", WHERE)]).await;
    let called = relay.cluster.call(Call::new(USER, "where", vec![])).await.unwrap();
    assert!(matches!(called, Outcome::Returned(_)), "{called:?}");
    let printed = printed.lock().unwrap();
    let [(user, function, Stream::Stderr, text)] = printed.as_slice() else {
        panic!("{printed:?}");
    };
    assert_eq!((user.as_str(), function.as_str()), (USER, "where"));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1..lines.len() - 1], ["inner", "outer", "function 3"]);
}
