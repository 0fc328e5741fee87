//! The upload server behind a relay: functions, state in the cluster's memory, and shared files.

use super::*;
use crate::builds::large;
use crate::fixtures::*;
use faasm_bridge::wire::{ChunkHeader, Request};
use faasm_relay::cluster::BuildConfig;
use faasm_relay::integrity;

#[tokio::test]
async fn an_upload_is_checked_and_passed_on_as_it_is_and_its_hash_is_kept() {
    let cluster = Cluster::start().await;
    let front = cluster.relay().await;
    let wasm = wat::parse_str(HELLO).unwrap();
    let (status, body) = put(front.address, "/f/ada/hello", wasm.clone()).await;
    assert_eq!(status, 200, "{body}");
    let there = cluster.stores.functions.get(USER, "hello").await.unwrap().unwrap();
    assert!(there.wasm == wasm, "the original");
    let (status, body) = request(front.address, "GET", "/f/ada/hello", vec![]).await;
    let told: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, told["integrity"].as_str()), (200, Some(&*integrity(&wasm))));
    let (status, _) = request(front.address, "GET", "/f/ada/other", vec![]).await;
    assert_eq!(status, 404);
    let (status, body) = put(front.address, "/f/ada/bad", b"no wasm".to_vec()).await;
    assert_eq!(status, 422, "{body}");
    assert_eq!(cluster.stores.functions.get(USER, "bad").await.unwrap(), None, "not passed on");
}

#[tokio::test]
async fn locks_across_the_cluster_are_refused_by_name_before_anything_runs() {
    const LOCKING: &str = r#"(module
        (import "env" "__faasm_lock_state_global" (func $lock (param i32)))
        (memory (export "memory") 1)
        (func (export "_start") (call $lock (i32.const 0))))"#;
    let cluster = Cluster::start().await;
    let front = cluster.relay_with(cluster.default_config()).await;
    let (status, body) = put(front.address, "/f/ada/f", wat::parse_str(LOCKING).unwrap()).await;
    assert_eq!(status, 422);
    assert!(body.contains("env.__faasm_lock_state_global"), "{body}");
    assert_eq!(cluster.stores.functions.get(USER, "f").await.unwrap(), None, "not passed on");
    // For a user whom the operator trusts it is a warning, since only calling it traps.
    let trusting = cluster.relay().await;
    let (status, body) = put(trusting.address, "/f/ada/f", wat::parse_str(LOCKING).unwrap()).await;
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("Faasm has no locks across the cluster"), "{body}");
    // A page that runs it itself is told by the relay.
    let lock = Request::LockState { key: "k".into(), run: 1 };
    let (reply, _) = front.client().await.ask(lock, b"").await;
    let Reply::Failed { code: FailureCode::BadRequest, message } = reply else {
        panic!("{reply:?}")
    };
    assert!(message.contains("workers would not see"), "{message}");
}

#[tokio::test]
async fn without_an_upload_server_there_is_an_error_that_says_so() {
    let cluster = Cluster::start().await.with(&[("hello", HELLO)]).await;
    let front = Front::start(cluster.config(), None, Stores::in_memory().unwrap(), false).await;
    let wasm = wat::parse_str(HELLO).unwrap();
    let (status, body) = put(front.address, "/f/ada/hello", wasm).await;
    assert_eq!(status, 503);
    assert!(body.contains("cluster.upload"), "{body}");
    assert_eq!(front.client().await.call("hello", b"x").await, (0, "Hello, x".into()));
}

#[tokio::test]
async fn an_upload_server_that_is_down_is_unavailable() {
    let cluster = Cluster::start().await;
    let front = cluster.relay().await;
    cluster.upload.abort();
    let wasm = wat::parse_str(HELLO).unwrap();
    let (status, body) = put(front.address, "/f/ada/hello", wasm).await;
    assert_eq!(status, 503);
    assert!(body.contains("faasm-relay doctor"), "{body}");
    let mut client = front.client().await;
    let read = Request::ReadState { key: "k".into(), offset: 0, length: None };
    assert_eq!(told(client.ask(read, b"").await).0, FailureCode::Unavailable);
    assert_eq!(told((client.write("k", b"x").await, vec![])).0, FailureCode::Unavailable);
}

#[tokio::test]
async fn parts_of_values_in_the_clusters_memory_are_read_and_written() {
    let cluster = Cluster::start().await;
    let front = cluster.relay().await;
    let mut client = front.client().await;
    assert_eq!(client.read("k").await, None);
    let write = |size, offset, length| Request::WriteState {
        key: "k".into(),
        size,
        chunks: vec![ChunkHeader { offset, length }],
    };
    assert_eq!(client.ask(write(6, 2, 3), b"abc").await.0, Reply::Done);
    assert_eq!(client.read("k").await.as_deref(), Some(&b"\0\0abc\0"[..]));
    assert_eq!(client.ask(write(6, 5, 1), b"z").await.0, Reply::Done);
    let read = Request::ReadState { key: "k".into(), offset: 3, length: Some(99) };
    let (reply, bytes) = client.ask(read, b"").await;
    assert_eq!((reply, &bytes[..]), (Reply::State { size: Some(6), offset: 3 }, &b"bcz"[..]));
    let stored = cluster.stores.state.read(USER, "k", 0, None).await.unwrap();
    assert_eq!(stored.chunk.bytes, b"\0\0abcz"[..]);
}

