//! Locks across the cluster: one holder at a time, pages and functions alike, and free again however the holder ends.

use crate::process::Process;
use crate::support::*;
use crate::tokens::{Keys, claims};
use faasm_bridge::session::ClientEvent;
use faasm_bridge::wire::{FailureCode, Reply, Request, RequestId};
use faasm_redis_server::RedisServer;
use faasm_relay::auth::{Claims, Right};
use faasm_relay::cluster::embedded::EmbeddedConfig;
use faasm_relay::cluster::{Cluster as _, failure};
use faasm_relay::store::Stores;
use faasm_relay::{Config, Limits};
use std::time::{Duration, Instant};

/// Takes the lock of `k` for the cluster, says so in state `held`, and then, by the length of its input: 0 loops, 1 traps, 2 asks
/// for the same lock again, 3 returns 5, 4 waits for state `gate` and pushes `k`, 5 waits for it and releases the lock.
const HOLD: &str = r#"(module
    (import "env" "__faasm_read_input" (func $read_input (param i32 i32) (result i32)))
    (import "env" "__faasm_lock_state_global" (func $lock (param i32)))
    (import "env" "__faasm_unlock_state_global" (func $unlock (param i32)))
    (import "env" "__faasm_write_state" (func $write (param i32 i32 i32)))
    (import "env" "__faasm_push_state" (func $push (param i32)))
    (import "env" "__faasm_pull_state" (func $pull (param i32 i32)))
    (import "env" "__faasm_read_state" (func $read (param i32 i32 i32) (result i32)))
    (memory 1)
    (data (i32.const 0) "k\00held\00gate\00")
    (func (export "main") (result i32) (local $how i32)
        (call $lock (i32.const 0))
        (call $write (i32.const 2) (i32.const 0) (i32.const 1))
        (call $push (i32.const 2))
        (local.set $how (call $read_input (i32.const 0) (i32.const 0)))
        (if (i32.eq (local.get $how) (i32.const 1)) (then (unreachable)))
        (if (i32.eq (local.get $how) (i32.const 2)) (then (call $lock (i32.const 0))))
        (if (i32.eq (local.get $how) (i32.const 3)) (then (return (i32.const 5))))
        (if (i32.eqz (local.get $how)) (then (loop $ever (br $ever))))
        (loop $again
            (call $pull (i32.const 7) (i32.const 1))
            (drop (call $read (i32.const 7) (i32.const 32) (i32.const 1)))
            (br_if $again (i32.eqz (i32.load8_u (i32.const 32)))))
        (if (i32.eq (local.get $how) (i32.const 4))
            (then
                (call $write (i32.const 0) (i32.const 32) (i32.const 1))
                (call $push (i32.const 0)))
            (else (call $unlock (i32.const 0))))
        (i32.const 7)))"#;

