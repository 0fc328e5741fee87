//! Sessions over connections that break, double, fall silent or talk nonsense.

use crate::fixtures::*;
use crate::support::*;
use faasm_bridge::session::{ClientEvent, ClientSession};
use faasm_bridge::wire::{
    Answer, ChunkHeader, ClientMessage, FailureCode, Hello, RefusalCode, Reply, Request, RequestId,
    ServerMessage, decode, decode_handshake, encode, encode_handshake,
};
use faasm_relay::cluster::embedded::EmbeddedConfig;
use faasm_relay::{Config, Timings};
use futures_util::{SinkExt, StreamExt};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// How the relay closes a connection; `None` where it just ends.
pub(crate) async fn closed(socket: &mut Socket) -> Option<CloseCode> {
    let closing = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code),
                // Pings too: they are no sign of an end.
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    };
    tokio::time::timeout(LONG, closing).await.expect("it is closed in time")
}

#[tokio::test]
async fn a_call_survives_its_connection_and_runs_once() {
    let relay = Relay::start().await.with(&[("gate", GATE)]).await;
    let mut page = relay.client().await;
    let mut other = relay.client().await;
    let call = page.send(main("gate"), b"").await;
    while other.read("count").await.is_none() {}

    page.cut();
    // A request made meanwhile is sent with the session's next connection.
    let late = page.machine.request(main("gate"), b"").unwrap();
    assert_eq!(page.connect(relay.address).await, ClientEvent::Open { lost: vec![] });
    page.cut();
    assert_eq!(page.connect(relay.address).await, ClientEvent::Open { lost: vec![] });

    while other.read("count").await != Some(vec![2]) {}
    assert_eq!(other.write("gate", &[7]).await, Reply::Done);
    assert_eq!(returned(page.reply(call).await), (7, String::new()));
    assert_eq!(returned(page.reply(late).await), (7, String::new()));
    assert_eq!(other.read("count").await, Some(vec![2]), "each call ran once");
}

#[tokio::test]
async fn a_session_has_one_connection_and_the_newer_wins() {
    let relay = Relay::start().await.with(&[("hello", HELLO)]).await;
    let mut page = relay.client().await;
    let mut first = page.take_socket();
    assert_eq!(page.connect(relay.address).await, ClientEvent::Open { lost: vec![] });
    assert_eq!(closed(&mut first).await, Some(CloseCode::Normal));
    assert_eq!(page.call("hello", b"again").await, (0, "Hello, again".into()));
}

#[tokio::test]
async fn a_session_that_was_forgotten_says_which_requests_are_lost() {
    let timings = Timings { session_kept: Duration::ZERO, ..Timings::default() };
    let config = Config { timings, ..Config::default() };
    let relay = Relay::start_with(config, EmbeddedConfig::default()).await;
    let relay = relay.with(&[("gate", GATE)]).await;
    let mut page = relay.client().await;
    let mut other = relay.client().await;
    let call = page.send(main("gate"), b"").await;
    while other.read("count").await.is_none() {}
    page.cut();
    // Until the relay has noticed, the session is still there.
    while page.connect(relay.address).await != (ClientEvent::Open { lost: vec![call] }) {
        page.cut();
    }
    assert_eq!(other.write("gate", &[1]).await, Reply::Done);
    assert_eq!(other.read("count").await, Some(vec![1]));
}

#[tokio::test]
async fn a_cancelled_call_ends() {
    let relay = Relay::start().await.with(&[("loop", LOOP), ("gate", GATE)]).await;
    let mut page = relay.client().await;
    for function in ["loop", "gate"] {
        let call = page.send(main(function), b"").await;
        page.machine.cancel(call);
        let (reply, _) = page.reply(call).await;
        assert!(matches!(reply, Reply::Failed { code: FailureCode::Cancelled, .. }), "{reply:?}");
    }
}

#[tokio::test]
async fn a_page_of_the_version_before_is_served_in_its_own_words() {
    let relay = Relay::start().await.with(&[("hello", HELLO)]).await;
    let mut socket = open(relay.address, &[]).await.unwrap();
    let mut next = async |sent: Vec<Vec<u8>>| {
        for message in sent {
            socket.send(Message::binary(message)).await.unwrap();
        }
        let Some(Ok(Message::Binary(answer))) = socket.next().await else { panic!("no answer") };
        answer
    };
    let hello = Hello { versions: (1, 2), user: USER.into(), token: None, resume: None };
    let welcome = next(vec![encode_handshake(&hello).unwrap()]).await;
    let welcome = decode_handshake(&welcome).unwrap();
    assert!(matches!(welcome, Answer::Welcome { version: 2, .. }), "{welcome:?}");
    // One frame is one message, both ways.
    for id in [1, 2] {
        let id = RequestId(id);
        let request = encode(&ClientMessage::Request { id, request: main("hello") }, b"").unwrap();
        let acknowledge = encode(&ClientMessage::Acknowledge { id: RequestId(1) }, b"").unwrap();
        let reply = next(vec![acknowledge, request]).await;
        let (ServerMessage::Reply { id: replied, reply }, _) = decode(&reply).unwrap() else {
            panic!("no reply");
        };
        assert_eq!((replied, reply), (id, Reply::Call { return_value: 0 }));
    }
}

