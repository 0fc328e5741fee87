//! Values that a session watches: who is told, how often, and what a broken connection changes.

use super::*;
use crate::wire::{
    Answer, MAX_WATCHED, MAX_WATCHED_BYTES, Reply, Request, SessionId, encode_handshake,
};

const ID: SessionId = SessionId([1; 16]);

fn pair() -> (ClientSession, ServerSession) {
    (ClientSession::new("demo", None), ServerSession::new(ID, "demo".into()))
}

/// Shakes hands over a new connection, at this version.
fn connect_at(version: u16, client: &mut ClientSession, server: &mut ServerSession) {
    client.disconnected();
    server.disconnected();
    client.connected().unwrap();
    client.transmit().unwrap();
    let welcome = Answer::Welcome { version, session: ID, resumed: true };
    client.receive(&encode_handshake(&welcome).unwrap()).unwrap().unwrap();
    server.connected(version);
}

fn connect(client: &mut ClientSession, server: &mut ServerSession) {
    connect_at(4, client, server);
}

/// Keys that arrive as changed.
fn told(server: &mut ServerSession, client: &mut ClientSession) -> Vec<String> {
    let events = std::iter::from_fn(|| server.transmit())
        .filter_map(|frame| client.receive(&frame).unwrap());
    events
        .map(|event| match event {
            ClientEvent::Changed { key } => key,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_value_that_changes_often_is_told_once_to_a_page_that_does_not_read() {
    let (mut client, mut server) = pair();
    connect(&mut client, &mut server);
    assert_eq!(server.watch("k"), Watching::Begins);
    assert_eq!(server.watch("k"), Watching::GoesOn);
    for _ in 0..1000 {
        server.changed("k");
        server.changed("of others");
    }
    assert_eq!(server.waiting_frames(), 1);
    assert_eq!(told(&mut server, &mut client), ["k"]);
    assert!(!client.owes() && !client.is_awaiting(), "an idle page has nothing to do for it");
    assert_eq!(told(&mut server, &mut client), [""; 0]);
    server.changed("k");
    assert_eq!(told(&mut server, &mut client), ["k"], "it changed after it was told");
}

#[test]
fn nothing_is_told_of_a_value_that_is_not_watched_any_more() {
    let (mut client, mut server) = pair();
    connect(&mut client, &mut server);
    server.watch("k");
    server.changed("k");
    server.unwatch("k");
    server.changed("k");
    assert_eq!(told(&mut server, &mut client), [""; 0]);
    assert_eq!(server.watch("k"), Watching::Begins);
    assert_eq!(told(&mut server, &mut client), [""; 0], "the change was before that");
    server.changed("k");
    assert_eq!(told(&mut server, &mut client), ["k"]);
}

#[test]
fn what_changed_while_the_page_was_away_is_told_when_it_is_back() {
    let (mut client, mut server) = pair();
    connect(&mut client, &mut server);
    for key in ["quiet", "told", "away"] {
        server.watch(key);
    }
    server.changed("told");
    // It leaves the relay, and may not arrive.
    assert!(server.transmit().is_some());
    server.disconnected();
    server.changed("away");
    assert!(server.transmit().is_none());
    connect(&mut client, &mut server);
    assert_eq!(told(&mut server, &mut client), ["away", "told"]);
    assert_eq!(server.watch("quiet"), Watching::GoesOn);
    // What is to be told goes along with messages as well.
    server.changed("quiet");
    let message = server.transmit_message().unwrap();
    let frames: Vec<_> = client.frames_of(&message).map(|frame| frame.unwrap().to_vec()).collect();
    let event = client.receive(&frames[0]);
    assert_eq!(event, Ok(Some(ClientEvent::Changed { key: "quiet".into() })));
    assert!(server.transmit_message().is_none());
}

#[test]
fn the_values_of_a_session_are_bounded() {
    let (_, mut server) = pair();
    let keys: Vec<String> = (0..MAX_WATCHED).map(|number| number.to_string()).collect();
    assert!(keys.iter().all(|key| server.watch(key) == Watching::Begins));
    assert_eq!(server.watch("one more"), Watching::TooMany);
    assert_eq!(server.watch(&keys[0]), Watching::GoesOn);
    server.unwatch(&keys[0]);
    server.unwatch(&keys[0]);
    assert_eq!(server.watch("one more"), Watching::Begins);
    assert_eq!(server.watched().count(), MAX_WATCHED);

    let (_, mut server) = pair();
    assert_eq!(server.watch(&"k".repeat(MAX_WATCHED_BYTES)), Watching::Begins);
    assert_eq!(server.watch("l"), Watching::TooMany);
    server.unwatch(&"k".repeat(MAX_WATCHED_BYTES));
    assert_eq!(server.watch("l"), Watching::Begins);
}

#[test]
fn an_older_relay_is_not_asked_and_an_older_page_not_told() {
    let (mut client, mut server) = pair();
    connect_at(3, &mut client, &mut server);
    assert_eq!(client.version(), 3);
    let watch = Request::Watch { key: "k".into() };
    assert_eq!(client.request(watch.clone(), &[]), Err(SessionError::TooNew { since: 4 }));
    server.watch("k");
    server.changed("k");
    assert_eq!(told(&mut server, &mut client), [""; 0]);
    // It is asked again where the relay has lost the session: that does no harm.
    connect(&mut client, &mut server);
    assert_eq!(told(&mut server, &mut client), ["k"]);
    let id = client.request(watch, &[]).unwrap();
    client.transmit().unwrap();
    let (_, mut other) = pair();
    client.disconnected();
    client.connected().unwrap();
    client.transmit().unwrap();
    let welcome = Answer::Welcome { version: 4, session: ID, resumed: false };
    let event = client.receive(&encode_handshake(&welcome).unwrap());
    assert_eq!(event, Ok(Some(ClientEvent::Open { lost: vec![] })));
    other.connected(4);
    let started = other.receive(&client.transmit().unwrap()).unwrap();
    assert!(matches!(started, Some(ServerEvent::Start { id: started, .. }) if started == id));
    other.reply(id, Reply::Missing, &[]);
    assert!(other.transmit().is_some());
}
