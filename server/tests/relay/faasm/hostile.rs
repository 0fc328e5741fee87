//! A page, and a user who uploads functions, neither of whom the operator trusts, try to end planner, workers and upload server in every way
//! that is known to end those of Faasm 0.29 with WAMR.

use super::*;
use crate::client::{enter, main};
use crate::fixtures::HELLO;
use faasm_asyncify::faasm::{Options, Use, link};
use faasm_bridge::wire::{CallEntry, Request};
use faasm_redis_server::RedisServer;
use faasm_relay::cluster::failure;

/// Host calls with their types.
const IMPORTS: &[(&str, &str)] = &[
    ("__faasm_read_state", "(param i32 i32 i32) (result i32)"),
    ("__faasm_write_state", "(param i32 i32 i32)"),
    ("__faasm_push_state", "(param i32)"),
    ("__faasm_pull_state", "(param i32 i32)"),
    ("__faasm_append_state", "(param i32 i32 i32)"),
    ("__faasm_read_appended_state", "(param i32 i32 i32 i32)"),
    ("__faasm_chain_name", "(param i32 i32 i32) (result i32)"),
    ("__faasm_chain_ptr", "(param i32 i32 i32) (result i32)"),
    ("__faasm_await_call", "(param i32) (result i32)"),
    ("__faasm_await_call_output", "(param i32 i32 i32) (result i32)"),
    ("__faasm_read_input", "(param i32 i32) (result i32)"),
    ("__faasm_write_output", "(param i32 i32)"),
    ("__faasm_host_interface_test", "(param i32)"),
    ("__cxa_throw", "(param i32 i32 i32)"),
    ("syscall", "(param i32 i32) (result i32)"),
];

/// At 16 is the key `k`, at 32 the key `list`, at 48 the name `nowhere`, at 64 a name that is not UTF-8, at 80 bytes that are not;
/// from 1024 on there is room. The page has written a value of 100 bytes under `k`, and an element to the list.
const DATA: &str = r#"(memory (export "memory") 1)
    (data (i32.const 16) "k\00") (data (i32.const 32) "list\00") (data (i32.const 48) "nowhere\00")
    (data (i32.const 64) "\c3(\00") (data (i32.const 80) "\ff\fe\00")
    (data (i32.const 65528) "xxxxxxxx")"#;

