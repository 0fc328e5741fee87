//! Several relays over one Redis: what one begins, another one goes on with.

use crate::fixtures::*;
use crate::process::Process;
use crate::support::*;
use crate::transports::ticks;
use faasm_bridge::session::ClientEvent;
use faasm_bridge::wire::{
    ChunkHeader, ClientMessage, FailureCode, Reply, Request, RequestId, append_frame, encode,
};
use faasm_redis_server::RedisServer;
use futures_util::{SinkExt, StreamExt};
use std::collections::BTreeMap;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

/// Two relays, and what they share. The Redis comes last, so that it ends last.
struct TestBed {
    first: Process,
    second: Process,
    redis: RedisServer,
}

impl TestBed {
    /// With a Redis that need not wait for the disk.
    fn new() -> Self {
        Self::over(RedisServer::start().unwrap())
    }

    fn over(redis: RedisServer) -> Self {
        let [first, second] = [(), ()].map(|()| Process::over(redis.url()));
        Self { first, second, redis }
    }
}

/// A page with a call at a relay that waits for state `gate`, and another page there.
async fn waiting(relay: &Process, kind: Kind) -> (Client, RequestId, Client) {
    relay.upload("gate", GATE).await;
    let mut page = relay.page_over(kind).await;
    let call = page.send(main("gate"), b"").await;
    let mut other = relay.page().await;
    let begun = Instant::now();
    while other.read("count").await != Some(vec![1]) {
        assert!(begun.elapsed() < LONG, "it runs");
    }
    (page, call, other)
}

#[tokio::test]
async fn a_call_that_one_relay_runs_gives_its_result_over_another() {
    for kind in BOTH {
        let bed = TestBed::new();
        let (mut page, call, mut other) = waiting(&bed.first, kind).await;
        bed.second.comes_back(&mut page).await;
        // The session goes on meanwhile, with functions that the other relay was given.
        assert_eq!(page.write("k", b"v").await, Reply::Done);
        // And back again: it is not begun there another time, either.
        bed.first.comes_back(&mut page).await;
        bed.second.comes_back(&mut page).await;
        assert_eq!(other.write("gate", &[7]).await, Reply::Done);
        assert_eq!(returned(page.reply(call).await), (7, String::new()), "{kind:?}");
        assert_eq!(page.call("gate", b"").await, (7, String::new()), "it runs here, too");
        assert_eq!(other.read("count").await, Some(vec![2]), "one run each");
    }
}

#[tokio::test]
async fn a_call_that_ended_while_its_page_was_away_is_answered_by_another_relay() {
    for kind in BOTH {
        let bed = TestBed::new();
        let (mut page, call, mut other) = waiting(&bed.first, kind).await;
        page.cut();
        assert_eq!(other.write("gate", &[3]).await, Reply::Done);
        bed.second.comes_back(&mut page).await;
        assert_eq!(returned(page.reply(call).await), (3, String::new()), "{kind:?}");
        // Its reply has arrived; whoever is next need not know of it.
        bed.first.comes_back(&mut page).await;
        assert_eq!(page.call("gate", b"").await, (3, String::new()));
        assert_eq!(other.read("count").await, Some(vec![2]));
    }
}

#[tokio::test]
async fn a_call_of_a_relay_that_is_killed_is_unknown_and_does_not_run_again() {
    let bed = TestBed::new();
    let (mut page, call, other) = waiting(&bed.first, Kind::WebSocket).await;
    // Also where the page was at the other relay before that.
    bed.second.comes_back(&mut page).await;
    drop(other);
    bed.first.die();
    let (reply, _) = page.reply(call).await;
    let Reply::Failed { code: FailureCode::Unknown, message } = reply else { panic!("{reply:?}") };
    assert!(message.contains("it may have had effects"), "{message}");
    assert_eq!(page.write("gate", &[9]).await, Reply::Done);
    assert_eq!(page.call("gate", b"").await, (9, String::new()));
    assert_eq!(page.read("count").await, Some(vec![2]), "one run each");
}

#[tokio::test]
async fn a_call_that_is_cancelled_at_another_relay_is_answered_at_once() {
    let bed = TestBed::new();
    let (mut page, call, mut other) = waiting(&bed.first, Kind::WebSocket).await;
    bed.second.comes_back(&mut page).await;
    page.machine.cancel(call);
    page.flush().await;
    let (reply, _) = page.reply(call).await;
    let Reply::Failed { code: FailureCode::Cancelled, message } = reply else {
        panic!("{reply:?}")
    };
    assert!(message.contains("at another relay"), "{message}");
    assert_eq!(other.write("gate", &[1]).await, Reply::Done);
    assert_eq!(page.call("gate", b"").await, (1, String::new()));
}

