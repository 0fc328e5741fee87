//! Bounds of connections, sessions, users, and what they send.

use crate::fixtures::*;
use crate::sessions::closed;
use crate::support::*;
use faasm_bridge::guest::CallResult;
use faasm_bridge::session::ClientEvent;
use faasm_bridge::wire::{ChunkHeader, FailureCode, RefusalCode, Reply, Request};
use faasm_relay::cluster;
use faasm_relay::cluster::embedded::EmbeddedConfig;
use faasm_relay::cluster::{Call, Cluster, ClusterError, Outcome, Uploaded};
use faasm_relay::store::Stores;
use faasm_relay::{App, Config, Limits, Timings};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

async fn with(limits: Limits) -> Relay {
    let config = Config { limits, ..Config::default() };
    Relay::start_with(config, EmbeddedConfig::default()).await
}

fn failure((reply, _): (Reply, Vec<u8>)) -> (FailureCode, String) {
    match reply {
        Reply::Failed { code, message } => (code, message),
        other => panic!("{other:?} instead of a failure"),
    }
}

#[tokio::test]
async fn inputs_outputs_and_values_have_a_longest() {
    let limits = Limits { input_bytes: 20, output_bytes: 10, ..Limits::default() };
    let stores = Stores::in_memory().unwrap().with_values_up_to(10);
    let config = Config { limits, ..Config::default() };
    let relay = Relay::start_over(config, EmbeddedConfig::default(), stores).await;
    let relay = relay.with(&[("hello", HELLO), ("push", PUSH)]).await;
    let mut page = relay.client().await;
    assert_eq!(page.call("hello", b"Ada").await, (0, "Hello, Ada".into()));
    let (code, message) = failed(page.ask(main("hello"), b"Adam").await);
    assert_eq!(code, cluster::failure::TOO_LARGE);
    assert!(message.contains("output of 11 bytes"), "{message}");
    let (code, message) = failure(page.ask(main("hello"), &[b'x'; 21]).await);
    assert_eq!(code, FailureCode::BadRequest);
    assert!(message.contains("input of 21 bytes"), "{message}");

    assert_eq!(page.write("short", &[1; 10]).await, Reply::Done);
    let (code, message) = failure((page.write("long", &[1; 11]).await, vec![]));
    assert_eq!(code, FailureCode::State);
    assert!(message.contains("stores at most 10"), "{message}");
    // What a function writes is bounded too.
    assert_eq!(page.call("push", &[b'x'; 10]).await.0, 0);
    let (code, message) = failed(page.ask(main("push"), &[b'x'; 11]).await);
    assert!(code == "operation-failed" || code == "state", "{code}: {message}");
    assert_eq!(page.read("k").await, Some(vec![b'x'; 10]));
}

#[tokio::test]
async fn frames_have_a_longest_by_either_way() {
    let limits = Limits { frame_bytes: 1000, ..Limits::default() };
    let relay = with(limits).await;
    let write = |bytes: u64| {
        let chunks = vec![ChunkHeader { offset: 0, length: bytes }];
        Request::WriteState { key: "k".into(), size: bytes, chunks }
    };
    for kind in BOTH {
        let mut page = relay.client_over(kind).await;
        page.machine.request(write(1000), &[0; 1000]).unwrap();
        match kind {
            Kind::WebSocket => {
                page.flush().await;
                assert_eq!(closed(&mut page.take_socket()).await, Some(CloseCode::Size));
            }
            Kind::Fetch => {
                let broken = page.try_event().await.unwrap_err();
                assert!(broken.0.contains("413"), "{}", broken.0);
            }
        }
    }
    let mut page = relay.client().await;
    assert_eq!(page.write("k", &[0; 900]).await, Reply::Done);
}

#[tokio::test]
async fn one_address_has_so_many_connections() {
    let relay = with(Limits { connections_per_address: 2, ..Limits::default() }).await;
    let first = relay.client().await;
    let _second = relay.client().await;
    let mut third = TcpStream::connect(relay.address).await.unwrap();
    let _ = third.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(LONG, third.read_to_end(&mut answer)).await.expect("it is closed");
    assert_eq!(answer, b"");
    drop(first);
    let mut page = Client::new(Kind::WebSocket);
    // Until the relay has noticed.
    while page.try_connect(relay.address).await.is_err() {
        page.cut();
    }
}

