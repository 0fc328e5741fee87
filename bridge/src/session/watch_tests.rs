//! Watched values: which are notified, how often, and the effect of a broken connection.

use super::*;
use crate::wire::{
    Answer, MAX_WATCHED, MAX_WATCHED_BYTES, Reply, Request, SessionId, encode_handshake,
};

const ID: SessionId = SessionId([1; 16]);

fn pair() -> (ClientSession, ServerSession) {
    (ClientSession::new("demo", None), ServerSession::new(ID, "demo".into()))
}

/// Performs the handshake over a new connection, at this version.
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

/// Keys for which the client receives a change.
fn notified(server: &mut ServerSession, client: &mut ClientSession) -> Vec<String> {
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
fn frequent_changes_are_notified_once_to_a_page_that_does_not_read() {
    let (mut client, mut server) = pair();
    connect(&mut client, &mut server);
    assert_eq!(server.watch("k"), Watching::Begins);
    assert_eq!(server.watch("k"), Watching::GoesOn);
    for _ in 0..1000 {
        server.changed("k");
        server.changed("of others");
    }
    assert_eq!(server.waiting_frames(), 1);
    assert_eq!(notified(&mut server, &mut client), ["k"]);
    assert!(!client.owes() && !client.is_awaiting(), "notifications need no acknowledgement");
    assert_eq!(notified(&mut server, &mut client), [""; 0]);
    server.changed("k");
    assert_eq!(notified(&mut server, &mut client), ["k"], "it changed after the notification");
}

#[test]
fn changes_of_an_unwatched_value_are_not_notified() {
    let (mut client, mut server) = pair();
    connect(&mut client, &mut server);
    server.watch("k");
    server.changed("k");
    server.unwatch("k");
    server.changed("k");
    assert_eq!(notified(&mut server, &mut client), [""; 0]);
    assert_eq!(server.watch("k"), Watching::Begins);
    assert_eq!(
        notified(&mut server, &mut client),
        [""; 0],
        "it changed before it was watched again"
    );
    server.changed("k");
    assert_eq!(notified(&mut server, &mut client), ["k"]);
}

#[test]
fn changes_during_a_disconnect_are_notified_after_the_reconnect() {
    let (mut client, mut server) = pair();
    connect(&mut client, &mut server);
    for key in ["quiet", "told", "away"] {
        server.watch(key);
    }
    server.changed("told");
    // The notification is sent, and may be lost.
    assert!(server.transmit().is_some());
    server.disconnected();
    server.changed("away");
    assert!(server.transmit().is_none());
    connect(&mut client, &mut server);
    assert_eq!(notified(&mut server, &mut client), ["away", "told"]);
    assert_eq!(server.watch("quiet"), Watching::GoesOn);
    // Notifications are part of messages as well.
    server.changed("quiet");
    let message = server.transmit_message().unwrap().joined();
    let frames: Vec<_> = client.frames_of(&message).map(|frame| frame.unwrap().to_vec()).collect();
    let event = client.receive(&frames[0]);
    assert_eq!(event, Ok(Some(ClientEvent::Changed { key: "quiet".into() })));
    assert!(server.transmit_message().is_none());
}

#[test]
fn watched_values_of_a_session_are_bounded() {
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
fn peers_too_old_for_watching_get_no_requests_or_notifications() {
    let (mut client, mut server) = pair();
    connect_at(3, &mut client, &mut server);
    assert_eq!(client.version(), 3);
    let watch = Request::Watch { key: "k".into() };
    assert_eq!(client.request(watch.clone(), &[]), Err(SessionError::TooNew { since: 4 }));
    server.watch("k");
    server.changed("k");
    assert_eq!(notified(&mut server, &mut client), [""; 0]);
    // The watch request is repeated if the relay lost the session, which is harmless.
    connect(&mut client, &mut server);
    assert_eq!(notified(&mut server, &mut client), ["k"]);
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
