//! Sessions over plain HTTP: what comes out of order, twice, or from elsewhere.

use crate::client_transport::{Broken, post};
use crate::fixtures::*;
use crate::support::*;
use crate::transports::ticks;
use faasm_bridge::session::{ClientEvent, ClientSession};
use faasm_bridge::wire::{
    Answer, BatchHeader, ConnectionId, FrameReader, Hello, RefusalCode, Reply, SessionId,
    append_frame, decode_handshake, encode_handshake,
};
use faasm_relay::cluster::embedded::EmbeddedConfig;
use faasm_relay::{Config, Timings};
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[tokio::test]
async fn a_page_asks_again_when_a_body_ends() {
    let timings = Timings {
        ping: Duration::from_millis(10),
        // A body ends after half of it.
        silence: Duration::from_secs(1),
        session_kept: Duration::ZERO,
        ..Timings::default()
    };
    let config = Config { timings, ..Config::default() };
    let relay = Relay::start_with(config, EmbeddedConfig::default()).await;
    let relay = relay.with(&[("hello", HELLO), ("gate", GATE)]).await;
    let mut page = relay.client_over(Kind::Fetch).await;
    let mut other = relay.client().await;
    let call = page.send(main("gate"), b"").await;
    let bodies = Arc::clone(&page.fetch().bodies);
    while bodies.load(Ordering::Relaxed) < 3 {
        other.read("count").await;
    }
    assert_eq!(other.write("gate", &[3]).await, Reply::Done);
    assert_eq!(returned(page.reply(call).await), (3, String::new()));
    assert_eq!(page.call("hello", b"x").await, (0, "Hello, x".into()));
}

/// Status and message of an answer.
async fn refused(answer: Result<Response<Incoming>, Broken>) -> (u16, String) {
    let answer = answer.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    (status, body["error"].as_str().unwrap().to_owned())
}

fn batch(header: BatchHeader, frames: &[&[u8]]) -> Vec<u8> {
    let mut batch = header.to_bytes().to_vec();
    frames.iter().for_each(|frame| append_frame(&mut batch, frame));
    batch
}

#[tokio::test]
async fn what_is_not_a_turn_of_a_connection_is_refused() {
    let relay = Relay::start().await;
    let mut page = relay.client_over(Kind::Fetch).await;
    let connection = page.fetch().id.unwrap();
    let at = relay.address;
    let header = BatchHeader { connection, seq: 0 };
    for (path, body, status, why) in [
        ("/session/send", vec![], 400, "24 bytes"),
        ("/session/receive", header.to_bytes()[1..].to_vec(), 400, "24 bytes"),
        ("/session/send", [0; 24].to_vec(), 410, "connect again"),
        ("/session/receive", [0; 24].to_vec(), 410, "connect again"),
        ("/session/end", [0; 24].to_vec(), 410, "connect again"),
        ("/session/send", batch(BatchHeader { seq: 1, ..header }, &[]), 409, "expected number 0"),
        ("/session/receive", batch(BatchHeader { seq: 1, ..header }, &[]), 409, "sent 1"),
        ("/session/receive", batch(header, &[b"x"]), 413, "24 bytes"),
        ("/session/send", batch(header, &[b"frame"])[..30].to_vec(), 400, "truncated"),
        ("/session/send", [&header.to_bytes()[..], &[0xff; 4]].concat(), 400, "4294967295 bytes"),
    ] {
        let (found, message) = refused(post(at, path, body).await).await;
        assert_eq!(found, status, "{path}: {message}");
        assert!(message.contains(why), "{path}: {message}");
    }
    // A frame that is none ends the connection, as it ends a WebSocket.
    assert_eq!(refused(post(at, "/session/send", batch(header, &[&[0xff; 9]])).await).await.0, 400);
    assert_eq!(refused(post(at, "/session/send", batch(header, &[])).await).await.0, 410);
}

#[tokio::test]
async fn a_batch_that_a_browser_sends_twice_counts_once() {
    let relay = Relay::start().await.with(&[("tick", TICK)]).await;
    let mut page = relay.client_over(Kind::Fetch).await;
    let id = page.machine.request(main("tick"), &7_u32.to_le_bytes()).unwrap();
    let header = BatchHeader { connection: page.fetch().id.unwrap(), seq: 0 };
    let frame = page.machine.transmit().unwrap();
    for _ in 0..3 {
        let answer = post(relay.address, "/session/send", batch(header, &[&frame])).await;
        assert_eq!(answer.unwrap().status(), 204);
    }
    page.fetch().batches = 1;
    assert_eq!(page.reply(id).await.0, Reply::Call { return_value: 0 });
    assert_eq!(ticks(&mut page).await, BTreeMap::from([(7, 1)]));
}