#[tokio::test]
async fn one_address_begins_so_many_sessions_in_a_second() {
    let relay = with(Limits { handshakes_per_address: 1, ..Limits::default() }).await;
    let host = relay.address;
    let begin = format!("POST /session HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
    let last = begin.replace("Content-Length", "Connection: close\r\nContent-Length");
    let upgrade = format!(
        "GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    for last in [last, upgrade] {
        // Until the relay takes the requests within one second.
        loop {
            let answer = answer_to(&relay, format!("{begin}{begin}{last}").as_bytes()).await;
            let (_, last) = answer.rsplit_once("HTTP/1.1 ").unwrap();
            if let Some(refused) = last.strip_prefix("429 ") {
                assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
                assert!(refused.contains("limits.handshakes_per_address"), "{refused}");
                break;
            }
        }
    }
    let mut page = Client::new(Kind::WebSocket);
    while page.try_connect(relay.address).await.is_err() {
        page.cut();
    }
}

#[tokio::test]
async fn connections_beyond_all_there_are_wait() {
    let relay = with(Limits { connections: 1, ..Limits::default() }).await;
    let mut first = TcpStream::connect(relay.address).await.unwrap();
    let ask = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", relay.address);
    first.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    first.read_exact(&mut answer).await.unwrap();
    let mut second = TcpStream::connect(relay.address).await.unwrap();
    second.write_all(ask.as_bytes()).await.unwrap();
    // The first one is answered once more, so it is not for want of time that the second one is not.
    first.write_all(ask.as_bytes()).await.unwrap();
    let mut rest = vec![0; 1000];
    let read = first.read(&mut rest).await.unwrap();
    assert!(read > 0);
    let mut early = [0; 1];
    assert!(second.try_read(&mut early).is_err(), "it waits");
    drop(first);
    tokio::time::timeout(LONG, second.read_exact(&mut answer)).await.expect("its turn").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[tokio::test]
async fn one_user_has_so_many_sessions() {
    let relay = with(Limits { sessions_per_user: 2, ..Limits::default() }).await;
    let _sessions = [relay.client().await, relay.client_over(Kind::Fetch).await];
    for kind in BOTH {
        let mut page = Client::new(kind);
        let event = page.connect(relay.address).await;
        let busy = matches!(event, ClientEvent::Refused { code: RefusalCode::Busy, .. });
        assert!(busy, "{kind:?}: {event:?}");
    }
    let mut other = Client::of("bob", None, Kind::WebSocket);
    assert_eq!(other.connect(relay.address).await, ClientEvent::Open { lost: vec![] });
}

#[tokio::test]
async fn one_session_has_so_many_requests() {
    let relay = with(Limits { requests_per_session: 2, ..Limits::default() }).await;
    let relay = relay.with(&[("gate", GATE)]).await;
    let mut page = relay.client().await;
    let waiting = [page.send(main("gate"), b"").await, page.send(main("gate"), b"").await];
    let (code, message) = failure((page.write("gate", &[3]).await, vec![]));
    assert_eq!(code, FailureCode::Busy);
    assert!(message.contains("more than 2 requests"), "{message}");
    assert_eq!(relay.client().await.write("gate", &[3]).await, Reply::Done);
    for call in waiting {
        assert_eq!(returned(page.reply(call).await).0, 3);
    }
    assert_eq!(page.write("gate", &[4]).await, Reply::Done, "there is room again");
}

#[tokio::test]
async fn one_user_begins_so_many_calls_in_a_second() {
    const CALLS: usize = 100;
    let relay = with(Limits { calls_per_second: 2, ..Limits::default() }).await;
    let relay = relay.with(&[("hello", HELLO)]).await;
    let mut pages = [relay.client().await, relay.client_over(Kind::Fetch).await];
    let began = std::time::Instant::now();
    let mut calls = Vec::new();
    for number in 0..CALLS {
        calls.push(pages[number % 2].send(main("hello"), b"").await);
    }
    let mut performed = 0;
    for (number, call) in calls.into_iter().enumerate() {
        match pages[number % 2].reply(call).await {
            (Reply::Call { .. }, _) => performed += 1,
            other => {
                let (code, message) = failure(other);
                assert_eq!(code, FailureCode::Busy);
                assert!(message.contains("2 calls in a second"), "{message}");
            }
        }
    }
    let most = 2 + 2 * (began.elapsed().as_secs() as usize + 1);
    assert!((2..=most).contains(&performed), "{performed} of {most}");
    // Only calls are counted.
    for _ in 0..10 {
        assert_eq!(pages[0].read("k").await, None);
    }
}

/// A cluster that says when a call begins, and ends it when it is told to.
struct Counting {
    running: AtomicUsize,
    most: AtomicUsize,
    began: mpsc::UnboundedSender<String>,
    may_end: Arc<Semaphore>,
}

struct CountingCluster(Arc<Counting>);

impl Cluster for CountingCluster {
    fn call(&self, call: Call) -> BoxFuture<'static, Result<Outcome, ClusterError>> {
        let counting = Arc::clone(&self.0);
        Box::pin(async move {
            let running = counting.running.fetch_add(1, Ordering::SeqCst) + 1;
            counting.most.fetch_max(running, Ordering::SeqCst);
            let _ = counting.began.send(call.user);
            counting.may_end.acquire().await.unwrap().forget();
            counting.running.fetch_sub(1, Ordering::SeqCst);
            Ok(Outcome::Returned(CallResult { return_value: 0, output: vec![] }))
        })
    }

    fn upload(
        &self,
        _: String,
        _: String,
        _: Vec<u8>,
    ) -> BoxFuture<'static, Result<Uploaded, ClusterError>> {
        Box::pin(async { Err(ClusterError::NotAFunction("nobody uploads here".into())) })
    }
}