#[tokio::test]
async fn what_the_first_relay_never_began_is_begun_by_the_second() {
    for kind in BOTH {
        let bed = TestBed::new();
        bed.first.upload("hello", HELLO).await;
        let mut page = bed.first.page_over(kind).await;
        // It gets no further than the page.
        page.cut();
        let call = page.machine.request(main("hello"), b"again").unwrap();
        bed.first.die();
        bed.second.comes_back(&mut page).await;
        page.flush().await;
        assert_eq!(returned(page.reply(call).await), (0, "Hello, again".into()), "{kind:?}");
    }
}

#[tokio::test]
async fn a_connection_over_http_that_reaches_another_relay_is_resumed_there() {
    let bed = TestBed::new();
    bed.first.upload("hello", HELLO).await;
    let mut page = bed.first.page_over(Kind::Fetch).await;
    page.call("hello", b"").await;
    // As a load balancer may do that does not keep clients apart.
    page.fetch().address = bed.second.address;
    let call = page.machine.request(main("hello"), b"there").unwrap();
    let broken = page.try_event().await.unwrap_err();
    assert!(broken.0.contains("410"), "{}", broken.0);
    bed.second.comes_back(&mut page).await;
    assert_eq!(returned(page.reply(call).await), (0, "Hello, there".into()));
}

#[tokio::test]
async fn what_one_relay_is_given_the_other_one_runs() {
    let bed = TestBed::new();
    let function = |number: u8| {
        format!("(module (memory 1) (func (export \"main\") (result i32) (i32.const {number})))")
    };
    bed.first.upload("f", &function(1)).await;
    let mut page = bed.second.page().await;
    assert_eq!(page.call("f", b"").await.0, 1);
    bed.first.upload("f", &function(2)).await;
    let begun = Instant::now();
    while page.call("f", b"").await.0 != 2 {
        assert!(begun.elapsed() < LONG, "it is looked up again");
    }
    // Nothing is looked up where there is nothing to be found.
    assert_eq!(failed(page.ask(main("nobody"), b"").await).0, "missing-function");
}

#[tokio::test]
async fn state_of_two_relays_agrees_with_a_model() {
    const ROUNDS: u64 = 60;
    const SIZE: u64 = 2 * ROUNDS;
    let bed = TestBed::new();
    bed.first.upload("tick", TICK).await;
    let mut pages = [bed.first.page().await, bed.second.page().await];
    let mut model = vec![0; SIZE as usize];
    let mut expected = BTreeMap::new();
    for round in 0..ROUNDS {
        let mut asked = Vec::new();
        for (which, page) in pages.iter_mut().enumerate() {
            let number = 2 * round + which as u64;
            // Parts of one value, some of them where the other one writes in the next round.
            let at = (number * 7) % SIZE;
            let chunks = vec![ChunkHeader { offset: at, length: 1 }];
            model[at as usize] = number as u8 + 1;
            let write = Request::WriteState { key: "v".into(), size: SIZE, chunks };
            let element = (number as u32).to_le_bytes();
            asked.push([
                page.send(write, &[number as u8 + 1]).await,
                page.send(main("tick"), &element).await,
            ]);
            let append = Request::AppendState { key: "ticks".into() };
            let element = (number as u32 + 1000).to_le_bytes();
            assert_eq!(page.ask(append, &element).await.0, Reply::Done);
            expected.extend([(number as u32, 1), (number as u32 + 1000, 1)]);
        }
        for (page, [write, tick]) in pages.iter_mut().zip(asked) {
            assert_eq!(page.reply(write).await.0, Reply::Done);
            assert_eq!(returned(page.reply(tick).await).0, 0);
        }
        // Each goes to the other relay now and then.
        if round % 20 == 19 {
            pages.reverse();
            bed.first.comes_back(&mut pages[0]).await;
            bed.second.comes_back(&mut pages[1]).await;
        }
    }
    for page in &mut pages {
        assert_eq!(page.read("v").await, Some(model.clone()));
        assert_eq!(ticks(page).await, expected);
    }
}

