//! Both ends of a session, fed with frames of a peer that does not keep to the protocol.
//!
//! An input is a sequence of frames, each after its length in two bytes. A length beyond the end is cut; a length of 0
//! is a connection that breaks and is resumed.

use super::seeds;
use crate::random::{Rng, hash};
use faasm_bridge::session::{
    ClientEvent, ClientSession, InFlight, Phase, RecoveredSession, ServerEvent, ServerSession,
    SessionError,
};
use faasm_bridge::wire::{
    ClientMessage, Hello, MAX_OPEN_REQUESTS, MAX_WATCHED, Reply, Request, RequestId, ServerMessage,
    SessionId, VERSIONS, decode, decode_handshake,
};
use std::collections::BTreeSet;

/// Most frames of a seed.
const FRAMES: usize = 16;
const SESSION: SessionId = SessionId([7; 16]);

pub(super) fn page_frames(rng: &mut Rng) -> Vec<u8> {
    row(rng, seeds::client_frame)
}

/// The answer to the handshake comes first.
pub(super) fn relay_frames(rng: &mut Rng) -> Vec<u8> {
    let mut input = Vec::new();
    append(&mut input, &seeds::answer(rng));
    input.extend(row(rng, |rng| {
        if rng.chance(10) { seeds::answer(rng) } else { seeds::server_frame(rng) }
    }));
    input
}

fn row(rng: &mut Rng, mut frame: impl FnMut(&mut Rng) -> Vec<u8>) -> Vec<u8> {
    let mut input = Vec::new();
    for _ in 0..rng.below(FRAMES) {
        let frame = if rng.chance(10) { Vec::new() } else { frame(rng) };
        append(&mut input, &frame);
    }
    input
}

fn append(input: &mut Vec<u8>, frame: &[u8]) {
    if let Ok(length) = u16::try_from(frame.len()) {
        input.extend(length.to_le_bytes());
        input.extend(frame);
    }
}

fn frames(mut input: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = input.split_first_chunk()?;
        let length = usize::from(u16::from_le_bytes(*length));
        let (frame, rest) = rest.split_at(length.min(rest.len()));
        input = rest;
        Some(frame)
    })
}

/// Every request is started once, even if another relay restores the session. The exception is a request for a lock,
/// which may be started again after each loss of the connection, because its reply may be lost.
pub(super) fn server(input: &[u8]) -> Result<bool, String> {
    let mut session = ServerSession::new(SESSION, "demo".to_owned());
    let mut started = BTreeSet::new();
    let mut locks = BTreeSet::new();
    // `asked`: started requests for locks. `locks`: those that may be started again.
    let mut asked = BTreeSet::new();
    let mut replies = Vec::new();
    let mut recovered = RecoveredSession::default();
    let mut is_clean = true;
    session.connected(*VERSIONS.end());
    for frame in frames(input) {
        let event = if frame.is_empty() { Ok(None) } else { session.receive(frame) };
        let is_broken = event.is_err();
        match event {
            Ok(Some(ServerEvent::Start { id, request, payload, .. })) => {
                let may_repeat = locks.remove(&id);
                if !started.insert(id) && !may_repeat {
                    return Err(format!("{id:?} is started twice"));
                }
                if let Request::LockState { .. } = request {
                    asked.insert(id);
                }
                match &request {
                    Request::Watch { key } => drop(session.watch(key)),
                    Request::Unwatch { key } => session.unwatch(key),
                    request => request.state_key().into_iter().for_each(|key| session.changed(key)),
                }
                // Some requests are still running at the end of the input.
                if !hash(frame).is_multiple_of(3) {
                    let reply = session.reply(id, Reply::Bytes, &payload);
                    replies.push((id, reply.map(|frame| frame.to_bytes().to_vec())));
                }
            }
            Ok(Some(ServerEvent::Forget { ids })) => recovered.acked.push(ids),
            Ok(Some(ServerEvent::Cancel { id })) if !started.contains(&id) => {
                return Err(format!("{id:?} is cancelled, but was never started"));
            }
            Ok(_) | Err(_) => {}
        }
        if frame.is_empty() || is_broken {
            session.disconnected();
            session.connected(*VERSIONS.end());
            locks.clone_from(&asked);
        }
        is_clean &= !is_broken;
        while let Some(message) = session.transmit_message() {
            for frame in session.frames_of(&message.joined()) {
                let read = frame.and_then(|frame| decode::<ServerMessage>(frame));
                read.map_err(|error| format!("it sends an invalid frame: {error}"))?;
            }
        }
        if session.watched().count() > MAX_WATCHED {
            return Err(format!("{} values are watched", session.watched().count()));
        }
        if session.open_requests() > MAX_OPEN_REQUESTS {
            return Err(format!("{} requests are open", session.open_requests()));
        }
    }
    let known = |id: &RequestId| replies.iter().any(|(replied, _)| replied == id);
    let running: Vec<RequestId> = started.iter().filter(|id| !known(id)).copied().collect();
    let replied = |(id, reply): (RequestId, Option<Vec<u8>>)| {
        (id, reply.map_or(InFlight::Unknown, InFlight::Replied))
    };
    let left = |id: RequestId| {
        (id, if id.0.is_multiple_of(2) { InFlight::Elsewhere } else { InFlight::Unknown })
    };
    let (replies, running) = (replies.into_iter().map(replied), running.into_iter().map(left));
    recovered.begun = replies.chain(running).collect();
    let mut next = ServerSession::restore(SESSION, "demo".to_owned(), recovered);
    next.connected(*VERSIONS.end());
    for frame in frames(input).filter(|frame| !frame.is_empty()) {
        if let Ok(Some(ServerEvent::Start { id, .. })) = next.receive(frame)
            && started.contains(&id)
            && !asked.contains(&id)
        {
            return Err(format!("{id:?} is started again by the next relay"));
        }
    }
    Ok(is_clean)
}

