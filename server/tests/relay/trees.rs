//! Trees of calls: one deadline and one cancellation for a call and all that descends from it.

use crate::fixtures::*;
use crate::support::*;
use faasm_bridge::wire::{FailureCode, Reply};
use faasm_relay::Config;
use faasm_relay::cluster::embedded::EmbeddedConfig;
use faasm_relay::cluster::{Cluster as _, failure};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Chains `gate`, which runs until its gate is open, and goes on for ever where it has an input.
const ROOT: &str = r#"(module
    (import "env" "__faasm_read_input" (func $read (param i32 i32) (result i32)))
    (import "env" "__faasm_chain_name" (func $chain (param i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 16) "gate\00")
    (func (export "_start")
        (drop (call $chain (i32.const 16) (i32.const 0) (i32.const 0)))
        (if (call $read (i32.const 0) (i32.const 0)) (then (loop $again (br $again))))))"#;

/// Chains itself, and goes on for ever; those of it that are chained do so after a second.
const BOMB: &str = r#"(module
    (import "env" "__faasm_chain_ptr" (func $chain (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (table (export "__indirect_function_table") 2 2 funcref)
    (elem (i32.const 1) $child)
    (func $more (drop (call $chain (i32.const 1) (i32.const 0) (i32.const 0))))
    (func $child (result i32)
        (i32.store (i32.const 80) (i32.const 1))
        (i64.store (i32.const 88) (i64.const 1000000000))
        (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 200)))
        (call $more)
        (loop $again (br $again))
        (i32.const 0))
    (func (export "_start") (call $more) (loop $again (br $again))))"#;

fn instances(relay: &Relay) -> usize {
    relay.cluster.usage().unwrap().instances
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

/// Waits until the chained call runs.
async fn chained(relay: &Relay) {
    let state = &relay.stores.state;
    until("the chained call runs", async || {
        state.read(USER, "count", 0, None).await.unwrap().size.is_some()
    })
    .await;
}

async fn nothing_runs(relay: &Relay) {
    until("nothing runs", async || instances(relay) == 0).await;
}

async fn relay(embedded: EmbeddedConfig) -> Relay {
    let relay = Relay::start_with(Config::default(), embedded).await;
    relay.with(&[("root", ROOT), ("gate", GATE), ("bomb", BOMB)]).await
}

#[tokio::test]
async fn all_that_descends_from_a_call_has_its_deadline() {
    let time = Duration::from_secs(2);
    let relay = relay(EmbeddedConfig { call_timeout: time, ..Default::default() }).await;
    let (code, message) = relay.fail("bomb", b"").await;
    assert_eq!((code.as_str(), message.as_str()), (failure::TIMEOUT, "timed out after 2 s"));
    // With two seconds of its own, each would chain another one, 64 deep.
    nothing_runs(&relay).await;
}

#[tokio::test]
async fn cancelling_a_call_cancels_what_it_chained() {
    for kind in BOTH {
        let relay = relay(EmbeddedConfig::default()).await;
        let mut page = relay.client_over(kind).await;
        let root = page.send(main("root"), b"x").await;
        chained(&relay).await;
        page.machine.cancel(root);
        let (reply, _) = page.reply(root).await;
        assert!(matches!(reply, Reply::Failed { code: FailureCode::Cancelled, .. }), "{reply:?}");
        nothing_runs(&relay).await;
    }
}

#[tokio::test]
async fn a_page_that_says_goodbye_cancels_what_its_calls_chained() {
    for kind in BOTH {
        let relay = relay(EmbeddedConfig::default()).await;
        let mut page = relay.client_over(kind).await;
        page.send(main("root"), b"x").await;
        chained(&relay).await;
        page.say_goodbye().await;
        nothing_runs(&relay).await;
    }
}

#[tokio::test]
async fn a_message_whose_sender_is_gone_cancels_what_its_call_chained() {
    let relay = relay(EmbeddedConfig::default()).await;
    let body = r#"{"user":"ada","function":"root","input_data":"x"}"#;
    let mut stream = TcpStream::connect(relay.address).await.unwrap();
    let length = body.len();
    let head =
        format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\n\r\n", relay.address);
    stream.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice()).await.unwrap();
    chained(&relay).await;
    drop(stream);
    nothing_runs(&relay).await;
}

#[tokio::test]
async fn what_a_call_did_not_await_goes_on_when_it_returns() {
    let relay = relay(EmbeddedConfig::default()).await;
    assert_eq!(relay.call("root", b"").await.0, 0);
    chained(&relay).await;
    assert_eq!(instances(&relay), 1);
    let mut page = relay.client().await;
    assert_eq!(page.write("gate", &[1]).await, Reply::Done);
    nothing_runs(&relay).await;
}
