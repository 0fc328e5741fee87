//! Both ends in memory, with a network that breaks at chosen points.

use super::*;
use crate::wire::{
    Answer, BATCHES_SINCE, CallEntry, ClientMessage, FailureCode, MAX_KEPT_BYTES, MAX_OWED,
    MAX_OWED_BYTES, MAX_QUEUED_BYTES, MAX_QUEUED_REQUESTS, MESSAGE_BYTES, RefusalCode, Reply,
    Request, RequestId, ServerMessage, SessionId, VERSIONS, decode, encode, encode_handshake,
};
use bytes::Bytes;

const ID: SessionId = SessionId([1; 16]);

fn call(function: &str) -> Request {
    Request::Call { function: function.into(), entry: CallEntry::Main, args: vec![], env: vec![] }
}

#[test]
fn long_payloads_are_shared_and_not_copied() {
    let (mut client, mut server) = pair();
    connect(&mut client, &mut server, false);
    let long = vec![7; MESSAGE_BYTES];
    client.request(call("f"), &long).unwrap();
    let frame = Bytes::from(client.transmit().unwrap());
    let Some(ServerEvent::Start { id, payload, .. }) = server.receive_shared(&frame).unwrap()
    else {
        panic!("it starts");
    };
    assert_eq!(payload, long);
    let offset = frame.len() - payload.len();
    assert_eq!(payload.as_ptr(), frame[offset..].as_ptr());
    // One copy for the journal, the session and every connection.
    let kept = server.reply_shared(id, Reply::Done, payload.clone()).unwrap();
    assert_eq!(kept.payload.as_ptr(), payload.as_ptr());
    for _ in 0..2 {
        let Outgoing(parts) = server.transmit_message().unwrap();
        let [head, body] = &*parts else { panic!("{parts:?}") };
        assert_eq!(body.as_ptr(), payload.as_ptr());
        assert_eq!(head[..4], (kept.len() as u32).to_le_bytes());
        assert_eq!(head[4..], kept.envelope);
        server.disconnected();
        server.connected(*VERSIONS.end());
    }
}

/// Shakes hands, with a server that has the session (`resumed`) or not.
fn connect(client: &mut ClientSession, server: &mut ServerSession, resumed: bool) -> ClientEvent {
    client.connected().unwrap();
    let (_, version) = greet(&client.transmit().unwrap()).unwrap();
    let welcome = Answer::Welcome { version, session: ID, resumed };
    let event = client.receive(&encode_handshake(&welcome).unwrap()).unwrap().unwrap();
    server.connected(version);
    event
}

fn to_server(client: &mut ClientSession, server: &mut ServerSession) -> Vec<ServerEvent> {
    std::iter::from_fn(|| client.transmit())
        .filter_map(|frame| server.receive(&frame).unwrap())
        .filter(|event| !matches!(event, ServerEvent::Forget { .. }))
        .collect()
}

fn to_client(server: &mut ServerSession, client: &mut ClientSession) -> Vec<ClientEvent> {
    std::iter::from_fn(|| server.transmit())
        .filter_map(|frame| client.receive(&frame).unwrap())
        .collect()
}

fn pair() -> (ClientSession, ServerSession) {
    (ClientSession::new("demo", None), ServerSession::new(ID, "demo".into()))
}

#[test]
fn a_request_made_before_the_connection_is_sent_when_it_opens() {
    let (mut client, mut server) = pair();
    let id = client.request(call("f"), b"in").unwrap();
    assert_eq!(connect(&mut client, &mut server, false), ClientEvent::Open { lost: vec![] });
    let started = to_server(&mut client, &mut server);
    let (request, payload) = (call("f"), Bytes::from_static(b"in"));
    assert_eq!(started, vec![ServerEvent::Start { id, first: id, request, payload }]);
    server.reply(id, Reply::Call { return_value: 4 }, b"out");
    let reply = Reply::Call { return_value: 4 };
    assert_eq!(
        to_client(&mut server, &mut client),
        vec![ClientEvent::Reply { id, reply, payload: b"out".into() }]
    );
    assert!(client.owes() && client.transmit().is_none(), "sent with the next message");
    client.acknowledge();
    to_server(&mut client, &mut server);
    assert_eq!(server.open_requests(), 0, "acknowledged");
}