/// A reply is delivered once, and only for an open request.
pub(super) fn client(input: &[u8]) -> Result<bool, String> {
    let mut session = ClientSession::new("demo", None);
    let said = |error: SessionError| error.to_string();
    for key in ["one", "two", "three"] {
        session.request(Request::AppendState { key: key.to_owned() }, b"x").map_err(said)?;
    }
    session.connected().map_err(said)?;
    sent(&mut session)?;
    let mut is_clean = true;
    for (number, frame) in frames(input).enumerate() {
        let open: Vec<bool> = (0..8).map(|id| session.is_open(RequestId(id))).collect();
        let event = if frame.is_empty() { Ok(None) } else { session.receive(frame) };
        let is_broken = event.is_err();
        match event {
            Ok(Some(ClientEvent::Reply { id, .. })) => {
                let was_open = usize::try_from(id.0).ok().and_then(|id| open.get(id));
                if was_open != Some(&true) || session.is_open(id) {
                    return Err(format!("a reply to {id:?}, which is not open"));
                }
            }
            Ok(Some(ClientEvent::Open { lost })) => {
                if lost.iter().any(|id| session.is_open(*id)) {
                    return Err(format!("lost and still open: {lost:?}"));
                }
            }
            Ok(Some(ClientEvent::Refused { .. })) => break,
            Ok(Some(ClientEvent::Changed { .. }) | None) | Err(_) => {}
        }
        if number == 3 {
            session.cancel(RequestId(2));
            session.ping();
        }
        sent(&mut session)?;
        if frame.is_empty() || is_broken {
            session.disconnected();
            session.connected().map_err(said)?;
            sent(&mut session)?;
        }
        is_clean &= !is_broken;
    }
    Ok(is_clean && session.has_begun())
}

/// The client sends only frames that the relay can decode.
fn sent(session: &mut ClientSession) -> Result<(), String> {
    while let Some(message) = session.transmit_message() {
        for frame in session.frames_of(&message) {
            let read = frame.and_then(|frame| match session.phase() {
                Phase::Greeting => decode_handshake::<Hello>(frame).map(drop),
                _ => decode::<ClientMessage>(frame).map(drop),
            });
            read.map_err(|error| format!("it sends an invalid frame: {error}"))?;
        }
    }
    Ok(())
}