#[tokio::test]
async fn writers_of_parts_of_one_value_do_not_undo_each_other() {
    let cluster = Cluster::start().await;
    let front = cluster.relay().await;
    let mut client = front.client().await;
    let mut all = Vec::new();
    for offset in 0..40 {
        let chunks = vec![ChunkHeader { offset, length: 1 }];
        let write = Request::WriteState { key: "k".into(), size: 40, chunks };
        all.push(client.send(write, b"x").await);
    }
    for id in all {
        assert_eq!(client.reply(id).await.0, Reply::Done);
    }
    assert_eq!(client.read("k").await.as_deref(), Some(&[b'x'; 40][..]));
}

#[tokio::test]
async fn what_the_upload_server_cannot_carry_is_told() {
    let cluster = Cluster::start().await;
    let front = cluster.relay().await;
    let mut client = front.client().await;
    let (_, reason) = told((client.write("a/b", b"x").await, vec![]));
    assert!(reason.contains("`a/b`") && reason.contains("Redis"), "{reason}");
    let append = Request::AppendState { key: "list".into() };
    let (_, reason) = told(client.ask(append, b"x").await);
    assert!(reason.contains("`list`") && reason.contains("Redis"), "{reason}");
}

#[tokio::test]
async fn shared_files_are_the_clusters() {
    let cluster = Cluster::start().await;
    let front = cluster.relay().await;
    let (status, body) = put(front.address, "/files/data/a.txt", b"shared".to_vec()).await;
    assert_eq!(status, 200, "{body}");
    let there = cluster.stores.files.read_file("data/a.txt").await.unwrap();
    assert_eq!(there.as_deref(), Some(&b"shared"[..]));
    let mut client = front.client().await;
    let read = |path: &str| Request::ReadFile { path: path.into() };
    let (reply, bytes) = client.ask(read("data/a.txt"), b"").await;
    assert_eq!((reply, &bytes[..]), (Reply::Bytes, &b"shared"[..]));
    assert_eq!(client.ask(read("data/none"), b"").await.0, Reply::Missing);
}

#[tokio::test]
async fn readiness_asks_the_cluster_for_its_state() {
    let cluster = Cluster::start().await;
    let front = cluster.relay().await;
    assert_eq!(request(front.address, "GET", "/readyz", vec![]).await.0, 200);
    cluster.upload.abort();
    assert_eq!(request(front.address, "GET", "/readyz", vec![]).await.0, 503);
    // Nothing of it was a call.
    assert_eq!(cluster.count("EXECUTE_BATCH"), 0);
}

/// With builds in processes of their own.
fn in_children(config: FaasmConfig, time: Duration, memory: usize) -> FaasmConfig {
    let program = Some(env!("CARGO_BIN_EXE_faasm-relay").into());
    FaasmConfig {
        builds: BuildConfig { time, memory, program, ..BuildConfig::default() },
        ..config
    }
}

#[tokio::test]
async fn an_upload_is_checked_and_guarded_in_a_process_that_is_ended_where_it_takes_too_much() {
    let cluster = Cluster::start().await;
    let wasm = wat::parse_str(HELLO).unwrap();
    let large = wat::parse_str(large(800, 300)).unwrap();
    let short = in_children(cluster.default_config(), Duration::from_millis(10), 2 << 30);
    // Not even a thread has a stack.
    let small = in_children(cluster.default_config(), LONG, 1 << 20);
    for (config, upload, parts) in [
        (short, &large, ["was not checked and guarded within", "builds.time"]),
        (small, &wasm, ["more than 1 MiB", "builds.memory_bytes"]),
    ] {
        let front = cluster.relay_with(config).await;
        let (status, why) = put(front.address, "/f/ada/f", upload.clone()).await;
        assert_eq!(status, 422, "{why}");
        assert!(parts.iter().all(|part| why.contains(part)), "{why}");
    }
    assert_eq!(cluster.stores.functions.get(USER, "f").await.unwrap(), None, "not passed on");
    // One that refuses says why, and one that guards makes what this process does.
    let front = cluster.relay_with(in_children(cluster.default_config(), LONG, 2 << 30)).await;
    let loops = "loop ".repeat(501) + &"end ".repeat(501);
    let deep = format!(r#"(module (memory (export "memory") 1) (func (export "_start") {loops}))"#);
    let (status, why) = put(front.address, "/f/ada/f", wat::parse_str(deep).unwrap()).await;
    assert!(status == 422 && why.contains("501 nested loops"), "{status} {why}");
    let (status, answer) = put(front.address, "/f/ada/f", wasm.clone()).await;
    assert_eq!(status, 200, "{answer}");
    let by_child = cluster.stores.functions.get(USER, "f").await.unwrap().unwrap();
    let here = cluster.relay_with(cluster.default_config()).await;
    let (status, again) = put(here.address, "/f/ada/g", wasm).await;
    assert_eq!((status, again.replace(r#""g""#, r#""f""#)), (200, answer));
    let by_thread = cluster.stores.functions.get(USER, "g").await.unwrap().unwrap();
    assert!(by_child.wasm == by_thread.wasm);
}
