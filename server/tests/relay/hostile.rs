//! Requests that break rules of HTTP, WebSocket or the session protocol, or that ask for what the relay does not do.

use crate::sessions::closed;
use crate::support::*;
use faasm_relay::cluster::embedded::EmbeddedConfig;
use faasm_relay::{Config, Limits};
use futures_util::SinkExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};

/// Sends these bytes, and gives all that comes back, in lower case.
async fn raw(relay: &Relay, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(relay.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    tokio::time::timeout(LONG, reading).await.unwrap().unwrap();
    String::from_utf8_lossy(&answer).to_ascii_lowercase()
}

#[tokio::test]
async fn a_request_without_a_host_or_with_two_is_bad() {
    let relay = Relay::start().await;
    for path in ["/healthz", "/s/ada/k", "/nothing"] {
        let answer =
            raw(&relay, format!("GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n").as_bytes())
                .await;
        assert!(
            answer.starts_with("http/1.1 400 ") && answer.contains("`host`"),
            "{path}: {answer}"
        );
    }
    let host = relay.address;
    let two = format!(
        "GET /s/ada/k HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    );
    assert!(raw(&relay, two.as_bytes()).await.starts_with("http/1.1 400 "));
    // Those who ask after health may be old.
    let answer = raw(&relay, b"GET /healthz HTTP/1.0\r\n\r\n").await;
    assert!(answer.contains(" 200 "), "{answer}");
}

#[tokio::test]
async fn another_version_of_websocket_is_told_which_one_there_is() {
    let relay = Relay::start().await;
    let head = "GET /ws\nConnection: upgrade\nUpgrade: websocket\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==";
    for version in ["Sec-WebSocket-Version: 12", "X-Other: 1"] {
        let (status, head, _) = relay.http(&format!("{head}\n{version}"), b"").await;
        assert_eq!(status, 426, "{version}");
        assert!(head.contains("sec-websocket-version: 13"), "{head}");
    }
    let (status, head, _) = relay.http("GET /ws", b"").await;
    assert!(status == 426 && head.contains("upgrade: websocket"), "{status} {head}");
}

#[tokio::test]
async fn a_websocket_does_not_begin_with_http_1_0() {
    let relay = Relay::start().await;
    let host = relay.address;
    let upgrade = |version| {
        format!(
            "GET /ws HTTP/{version}\r\nHost: {host}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
    };
    let answer = raw(&relay, upgrade("1.0").as_bytes()).await;
    assert!(answer.contains(" 400 ") && answer.contains("http/1.1 request"), "{answer}");
    let mut stream = TcpStream::connect(relay.address).await.unwrap();
    stream.write_all(upgrade("1.1").as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    tokio::time::timeout(LONG, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
}

#[tokio::test]
async fn a_request_s_head_has_exactly_so_many_bytes() {
    const BYTES: usize = 9000;
    let limits = Limits { header_bytes: BYTES, ..Limits::default() };
    let config = Config { limits, ..Config::default() };
    let relay = Relay::start_with(config, EmbeddedConfig::default()).await;
    let head = |bytes: usize| {
        let start = format!(
            "GET /healthz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nX-Fill: ",
            relay.address
        );
        let fill = "x".repeat(bytes - start.len() - "\r\n\r\n".len());
        let head = format!("{start}{fill}\r\n\r\n");
        assert_eq!(head.len(), bytes);
        head
    };
    let answer = raw(&relay, head(BYTES).as_bytes()).await;
    assert!(answer.starts_with("http/1.1 200 "), "{answer}");
    for bytes in [BYTES + 1, BYTES + 100, 4 * BYTES] {
        let answer = raw(&relay, head(bytes).as_bytes()).await;
        assert!(answer.starts_with("http/1.1 431 "), "{bytes}: {answer}");
    }
}

#[tokio::test]
async fn a_body_that_is_encoded_is_refused() {
    let relay = Relay::start().await;
    for head in ["PUT /s/ada/k", "PUT /f/ada/f", "PUT /files/a", "POST /", "POST /session"] {
        let (status, answer, body) =
            relay.http(&format!("{head}\nContent-Encoding: gzip"), b"x").await;
        assert_eq!(status, 415, "{head}");
        assert!(answer.contains("accept-encoding: identity"), "{answer}");
        let body = String::from_utf8(body).unwrap();
        assert!(body.contains("`gzip`"), "{body}");
    }
    let (status, _, _) = relay.http("PUT /s/ada/k\nContent-Encoding: identity", b"x").await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn pages_of_listed_sites_may_reach_a_private_address_and_no_others() {
    let config = Config { allow_origins: vec!["https://app.example".into()], ..Config::default() };
    let relay = Relay::start_with(config, EmbeddedConfig::default()).await;
    let ask = async |origin: &str, asks: &str| {
        let head = format!(
            "OPTIONS /session\nOrigin: {origin}\nAccess-Control-Request-Method: POST{asks}"
        );
        let (status, head, _) = relay.http(&head, b"").await;
        (status, head.contains("access-control-allow-private-network: true"))
    };
    const ASKS: &str = "\nAccess-Control-Request-Private-Network: true";
    assert_eq!(ask("https://app.example", ASKS).await, (204, true));
    assert_eq!(ask("https://app.example", "").await, (204, false));
    assert_eq!(ask("https://evil.example", ASKS).await, (403, false));
}

#[tokio::test]
async fn a_page_without_an_origin_is_not_advised_to_have_that_allowed() {
    let relay = Relay::start().await;
    let (status, _, body) = relay.http("PUT /s/ada/k\nOrigin: null", b"x").await;
    let body = String::from_utf8(body).unwrap();
    assert_eq!(status, 403);
    assert!(!body.contains("--allow-origin") && body.contains("from a file"), "{body}");
}

#[tokio::test]
async fn text_that_is_none_closes_a_websocket_by_its_own_code() {
    for (text, expected) in
        [(&b"\xff\xfe"[..], CloseCode::Invalid), (b"text", CloseCode::Unsupported)]
    {
        let relay = Relay::start().await;
        let mut socket = relay.client_over(Kind::WebSocket).await.take_socket();
        let frame = Frame::message(text.to_vec(), OpCode::Data(Data::Text), true);
        socket.send(Message::Frame(frame)).await.unwrap();
        assert_eq!(closed(&mut socket).await, Some(expected));
    }
}
