//! Memory that users make the relay hold.

use crate::fixtures::{GATE, HELLO};
use crate::process::Process;
use crate::sessions::closed;
use crate::support::*;
use crate::tokens::{Keys, claims};
use faasm_bridge::wire::{
    ClientMessage, FailureCode, Hello, MAX_ENVELOPE_BYTES, Reply, Request, RequestId,
    ServerMessage, append_frame, decode, encode, encode_handshake, frames_of,
};
use faasm_relay::budget::{Bound, Bounds, Budget, Disk, Kind, memory};
use faasm_relay::cluster::embedded::EmbeddedConfig;
use faasm_relay::cluster::{Call, Cluster as _, Outcome, failure};
use faasm_relay::settings::Settings;
use faasm_relay::store::Stores;
use faasm_relay::{Config, Limits};
use futures_util::{SinkExt, StreamExt};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

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

/// Writes 64 KiB of state, and pushes it.
const PUSHES: &str = r#"(module
    (import "env" "__faasm_write_state" (func $write (param i32 i32 i32)))
    (import "env" "__faasm_push_state" (func $push (param i32)))
    (memory (export "memory") 3)
    (data (i32.const 16) "pushed\00")
    (func (export "_start")
        (memory.fill (i32.const 65536) (i32.const 7) (i32.const 65536))
        (call $write (i32.const 16) (i32.const 65536) (i32.const 65536))
        (call $push (i32.const 16))))"#;

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

/// Memory that is held, but for functions, which stay compiled.
fn used(budget: &Budget) -> u64 {
    budget.used() - budget.used_for(Kind::Code)
}

/// The same for sessions and HTTP.
async fn held(bounds: Bounds, limits: Limits) -> (Relay, Budget) {
    let budget = Budget::new(bounds);
    let embedded = EmbeddedConfig { budget: budget.clone(), ..EmbeddedConfig::default() };
    let config = Config { budget: budget.clone(), limits, ..Config::default() };
    (Relay::start_with(config, embedded).await.with(&[("hello", HELLO)]).await, budget)
}

fn refused((reply, _): (Reply, Vec<u8>)) -> bool {
    matches!(reply, Reply::Failed { code: FailureCode::OverBudget, .. })
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
    let call = Call::new("bob", "hello", vec![]);
    let wasm = wat::parse_str(HELLO).unwrap();
    let cluster = &relay.cluster;
    cluster.upload("bob".into(), "hello".into(), wasm).await.unwrap();
    let outcome = cluster.call(call).await.unwrap();
    assert!(matches!(outcome, Outcome::Returned(_)), "{outcome:?}");
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
    until("nothing is left", || used(&budget) == 0).await;
    assert_eq!(relay.call("series", b"").await.0, 0, "what was awaited does not count");
}

#[tokio::test]
async fn memories_of_instances_count() {
    let (relay, budget) = relay(16 * MIB).await;
    assert_eq!(relay.call("grow", &[0; 200]).await.0, 1);
    assert_eq!(relay.call("grow", &[0; 300]).await.0, -1, "it does not grow beyond the budget");
    assert!(refused(relay.client().await.ask(main("large"), b"").await), "it cannot begin");
    assert_eq!(used(&budget), 0);
}

#[tokio::test]
async fn files_of_runs_count() {
    let (relay, budget) = relay(16 * MIB).await;
    is_over(relay.fail("file", b"").await);
    assert_eq!(used(&budget), 0);
    let (relay, _) = self::relay(64 * MIB).await;
    assert_eq!(relay.call("file", b"").await.0, 0);
}

