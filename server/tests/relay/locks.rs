//! Locks of the local tier: held, waited for, and free again however their holder ends.

use crate::support::*;
use faasm_bridge::wire::{FailureCode, Reply};
use faasm_relay::Config;
use faasm_relay::cluster::embedded::EmbeddedConfig;
use faasm_relay::cluster::failure;
use std::collections::BTreeSet;
use std::time::Duration;

/// Takes the write lock of `k`, says so in state `held`, and then, by the length of its input: 0 loops, 1 traps, 2 asks for
/// the same lock again, 3 sleeps for a long time.
const HOLD: &str = r#"(module
    (import "env" "__faasm_read_input" (func $read (param i32 i32) (result i32)))
    (import "env" "__faasm_lock_state_write" (func $lock (param i32)))
    (import "env" "__faasm_write_state" (func $write (param i32 i32 i32)))
    (import "env" "__faasm_push_state" (func $push (param i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory 1)
    (data (i32.const 0) "k\00held\00")
    (func (export "_start") (local $how i32)
        (call $lock (i32.const 0))
        (call $write (i32.const 2) (i32.const 0) (i32.const 1))
        (call $push (i32.const 2))
        (local.set $how (call $read (i32.const 0) (i32.const 0)))
        (if (i32.eq (local.get $how) (i32.const 1)) (then (unreachable)))
        (if (i32.eq (local.get $how) (i32.const 2)) (then (call $lock (i32.const 0))))
        (if (i32.eq (local.get $how) (i32.const 3)) (then
            (i64.store (i32.const 224) (i64.const 3600000000000))
            (drop (call $poll (i32.const 200) (i32.const 300) (i32.const 1) (i32.const 400)))))
        (loop $again (br $again))))"#;

/// Under the write lock of `k`: reads byte `n`, sleeps, writes it one greater, and returns that.
const COUNT: &str = r#"(module
    (import "env" "__faasm_lock_state_write" (func $lock (param i32)))
    (import "env" "__faasm_unlock_state_write" (func $unlock (param i32)))
    (import "env" "__faasm_read_state" (func $read (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_write_state" (func $write (param i32 i32 i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory 1)
    (data (i32.const 0) "k\00n\00")
    (func (export "main") (result i32)
        (call $lock (i32.const 0))
        (drop (call $read (i32.const 2) (i32.const 16) (i32.const 1)))
        (i64.store (i32.const 224) (i64.const 20000000))
        (drop (call $poll (i32.const 200) (i32.const 300) (i32.const 1) (i32.const 400)))
        (i32.store8 (i32.const 16) (i32.add (i32.const 1) (i32.load8_u (i32.const 16))))
        (call $write (i32.const 2) (i32.const 16) (i32.const 1))
        (call $unlock (i32.const 0))
        (i32.load8_u (i32.const 16))))"#;

const FUNCTIONS: &[(&str, &str)] = &[("hold", HOLD), ("count", COUNT)];

#[tokio::test]
async fn calls_wait_for_a_lock_and_get_it_one_after_the_other() {
    let relay = Relay::start().await.with(FUNCTIONS).await;
    let mut client = relay.client().await;
    let mut sent = Vec::new();
    for _ in 0..5 {
        sent.push(client.send(main("count"), b"").await);
    }
    let mut seen = BTreeSet::new();
    for id in sent {
        seen.insert(returned(client.reply(id).await).0);
    }
    assert_eq!(seen, BTreeSet::from([1, 2, 3, 4, 5]), "none read what another was about to write");
}

#[tokio::test]
async fn a_lock_is_free_again_when_its_holder_times_out() {
    let embedded = EmbeddedConfig { call_timeout: Duration::from_secs(1), ..Default::default() };
    let relay = Relay::start_with(Config::default(), embedded).await.with(FUNCTIONS).await;
    for waits in [&b""[..], b"333"] {
        let (code, _) = relay.fail("hold", waits).await;
        assert_eq!(code, failure::TIMEOUT);
        assert!(relay.call("count", b"").await.0 > 0);
    }
}

#[tokio::test]
async fn a_lock_is_free_again_when_its_holder_traps_or_would_wait_for_itself() {
    let relay = Relay::start().await.with(FUNCTIONS).await;
    assert_eq!(relay.fail("hold", b"1").await.0, failure::TRAP);
    assert_eq!(relay.call("count", b"").await.0, 1);
    let (code, reason) = relay.fail("hold", b"22").await;
    assert_eq!(code, "deadlock");
    assert!(reason.contains("this run already holds the lock `k`"), "{reason}");
    assert_eq!(relay.call("count", b"").await.0, 2);
}

#[tokio::test]
async fn a_cancelled_holder_lets_in_two_that_wait() {
    let relay = Relay::start().await.with(FUNCTIONS).await;
    let mut page = relay.client().await;
    let holder = page.send(main("hold"), b"333").await;
    while page.read("held").await.is_none() {}
    let first = page.send(main("count"), b"").await;
    let second = page.send(main("count"), b"").await;
    // One that waits is cancelled too, and leaves no gap in the queue.
    let third = page.send(main("count"), b"").await;
    page.machine.cancel(third);
    let (reply, _) = page.reply(third).await;
    assert!(matches!(reply, Reply::Failed { code: FailureCode::Cancelled, .. }), "{reply:?}");
    page.machine.cancel(holder);
    let (reply, _) = page.reply(holder).await;
    assert!(matches!(reply, Reply::Failed { code: FailureCode::Cancelled, .. }), "{reply:?}");
    let both = [returned(page.reply(first).await).0, returned(page.reply(second).await).0];
    assert_eq!(BTreeSet::from(both), BTreeSet::from([1, 2]));
}