/// Under the lock of `k`: appends a byte to list `l`, sleeps, and appends another one.
const PAIR: &str = r#"(module
    (import "env" "__faasm_lock_state_global" (func $lock (param i32)))
    (import "env" "__faasm_unlock_state_global" (func $unlock (param i32)))
    (import "env" "__faasm_append_state" (func $append (param i32 i32 i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory 1)
    (data (i32.const 0) "k\00l\00ab")
    (func (export "_start")
        (call $lock (i32.const 0))
        (call $append (i32.const 2) (i32.const 4) (i32.const 1))
        (i64.store (i32.const 224) (i64.const 5000000))
        (drop (call $poll (i32.const 200) (i32.const 300) (i32.const 1) (i32.const 400)))
        (call $append (i32.const 2) (i32.const 5) (i32.const 1))
        (call $unlock (i32.const 0))))"#;

const FUNCTIONS: &[(&str, &str)] = &[("hold", HOLD), ("pair", PAIR)];

/// Where nothing is to be free because of it.
const EVER: Duration = Duration::from_secs(3600);

fn lock(run: u64) -> Request {
    Request::LockState { key: "k".into(), run }
}

fn unlock(run: u64) -> Request {
    Request::UnlockState { key: "k".into(), run }
}

async fn is_done(page: &mut Client, request: Request) {
    assert_eq!(page.ask(request, b"").await.0, Reply::Done);
}

fn is_lost(reply: &Reply) -> bool {
    matches!(reply, Reply::Failed { code: FailureCode::LockLost, .. })
}

async fn relay_with(lease: Duration, limits: Limits, call_timeout: Duration) -> Relay {
    let stores = Stores::in_memory().unwrap().with_lock_lease(lease);
    let embedded = EmbeddedConfig { call_timeout, ..Default::default() };
    let config = Config { limits, ..Config::default() };
    Relay::start_over(config, embedded, stores).await.with(FUNCTIONS).await
}

async fn relay(lease: Duration) -> Relay {
    relay_with(lease, Limits::default(), Duration::from_secs(60)).await
}

/// A call of `hold` that has the lock.
async fn holding(page: &mut Client, input: &[u8]) -> RequestId {
    let call = page.send(main("hold"), input).await;
    let begun = Instant::now();
    while page.read("held").await.is_none() {
        assert!(begun.elapsed() < LONG, "it takes the lock");
    }
    call
}

#[tokio::test]
async fn pages_and_functions_wait_for_each_other() {
    let relay = relay(EVER).await;
    let mut page = relay.client().await;
    is_done(&mut page, lock(1)).await;
    let call = page.send(main("hold"), b"333").await;
    let other = page.send(lock(2), b"").await;
    assert_eq!(page.read("held").await, None, "it waits");
    is_done(&mut page, unlock(1)).await;
    assert_eq!(returned(page.reply(call).await).0, 5);
    assert_eq!(page.reply(other).await.0, Reply::Done);
    let again = page.ask(lock(2), b"").await.0;
    assert!(matches!(again, Reply::Failed { code: FailureCode::BadRequest, .. }), "{again:?}");
    let not_held = page.ask(unlock(1), b"").await.0;
    assert!(is_lost(&not_held), "{not_held:?}");
    is_done(&mut page, unlock(2)).await;
}

#[tokio::test]
async fn those_who_wait_are_in_nobodys_way_and_leave_when_they_are_cancelled() {
    let limits = Limits { running_per_session: 1, ..Limits::default() };
    let relay = relay_with(EVER, limits, Duration::from_secs(60)).await;
    let mut page = relay.client().await;
    is_done(&mut page, lock(0)).await;
    let mut waiting = Vec::new();
    for run in 1..=5 {
        waiting.push((run, page.send(lock(run), b"").await));
    }
    let (_, third) = waiting.remove(2);
    page.machine.cancel(third);
    let (reply, _) = page.reply(third).await;
    assert!(matches!(reply, Reply::Failed { code: FailureCode::Cancelled, .. }), "{reply:?}");
    // The one request that may run is a call that waits for the lock.
    let call = page.send(main("hold"), b"333").await;
    while relay.cluster.usage().unwrap().instances == 0 {
        tokio::task::yield_now().await;
    }
    // And what the holder does with the value does not wait for that one.
    assert_eq!(page.write("k", b"v").await, Reply::Done);
    assert_eq!(page.read("k").await, Some(b"v".to_vec()));
    is_done(&mut page, unlock(0)).await;
    for (run, id) in waiting {
        assert_eq!(page.reply(id).await.0, Reply::Done, "in the order of asking");
        is_done(&mut page, unlock(run)).await;
    }
    assert_eq!(returned(page.reply(call).await).0, 5);
}

#[tokio::test]
async fn a_function_that_ends_in_any_way_frees_its_locks_at_once() {
    let limits = Limits::default();
    let relay = relay_with(EVER, limits, Duration::from_secs(2)).await;
    let mut page = relay.client().await;
    for (input, expected) in
        [(&b""[..], failure::TIMEOUT), (b"1", failure::TRAP), (b"22", "deadlock")]
    {
        assert_eq!(relay.fail("hold", input).await.0, expected);
        is_done(&mut page, lock(1)).await;
        is_done(&mut page, unlock(1)).await;
    }
    assert_eq!(relay.call("hold", b"333").await.0, 5);
    is_done(&mut page, lock(1)).await;
    // One that waits until its time is over leaves the queue.
    assert_eq!(relay.fail("hold", b"333").await.0, failure::TIMEOUT);
    is_done(&mut page, unlock(1)).await;
    is_done(&mut page, lock(2)).await;
    is_done(&mut page, unlock(2)).await;
    // And one that is cancelled.
    let call = holding(&mut page, b"55555").await;
    page.machine.cancel(call);
    let (reply, _) = page.reply(call).await;
    assert!(matches!(reply, Reply::Failed { code: FailureCode::Cancelled, .. }), "{reply:?}");
    is_done(&mut page, lock(3)).await;
}

#[tokio::test]
async fn a_page_releases_its_locks_whatever_its_token_allows_by_now() {
    let keys = Keys::new();
    let relay = keys.relay().await;
    let mut page = Client::of(USER, Some(keys.token(&claims(USER))), Kind::WebSocket);
    assert_eq!(page.connect(relay.address).await, ClientEvent::Open { lost: vec![] });
    is_done(&mut page, lock(1)).await;
    page.cut();
    let less = Claims { rights: Some(vec![Right::StateRead]), ..claims(USER) };
    page.machine.set_token(Some(keys.token(&less)));
    assert_eq!(page.connect(relay.address).await, ClientEvent::Open { lost: vec![] });
    let (reply, _) = page.ask(lock(2), b"").await;
    assert!(matches!(reply, Reply::Failed { code: FailureCode::Unauthorised, .. }), "{reply:?}");
    is_done(&mut page, unlock(1)).await;
    assert!(is_lost(&page.ask(unlock(2), b"").await.0), "only what it has");
}

#[tokio::test]
async fn so_many_runs_of_a_session_wait_for_locks() {
    const MOST: u64 = 256;
    let relay = relay(EVER).await;
    let mut page = relay.client().await;
    let mut other = relay.client().await;
    is_done(&mut other, lock(0)).await;
    let mut waiting = Vec::new();
    for run in 1..=MOST {
        waiting.push(page.send(lock(run), b"").await);
    }
    let (reply, _) = page.ask(lock(MOST + 1), b"").await;
    let Reply::Failed { code: FailureCode::Busy, message } = reply else { panic!("{reply:?}") };
    assert!(message.contains("256 runs of the session wait for locks"), "{message}");
    let place = other.send(lock(1), b"").await;
    // One that leaves makes room for another one.
    page.machine.cancel(waiting[9]);
    page.reply(waiting[9]).await;
    let last = page.send(lock(MOST + 1), b"").await;
    is_done(&mut other, unlock(0)).await;
    for (run, id) in (1..).zip(waiting) {
        if run != 10 {
            assert_eq!(page.reply(id).await.0, Reply::Done, "{run}");
            is_done(&mut page, unlock(run)).await;
        }
    }
    assert_eq!(other.reply(place).await.0, Reply::Done);
    is_done(&mut other, unlock(1)).await;
    assert_eq!(page.reply(last).await.0, Reply::Done);
}

#[tokio::test]
async fn a_page_releases_its_locks_however_many_requests_are_open() {
    let limits = Limits { requests_per_session: 2, ..Limits::default() };
    let relay = relay_with(EVER, limits, Duration::from_secs(60)).await;
    let mut page = relay.client().await;
    is_done(&mut page, lock(0)).await;
    let waiting = [page.send(lock(1), b"").await, page.send(lock(2), b"").await];
    let busy =
        page.ask(Request::ReadState { key: "k".into(), offset: 0, length: None }, b"").await.0;
    assert!(matches!(busy, Reply::Failed { code: FailureCode::Busy, .. }), "{busy:?}");
    is_done(&mut page, unlock(0)).await;
    for (id, run) in waiting.into_iter().zip(1..) {
        assert_eq!(page.reply(id).await.0, Reply::Done);
        is_done(&mut page, unlock(run)).await;
    }
}

#[tokio::test]
async fn a_page_that_says_goodbye_frees_its_locks_at_once() {
    for kind in BOTH {
        let relay = relay(EVER).await;
        let mut page = relay.client_over(kind).await;
        let mut other = relay.client().await;
        is_done(&mut page, lock(1)).await;
        let waits = other.send(lock(1), b"").await;
        page.say_goodbye().await;
        assert_eq!(other.reply(waits).await.0, Reply::Done, "{kind:?}");
    }
}

#[tokio::test]
async fn a_page_that_is_away_keeps_its_lock_for_a_lease_and_is_told_that_it_lost_it() {
    const LEASE: Duration = Duration::from_secs(3);
    let relay = relay(LEASE).await;
    let mut page = relay.client().await;
    let mut other = relay.client().await;
    is_done(&mut page, lock(1)).await;
    // Renewed for as long as it is there.
    let begun = Instant::now();
    let waits = other.send(lock(7), b"").await;
    while begun.elapsed() < 2 * LEASE {
        assert_eq!(other.read("k").await, None);
        assert!(other.machine.is_open(waits), "it is held");
    }
    page.cut();
    assert_eq!(other.reply(waits).await.0, Reply::Done);
    assert_eq!(page.connect(relay.address).await, ClientEvent::Open { lost: vec![] });
    let reply = page.ask(unlock(1), b"").await.0;
    assert!(is_lost(&reply), "{reply:?}");
    // It released nobody else's.
    let waits = page.send(lock(2), b"").await;
    is_done(&mut other, unlock(7)).await;
    assert_eq!(page.reply(waits).await.0, Reply::Done);
}

#[tokio::test]
async fn what_is_asked_again_after_a_reconnect_is_done_once() {
    let relay = relay(EVER).await;
    let mut page = relay.client().await;
    let mut other = relay.client().await;
    // The relay gives the lock, and the page does not hear of it.
    let taking = page.send(lock(1), b"").await;
    let waits = other.send(lock(1), b"").await;
    page.cut();
    assert_eq!(page.connect(relay.address).await, ClientEvent::Open { lost: vec![] });
    assert_eq!(page.reply(taking).await.0, Reply::Done);
    let releasing = page.send(unlock(1), b"").await;
    assert_eq!(other.reply(waits).await.0, Reply::Done);
    page.cut();
    assert_eq!(page.connect(relay.address).await, ClientEvent::Open { lost: vec![] });
    assert_eq!(page.reply(releasing).await.0, Reply::Done, "it was released");
    // One that is taken back while its answer is lost.
    let taking = page.send(lock(2), b"").await;
    is_done(&mut other, unlock(1)).await;
    page.cut();
    page.machine.cancel(taking);
    assert_eq!(page.connect(relay.address).await, ClientEvent::Open { lost: vec![] });
    page.flush().await;
    page.reply(taking).await;
    is_done(&mut other, lock(2)).await;
}

/// Two relays over a Redis, with leases of this many seconds.
struct TestBed {
    first: Process,
    second: Process,
    redis: RedisServer,
}

impl TestBed {
    fn new(lease: f64) -> Self {
        let redis = RedisServer::start().unwrap();
        let setting = format!("state.lock_lease={lease}");
        let [first, second] =
            [(), ()].map(|()| Process::over_with(redis.url(), &["--set", &setting]));
        Self { first, second, redis }
    }
}

#[tokio::test]
async fn a_killed_relay_frees_the_locks_of_its_pages_within_their_lease() {
    let TestBed { first, second, redis: _redis } = TestBed::new(2.0);
    let mut page = first.page().await;
    let mut other = second.page().await;
    is_done(&mut page, lock(1)).await;
    let waits = other.send(lock(1), b"").await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        assert_eq!(other.read("k").await, None);
        assert!(other.machine.is_open(waits), "it is held");
    }
    let begun = Instant::now();
    first.die();
    assert_eq!(other.reply(waits).await.0, Reply::Done);
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(1), "renewed until then: {took:?}");
    assert!(took <= LONG, "{took:?}");
    // Its page goes on at the other relay, and finds out.
    second.comes_back(&mut page).await;
    let reply = page.ask(unlock(1), b"").await.0;
    assert!(is_lost(&reply), "{reply:?}");
    is_done(&mut other, unlock(1)).await;
}