#[tokio::test]
async fn replies_that_a_page_does_not_take_stay_within_its_users_budget() {
    let (relay, budget) = held(Bounds { relay: u64::MAX, user: 24 * MIB }, Limits::default()).await;
    let mut page = relay.client().await;
    assert_eq!(page.write("k", &[7; 4 * MIB as usize]).await, Reply::Done);
    let read = Request::ReadState { key: "k".into(), offset: 0, length: None };
    let mut asked = Vec::new();
    for _ in 0..10 {
        asked.push(page.send(read.clone(), b"").await);
    }
    let mut failed = 0;
    for id in asked {
        match page.reply(id).await {
            (Reply::State { .. }, bytes) => assert_eq!(bytes.len() as u64, 4 * MIB),
            other => failed += usize::from(refused(other)),
        }
    }
    assert!((1..10).contains(&failed), "{failed} of 10 found no room");
    assert_eq!(page.read("k").await.map(|bytes| bytes.len() as u64), Some(4 * MIB));
    page.say_goodbye().await;
    until("nothing is left", || used(&budget) == 0).await;
}

#[tokio::test]
async fn requests_and_frames_stay_within_the_budget_of_their_user() {
    let (relay, budget) = held(Bounds { relay: u64::MAX, user: MIB }, Limits::default()).await;
    let mut page = relay.client().await;
    // It arrives, and there is no more for a copy.
    assert!(refused(page.ask(main("hello"), &[b'x'; 600 << 10]).await));
    page.machine.request(main("hello"), &[b'x'; 2 << 20]).unwrap();
    page.flush().await;
    assert_eq!(closed(&mut page.take_socket()).await, Some(CloseCode::Again));
    let mut page = relay.client_over(crate::client_transport::Kind::Fetch).await;
    page.machine.request(main("hello"), &[b'x'; 2 << 20]).unwrap();
    let broken = page.try_event().await.unwrap_err();
    assert!(broken.0.contains("429"), "{}", broken.0);
    assert!(budget.refused(Bound::User) >= 3);
}

#[tokio::test]
async fn a_page_of_an_older_version_is_told_that_the_relay_is_busy() {
    let (relay, _) = held(Bounds { relay: u64::MAX, user: MIB }, Limits::default()).await;
    let mut socket = open(relay.address, &[]).await.unwrap();
    let hello = Hello { versions: (1, 3), user: USER.to_owned(), token: None, resume: None };
    let message = Message::binary;
    let shaken = encode_handshake(&hello).unwrap();
    socket.send(message(shaken)).await.unwrap();
    socket.next().await.unwrap().unwrap();
    let id = RequestId(1);
    let request = ClientMessage::Request { id, request: main("hello") };
    let frame = encode(&request, &[b'x'; 600 << 10]).unwrap();
    let mut batch = Vec::new();
    append_frame(&mut batch, &frame);
    socket.send(message(batch)).await.unwrap();
    let answer = socket.next().await.unwrap().unwrap().into_data();
    let mut frames = frames_of(&answer, true);
    let frame = frames.next().unwrap().unwrap();
    let (reply, _) = decode::<ServerMessage>(frame).unwrap();
    let ServerMessage::Reply { reply, .. } = reply else {
        panic!("{reply:?}");
    };
    assert!(matches!(reply, Reply::Failed { code: FailureCode::Busy, .. }), "{reply:?}");
}

#[tokio::test]
async fn before_the_handshake_a_peer_sends_no_more_than_one_has() {
    let relay = Relay::start().await;
    let socket = open(relay.address, &[]).await.unwrap();
    let mut stream = socket.into_inner();
    // The head of a frame of 64 MiB, and as much of it as is one byte too many.
    let mut frame = vec![0x82, 0xff];
    frame.extend((64 * MIB).to_be_bytes());
    frame.extend([0; 4]);
    frame.resize(MAX_ENVELOPE_BYTES + 1024 + 1, 0);
    stream.write_all(&frame).await.unwrap();
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await;
    closed.expect("it is closed").unwrap();
    assert_eq!(answer.get(2..4), Some(&1009_u16.to_be_bytes()[..]), "{answer:?}");
}

