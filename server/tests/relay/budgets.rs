//! Memory that users make the relay hold.

use crate::support::*;
use faasm_bridge::wire::{Reply, Request};
use faasm_relay::Config;
use faasm_relay::budget::{Bound, Bounds, Budget, Kind};
use faasm_relay::cluster::embedded::EmbeddedConfig;
use faasm_relay::cluster::failure;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// Writes 16 MiB to as many values as its input has bytes (of one byte each), and pushes none of them.
const HOARD: &str = r#"(module
    (import "env" "__faasm_read_input" (func $read (param i32 i32) (result i32)))
    (import "env" "__faasm_write_state" (func $write (param i32 i32 i32)))
    (memory (export "memory") 260)
    (func (export "_start") (local $key i32)
        (loop $again
            (local.set $key (i32.add (local.get $key) (i32.const 1)))
            (i32.store8 (i32.const 16) (local.get $key))
            (call $write (i32.const 16) (i32.const 65536) (i32.const 16777216))
            (br_if $again
                (i32.lt_u (local.get $key) (call $read (i32.const 0) (i32.const 0)))))))"#;

/// Pulls `s1` to `s9`.
const PULLS: &str = r#"(module
    (import "env" "__faasm_pull_state" (func $pull (param i32 i32)))
    (memory (export "memory") 1)
    (data (i32.const 16) "s0\00")
    (func (export "_start") (local $key i32)
        (loop $again
            (local.set $key (i32.add (local.get $key) (i32.const 1)))
            (i32.store8 (i32.const 17) (i32.add (local.get $key) (i32.const 48)))
            (call $pull (i32.const 16) (i32.const 0))
            (br_if $again (i32.lt_u (local.get $key) (i32.const 9))))))"#;

/// Chains 60 calls with 1 MiB of input, which have 1 MiB of output; awaits the last one, and adds up how those that it awaits
/// after that ended.
const FAN: &str = r#"(module
    (import "env" "__faasm_chain_ptr" (func $chain (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
    (import "env" "__faasm_write_output" (func $out (param i32 i32)))
    (memory (export "memory") 17)
    (table (export "__indirect_function_table") 2 2 funcref)
    (elem (i32.const 1) $child)
    (func $child (result i32) (call $out (i32.const 65536) (i32.const 1048576)) (i32.const 0))
    (func (export "main") (result i32) (local $call i32) (local $failed i32)
        (loop $again
            (local.set $call (call $chain (i32.const 1) (i32.const 65536) (i32.const 1048576)))
            (br_if $again (i32.lt_u (local.get $call) (i32.const 60))))
        (loop $again
            (local.set $failed (i32.add (local.get $failed) (call $await (local.get $call))))
            (local.set $call (i32.sub (local.get $call) (i32.const 1)))
            (br_if $again (local.get $call)))
        (local.get $failed)))"#;

/// Chains a call and awaits it, 100 times; each has 1 MiB of output.
const SERIES: &str = r#"(module
    (import "env" "__faasm_chain_ptr" (func $chain (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_await_call_output" (func $await (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_write_output" (func $out (param i32 i32)))
    (memory (export "memory") 40)
    (table (export "__indirect_function_table") 2 2 funcref)
    (elem (i32.const 1) $child)
    (func (export "malloc") (param i32) (result i32) (i32.const 1310720))
    (func $child (result i32) (call $out (i32.const 65536) (i32.const 1048576)) (i32.const 0))
    (func (export "main") (result i32) (local $times i32) (local $failed i32)
        (loop $again
            (local.set $failed (i32.add (local.get $failed) (call $await
                (call $chain (i32.const 1) (i32.const 0) (i32.const 0))
                (i32.const 0) (i32.const 4))))
            (local.set $times (i32.add (local.get $times) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $times) (i32.const 100))))
        (local.get $failed)))"#;

/// Returns what growing its memory by as many pages of 64 KiB as its input has bytes gives.
const GROW: &str = r#"(module
    (import "env" "__faasm_read_input" (func $read (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "main") (result i32)
        (memory.grow (call $read (i32.const 0) (i32.const 0)))))"#;

/// Has 20 MiB from the start.
const LARGE: &str = r#"(module (memory (export "memory") 320) (func (export "_start")))"#;

/// Makes a file of 20 MiB, and ends.
const FILE: &str = r#"(module
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $size (param i32 i64) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 16) "f")
    (func (export "main") (result i32)
        (if (call $open (i32.const 4) (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 1)
            (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 32)) (then (return (i32.const 99))))
        (call $size (i32.load (i32.const 32)) (i64.const 20971520))))"#;