#[test]
fn nothing_is_lost_or_done_twice_wherever_the_connection_breaks() {
    // The connection breaks before step n of: request, reply, acknowledgement.
    for broken in 0..3 {
        let (mut client, mut server) = pair();
        connect(&mut client, &mut server, false);
        let id = client.request(call("f"), &[]).unwrap();
        let mut starts = 0;
        let mut replies = 0;
        for round in 0..2 {
            let breaks = |step| round == 0 && broken == step;
            if round == 1 {
                client.disconnected();
                server.disconnected();
                connect(&mut client, &mut server, true);
            }
            if !breaks(0) {
                starts += to_server(&mut client, &mut server).len();
            }
            server.reply(id, Reply::Done, &[]);
            if !breaks(0) && !breaks(1) {
                replies += to_client(&mut server, &mut client).len();
            }
            if !breaks(0) && !breaks(1) && !breaks(2) {
                client.acknowledge();
                starts += to_server(&mut client, &mut server).len();
            }
        }
        assert_eq!((starts, replies), (1, 1), "broken before step {broken}");
        assert_eq!(server.open_requests(), 0, "broken before step {broken}");
    }
}

#[test]
fn a_reply_made_while_disconnected_arrives_after_the_reconnect() {
    let (mut client, mut server) = pair();
    connect(&mut client, &mut server, false);
    let id = client.request(call("f"), &[]).unwrap();
    to_server(&mut client, &mut server);
    client.disconnected();
    server.disconnected();
    server.reply(id, Reply::Done, &[]);
    assert!(server.transmit().is_none());
    connect(&mut client, &mut server, true);
    assert_eq!(to_client(&mut server, &mut client).len(), 1);
}

#[test]
fn a_relay_that_forgot_the_session_makes_sent_requests_unknown() {
    let (mut client, mut server) = pair();
    connect(&mut client, &mut server, false);
    let sent = client.request(call("sent"), &[]).unwrap();
    to_server(&mut client, &mut server);
    client.disconnected();
    let waiting = client.request(call("waiting"), &[]).unwrap();
    let mut other = ServerSession::new(ID, "demo".into());
    let event = connect(&mut client, &mut other, false);
    assert_eq!(event, ClientEvent::Open { lost: vec![sent] });
    let started = to_server(&mut client, &mut other);
    assert!(matches!(&started[..], [ServerEvent::Start { id, .. }] if *id == waiting));
}

#[test]
fn a_read_that_a_relay_forgot_is_sent_again() {
    let (mut client, mut server) = pair();
    connect(&mut client, &mut server, false);
    let read = Request::ReadState { key: "k".into(), offset: 0, length: None };
    let id = client.request(read, &[]).unwrap();
    to_server(&mut client, &mut server);
    let mut other = ServerSession::new(ID, "demo".into());
    client.disconnected();
    assert_eq!(connect(&mut client, &mut other, false), ClientEvent::Open { lost: vec![] });
    let started = to_server(&mut client, &mut other);
    assert!(matches!(&started[..], [ServerEvent::Start { id: started, .. }] if *started == id));
}

#[test]
fn a_reply_is_sent_once_over_each_connection() {
    let (mut client, mut server) = pair();
    connect(&mut client, &mut server, false);
    let id = client.request(call("f"), &[]).unwrap();
    to_server(&mut client, &mut server);
    server.reply(id, Reply::Done, &[]);
    assert!(server.transmit().is_some());
    // The reply is lost; the client sends the request again.
    client.disconnected();
    server.disconnected();
    connect(&mut client, &mut server, true);
    assert!(to_server(&mut client, &mut server).is_empty());
    assert_eq!(std::iter::from_fn(|| server.transmit()).count(), 1);
}