#[tokio::test]
async fn bodies_stay_within_the_budget_of_their_user() {
    let bounds = Bounds { relay: 8 * MIB, user: MIB };
    let (relay, budget) = held(bounds, Limits::default()).await;
    let (status, _, body) = relay.http("PUT /s/ada/k", &[7; 2 << 20]).await;
    let body = String::from_utf8(body).unwrap();
    assert_eq!(status, 429, "{body}");
    assert!(body.contains("over-budget") && body.contains("budget.user_bytes"), "{body}");
    let other = budget.nobody().charge(Kind::Answer, 8 << 20).unwrap();
    assert_eq!(relay.http("PUT /s/ada/k", &[7; 1000]).await.0, 503);
    drop(other);
    assert_eq!(relay.http("PUT /s/ada/k", &[7; 1000]).await.0, 200);
    assert_eq!(used(&budget), 0);
}

#[tokio::test]
async fn outputs_of_messages_have_a_longest() {
    let limits = Limits { output_bytes: 10, ..Limits::default() };
    let (relay, _) = held(Bounds::NONE, limits).await;
    let message = |name| format!(r#"{{"user":"ada","function":"hello","input_data":"{name}"}}"#);
    let (status, _, body) = relay.http("POST /", message("Ada").as_bytes()).await;
    assert_eq!((status, body.as_slice()), (200, &b"Hello, Ada"[..]));
    let (status, _, body) = relay.http("POST /", message("Adam").as_bytes()).await;
    let body = String::from_utf8(body).unwrap();
    assert_eq!(status, 500, "{body}");
    assert!(body.starts_with("Call failed (too-large): ") && body.contains("11 bytes"), "{body}");
}

#[tokio::test]
async fn one_copy_of_a_shared_file_serves_all_who_read_it() {
    let (relay, budget) = held(Bounds { relay: 80 * MIB, user: 80 * MIB }, Limits::default()).await;
    let file = vec![7; 12 << 20];
    assert_eq!(relay.http("PUT /files/f", &file).await.0, 200);
    let mut readers = Vec::new();
    for _ in 0..12 {
        let mut reader = TcpStream::connect(relay.address).await.unwrap();
        let ask = format!(
            "GET /files/f HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            relay.address
        );
        reader.write_all(ask.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        reader.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        readers.push(reader);
    }
    assert_eq!(budget.used_for(Kind::Answer), 12 * MIB);
    let mut last = readers.pop().unwrap();
    let mut answer = Vec::new();
    last.read_to_end(&mut answer).await.unwrap();
    assert!(answer.ends_with(&file));
    drop((last, readers));
    until("nothing is left", || used(&budget) == 0).await;
}

#[tokio::test]
async fn metrics_say_what_memory_is_for() {
    let (relay, budget) = held(Bounds { relay: 80 * MIB, user: MIB }, Limits::default()).await;
    let _body = budget.user(USER).charge(Kind::Body, 1000).unwrap();
    budget.user(USER).charge(Kind::Body, 1 << 20).unwrap_err();
    let (_, _, metrics) = relay.http("GET /metrics", b"").await;
    let metrics = String::from_utf8(metrics).unwrap();
    for line in [
        "faasm_relay_memory_bytes{kind=\"body\"} 1000",
        "faasm_relay_memory_most_bytes 83886080",
        "faasm_relay_memory_refused_total{bound=\"user\"} 1",
        "faasm_relay_memory_refused_total{bound=\"relay\"} 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in {metrics}");
    }
}

/// A relay whose users may keep so much on disk.
async fn keeping(bytes: u64) -> (Relay, Budget) {
    let budget = Budget::with_disk(Bounds::NONE, Disk::new(bytes));
    let folder = tempfile::tempdir().unwrap();
    let stores = Stores::open_for(&folder.path().join("relay.redb"), 100, &budget).unwrap();
    let embedded = EmbeddedConfig { budget: budget.clone(), ..EmbeddedConfig::default() };
    let config = Config { budget: budget.clone(), ..Config::default() };
    (Relay::start_over(config, embedded, stores).await, budget)
}

#[tokio::test]
async fn what_a_user_keeps_on_disk_is_bounded_wherever_it_comes_from() {
    let (relay, budget) = keeping(MIB).await;
    // Pages: values and lists; what is written again takes no more.
    let mut page = relay.client().await;
    let half = vec![7; 600 << 10];
    assert_eq!(page.write("k", &half).await, Reply::Done);
    assert_eq!(page.write("k", &half).await, Reply::Done);
    let Reply::Failed { code: FailureCode::OverBudget, message } = page.write("l", &half).await
    else {
        panic!("it is refused");
    };
    assert!(message.contains("budget.user_disk_bytes"), "{message}");
    let append = Request::AppendState { key: "list".into() };
    assert!(refused(page.ask(append.clone(), &half).await));
    assert_eq!(page.ask(append.clone(), &half[..300 << 10]).await.0, Reply::Done);
    assert!(refused(page.ask(append, &half[..300 << 10]).await));
    // HTTP.
    let (status, _, body) = relay.http("PUT /s/ada/m", &half).await;
    let body = String::from_utf8(body).unwrap();
    assert!(status == 507 && body.contains("over-budget"), "{status} {body}");
    assert_eq!(relay.http("PUT /s/bob/m", &half).await.0, 200, "others keep their own");
    assert_eq!(relay.http("PUT /files/a", &half).await.0, 200);
    assert_eq!(relay.http("PUT /files/b", &half).await.0, 507);
    // Functions, and what they write.
    let data = "x".repeat(100 << 10);
    let large = format!(
        r#"(module (memory (export "memory") 2) (data (i32.const 0) "{data}") (func (export "_start")))"#
    );
    let large = wat::parse_str(large).unwrap();
    let hoard = wat::parse_str(PUSHES).unwrap();
    assert_eq!(relay.http("PUT /f/ada/pushes", &hoard).await.0, 200);
    let upload = |name: u32| {
        let (relay, large) = (&relay, &large);
        async move { relay.http(&format!("PUT /f/ada/f{name}"), large).await.0 }
    };
    assert_eq!([upload(1).await, upload(2).await], [200, 507]);
    let (code, message) = relay.fail("pushes", b"").await;
    assert_eq!(code, failure::OVER_BUDGET, "{message}");
    assert!(message.contains("budget.user_disk_bytes"), "{message}");
    assert!(budget.disk().refused() >= 6);
    let (_, _, metrics) = relay.http("GET /metrics", b"").await;
    let metrics = String::from_utf8(metrics).unwrap();
    assert!(!metrics.contains("faasm_relay_disk_refused_total 0"), "{metrics}");
    // What is cleared makes room.
    assert_eq!(page.ask(Request::ClearAppended { key: "list".into() }, b"").await.0, Reply::Done);
    assert_eq!(upload(2).await, 200);
}

/// Uses much of its stack, and sleeps for a second at the end of it.
const DEEP: &str = r#"(module
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func $deep (param $left i32) (param i64 i64 i64 i64 i64 i64) (result i64)
        (if (i32.eqz (local.get $left)) (then
            (i32.store (i32.const 80) (i32.const 1))
            (i64.store (i32.const 88) (i64.const 1000000000))
            (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 200)))
            (return (i64.const 0))))
        (i64.add (local.get 1) (i64.add (local.get 2) (i64.add (local.get 3)
            (i64.add (local.get 4) (i64.add (local.get 5) (i64.add (local.get 6)
                (call $deep (i32.sub (local.get $left) (i32.const 1)) (local.get 6) (local.get 1)
                    (local.get 2) (local.get 3) (local.get 4) (local.get 5)))))))))
    (func (export "_start")
        (drop (call $deep (i32.const 6000) (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)
            (i64.const 5) (i64.const 6)))))"#;

