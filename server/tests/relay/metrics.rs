//! `/metrics`, `/readyz`, `/openapi.json`: what the relay says about itself.

use crate::fixtures::{GATE, HELLO};
use crate::support::*;
use faasm_bridge::state::Chunk;
use faasm_redis_server::RedisServer;
use faasm_relay::Config;
use faasm_relay::cluster::embedded::EmbeddedConfig;
use faasm_relay::store::{RedisConfig, StateRead, StateStore, StoreError, Stores};
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use tokio::net::TcpStream;

/// Traps.
const TRAPS: &str = r#"(module (memory 1) (func (export "_start") unreachable))"#;

/// The value of one line, `0` where there is none yet.
async fn number(relay: &Relay, name: &str) -> f64 {
    let (status, head, body) = relay.http("GET /metrics", b"").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    let text = String::from_utf8(body).unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn calls_are_counted_by_how_they_ended() {
    let relay = Relay::start().await.with(&[("hello", HELLO), ("traps", TRAPS)]).await;
    let ended = |outcome| format!(r#"faasm_relay_calls_ended_total{{outcome="{outcome}"}}"#);
    assert_eq!(number(&relay, "faasm_relay_calls_started_total").await, 0.0);
    let mut page = relay.client().await;
    page.call("hello", b"Ada").await;
    failed(page.ask(main("traps"), b"").await);
    failed(page.ask(main("nowhere"), b"").await);
    let message = br#"{"user": "ada", "function": "hello"}"#;
    assert_eq!(relay.http("POST /", message).await.0, 200);
    assert_eq!(number(&relay, "faasm_relay_calls_started_total").await, 4.0);
    assert_eq!(number(&relay, &ended("returned")).await, 2.0);
    assert_eq!(number(&relay, &ended("trap")).await, 1.0);
    assert_eq!(number(&relay, &ended("missing-function")).await, 1.0);
    assert_eq!(number(&relay, "faasm_relay_call_duration_seconds_count").await, 4.0);
    for name in ["session_received_bytes_total", "session_sent_bytes_total"] {
        assert!(number(&relay, &format!("faasm_relay_{name}")).await > 0.0, "{name}");
    }
    assert_eq!(number(&relay, "faasm_relay_sessions").await, 1.0);
    assert_eq!(number(&relay, "faasm_relay_sessions_connected").await, 1.0);
    // The page, and who asks.
    assert_eq!(number(&relay, "faasm_relay_connections").await, 2.0);
    for name in ["requests_waiting", "requests_running", "instances"] {
        assert_eq!(number(&relay, &format!("faasm_relay_{name}")).await, 0.0, "{name}");
    }
    assert_eq!(number(&relay, "faasm_relay_instances_most").await, 2048.0);
}

#[tokio::test]
async fn requests_that_fail_are_counted_by_code() {
    let relay = Relay::start().await;
    let mut page = relay.client().await;
    page.write("k", b"four").await;
    let other_size = page.write("k", b"longer").await;
    assert!(matches!(other_size, faasm_bridge::wire::Reply::Failed { .. }), "{other_size:?}");
    let failed = r#"faasm_relay_requests_failed_total{code="State"}"#;
    assert_eq!(number(&relay, failed).await, 1.0);
}

#[tokio::test]
async fn the_store_is_timed_and_what_it_fails_to_do_is_counted() {
    let redis = RedisServer::start().unwrap();
    let stores = Stores::redis(&RedisConfig::new(redis.url())).await.unwrap();
    let (config, embedded) = (Config::default(), EmbeddedConfig::default());
    let relay = Relay::start_over(config, embedded, stores).await.with(&[("hello", HELLO)]).await;
    let mut page = relay.client().await;
    page.call("hello", b"Ada").await;
    page.write("k", b"four").await;
    page.write("k", b"longer").await;
    page.read("k").await;
    let count = |operation| {
        format!(r#"faasm_relay_store_duration_seconds_count{{operation="{operation}"}}"#)
    };
    for (operation, expected) in [("accept", 1.0), ("begin", 1.0), ("write", 2.0), ("read", 1.0)] {
        assert_eq!(number(&relay, &count(operation)).await, expected, "{operation}");
    }
    let failed = r#"faasm_relay_store_failed_total{operation="accept",outcome="unavailable"}"#;
    assert_eq!(number(&relay, failed).await, 0.0);
    drop(redis);
    let refused = page.ask(main("hello"), b"").await;
    assert!(matches!(refused.0, faasm_bridge::wire::Reply::Failed { .. }), "{refused:?}");
    assert_eq!(number(&relay, failed).await, 1.0);
}

#[tokio::test]
async fn the_manual_has_each_metric() {
    let manual = include_str!("../../../docs/operating.md");
    let relay = Relay::start().await;
    let text = String::from_utf8(relay.http("GET /metrics", b"").await.2).unwrap();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE faasm_relay_"));
    let types: Vec<_> = types.filter_map(|line| line.split_once(' ')).collect();
    assert!(!types.is_empty());
    for (name, kind) in types {
        let row = match kind {
            "counter" => format!("`{name}_total"),
            _ => format!("`{name}`"),
        };
        assert!(manual.contains(&row), "docs/operating.md does not have {row}");
    }
}

#[tokio::test]
async fn metrics_are_not_for_other_sites() {
    let relay = Relay::start().await;
    for header in ["Origin: http://evil.test", "Host: evil.test"] {
        assert_eq!(relay.http(&format!("GET /metrics\n{header}"), b"").await.0, 403, "{header}");
    }
}

/// A store whose disk is gone.
struct Broken;

impl StateStore for Broken {
    fn read<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: u64,
        _: Option<u64>,
    ) -> BoxFuture<'a, Result<StateRead, StoreError>> {
        let error = StoreError::Backend { action: "read state", reason: "no disk".into() };
        Box::pin(async { Err(error) })
    }

    fn write<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: u64,
        _: Vec<Chunk>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        unreachable!("nobody writes")
    }

    fn append<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        unreachable!("nobody appends")
    }

    fn read_appended<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: u32,
    ) -> BoxFuture<'a, Result<Vec<u8>, StoreError>> {
        unreachable!("nobody reads lists")
    }

    fn clear_appended<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        unreachable!("nobody clears lists")
    }
}