#[tokio::test]
async fn a_lock_and_a_place_in_the_queue_go_with_their_page_to_another_relay() {
    for kind in BOTH {
        let bed = TestBed::new(2.0);
        let mut page = bed.first.page_over(kind).await;
        let mut waiting = bed.first.page_over(kind).await;
        let mut last = bed.second.page().await;
        is_done(&mut page, lock(1)).await;
        let waits = waiting.send(lock(1), b"").await;
        assert_eq!(waiting.read("k").await, None);
        let comes_last = last.send(lock(1), b"").await;
        assert_eq!(last.read("k").await, None);
        bed.second.comes_back(&mut page).await;
        bed.second.comes_back(&mut waiting).await;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(4) {
            assert_eq!(page.read("k").await, None);
            assert_eq!(waiting.read("k").await, None);
        }
        // Twice the lease later it is still held, so this releases it; and the first relay does not release another one's.
        let releasing = page.send(unlock(1), b"").await;
        assert_eq!(waiting.reply(waits).await.0, Reply::Done, "{kind:?}");
        bed.first.comes_back(&mut page).await;
        assert_eq!(page.reply(releasing).await.0, Reply::Done);
        is_done(&mut waiting, unlock(1)).await;
        assert_eq!(last.reply(comes_last).await.0, Reply::Done);
    }
}