#[test]
fn the_queue_for_a_connection_is_bounded() {
    let (mut client, mut server) = pair();
    let first = client.request(call("f"), &[]).unwrap();
    for _ in 1..MAX_QUEUED_REQUESTS {
        client.request(call("f"), &[]).unwrap();
    }
    assert_eq!(client.request(call("f"), &[]), Err(SessionError::QueueFull));
    client.cancel(first);
    client.request(call("f"), &[]).unwrap();
    assert_eq!(client.request(call("f"), &[]), Err(SessionError::QueueFull));
    assert!(!client.is_awaiting(), "nothing was sent");
    connect(&mut client, &mut server, false);
    let started = to_server(&mut client, &mut server);
    assert_eq!(started.len(), MAX_QUEUED_REQUESTS);
    assert!(!started.iter().any(|e| matches!(e, ServerEvent::Start { id, .. } if *id == first)));
    client.disconnected();
    client.request(call("f"), &[]).unwrap();

    let (mut client, _) = pair();
    let long = vec![0; MAX_QUEUED_BYTES / 5];
    for _ in 0..4 {
        client.request(call("f"), &long).unwrap();
    }
    assert_eq!(client.request(call("f"), &long), Err(SessionError::QueueFull));
}

#[test]
fn replies_kept_for_a_disconnected_page_are_bounded() {
    let (mut client, mut server) = pair();
    connect(&mut client, &mut server, false);
    let long = vec![0; MAX_KEPT_BYTES / 10];
    let ids: Vec<RequestId> = (0..10).map(|_| client.request(call("f"), &[]).unwrap()).collect();
    to_server(&mut client, &mut server);
    client.disconnected();
    server.disconnected();
    for id in &ids {
        server.reply(*id, Reply::Done, &long);
    }
    connect(&mut client, &mut server, true);
    let replies: Vec<Reply> = std::iter::from_fn(|| server.transmit())
        .filter_map(|frame| match client.receive(&frame).unwrap() {
            Some(ClientEvent::Reply { reply, .. }) => Some(reply),
            _ => None,
        })
        .collect();
    let is_unknown =
        |reply: &&Reply| matches!(reply, Reply::Failed { code: FailureCode::Unknown, .. });
    assert_eq!((replies.len(), replies.iter().filter(is_unknown).count()), (10, 1));
    to_server(&mut client, &mut server);
    // There is capacity again.
    let id = client.request(call("f"), &[]).unwrap();
    to_server(&mut client, &mut server);
    server.reply(id, Reply::Done, &long);
    let replies = to_client(&mut server, &mut client);
    assert!(matches!(&replies[..], [ClientEvent::Reply { reply: Reply::Done, .. }]));
}

#[test]
fn a_page_that_does_not_read_is_cut_off() {
    let (mut client, mut server) = pair();
    connect(&mut client, &mut server, false);
    let ping = encode(&ClientMessage::Ping, &[]).unwrap();
    let cut = (0..1 << 20).find_map(|_| server.receive(&ping).err());
    assert_eq!(cut, Some(SessionError::NotReading));
}

#[test]
fn only_a_relay_that_supports_pings_is_pinged() {
    let (mut client, mut server) = pair();
    assert!(!client.ping(), "there is no connection");
    connect(&mut client, &mut server, false);
    assert!(client.ping());
    to_server(&mut client, &mut server);
    let pong = server.transmit().unwrap();
    assert_eq!(client.receive(&pong), Ok(None));

    let mut client = ClientSession::new("demo", None);
    client.connected().unwrap();
    let welcome = Answer::Welcome { version: 1, session: ID, resumed: false };
    client.receive(&encode_handshake(&welcome).unwrap()).unwrap();
    assert!(!client.ping());
}

#[test]
fn cancelling_while_disconnected_arrives_later() {
    let (mut client, mut server) = pair();
    connect(&mut client, &mut server, false);
    let id = client.request(call("f"), &[]).unwrap();
    to_server(&mut client, &mut server);
    client.disconnected();
    server.disconnected();
    client.cancel(id);
    connect(&mut client, &mut server, true);
    assert_eq!(to_server(&mut client, &mut server), vec![ServerEvent::Cancel { id }]);
}