/// What a function does, and the host calls it imports.
const ATTACKS: &[(&str, &str)] = &[
    (
        "a-key-outside-memory",
        "(call $__faasm_write_state (i32.const 0xfffffff0) (i32.const 0) (i32.const 4))",
    ),
    ("a-key-without-end", "(call $__faasm_push_state (i32.const 65530))"),
    ("an-empty-key", "(call $__faasm_write_state (i32.const 1024) (i32.const 0) (i32.const 4))"),
    (
        "a-value-outside-memory",
        "(call $__faasm_write_state (i32.const 32) (i32.const 65530) (i32.const 100))",
    ),
    (
        "a-length-that-wraps",
        "(call $__faasm_append_state (i32.const 32) (i32.const 16) (i32.const -1))",
    ),
    (
        "a-read-outside-memory",
        "(drop (call $__faasm_read_state (i32.const 16) (i32.const 65500) (i32.const 100)))",
    ),
    (
        "a-buffer-that-is-too-small",
        "(drop (call $__faasm_read_state (i32.const 16) (i32.const 1024) (i32.const 10)))",
    ),
    ("a-pull-of-another-size", "(call $__faasm_pull_state (i32.const 16) (i32.const 10))"),
    (
        "a-write-of-another-size",
        "(call $__faasm_write_state (i32.const 16) (i32.const 1024) (i32.const 10)) (call $__faasm_push_state (i32.const 16))",
    ),
    (
        "a-value-of-no-bytes",
        "(call $__faasm_write_state (i32.const 48) (i32.const 0) (i32.const 0)) (call $__faasm_push_state (i32.const 48))",
    ),
    ("a-push-of-what-nobody-wrote", "(call $__faasm_push_state (i32.const 48))"),
    ("a-push-of-what-only-a-page-wrote", "(call $__faasm_push_state (i32.const 16))"),
    (
        "elements-for-a-small-buffer",
        "(call $__faasm_read_appended_state (i32.const 32) (i32.const 1024) (i32.const 1) (i32.const 1))",
    ),
    (
        "elements-outside-memory",
        "(call $__faasm_read_appended_state (i32.const 32) (i32.const 65530) (i32.const 100) (i32.const 1))",
    ),
    (
        "all-elements",
        "(call $__faasm_read_appended_state (i32.const 32) (i32.const 1024) (i32.const 1) (i32.const 0))",
    ),
    (
        "a-value-as-a-list",
        "(call $__faasm_append_state (i32.const 16) (i32.const 1024) (i32.const 3))",
    ),
    (
        "a-value-read-as-a-list",
        "(call $__faasm_read_appended_state (i32.const 16) (i32.const 1024) (i32.const 1000) (i32.const 1))",
    ),
    (
        "a-list-as-a-value",
        "(drop (call $__faasm_read_state (i32.const 32) (i32.const 1024) (i32.const 8)))",
    ),
    (
        "a-list-and-then-a-value",
        "(call $__faasm_append_state (i32.const 48) (i32.const 1024) (i32.const 3)) (call $__faasm_write_state (i32.const 48) (i32.const 0) (i32.const 4)) (call $__faasm_push_state (i32.const 48))",
    ),
    (
        "an-input-outside-memory",
        "(drop (call $__faasm_read_input (i32.const 65530) (i32.const 1000)))",
    ),
    ("an-output-outside-memory", "(call $__faasm_write_output (i32.const 65530) (i32.const 100))"),
    ("an-output-that-is-no-text", "(call $__faasm_write_output (i32.const 80) (i32.const 2))"),
    (
        "a-chained-input-outside-memory",
        "(drop (call $__faasm_chain_ptr (i32.const 1) (i32.const 65530) (i32.const 100)))",
    ),
    (
        "a-chained-null-pointer",
        "(drop (call $__faasm_await_call (call $__faasm_chain_ptr (i32.const 0) (i32.const 0) (i32.const 0))))",
    ),
    (
        "a-pointer-outside-the-table",
        "(drop (call $__faasm_await_call (call $__faasm_chain_ptr (i32.const 99) (i32.const 0) (i32.const 0))))",
    ),
    // The name is made at run time: nothing in the module shows it.
    (
        "a-function-that-is-nowhere",
        "(i32.store (i32.const 1024) (i32.const 0x68636162)) (drop (call $__faasm_await_call (call $__faasm_chain_name (i32.const 1024) (i32.const 0) (i32.const 0))))",
    ),
    (
        "a-name-that-is-not-utf-8",
        "(i32.store (i32.const 1024) (i32.const 0x28c3)) (drop (call $__faasm_await_call (call $__faasm_chain_name (i32.const 1024) (i32.const 0) (i32.const 0))))",
    ),
    (
        "a-constant-name-that-is-not-utf-8",
        "(drop (call $__faasm_await_call (call $__faasm_chain_name (i32.const 64) (i32.const 0) (i32.const 0))))",
    ),
    ("a-call-that-was-never-chained", "(drop (call $__faasm_await_call (i32.const 12345)))"),
    (
        "an-output-nowhere",
        "(drop (call $__faasm_await_call_output (i32.const 12345) (i32.const -4) (i32.const -4)))",
    ),
    ("an-unknown-test-hook", "(call $__faasm_host_interface_test (i32.const 4711))"),
    ("an-exception-of-cpp", "(call $__cxa_throw (i32.const 0) (i32.const 0) (i32.const 0))"),
    ("a-system-call", "(drop (call $syscall (i32.const 1) (i32.const 0)))"),
];