#[tokio::test]
async fn nonsense_is_refused_with_a_reason() {
    let relay = Relay::start().await;
    let mut socket = open(relay.address, &[]).await.unwrap();
    socket.send(Message::binary(&b"GET / HTTP/1.1"[..])).await.unwrap();
    let Some(Ok(Message::Binary(answer))) = socket.next().await else { panic!("no answer") };
    let mut machine = ClientSession::new(USER, None);
    machine.connected().unwrap();
    let event = machine.receive(&answer).unwrap();
    let expected = RefusalCode::Malformed;
    assert!(matches!(event, Some(ClientEvent::Refused { code, .. }) if code == expected));
    assert_eq!(closed(&mut socket).await, Some(CloseCode::Policy));

    let mut socket = open(relay.address, &[]).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(closed(&mut socket).await, Some(CloseCode::Protocol));

    let mut page = relay.client().await;
    let socket = &mut page.take_socket();
    socket.send(Message::binary(&[0xff; 20][..])).await.unwrap();
    assert_eq!(closed(socket).await, Some(CloseCode::Protocol));
}

#[tokio::test]
async fn a_frame_above_the_bound_ends_the_connection_before_it_is_read() {
    let relay = Relay::start().await;
    let mut page = relay.client().await;
    let socket = &mut page.take_socket();
    // Final, binary, masked, 1 GiB long; and then nothing.
    let header = [&[0x82, 0xff][..], &(1_u64 << 30).to_be_bytes(), &[1, 2, 3, 4]].concat();
    socket.get_mut().write_all(&header).await.unwrap();
    assert_eq!(closed(socket).await, Some(CloseCode::Size));
}

#[tokio::test]
async fn silent_connections_are_given_up() {
    let timings = Timings {
        handshake: Duration::from_secs(2),
        ping: Duration::from_millis(150),
        // Long for a machine that stops for a moment, and short for what it takes to send all those pings.
        silence: Duration::from_secs(3),
        ..Timings::default()
    };
    let config = Config { timings, ..Config::default() };
    let relay = Relay::start_with(config, EmbeddedConfig::default()).await;
    let mut mute = open(relay.address, &[]).await.unwrap();
    assert_eq!(closed(&mut mute).await, Some(CloseCode::Policy));

    let mut page = relay.client().await;
    // Reading answers pings, so pings come in and the connection stays.
    let socket = &mut page.take_socket();
    for _ in 0..30 {
        let ping = tokio::time::timeout(LONG, socket.next()).await.unwrap().unwrap().unwrap();
        assert!(matches!(ping, Message::Ping(_)), "{ping:?}");
    }
    // Reading below the WebSocket answers none.
    let mut bytes = Vec::new();
    let raw = tokio::io::AsyncReadExt::read_to_end(socket.get_mut(), &mut bytes);
    tokio::time::timeout(LONG, raw).await.expect("it is given up").unwrap();
}

#[tokio::test]
async fn a_long_frame_on_a_slow_network_is_no_silence() {
    let timings = Timings { silence: Duration::from_secs(3), ..Timings::default() };
    let config = Config { timings, ..Config::default() };
    let relay = Relay::start_with(config, EmbeddedConfig::default()).await;
    let mut page = relay.client().await;
    let value = vec![7; 4000];
    let chunks = vec![ChunkHeader { offset: 0, length: 4000 }];
    let write = Request::WriteState { key: "slow".into(), size: 4000, chunks };
    page.machine.request(write, &value).unwrap();
    let frame = page.machine.transmit_message().unwrap();
    let mut socket = page.take_socket();
    // Final, binary, with a mask of zeros.
    let length = u16::try_from(frame.len()).unwrap().to_be_bytes();
    let message = [&[0x82, 0xfe], &length[..], &[0; 4], &frame].concat();
    let mut pace = tokio::time::interval(Duration::from_millis(500));
    for piece in message.chunks(400) {
        pace.tick().await;
        socket.get_mut().write_all(piece).await.unwrap();
    }
    let answered = tokio::time::timeout(LONG, socket.next()).await.unwrap();
    assert!(matches!(answered, Some(Ok(Message::Binary(_)))), "{answered:?}");
}

#[tokio::test]
async fn stopping_closes_connections_and_ends() {
    let relay = Relay::start().await;
    let mut page = relay.client().await;
    relay.stop.send(()).unwrap();
    let socket = &mut page.take_socket();
    assert_eq!(closed(socket).await, Some(CloseCode::Away));
    page.cut();
    tokio::time::timeout(LONG, relay.ended).await.expect("it ends").unwrap().unwrap();
}