/// What a process has in memory, bytes.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn memory_is_given_back_once_nothing_runs() {
    let kept = ["--set", "timings.session_kept=0.2"].map(str::to_owned).to_vec();
    let relay = Process::with(kept);
    relay.upload("deep", DEEP).await;
    let before = resident(relay.id());
    // Stacks of instances.
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let address = relay.address;
        calls.spawn(async move {
            let message = br#"{"user":"ada","function":"deep"}"#;
            http(address, "POST /", message).await.0
        });
    }
    assert!(calls.join_all().await.iter().all(|status| *status == 200));
    // Replies that nobody reads.
    let mut page = relay.page().await;
    assert_eq!(page.write("k", &[7; 8 * MIB as usize]).await, Reply::Done);
    let mut pages = vec![page];
    for _ in 0..8 {
        pages.push(relay.page().await);
    }
    for page in &mut pages {
        for _ in 0..4 {
            let read = Request::ReadState { key: "k".into(), offset: 0, length: None };
            page.send(read, b"").await;
        }
    }
    let process = relay.id();
    until("the replies are there", || resident(process) > before + 128 * MIB).await;
    drop(pages);
    until("memory is back", || resident(process) < before + 64 * MIB).await;
    relay.die();
}

#[tokio::test]
async fn a_compiled_function_counts_and_goes_where_its_user_needs_the_memory() {
    let (relay, budget) = relay(16 * MIB).await;
    assert!(budget.used_for(Kind::Code) > 0);
    let all = budget.user(USER).charge(Kind::Body, 16 << 20).unwrap();
    assert_eq!(budget.used_for(Kind::Code), 0);
    drop(all);
    assert_eq!(relay.call("grow", &[0; 20]).await.0, 1, "it is loaded again");
    assert!(budget.used_for(Kind::Code) > 0);
}