#[tokio::test]
async fn one_user_has_so_many_calls_at_once_and_others_have_their_own() {
    let (began, mut begins) = mpsc::unbounded_channel();
    let may_end = Arc::new(Semaphore::new(0));
    let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let counting = Arc::new(Counting { running, most, began, may_end: Arc::clone(&may_end) });
    let Stores { state, files, journal, locks, changes, .. } = Stores::in_memory().unwrap();
    let cluster = Arc::new(CountingCluster(Arc::clone(&counting)));
    let app = App { cluster, state, files, journal, locks, changes, keys: None };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = Limits { calls_per_user: 2, running_per_session: 3, ..Limits::default() };
    let config = Config { limits, ..Config::default() };
    tokio::spawn(faasm_relay::serve(listener, config, app, std::future::pending()));

    let mut page = Client::new(Kind::WebSocket);
    page.connect(address).await;
    let calls = [
        page.send(main("f"), b"").await,
        page.send(main("f"), b"").await,
        page.send(main("f"), b"").await,
        page.send(main("f"), b"").await,
    ];
    assert_eq!(begins.recv().await.as_deref(), Some(USER));
    assert_eq!(begins.recv().await.as_deref(), Some(USER));
    // Those that wait for the user's turn leave the session's to others.
    assert_eq!(page.read("k").await, None);
    let mut other = Client::of("bob", None, Kind::WebSocket);
    other.connect(address).await;
    let call = other.send(main("f"), b"").await;
    assert_eq!(begins.recv().await.as_deref(), Some("bob"));
    may_end.add_permits(5);
    for id in calls {
        assert_eq!(returned(page.reply(id).await).0, 0);
    }
    assert_eq!(returned(other.reply(call).await).0, 0);
    assert_eq!(counting.most.load(Ordering::SeqCst), 3, "two of ada's and one of bob's");
}