#[test]
fn cancelling_reaches_a_running_request_only() {
    let (mut client, mut server) = pair();
    connect(&mut client, &mut server, false);
    let id = client.request(call("f"), &[]).unwrap();
    to_server(&mut client, &mut server);
    client.cancel(id);
    assert_eq!(to_server(&mut client, &mut server), [ServerEvent::Cancel { id }]);
    server.reply(id, Reply::Failed { code: FailureCode::Cancelled, message: "".into() }, &[]);
    server.reply(id, Reply::Done, &[]);
    assert_eq!(to_client(&mut server, &mut client).len(), 1, "the second reply is dropped");
    client.cancel(id);
    assert!(to_server(&mut client, &mut server).is_empty());
}

#[test]
fn a_bad_request_is_answered_and_not_started() {
    let (mut client, mut server) = pair();
    connect(&mut client, &mut server, false);
    let id = client.request(call("../etc"), &[]).unwrap();
    assert!(to_server(&mut client, &mut server).is_empty());
    let events = to_client(&mut server, &mut client);
    let [ClientEvent::Reply { id: replied, reply: Reply::Failed { code, message }, .. }] =
        &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!((*replied, *code), (id, FailureCode::BadRequest));
    assert!(message.contains("../etc"), "{message}");
}

#[test]
fn replies_are_acknowledged_with_what_is_sent_next_or_when_they_are_many() {
    let (mut client, mut server) = pair();
    connect(&mut client, &mut server, false);
    let asked = |client: &mut ClientSession, server: &mut ServerSession, output: &[u8]| {
        let id = client.request(call("f"), &[]).unwrap();
        to_server(client, server);
        assert_eq!(server.open_requests(), 1, "acknowledgements come before the request");
        server.reply(id, Reply::Call { return_value: 0 }, output);
        to_client(server, client);
    };
    for _ in 0..3 * MAX_OWED {
        asked(&mut client, &mut server, b"");
        assert!(client.owes());
    }
    asked(&mut client, &mut server, &vec![0; MAX_OWED_BYTES]);
    assert!(client.transmit().is_some(), "a long one is acknowledged at once");
    server.disconnected();
    client.disconnected();
    connect(&mut client, &mut server, true);
    to_client(&mut server, &mut client);
    assert!(client.transmit().is_some(), "and again after it was lost");

    // Many at once.
    let ids: Vec<_> = (0..MAX_OWED).map(|_| client.request(call("f"), &[]).unwrap()).collect();
    to_server(&mut client, &mut server);
    for id in ids {
        assert!(client.transmit().is_none());
        server.reply(id, Reply::Done, &[]);
        to_client(&mut server, &mut client);
    }
    assert_eq!(to_server(&mut client, &mut server), [], "acknowledgements only");
    assert_eq!((server.open_requests(), client.owes()), (1, false), "all but the lost one");
}

#[test]
fn messages_contain_all_pending_frames() {
    let (mut client, mut server) = pair();
    connect(&mut client, &mut server, false);
    let long = vec![7; MESSAGE_BYTES];
    for input in [&b"a"[..], b"b", &long, b"c"] {
        client.request(call("f"), input).unwrap();
    }
    let messages: Vec<_> = std::iter::from_fn(|| client.transmit_message()).collect();
    let started: Vec<usize> = messages
        .iter()
        .map(|message| {
            let frames = server.frames_of(message).map(Result::unwrap).collect::<Vec<_>>();
            frames.iter().filter(|frame| server.receive(frame).unwrap().is_some()).count()
        })
        .collect();
    assert_eq!(started, [2, 1, 1], "a long frame has a message of its own");
    for id in 1..=4 {
        server.reply(RequestId(id), Reply::Done, if id == 2 { &long } else { &[] });
    }
    let messages: Vec<_> =
        std::iter::from_fn(|| server.transmit_message().map(|message| message.joined())).collect();
    let replied = |message: &Bytes| client.frames_of(message).map(Result::unwrap).count();
    assert_eq!(messages.iter().map(replied).collect::<Vec<_>>(), [1, 1, 2]);
    assert!(client.frames_of(&messages[2][..9]).any(|frame| frame.is_err()), "cut off");

    // Before version 3 each message is one frame.
    server.disconnected();
    server.connected(BATCHES_SINCE - 1);
    let messages = std::iter::from_fn(|| server.transmit_message().map(|message| message.joined()))
        .collect::<Vec<_>>();
    assert_eq!(messages.len(), 4);
    assert!(messages.iter().all(|message| decode::<ServerMessage>(message).is_ok()));
}