#[tokio::test]
async fn a_relay_is_ready_while_its_store_answers() {
    let relay = Relay::start().await;
    let (status, _, body) = relay.http("GET /readyz", b"").await;
    assert_eq!((status, body.as_slice()), (200, &b"ready\n"[..]));
    let stores = Stores { state: Arc::new(Broken), ..Stores::in_memory().unwrap() };
    let relay = Relay::start_over(Config::default(), Default::default(), stores).await;
    let (status, _, body) = relay.http("GET /readyz", b"").await;
    let body = String::from_utf8(body).unwrap();
    assert_eq!(status, 503);
    assert!(body.contains("not ready") && body.contains("no disk"), "{body}");
    // It is there all the same.
    assert_eq!(relay.http("GET /healthz", b"").await.0, 200);
    assert_eq!(relay.http("GET /s/ada/k", b"").await.0, 503);
}

#[tokio::test]
async fn a_relay_that_stops_is_not_ready() {
    let relay = Relay::start().await.with(&[("gate", GATE)]).await;
    let state = relay.stores.state.clone();
    let write = async |key: &'static str, byte: u8| {
        let chunk = Chunk { offset: 0, bytes: vec![byte].into() };
        state.write(USER, key, 1, vec![chunk]).await.unwrap();
    };
    write("gate", 0).await;
    write("count", 0).await;
    let stream = TokioIo::new(TcpStream::connect(relay.address).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let address = relay.address;
    let mut ready = async || {
        let request = hyper::Request::get("/readyz").header("Host", address.to_string());
        let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
        sender.ready().await.unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    let mut page = relay.client().await;
    let call = tokio::spawn(async move { page.call("gate", b"").await });
    // It runs, so the relay waits for it when it is told to stop.
    while state.read(USER, "count", 0, None).await.unwrap().chunk.bytes != [1][..] {
        tokio::task::yield_now().await;
    }
    assert_eq!(ready().await, (200, "ready\n".to_owned()));
    relay.stop.send(()).unwrap();
    let stopping = async {
        loop {
            match ready().await {
                (200, _) => {}
                other => break other,
            }
        }
    };
    let (status, body) = tokio::time::timeout(LONG, stopping).await.unwrap();
    assert_eq!(status, 503);
    assert!(body.contains("the relay stops"), "{body}");
    write("gate", 1).await;
    assert_eq!(call.await.unwrap().0, 1, "it was waited for");
    relay.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_relay_says_what_can_be_asked_for() {
    let relay = Relay::start().await;
    let (status, head, body) = relay.http("GET /openapi.json", b"").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: application/json"), "{head}");
    let document: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
}