#[tokio::test]
async fn chains_are_so_deep_and_instances_so_many() {
    let relay = |embedded| async {
        let relay = Relay::start_with(Config::default(), embedded).await;
        relay.with(&[("deep", DEEP), ("chain", CHAIN), ("hello", HELLO)]).await
    };
    let shallow = relay(EmbeddedConfig { max_chain_depth: 3, ..Default::default() }).await;
    let (_, output) = shallow.call("deep", b"").await;
    assert!(output.contains("chained more than 3 deep"), "{output}");
    let few = relay(EmbeddedConfig { max_instances: 4, ..Default::default() }).await;
    let (_, output) = few.call("deep", b"").await;
    assert!(output.contains("runs 4 instances"), "{output}");
    assert_eq!(few.call("hello", b"x").await.0, 0, "they are given back");
    let none = relay(EmbeddedConfig { max_chained: 0, ..Default::default() }).await;
    let (_, output) = none.call("deep", b"").await;
    assert!(output.contains("more than 0 chained calls"), "{output}");
}

#[tokio::test]
async fn tables_have_so_many_elements() {
    let embedded = EmbeddedConfig { max_table_elements: 9, ..Default::default() };
    let relay = Relay::start_with(Config::default(), embedded).await;
    let (status, _, reason) = relay.http("PUT /f/ada/chain", &wat::parse_str(CHAIN).unwrap()).await;
    let reason = String::from_utf8(reason).unwrap();
    assert_eq!(status, 422, "{reason}");
    assert!(reason.contains("table") && reason.contains("guests.table_elements"), "{reason}");
}

/// What comes back to the end, when this is all that is sent.
async fn answer_to(relay: &Relay, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(relay.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await;
    read.expect("it is let go").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn who_sends_slowly_is_let_go() {
    let limits = Limits {
        header_time: Duration::from_secs(2),
        body_pause: Duration::from_secs(1),
        body_time: Duration::from_secs(5),
        ..Limits::default()
    };
    let relay = with(limits).await;
    let head = answer_to(&relay, b"GET / HTTP/1.1\r\nHost: lo").await;
    assert!(head.is_empty() || head.contains("408"), "{head}");
    assert_eq!(answer_to(&relay, b"").await, "");
    for path in ["PUT /f/ada/f", "PUT /files/a", "POST /session", "POST /session/send"] {
        let head =
            format!("{path} HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000\r\n\r\nxx", relay.address);
        let answer = answer_to(&relay, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{path}: {answer}");
        assert!(answer.contains("nothing of"), "{answer}");
    }
    // A byte now and then is no pause, and too slow all the same.
    let head =
        format!("PUT /files/a HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000\r\n\r\n", relay.address);
    let (mut reading, mut writing) = TcpStream::connect(relay.address).await.unwrap().into_split();
    writing.write_all(head.as_bytes()).await.unwrap();
    let dribble = tokio::spawn(async move {
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        loop {
            pace.tick().await;
            if writing.write_all(b"x").await.is_err() {
                return;
            }
        }
    });
    let mut answer = [0; 12];
    let read = tokio::time::timeout(LONG, reading.read_exact(&mut answer)).await;
    read.expect("an answer in time").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    dribble.abort();
}

#[tokio::test]
async fn who_takes_nothing_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    // More than the system keeps for a connection.
    std::fs::write(folder.path().join("large.bin"), vec![0; 64 * 1024 * 1024]).unwrap();
    let limits = Limits { write_pause: Duration::from_secs(2), ..Limits::default() };
    // Longer than this test waits: a relay that waits for such a peer is one that fails.
    let timings = Timings { grace: 4 * LONG, ..Timings::default() };
    let web = Some(folder.path().to_owned());
    let config = Config { limits, timings, web, ..Config::default() };
    let relay = Relay::start_with(config, EmbeddedConfig::default()).await;
    let mut stream = TcpStream::connect(relay.address).await.unwrap();
    let ask = format!("GET /large.bin HTTP/1.1\r\nHost: {}\r\n\r\n", relay.address);
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut first = [0; 1];
    stream.read_exact(&mut first).await.unwrap();
    relay.stop.send(()).unwrap();
    tokio::time::timeout(LONG, relay.ended).await.expect("it is let go").unwrap().unwrap();
    drop(stream);
}