/// Modules over which WAMR's compiler ends.
const MODULES: &[(&str, &str)] = &[
    (
        "tail-calls",
        r#"(module (memory (export "memory") 1) (func $f) (func (export "_start") (return_call $f)))"#,
    ),
    (
        "an-imported-memory",
        r#"(module
        (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
        (import "env" "memory" (memory 1)) (func (export "_start") (drop (call $yield))))"#,
    ),
    (
        "a-memory-that-is-not-exported",
        r#"(module
        (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
        (memory 1) (func (export "_start") (drop (call $yield))))"#,
    ),
    (
        "exceptions",
        r#"(module (memory (export "memory") 1) (tag $t) (func (export "_start") (throw $t)))"#,
    ),
    (
        "two-memories",
        r#"(module (memory (export "memory") 1) (memory 1) (func (export "_start")))"#,
    ),
    ("a-64-bit-memory", r#"(module (memory (export "memory") i64 1) (func (export "_start")))"#),
    (
        "data-beyond-memory",
        r#"(module (memory (export "memory") 1) (data (i32.const 65530) "beyond memory") (func (export "_start")))"#,
    ),
    (
        "elements-beyond-the-table",
        r#"(module (memory (export "memory") 1) (table 1 funcref) (elem (i32.const 1) $f) (func $f (export "_start")))"#,
    ),
    (
        "a-start-function-that-traps",
        r#"(module (memory (export "memory") 1) (start $f) (func $f unreachable) (func (export "_start")))"#,
    ),
    (
        "all-of-memory-at-once",
        r#"(module (memory (export "memory") 65536) (func (export "_start")))"#,
    ),
    (
        "a-table-without-end",
        r#"(module (memory (export "memory") 1) (table 0xffffffff funcref) (func (export "_start")))"#,
    ),
    (
        "elements-beyond-the-first-of-two-tables",
        r#"(module (memory (export "memory") 1) (table $a 1 funcref) (table 100 funcref)
            (elem (table $a) (i32.const 50) func $f) (func $f (export "_start")))"#,
    ),
    (
        "a-trap-while-it-is-loaded",
        r#"(module (memory (export "memory") 1) (func (export "__post_instantiate") unreachable)
            (func (export "_start")))"#,
    ),
    (
        "a-constructor-that-traps",
        r#"(module (memory (export "memory") 1) (func (export "__wasm_call_ctors") unreachable)
            (func (export "_start")))"#,
    ),
    ("no-module", "(module"),
];

/// Its table has holes, functions of types that a worker writes too much for, and one that it can enter.
const TABLE: &str = r#"(module (memory (export "memory") 1) (table 8 funcref)
    (elem (i32.const 1) $wide $long $good)
    (func $wide (result i64 i64 i64 i64) (i64.const 1) (i64.const 1) (i64.const 1) (i64.const 1))
    (func $long (param i64))
    (func $good)
    (func (export "_start")))"#;

