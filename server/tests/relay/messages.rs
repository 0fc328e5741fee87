//! `POST /`: calls as single JSON messages.

use crate::fixtures::HELLO;
use crate::support::*;
use serde_json::{Value, json};

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
    assert!(reason.contains("unreachable"), "{reason}");
    let missing = json!({ "user": "ada", "function": "nowhere" });
    let (status, reason) = send(&relay, missing).await;
    assert_eq!(status, 500);
    assert!(reason.contains("nowhere"), "{reason}");
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