#[tokio::test]
async fn a_body_is_read_once_the_token_is_good() {
    let keys = Keys::new();
    let relay = keys.relay().await;
    let head = |headers: &str| {
        let host = relay.address;
        format!("POST / HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: 16777216\r\n\r\n")
    };
    let bad = format!("Authorization: Bearer {}x\r\n", keys.token(&claims(USER)));
    for headers in ["", &bad] {
        let mut stream = TcpStream::connect(relay.address).await.unwrap();
        // Nothing of the body.
        stream.write_all(head(headers).as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        let answered = tokio::time::timeout(LONG / 2, stream.read_exact(&mut answer)).await;
        answered.expect("it is answered").unwrap();
        assert_eq!(&answer, b"HTTP/1.1 401", "{headers}");
    }
}

#[tokio::test]
async fn one_user_cannot_take_all_instances() {
    let embedded =
        EmbeddedConfig { max_instances: 4, max_user_instances: 3, ..EmbeddedConfig::default() };
    let relay = Relay::start_with(Config::default(), embedded).await;
    let relay = relay.with(&[("gate", GATE), ("hello", HELLO)]).await;
    let wasm = wat::parse_str(HELLO).unwrap();
    relay.cluster.upload("bob".into(), "hello".into(), wasm).await.unwrap();
    let mut page = relay.client().await;
    for _ in 0..3 {
        page.send(main("gate"), b"").await;
    }
    until("they run", || relay.cluster.usage().unwrap().instances == 3).await;
    let (reply, _) = page.ask(main("hello"), b"").await;
    let Reply::Failed { code: FailureCode::Busy, message } = reply else { panic!("{reply:?}") };
    assert!(message.contains("3 instances of this user"), "{message}");
    let message = br#"{"user":"ada","function":"hello"}"#;
    assert_eq!(relay.http("POST /", message).await.0, 429);
    let message = br#"{"user":"bob","function":"hello"}"#;
    assert_eq!(relay.http("POST /", message).await.0, 200);
}

#[test]
fn settings_leave_room_for_others() {
    let mut settings = Settings::default();
    let bounds = settings.budget().bounds();
    assert_eq!(bounds, Bounds::default());
    assert!(bounds.user * 4 <= bounds.relay && bounds.relay < memory());
    assert_eq!(settings.embedded(Budget::new(bounds)).max_user_instances, 1536);
    settings.budget.relay_bytes = 4000;
    settings.guests.instances_per_user = 5;
    assert_eq!(settings.budget().bounds(), Bounds { relay: 4000, user: 1000 });
    assert_eq!(settings.embedded(Budget::new(bounds)).max_user_instances, 5);
}