#[tokio::test]
async fn what_a_store_did_not_release_is_not_renewed_for_ever() {
    let bed = TestBed::new(2.0);
    let mut page = bed.first.page().await;
    let mut other = bed.second.page().await;
    for run in [1, 2] {
        is_done(&mut page, Request::LockState { key: format!("k{run}"), run }).await;
    }
    let client = ::redis::Client::open(bed.redis.url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let all = "{faasm-relay}:session:*:begun";
    let begun: Vec<String> = ::redis::cmd("KEYS").arg(all).query_async(&mut redis).await.unwrap();
    assert_eq!(begun, [] as [&str; 0], "nothing is marked yet");
    let sessions: Vec<String> =
        ::redis::cmd("KEYS").arg("{faasm-relay}:session:*").query_async(&mut redis).await.unwrap();
    // Of another type than the script expects, so that it fails.
    for session in &sessions {
        let mut set = ::redis::cmd("SET");
        set.arg(format!("{session}:begun")).arg("x");
        let () = set.query_async(&mut redis).await.unwrap();
    }
    let (reply, _) = page.ask(Request::UnlockState { key: "k1".into(), run: 1 }, b"").await;
    assert!(matches!(reply, Reply::Failed { .. }) && !is_lost(&reply), "{reply:?}");
    is_done(&mut other, Request::LockState { key: "k1".into(), run: 1 }).await;
    let waits = other.send(Request::LockState { key: "k2".into(), run: 2 }, b"").await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        assert_eq!(other.read("k").await, None);
        assert!(other.machine.is_open(waits), "the other one is renewed");
    }
}