/// A relay whose users may have so much each, and its budget.
async fn relay(user: u64) -> (Relay, Budget) {
    let budget = Budget::new(Bounds { relay: 4 * user, user });
    let embedded = EmbeddedConfig { budget: budget.clone(), ..EmbeddedConfig::default() };
    let relay = Relay::start_with(Config::default(), embedded).await;
    let functions = [
        ("hoard", HOARD),
        ("pulls", PULLS),
        ("fan", FAN),
        ("series", SERIES),
        ("grow", GROW),
        ("large", LARGE),
        ("file", FILE),
    ];
    (relay.with(&functions).await, budget)
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

fn is_over((code, message): (String, String)) {
    assert_eq!(code, failure::OVER_BUDGET, "{message}");
    assert!(message.contains("budget.user_bytes"), "{message}");
}

#[tokio::test]
async fn unsent_state_stays_within_the_budget_of_its_user() {
    let (relay, budget) = relay(64 * MIB).await;
    is_over(relay.fail("hoard", &[0; 200]).await);
    assert_eq!(budget.used_for(Kind::Instance), 0);
    let kept = budget.used_for(Kind::State);
    assert!(kept > 32 * MIB && kept < 64 * MIB, "{kept}");
    assert!(budget.refused(Bound::User) > 0);
    // Nobody else has less for it.
    let call = faasm_relay::cluster::Call::new("bob", "hello", vec![]);
    let wasm = wat::parse_str(crate::fixtures::HELLO).unwrap();
    let cluster: &dyn faasm_relay::cluster::Cluster = &relay.cluster;
    cluster.upload("bob".into(), "hello".into(), wasm).await.unwrap();
    let outcome = cluster.call(call).await.unwrap();
    assert!(matches!(outcome, faasm_relay::cluster::Outcome::Returned(_)), "{outcome:?}");
}

#[tokio::test]
async fn values_that_are_pulled_make_room_for_each_other() {
    let (relay, budget) = relay(48 * MIB).await;
    let mut page = relay.client().await;
    // 20 bytes each make 10 MiB.
    for key in 1..10 {
        let chunks = Vec::new();
        let write = Request::WriteState { key: format!("s{key}"), size: 10 * MIB, chunks };
        assert_eq!(page.ask(write, b"").await.0, Reply::Done);
    }
    assert_eq!(relay.call("pulls", b"").await.0, 0);
    assert_eq!(budget.refused(Bound::User), 0);
    until("clean copies are given up", || budget.used_for(Kind::State) == 0).await;
}

#[tokio::test]
async fn a_sparse_value_of_a_gigabyte_is_not_pulled_into_a_smaller_budget() {
    let (relay, budget) = relay(48 * MIB).await;
    let mut page = relay.client().await;
    let write = Request::WriteState { key: "s1".into(), size: 1 << 30, chunks: Vec::new() };
    assert_eq!(page.ask(write, b"").await.0, Reply::Done);
    is_over(relay.fail("pulls", b"").await);
    assert_eq!(budget.used_for(Kind::Run), 0);
}

#[tokio::test]
async fn inputs_and_results_of_chained_calls_count_until_they_are_awaited() {
    let (relay, budget) = relay(48 * MIB).await;
    let (failed, _) = relay.call("fan", b"").await;
    assert!((1..60).contains(&failed), "{failed} of 60 found no room");
    until("nothing is left", || budget.used() == 0).await;
    assert_eq!(relay.call("series", b"").await.0, 0, "what was awaited does not count");
}

#[tokio::test]
async fn memories_of_instances_count() {
    let (relay, budget) = relay(16 * MIB).await;
    assert_eq!(relay.call("grow", &[0; 200]).await.0, 1);
    assert_eq!(relay.call("grow", &[0; 300]).await.0, -1, "it does not grow beyond the budget");
    is_over(relay.fail("large", b"").await);
    assert_eq!(budget.used(), 0);
}

#[tokio::test]
async fn files_of_runs_count() {
    let (relay, budget) = relay(16 * MIB).await;
    is_over(relay.fail("file", b"").await);
    assert_eq!(budget.used(), 0);
    let (relay, _) = self::relay(64 * MIB).await;
    assert_eq!(relay.call("file", b"").await.0, 0);
}