#[test]
fn calls_of_a_run_are_announced_also_after_a_reconnect() {
    let first_of = |started: &[ServerEvent]| {
        let first = |event: &ServerEvent| match event {
            ServerEvent::Start { id, first, .. } => (id.0, first.0),
            other => panic!("{other:?}"),
        };
        started.iter().map(first).collect::<Vec<_>>()
    };
    let (mut client, mut server) = pair();
    connect(&mut client, &mut server, false);
    let run = client.request(call("f"), &[]).unwrap();
    client.request(call("g"), &[]).unwrap();
    client.request_of(Some(run), call("f"), &[]).unwrap();
    assert_eq!(first_of(&to_server(&mut client, &mut server)), [(1, 1), (2, 2), (3, 1)]);
    client.request_of(Some(run), call("f"), &[]).unwrap();
    client.disconnected();
    server.disconnected();
    client.request_of(Some(run), call("f"), &[]).unwrap();
    connect(&mut client, &mut server, true);
    assert_eq!(first_of(&to_server(&mut client, &mut server)), [(4, 1), (5, 1)]);

    // A relay without support for runs does not get the announcement.
    let (mut client, mut server) = pair();
    client.connected().unwrap();
    client.transmit().unwrap();
    let welcome = Answer::Welcome { version: 2, session: ID, resumed: false };
    client.receive(&encode_handshake(&welcome).unwrap()).unwrap();
    server.connected(*VERSIONS.end());
    client.request_of(Some(run), call("f"), &[]).unwrap();
    assert_eq!(first_of(&to_server(&mut client, &mut server)), [(1, 1)]);
}

#[test]
fn requests_too_new_for_the_relay_are_not_sent() {
    let compare = || Request::Compare { function: "f".into(), integrities: vec![] };
    let mut client = ClientSession::new("demo", None);
    let early = client.request(compare(), &[]).unwrap();
    let call = client.request(call("f"), &[]).unwrap();
    assert!(!client.was_sent(early) && !client.was_sent(call));
    client.connected().unwrap();
    client.transmit().unwrap();
    let welcome = Answer::Welcome { version: 2, session: ID, resumed: false };
    let event = client.receive(&encode_handshake(&welcome).unwrap()).unwrap();
    assert_eq!(event, Some(ClientEvent::Open { lost: vec![] }));
    assert_eq!((client.take_refused(), client.take_refused()), (vec![early], vec![]));
    assert!(client.is_open(call) && !client.is_open(early));
    assert_eq!(client.request(compare(), &[]), Err(SessionError::TooNew { since: 3 }));
    let sent: Vec<_> = std::iter::from_fn(|| client.transmit()).collect();
    assert_eq!(sent.len(), 1, "the call");
    assert!(client.was_sent(call));
}