/// Status and body of a `GET`.
async fn get(relay: &Process, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(relay.address).await.unwrap();
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", relay.address);
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

#[tokio::test]
async fn a_redis_that_is_killed_and_started_again_costs_no_session_and_begins_no_call_meanwhile() {
    let mut bed = TestBed::over(RedisServer::start_durable().unwrap());
    bed.first.upload("tick", TICK).await;
    let mut page = bed.first.page().await;
    assert_eq!(page.call("tick", &[0; 4]).await.0, 0);
    assert_eq!(get(&bed.first, "/readyz").await.0, 200);
    bed.redis.kill().unwrap();
    let (status, why) = get(&bed.first, "/readyz").await;
    assert!(status == 503 && why.contains("Redis"), "{why}");
    let append = page.send(Request::AppendState { key: "ticks".into() }, &[1, 0, 0, 0]).await;
    let refused = page.ask(main("tick"), &[2, 0, 0, 0]).await.0;
    assert!(matches!(refused, Reply::Failed { code: FailureCode::Unavailable, .. }), "{refused:?}");
    bed.redis.start_again().unwrap();
    assert_eq!(page.reply(append).await.0, Reply::Done, "a change waits for Redis");
    assert_eq!(page.call("tick", &[3, 0, 0, 0]).await.0, 0);
    bed.second.comes_back(&mut page).await;
    assert_eq!(ticks(&mut page).await, BTreeMap::from([(0, 1), (1, 1), (3, 1)]));
    assert_eq!(get(&bed.second, "/readyz").await.0, 200);
}

#[tokio::test]
async fn a_session_that_redis_lost_is_lost_to_its_page_which_is_told_so() {
    let redis = RedisServer::start().unwrap();
    let relay = Process::over(redis.url());
    let (mut page, call, _) = waiting(&relay, Kind::WebSocket).await;
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
    page.cut();
    assert_eq!(page.connect(relay.address).await, ClientEvent::Open { lost: vec![call] });
}

#[tokio::test]
async fn a_session_that_redis_loses_while_its_page_is_there_ends_its_connection() {
    let redis = RedisServer::start().unwrap();
    let relay = Process::over(redis.url());
    relay.upload("hello", HELLO).await;
    let mut page = relay.page().await;
    page.call("hello", b"").await;
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
    relay.upload("hello", HELLO).await;
    let call = page.send(main("hello"), b"").await;
    assert!(page.try_event().await.is_err(), "what was marked before is not known any more");
    page.cut();
    assert_eq!(page.connect(relay.address).await, ClientEvent::Open { lost: vec![call] });
    assert_eq!(page.call("hello", b"again").await, (0, "Hello, again".into()));
}

#[tokio::test]
async fn what_still_arrives_at_a_relay_that_lost_the_session_is_not_begun_there() {
    let bed = TestBed::new();
    bed.first.upload("tick", TICK).await;
    let mut page = bed.first.page().await;
    page.call("tick", &[0; 4]).await;
    // Its old connection stays, as where the network only seemed to break.
    let mut old = page.take_socket();
    assert_eq!(page.connect(bed.second.address).await, ClientEvent::Open { lost: vec![] });
    let message = ClientMessage::Request { id: RequestId(2), request: main("tick") };
    let mut batch = Vec::new();
    append_frame(&mut batch, &encode(&message, &[9, 0, 0, 0]).unwrap());
    old.send(Message::binary(batch)).await.unwrap();
    let ended = tokio::time::timeout(LONG, async {
        loop {
            match old.next().await {
                Some(Ok(Message::Close(frame))) => break frame,
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    });
    let reason = ended.await.unwrap().unwrap().reason;
    assert!(reason.contains("another relay"), "{reason}");
    // The same id, where the session is.
    assert_eq!(page.call("tick", &[1, 0, 0, 0]).await.0, 0);
    assert_eq!(ticks(&mut page).await, BTreeMap::from([(0, 1), (1, 1)]));
}

/// What `serve` says that does not come to listen.
fn refused(arguments: &[&str]) -> String {
    let mut relay = std::process::Command::new(env!("CARGO_BIN_EXE_faasm-relay"));
    let output = relay.args(["serve", "--listen", "127.0.0.1:0"]).args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn a_password_is_asked_for_and_taken_from_its_file() {
    let redis = RedisServer::start().unwrap();
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut set = redis::cmd("CONFIG");
    let () =
        set.arg("SET").arg("requirepass").arg("hidden").query_async(&mut connection).await.unwrap();
    let url = redis.url();
    let told = refused(&["--redis", &url]);
    assert!(told.contains("NOAUTH"), "{told}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password.txt");
    let set = format!("store.redis_password_file={}", file.display());
    std::fs::write(&file, "wrong").unwrap();
    let told = refused(&["--redis", &url, "--set", &set]);
    assert!(told.contains("rejects the user name or password"), "{told}");
    std::fs::write(&file, "hidden\n").unwrap();
    let relay = Process::over_with(redis.url(), &["--set", &set]);
    assert_eq!(get(&relay, "/readyz").await.0, 200);
}

#[test]
fn a_redis_that_is_not_there_is_said_so() {
    let told = refused(&["--redis", "redis://127.0.0.1:1"]);
    assert!(told.contains("cannot reach Redis") && told.contains("refused"), "{told}");
}
