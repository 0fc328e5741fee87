//! A cluster that keeps state in Redis, and several relays in front of it, over that Redis: together they are one.

use super::*;
use crate::fixtures::*;
use crate::support::{main, returned};
use faasm_bridge::wire::{ChunkHeader, Request};
use faasm_redis_server::RedisServer;
use faasm_relay::store::StateStore;

/// How long a relay keeps a session without a connection.
const KEPT: Duration = Duration::from_secs(60);

fn kept(url: impl Into<String>) -> RedisConfig {
    RedisConfig { session_kept: KEPT, ..RedisConfig::new(url) }
}

/// A stand-in whose state is in a Redis, and two relays over both.
struct Two {
    cluster: Cluster,
    relays: [Front; 2],
    _redis: RedisServer,
}

impl Two {
    async fn start(functions: &[(&str, &str)]) -> Self {
        Self::start_with(Setup::default(), functions).await
    }

    async fn start_with(setup: Setup, functions: &[(&str, &str)]) -> Self {
        let redis = RedisServer::start().unwrap();
        let state = Arc::new(RedisStore::connect(&kept(redis.url())).await.unwrap());
        let stores = Stores { state, ..Stores::in_memory().unwrap() };
        let setup = Setup { workers: vec![64], ..setup };
        let cluster = Cluster::start_over(setup, stores).await.with(functions).await;
        let (config, upload) = (cluster.config(), cluster.upload.url());
        let relay = async || {
            let stores = Stores::redis(&kept(redis.url())).await.unwrap();
            Front::start(config.clone(), Some(&upload), stores, false).await
        };
        let relays = [relay().await, relay().await];
        Self { cluster, relays, _redis: redis }
    }
}

#[tokio::test]
async fn pages_of_both_relays_and_workers_share_values_and_lists() {
    let two = Two::start_with(lenient(), &[("push", PUSH), ("pull", PULL), ("tick", TICK)]).await;
    let mut clients = [two.relays[0].client().await, two.relays[1].client().await];
    assert_eq!(clients[0].call("push", b"abc").await, (0, String::new()));
    assert_eq!(clients[1].read("k").await.as_deref(), Some(&b"abc"[..]));
    assert_eq!(clients[1].write("k", b"xyz").await, Reply::Done);
    assert_eq!(clients[0].call("pull", b"").await, (3, "xyz".into()));
    for round in 0..10 {
        let client = &mut clients[round % 2];
        assert_eq!(client.call("tick", b"w").await.0, 0);
        let append = Request::AppendState { key: "ticks".into() };
        assert_eq!(client.ask(append, b"p").await.0, Reply::Done);
    }
    let read = Request::ReadAppended { key: "ticks".into(), count: 99 };
    for client in &mut clients {
        let (reply, bytes) = client.ask(read.clone(), b"").await;
        assert_eq!((reply, &bytes[..]), (Reply::Bytes, &b"wp".repeat(10)[..]));
    }
}

#[tokio::test]
async fn partial_pushes_of_both_relays_agree_with_a_model() {
    let two = Two::start(&[]).await;
    let mut clients = [two.relays[0].client().await, two.relays[1].client().await];
    let mut model = vec![0_u8; 64];
    // A seed of its own; the generator is Knuth's.
    let mut random = 0x5eed_u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % below
    };
    for round in 0..200_u32 {
        let offset = next(64);
        let length = next(65 - offset);
        let bytes = vec![round as u8; usize::try_from(length).unwrap()];
        let at = usize::try_from(offset).unwrap();
        model[at..at + bytes.len()].copy_from_slice(&bytes);
        let chunks = vec![ChunkHeader { offset, length }];
        let write = Request::WriteState { key: "m".into(), size: 64, chunks };
        let client = &mut clients[usize::try_from(next(2)).unwrap()];
        assert_eq!(client.ask(write, &bytes).await.0, Reply::Done);
        let reader = &mut clients[usize::try_from(next(2)).unwrap()];
        assert_eq!(reader.read("m").await.as_deref(), Some(&model[..]));
    }
    // And it is what a worker finds under the key that Faasm has.
    let there = two.cluster.stores.state.read(USER, "m", 0, None).await.unwrap();
    assert_eq!(there.chunk.bytes, model);
}

#[tokio::test]
async fn a_call_begun_over_one_relay_is_answered_by_the_other() {
    for kind in TRANSPORTS {
        let two = Two::start(&[("gate", GATE), ("hello", HELLO)]).await;
        let mut client = two.relays[0].client_over(kind).await;
        let id = client.send(main("gate"), b"").await;
        two.cluster.gate_reached(1).await;
        client.cut();
        let event = client.connect(two.relays[1].address).await;
        assert_eq!(event, ClientEvent::Open { lost: vec![] }, "{kind:?}");
        two.cluster.open_gate().await;
        assert_eq!(returned(client.reply(id).await).0, 1);
        assert_eq!(client.call("hello", b"x").await, (0, "Hello, x".into()));
        let count = two.cluster.stores.state.read(USER, "count", 0, None).await.unwrap();
        assert_eq!(count.chunk.bytes, [1][..], "it ran once");
        assert_eq!(two.cluster.count("EXECUTE_BATCH"), 2);
    }
}

#[tokio::test]
async fn an_upload_by_one_relay_is_known_to_the_other() {
    let two = Two::start(&[]).await;
    let wasm = wat::parse_str(HELLO).unwrap();
    let (status, body) = put(two.relays[0].address, "/f/ada/hello", wasm.clone()).await;
    assert_eq!(status, 200, "{body}");
    let (status, body) = request(two.relays[1].address, "GET", "/f/ada/hello", vec![]).await;
    assert!(status == 200 && body.contains(&faasm_relay::integrity(&wasm)), "{body}");
    let mut client = two.relays[1].client().await;
    assert_eq!(client.call("hello", b"x").await, (0, "Hello, x".into()));
}

#[tokio::test]
async fn a_redis_that_workers_write_to_has_what_they_wrote() {
    let redis = RedisServer::start().unwrap();
    let store = RedisStore::connect(&kept(redis.url())).await.unwrap();
    // As a worker does it: a plain value under USER_KEY.
    let set = "*3\r\n$3\r\nSET\r\n$5\r\nada_k\r\n$3\r\nabc\r\n";
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut raw = tokio::net::TcpStream::connect(("127.0.0.1", redis.port())).await.unwrap();
    raw.write_all(set.as_bytes()).await.unwrap();
    let mut answer = [0; 5];
    raw.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"+OK\r\n");
    let read = store.read(USER, "k", 1, None).await.unwrap();
    assert_eq!((read.size, &read.chunk.bytes[..]), (Some(3), &b"bc"[..]));
}