#[tokio::test]
async fn functions_at_several_relays_take_turns() {
    const EACH: usize = 8;
    let bed = TestBed::new(10.0);
    bed.first.upload("pair", PAIR).await;
    let mut pages = [bed.first.page().await, bed.second.page().await];
    let mut calls = Vec::new();
    for _ in 0..EACH {
        for (at, page) in pages.iter_mut().enumerate() {
            calls.push((at, page.send(main("pair"), b"").await));
        }
    }
    for (at, id) in calls {
        assert_eq!(returned(pages[at].reply(id).await).0, 0);
    }
    let read = Request::ReadAppended { key: "l".into(), count: 1000 };
    let (_, list) = pages[0].ask(read, b"").await;
    assert_eq!(String::from_utf8(list).unwrap(), "ab".repeat(2 * EACH));
}

#[tokio::test]
async fn a_function_that_lost_its_lock_is_told_when_it_pushes_or_releases() {
    for input in [&b"4444"[..], b"55555"] {
        let bed = TestBed::new(1.0);
        bed.first.upload("hold", HOLD).await;
        let mut page = bed.first.page().await;
        let call = holding(&mut page, input).await;
        // As where Redis came back without what it was told last.
        let client = ::redis::Client::open(bed.redis.url()).unwrap();
        let mut redis = client.get_multiplexed_async_connection().await.unwrap();
        let gone: usize = ::redis::cmd("DEL")
            .arg(format!("{{faasm-relay}}:lock:{USER}/k"))
            .query_async(&mut redis)
            .await
            .unwrap();
        assert_eq!(gone, 1);
        let mut other = bed.second.page().await;
        is_done(&mut other, lock(1)).await;
        // By then its relay has found out.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(2) {
            assert_eq!(page.read("k").await, None);
        }
        assert_eq!(page.write("gate", &[1]).await, Reply::Done);
        let (code, reason) = failed(page.reply(call).await);
        assert_eq!(code, "lock-lost");
        assert!(reason.contains("the lock of `k` was lost"), "{reason}");
        assert_eq!(other.read("k").await, None, "nothing was pushed");
        is_done(&mut other, unlock(1)).await;
    }
}

#[tokio::test]
async fn a_relay_that_is_started_again_goes_on_with_the_locks_of_its_pages() {
    let relay = Process::start();
    let mut page = relay.page().await;
    let mut other = relay.page().await;
    is_done(&mut page, lock(1)).await;
    let waits = other.send(lock(1), b"").await;
    let relay = relay.kill();
    relay.comes_back(&mut other).await;
    assert_eq!(other.read("k").await, None);
    relay.comes_back(&mut page).await;
    is_done(&mut page, unlock(1)).await;
    assert_eq!(other.reply(waits).await.0, Reply::Done);
}

#[tokio::test]
async fn a_relay_that_ends_leaves_who_waits_for_a_lock_to_the_next_one() {
    let mut bed = TestBed::new(10.0);
    let mut page = bed.second.page().await;
    let mut waiting = bed.first.page().await;
    is_done(&mut page, lock(1)).await;
    let waits = waiting.send(lock(1), b"").await;
    assert_eq!(waiting.read("k").await, None);
    let begun = Instant::now();
    bed.first.ask_to_end();
    assert!(bed.first.ended().await.success());
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "nobody waits for it: {:?}",
        begun.elapsed()
    );
    bed.second.comes_back(&mut waiting).await;
    is_done(&mut page, unlock(1)).await;
    assert_eq!(waiting.reply(waits).await.0, Reply::Done);
}