fn function(body: &str) -> Vec<u8> {
    let imports: String = IMPORTS
        .iter()
        .filter(|(name, _)| body.contains(&format!("${name} ")))
        .map(|(name, ty)| format!(r#"(import "env" "{name}" (func ${name} {ty}))"#))
        .collect();
    let wat = format!(
        r#"(module {imports} {DATA} (table 2 funcref) (elem (i32.const 1) $entry)
           (func $entry (export "_start") {body}))"#
    );
    wat::parse_str(&wat).unwrap_or_else(|error| panic!("{error}: {wat}"))
}

/// What everybody else sees: all of the cluster is there, and runs functions.
async fn is_well(cluster: &Cluster, client: &mut Client, after: &str) {
    assert_eq!(client.call("hello", b"Ada").await, (0, "Hello, Ada".into()), "after {after}");
    assert!(cluster.planner.is_alive(), "{after} ended the planner");
    assert!(cluster.planner.worker_answers(0), "{after} ended the worker");
    assert!(cluster.upload.is_alive(), "{after} ended the upload server");
}

#[tokio::test]
async fn neither_a_page_nor_a_function_without_trust_ends_a_part_of_the_cluster() {
    let redis = RedisServer::start().unwrap();
    let state = Arc::new(RedisStore::connect(&RedisConfig::new(redis.url())).await.unwrap());
    let stores = Stores { state, ..Stores::in_memory().unwrap() };
    let setup = Setup { times: Times::tenth(), ..Setup::default() };
    let cluster = &Cluster::start_over(setup, stores).await;
    let config =
        FaasmConfig { worker_port: cluster.planner.worker_port(), ..cluster.default_config() };
    let stores = Stores::redis(&RedisConfig::new(redis.url())).await.unwrap();
    let front = Front::start(config, Some(&cluster.upload.url()), stores, false).await;
    let mut client = front.client().await;
    let (status, body) = put(front.address, "/f/ada/hello", wat::parse_str(HELLO).unwrap()).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(client.write("k", &[7; 100]).await, Reply::Done);
    let append = Request::AppendState { key: "list".into() };
    assert_eq!(client.ask(append, b"an element").await.0, Reply::Done);
    for (name, body) in ATTACKS {
        // Guarded originals, and functions built for Faasm that are guarded.
        let original = function(body);
        let options =
            Options { use_: Use::BuiltFor { allow_lost_updates: true }, check_names: true };
        let built = link(&original, options).unwrap().map(|made| made.wasm);
        for (form, wasm) in [("original", Some(original)), ("built", built)] {
            let Some(wasm) = wasm else { continue };
            let function = format!("{name}-{form}");
            let (status, body) = put(front.address, &format!("/f/ada/{function}"), wasm).await;
            match status {
                200 => {
                    client.ask(main(&function), b"an input").await;
                }
                // By name, before it is there.
                422 => assert!(body.contains("env."), "{function}: {body}"),
                _ => panic!("{function}: {status} {body}"),
            }
            is_well(cluster, &mut client, &function).await;
        }
    }
    let locals = format!("(local {})", "v128 ".repeat(17_000));
    let locals =
        format!(r#"(module (memory (export "memory") 1) (func (export "_start") {locals}))"#);
    let mut modules = MODULES.to_vec();
    modules.push(("more-locals-than-there-can-be", &locals));
    for (name, wat) in modules {
        let wasm = wat::parse_str(wat).unwrap_or_else(|_| wat.as_bytes().to_vec());
        let (status, body) = put(front.address, "/f/ada/module", wasm).await;
        assert_eq!(status, 422, "{name}: {body}");
        is_well(cluster, &mut client, name).await;
    }
    // The page itself.
    for function in ["nowhere", "module", ".hidden", "a/b"] {
        client.ask(main(function), b"").await;
        is_well(cluster, &mut client, function).await;
    }
    for pointer in [0, 1, 99, u32::MAX] {
        client.ask(enter("hello", CallEntry::Pointer(pointer)), b"").await;
        is_well(cluster, &mut client, &format!("pointer {pointer}")).await;
    }
    // Holes of its table, and what returns more than a worker makes room for.
    let (status, body) = put(front.address, "/f/ada/table", wat::parse_str(TABLE).unwrap()).await;
    assert_eq!(status, 200, "{body}");
    for pointer in [0, 1, 2, 7, 8] {
        let (reply, reason) = client.ask(enter("table", CallEntry::Pointer(pointer)), b"").await;
        let code = failure::BAD_ENTRY.to_owned();
        assert_eq!(reply, Reply::CallFailed { code }, "{}", String::from_utf8_lossy(&reason));
    }
    let (reply, _) = client.ask(enter("table", CallEntry::Pointer(3)), b"").await;
    assert_eq!(reply, Reply::Call { return_value: 0 });
    is_well(cluster, &mut client, "pointers into a table").await;
    // A user whose keys would be another one's.
    let (status, body) =
        put(front.address, "/f/ada_.faasm.function.x/f", wat::parse_str(HELLO).unwrap()).await;
    assert_eq!(status, 422, "{body}");
    for key in [".faasm.function.nowhere", ".faasm.list.00000000.list"] {
        let (code, reason) = told((client.write(key, b"1").await, vec![]));
        assert_eq!(code, FailureCode::BadRequest);
        assert!(reason.contains("belong to the relay"), "{reason}");
    }
    // Lists are elsewhere, so it is a value like any other.
    assert_eq!(client.write("list", b"a value").await, Reply::Done);
    let append = Request::AppendState { key: "list".into() };
    assert_eq!(client.ask(append, b"an element").await.0, Reply::Done);
    is_well(cluster, &mut client, "a value beside a list").await;
}