#[tokio::test]
async fn a_short_answer_ends_with_what_it_brings() {
    let relay = Relay::start().await.with(&[("tick", TICK)]).await;
    let mut body = Vec::new();
    append_frame(&mut body, &encode_handshake(&hello((1, 2))).unwrap());
    let connection = shake_hands(&relay, &body).await.1.unwrap();
    let mut machine = ClientSession::new(USER, None);
    machine.request(main("tick"), b"once").unwrap();
    machine.connected().unwrap();
    machine.transmit().unwrap();
    let welcome = Answer::Welcome { version: 2, session: SessionId([0; 16]), resumed: false };
    machine.receive(&encode_handshake(&welcome).unwrap()).unwrap();
    let header = BatchHeader { connection, seq: 0 };
    let call = batch(header, &[&machine.transmit().unwrap()]);
    assert_eq!(post(relay.address, "/session/send", call).await.unwrap().status(), 204);
    let polled = post(relay.address, "/session/poll", batch(header, &[])).await.unwrap();
    // To its end, which does not come as long as it brings nothing.
    let body = tokio::time::timeout(LONG, polled.into_body().collect()).await.unwrap();
    let frames = FrameReader::default().push(&body.unwrap().to_bytes()).unwrap();
    assert_eq!(frames.len(), 1);
    let event = machine.receive(&frames[0]).unwrap();
    assert!(matches!(event, Some(ClientEvent::Reply { payload, .. }) if payload == b"once"));
    // The next one goes on where that ended.
    let again = post(relay.address, "/session/poll", batch(header, &[])).await;
    assert_eq!(refused(again).await.0, 409);
}

#[tokio::test]
async fn handshakes_over_http_are_refused_with_the_same_reasons() {
    let relay = Relay::start().await;
    for (frame, code) in [
        (&b"GET / HTTP/1.1"[..], RefusalCode::Malformed),
        (&[], RefusalCode::Malformed),
        (&encode_handshake(&hello((8, 9))).unwrap(), RefusalCode::Version),
    ] {
        let mut body = Vec::new();
        append_frame(&mut body, frame);
        let (answer, connection) = shake_hands(&relay, &body).await;
        assert_eq!(connection, None);
        assert!(matches!(answer, Answer::Refused { code: found, .. } if found == code), "{code:?}");
    }
}

/// The answer to a handshake, and the connection's id.
async fn shake_hands(relay: &Relay, body: &[u8]) -> (Answer, Option<ConnectionId>) {
    let answer = post(relay.address, "/session", body.to_vec()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let mut frames = FrameReader::default().push(&body).unwrap().into_iter();
    let answer = decode_handshake(&frames.next().unwrap()).unwrap();
    (answer, frames.next().map(|id| ConnectionId(id.try_into().unwrap())))
}

fn hello(versions: (u16, u16)) -> Hello {
    Hello { versions, user: USER.into(), token: None, resume: None }
}

#[tokio::test]
async fn sessions_over_http_are_not_for_pages_of_other_sites() {
    let config = Config { allow_origins: vec!["https://app.example".into()], ..Config::default() };
    let relay = Relay::start_with(config, EmbeddedConfig::default()).await;
    for path in ["/session", "/session/send", "/session/receive", "/session/end"] {
        let post = |header: &str| format!("POST {path}\n{header}");
        let evil = post("Origin: http://evil.test");
        assert_eq!(relay.http(&evil, &[0; 24]).await.0, 403, "{path}");
        let rebound = post("Host: evil.test\nOrigin: http://evil.test");
        assert_eq!(relay.http(&rebound, &[0; 24]).await.0, 403, "{path}");
        let (status, head, _) = relay.http(&format!("GET {path}"), b"").await;
        assert_eq!(status, 405, "{path}");
        assert!(head.contains("allow: post"), "{head}");
        let ask = format!("OPTIONS {path}\nOrigin: https://app.example");
        let (status, head, _) = relay.http(&ask, b"").await;
        assert_eq!(status, 204, "{path}");
        assert!(head.contains("access-control-allow-methods: post"), "{head}");
    }
    let mut body = Vec::new();
    append_frame(&mut body, &encode_handshake(&hello((1, 2))).unwrap());
    let allowed = "POST /session\nOrigin: https://app.example";
    let (status, head, _) = relay.http(allowed, &body).await;
    assert_eq!(status, 200);
    assert!(head.contains("access-control-allow-origin: https://app.example"), "{head}");
    assert!(head.contains("cache-control: no-store"), "{head}");
}

#[tokio::test]
async fn a_page_that_falls_silent_loses_its_connection_and_then_its_session() {
    let timings = Timings {
        silence: Duration::from_millis(100),
        session_kept: Duration::ZERO,
        ..Timings::default()
    };
    let config = Config { timings, ..Config::default() };
    let relay = Relay::start_with(config, EmbeddedConfig::default()).await;
    let mut body = Vec::new();
    append_frame(&mut body, &encode_handshake(&hello((1, 2))).unwrap());
    let (Answer::Welcome { session, .. }, Some(connection)) = shake_hands(&relay, &body).await
    else {
        panic!("it is welcome");
    };
    let resume = Hello { resume: Some(session), ..hello((1, 2)) };
    let header = BatchHeader { connection, seq: 0 };
    let mut quiet = tokio::time::interval(Duration::from_millis(150));
    loop {
        quiet.tick().await;
        let answer = post(relay.address, "/session/send", batch(header, &[])).await.unwrap();
        if answer.status() == 410 {
            break;
        }
    }
    let mut body = Vec::new();
    append_frame(&mut body, &encode_handshake(&resume).unwrap());
    // The session goes a moment after its connection.
    while let Answer::Welcome { resumed: true, .. } = shake_hands(&relay, &body).await.0 {
        quiet.tick().await;
    }
}