#[test]
fn what_no_connection_took_was_not_performed_although_the_session_was_open() {
    let (mut client, mut server) = pair();
    connect(&mut client, &mut server, false);
    let run = client.request(call("run"), &[]).unwrap();
    to_server(&mut client, &mut server);
    let [taken, left] = [(); 2].map(|()| client.request_of(Some(run), call("f"), &[]).unwrap());
    client.transmit().unwrap();
    assert!(!client.was_sent(taken), "only its run was named");
    client.transmit().unwrap();
    assert!(client.was_sent(taken) && !client.was_sent(left));
    client.disconnected();
    let mut other = ServerSession::new(ID, "demo".into());
    let event = connect(&mut client, &mut other, false);
    assert_eq!(event, ClientEvent::Open { lost: vec![run, taken] });
    let started = to_server(&mut client, &mut other);
    assert!(matches!(&started[..], [ServerEvent::Start { id, .. }] if *id == left));

    // A relay that is too old for what no connection took.
    let [taken, left] = [(); 2].map(|()| {
        let write =
            Request::WriteStaged { key: "k".into(), size: 0, write: 1, parts: 0, chunks: vec![] };
        client.request(write, &[]).unwrap()
    });
    client.transmit().unwrap();
    client.disconnected();
    client.connected().unwrap();
    client.transmit().unwrap();
    let welcome = Answer::Welcome { version: 4, session: ID, resumed: true };
    let event = client.receive(&encode_handshake(&welcome).unwrap()).unwrap();
    assert_eq!(event, Some(ClientEvent::Open { lost: vec![taken] }));
    assert_eq!(client.take_refused(), [left]);
}

#[test]
fn what_is_cancelled_before_a_connection_takes_it_is_not_sent() {
    let (mut client, mut server) = pair();
    connect(&mut client, &mut server, false);
    let [gone, kept] =
        [(); 2].map(|()| client.request_of(Some(RequestId(9)), call("f"), &[]).unwrap());
    client.cancel(gone);
    let started = to_server(&mut client, &mut server);
    assert!(matches!(&started[..], [ServerEvent::Start { id, .. }] if *id == kept));
    assert!(!client.is_open(gone));
    server.reply(kept, Reply::Done, &[]);
    to_client(&mut server, &mut client);
    assert!(!client.is_awaiting());
    let gone = client.request(call("f"), &[]).unwrap();
    client.cancel(gone);
    client.acknowledge();
    let frames: Vec<_> = std::iter::from_fn(|| client.transmit_message()).collect();
    assert_eq!(frames.len(), 1, "the acknowledgement alone");
}

#[test]
fn handshakes_settle_the_version_or_say_why_not() {
    let hello = |versions, user: &str| {
        let user = user.to_owned();
        let hello = crate::wire::Hello { versions, user, token: None, resume: None };
        encode_handshake(&hello).unwrap()
    };
    let newest = *VERSIONS.end();
    assert_eq!(greet(&hello((1, 99), "demo")).unwrap().1, newest);
    let refused = |frame: &[u8]| match greet(frame) {
        Err(Answer::Refused { code, .. }) => code,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&hello((98, 99), "demo")), RefusalCode::Version);
    assert_eq!(refused(&hello((0, 0), "demo")), RefusalCode::Version);
    assert_eq!(refused(&hello((1, 1), "a/b")), RefusalCode::Malformed);
    assert_eq!(refused(b"nonsense"), RefusalCode::Malformed);

    let mut client = ClientSession::new("demo", None);
    client.connected().unwrap();
    let answer = Answer::Refused { code: RefusalCode::Busy, message: "full".into() };
    let event = client.receive(&encode_handshake(&answer).unwrap()).unwrap();
    assert!(matches!(event, Some(ClientEvent::Refused { code: RefusalCode::Busy, .. })));
    assert_eq!(client.phase(), Phase::Refused);
    assert_eq!(client.request(call("f"), &[]), Ok(RequestId(1)));
    // A relay that refused as busy may accept later.
    client.disconnected();
    let mut server = ServerSession::new(ID, "demo".into());
    connect(&mut client, &mut server, false);
    assert_eq!(to_server(&mut client, &mut server).len(), 1);
}

