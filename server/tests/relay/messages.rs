//! `POST /`: calls as single JSON messages.

use crate::fixtures::HELLO;
use crate::support::*;
use faasm_relay::cluster::{Call, Cluster, ClusterError, Outcome, Uploaded};
use faasm_relay::store::Stores;
use faasm_relay::{App, Config};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpListener;

/// Traps for the input `x`, waits for nothing else, and says its index.
const INDEXED: &str = r#"(module
  (import "env" "__faasm_read_input" (func $input (param i32 i32) (result i32)))
  (import "env" "__faasm_write_output" (func $output (param i32 i32)))
  (import "env" "__faasm_get_idx" (func $index (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (if (call $input (i32.const 0) (i32.const 1)) (then (unreachable)))
    (i32.store8 (i32.const 0) (i32.add (call $index) (i32.const 48)))
    (call $output (i32.const 0) (i32.const 1))))"#;

async fn with_functions() -> Relay {
    let relay = Relay::start().await;
    for (name, text) in [("hello", HELLO), ("indexed", INDEXED)] {
        let wasm = wat::parse_str(text).unwrap();
        assert_eq!(relay.http(&format!("PUT /f/ada/{name}"), &wasm).await.0, 200);
    }
    relay
}

async fn send(relay: &Relay, message: Value) -> (u16, String) {
    let (status, _, body) = relay.http("POST /", message.to_string().as_bytes()).await;
    (status, String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn a_message_calls_a_function_and_waits() {
    let relay = with_functions().await;
    let hello =
        json!({ "user": "ada", "function": "hello", "input_data": "Ada", "mpi_world_size": 1 });
    assert_eq!(send(&relay, hello).await, (200, "Hello, Ada".to_owned()));
    let indexed = json!({ "user": "ada", "function": "indexed", "index": 7 });
    assert_eq!(send(&relay, indexed).await, (200, "7".to_owned()));
    // To JSON this is the same number.
    let indexed = json!({ "user": "ada", "function": "indexed", "index": 7.0 });
    assert_eq!(send(&relay, indexed).await, (200, "7".to_owned()));
    let traps = json!({ "user": "ada", "function": "indexed", "input_data": "x" });
    let (status, reason) = send(&relay, traps).await;
    assert_eq!(status, 500);
    assert!(
        reason.starts_with("Call failed (trap): ") && reason.contains("unreachable"),
        "{reason}"
    );
    assert!(reason.ends_with("/docs/errors/trap.md"), "{reason}");
    let missing = json!({ "user": "ada", "function": "nowhere" });
    let (status, reason) = send(&relay, missing).await;
    assert_eq!(status, 500);
    let expected = "Call failed (missing-function): function ada/nowhere does not exist";
    assert!(reason.starts_with(expected), "{reason}");
}

/// Outputs its input, and returns 7.
const RETURNS: &str = r#"(module
  (import "env" "__faasm_read_input" (func $input (param i32 i32) (result i32)))
  (import "env" "__faasm_write_output" (func $output (param i32 i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (call $output (i32.const 0) (call $input (i32.const 0) (i32.const 99)))
    (call $exit (i32.const 7))))"#;

#[tokio::test]
async fn what_a_function_returns_is_said_where_it_is_not_0() {
    let relay = Relay::start().await.with(&[("returns", RETURNS)]).await;
    let silent = json!({ "user": "ada", "function": "returns" });
    assert_eq!(send(&relay, silent).await, (500, "Call failed (return value=7)".to_owned()));
    let output = json!({ "user": "ada", "function": "returns", "input_data": "no such city" });
    let expected = "Call failed (return value=7)\nno such city";
    assert_eq!(send(&relay, output).await, (500, expected.to_owned()));
}

/// Outputs its command line and its environment, each text with its NUL.
const ECHOES: &str = r#"(module
  (import "env" "__faasm_write_output" (func $output (param i32 i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $env (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $args_sizes (i32.const 0) (i32.const 4)))
    (drop (call $args (i32.const 100) (i32.const 1000)))
    (drop (call $env_sizes (i32.const 0) (i32.const 8)))
    (drop (call $env (i32.const 100) (i32.add (i32.const 1000) (i32.load (i32.const 4)))))
    (call $output (i32.const 1000) (i32.add (i32.load (i32.const 4)) (i32.load (i32.const 8))))))"#;

#[tokio::test]
async fn a_message_has_a_command_line_and_an_environment() {
    let relay = Relay::start().await.with(&[("echoes", ECHOES)]).await;
    let message = json!({
        "user": "ada",
        "function": "echoes",
        "cmdline": " -v  3 ",
        "args": ["two words", ""],
        "env": { "B": "=2", "A": "1" },
    });
    let (status, output) = send(&relay, message).await;
    let (_name, rest) = output.split_once('\0').unwrap();
    assert_eq!((status, rest), (200, "-v\x003\0two words\0\0A=1\0B==2\0"));
    for (field, value, part) in [
        ("cmdline", json!("a\0b"), "NUL"),
        ("args", json!(["\0"]), "NUL"),
        ("args", json!(vec![""; 1025]), "1025 arguments; 1024 are allowed"),
        ("args", json!("x"), "a sequence"),
        ("env", json!({ "A=B": "" }), "`A=B`"),
        ("env", json!({ "": "" }), "``"),
        ("env", json!({ "A": 1 }), "a string"),
    ] {
        let mut message = json!({ "user": "ada", "function": "echoes" });
        message[field] = value;
        let (status, body) = send(&relay, message).await;
        assert_eq!(status, 400, "{body}");
        assert!(body.contains(part), "{body}");
    }
}

#[tokio::test]
async fn a_call_that_is_not_waited_for_is_asked_after() {
    let relay = with_functions().await;
    let call = |function: &str, input: &str| json!({ "user": "ada", "function": function, "input_data": input, "async": true });
    for (function, input, expected) in
        [("hello", "Ada", "SUCCESS: Hello, Ada"), ("indexed", "x", "FAILED: ")]
    {
        let (status, id) = send(&relay, call(function, input)).await;
        assert_eq!(status, 200);
        let id: u32 = id.parse().unwrap();
        let ask = json!({ "user": "ada", "function": function, "status": true, "id": id });
        let text = loop {
            let (status, text) = send(&relay, ask.clone()).await;
            assert_eq!(status, 200);
            if text != "RUNNING" {
                break text;
            }
        };
        assert!(text.starts_with(expected), "{text}");
        let other = json!({ "user": "eve", "function": function, "status": true, "id": id });
        assert_eq!(send(&relay, other).await.0, 404);
    }
}

#[tokio::test]
async fn what_is_no_message_is_refused() {
    let relay = Relay::start().await;
    for (message, part) in [
        (json!([]), "JSON message"),
        (json!({ "user": "ada" }), "`function`"),
        (json!({ "user": "../ada", "function": "hello" }), "names"),
        (json!({ "user": "ada", "function": "hello", "status": true }), "`id`"),
        (json!({ "user": "ada", "function": "hello", "index": -1 }), "-1 is no whole number"),
        (json!({ "user": "ada", "function": "hello", "index": 1.5 }), "1.5 is no whole number"),
        (json!({ "user": "ada", "function": "hello", "id": 4294967296_u64 }), "4294967296 is no"),
    ] {
        let (status, body) = send(&relay, message).await;
        assert_eq!(status, 400);
        assert!(body.contains(part), "{body}");
    }
    let foreign = "POST /\nOrigin: http://evil.test";
    assert_eq!(relay.http(foreign, b"{}").await.0, 403);
}

/// A cluster that panics in the middle of every call.
struct Panics;

impl Cluster for Panics {
    fn call(&self, _call: Call) -> BoxFuture<'static, Result<Outcome, ClusterError>> {
        Box::pin(async {
            tokio::task::yield_now().await;
            panic!("the test has it panic");
        })
    }

    fn upload(
        &self,
        _user: String,
        _function: String,
        _wasm: Vec<u8>,
    ) -> BoxFuture<'static, Result<Uploaded, ClusterError>> {
        Box::pin(async { Err(ClusterError::Refused("it has none".into())) })
    }

    fn integrity(
        &self,
        _user: String,
        _function: String,
    ) -> BoxFuture<'static, Result<Option<String>, ClusterError>> {
        Box::pin(async { Ok(None) })
    }
}

#[tokio::test]
async fn a_call_in_which_the_relay_panics_ends_as_failed() {
    let Stores { state, files, journal, locks, changes, .. } = Stores::in_memory().unwrap();
    let app = App { cluster: Arc::new(Panics), state, files, journal, locks, changes, keys: None };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = faasm_relay::serve(listener, Config::default(), app, std::future::pending());
    let serving = tokio::spawn(serving);
    let send = async |message: Value| {
        let (status, _, body) = http(address, "POST /", message.to_string().as_bytes()).await;
        (status, String::from_utf8(body).unwrap())
    };
    let (status, reason) = send(json!({ "user": "ada", "function": "f" })).await;
    assert!(status == 503 && reason.contains("the relay panicked"), "{status} {reason}");
    let (status, id) = send(json!({ "user": "ada", "function": "f", "async": true })).await;
    assert_eq!(status, 200);
    let id: u32 = id.parse().unwrap();
    let asks = json!({ "user": "ada", "function": "f", "status": true, "id": id });
    let began = Instant::now();
    let ended = loop {
        let (_, text) = send(asks.clone()).await;
        if text != "RUNNING" {
            break text;
        }
        assert!(began.elapsed() < LONG, "it runs for ever");
    };
    assert!(ended.starts_with("FAILED: ") && ended.contains("the relay panicked"), "{ended}");
    serving.abort();
}