#[test]
fn an_id_before_the_first_or_after_the_last_is_refused() {
    let (_, mut server) = pair();
    server.connected(*VERSIONS.end());
    for (id, is_started) in [(0, false), (u64::MAX, false), (u64::MAX - 1, true)] {
        let id = RequestId(id);
        let request = encode(&ClientMessage::Request { id, request: call("f") }, &[]).unwrap();
        assert_eq!(server.receive(&request).unwrap().is_some(), is_started);
        server.reply(id, Reply::Done, &[]);
        let reply = server.transmit().unwrap();
        let (ServerMessage::Reply { reply, .. }, _) = decode(&reply).unwrap() else {
            panic!("no reply to {id:?}");
        };
        assert_eq!(reply == Reply::Done, is_started, "{reply:?}");
        let acknowledged = encode(&ClientMessage::Acknowledge { id }, &[]).unwrap();
        assert_eq!(server.receive(&acknowledged).unwrap().is_some(), is_started);
    }
    let begun = vec![(RequestId(u64::MAX), InFlight::Unknown)];
    let recovered = RecoveredSession { acked: Vec::new(), begun };
    assert_eq!(ServerSession::restore(ID, "demo".into(), recovered).open_requests(), 0);
}

#[test]
fn a_lock_request_without_a_received_reply_is_performed_again() {
    let (mut client, mut server) = pair();
    connect(&mut client, &mut server, false);
    let lock = || Request::LockState { key: "k".into(), run: 7 };
    let [heard, unheard, waits] = std::array::from_fn(|_| client.request(lock(), &[]).unwrap());
    to_server(&mut client, &mut server);
    server.reply(heard, Reply::Done, &[]);
    assert_eq!(to_client(&mut server, &mut client).len(), 1);
    server.reply(unheard, Reply::Done, &[]);
    // Without a connection the lock is not renewed: the reply may be wrong when it arrives.
    client.disconnected();
    server.disconnected();
    assert_eq!(server.open_requests(), 1, "the waiting one");
    connect(&mut client, &mut server, true);
    assert_eq!(to_client(&mut server, &mut client), []);
    let started = to_server(&mut client, &mut server);
    let (request, payload) = (lock(), Vec::new());
    assert_eq!(
        started,
        [ServerEvent::Start { id: unheard, first: unheard, request, payload: payload.into() }]
    );
    // The same where the next connection comes before the end of the last one is noticed.
    server.reply(waits, Reply::Done, &[]);
    client.disconnected();
    connect(&mut client, &mut server, true);
    assert_eq!(to_server(&mut client, &mut server).len(), 1);
    for id in [unheard, waits] {
        server.reply(id, Reply::Done, &[]);
    }
    assert_eq!(to_client(&mut server, &mut client).len(), 2);
    client.acknowledge();
    to_server(&mut client, &mut server);
    assert_eq!(server.open_requests(), 0);
}

#[test]
fn a_lock_request_is_sent_again_in_a_new_session_unless_the_relay_is_too_old() {
    let (mut client, mut server) = pair();
    connect(&mut client, &mut server, false);
    assert_eq!(client.sessions(), 1);
    let lock = Request::LockState { key: "k".into(), run: 7 };
    let unlock = Request::UnlockState { key: "k".into(), run: 7 };
    let taking = client.request(lock.clone(), &[]).unwrap();
    let releasing = client.request(unlock.clone(), &[]).unwrap();
    to_server(&mut client, &mut server);
    client.disconnected();
    let (_, mut next) = pair();
    let opened = connect(&mut client, &mut next, false);
    assert_eq!(opened, ClientEvent::Open { lost: vec![releasing] });
    assert_eq!((client.sessions(), client.is_open(taking)), (2, true));
    client.disconnected();
    client.connected().unwrap();
    client.transmit();
    let welcome = Answer::Welcome { version: 3, session: ID, resumed: true };
    let event = client.receive(&encode_handshake(&welcome).unwrap()).unwrap();
    assert_eq!(event, Some(ClientEvent::Open { lost: vec![taking] }), "another relay received it");
    assert_eq!(client.take_refused(), []);
    assert_eq!(client.sessions(), 2);
    for request in [lock, unlock] {
        assert_eq!(client.request(request, &[]), Err(SessionError::TooNew { since: 4 }));
    }
}
