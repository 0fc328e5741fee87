//! Both ends in memory, over connections that break and relays that are killed at any point: each effect happens once,
//! or its caller gets the outcome `Unknown`.

use super::*;
use crate::wire::{
    Answer, CallEntry, ClientMessage, FailureCode, Reply, Request, RequestId, ServerMessage,
    SessionId, VERSIONS, decode, encode, encode_handshake,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

const ID: SessionId = SessionId([7; 16]);

/// Number of random worlds.
const WORLDS: u64 = 1500;

/// Steps of each world before the faults stop.
const STEPS: usize = 250;

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}

/// The state that survives a relay.
#[derive(Default)]
struct Journal {
    has_session: bool,
    acked: Vec<Range<u64>>,
    accepted: BTreeSet<RequestId>,
    /// Results of calls, and idempotency records of state operations.
    replies: BTreeMap<RequestId, Vec<u8>>,
}

impl Journal {
    fn recovered_session(&self) -> RecoveredSession {
        let recorded = self.replies.keys().copied();
        let ids: BTreeSet<RequestId> = self.accepted.iter().copied().chain(recorded).collect();
        let begun =
            |id| self.replies.get(&id).cloned().map_or(InFlight::Unknown, InFlight::Replied);
        let begun = ids.into_iter().map(|id| (id, begun(id))).collect();
        RecoveredSession { acked: self.acked.clone(), begun }
    }

    fn write_deferred(&mut self, write: DeferredWrite) {
        match write {
            DeferredWrite::Result(id, frame) => {
                self.replies.insert(id, frame);
            }
            DeferredWrite::Forget(ids) => {
                self.replies.retain(|id, _| !ids.contains(&id.0));
                self.accepted.retain(|id| !ids.contains(&id.0));
                self.acked.push(ids);
            }
        }
    }
}

/// Deferred journal writes, in order; a killed relay loses those that are pending.
enum DeferredWrite {
    Result(RequestId, Vec<u8>),
    Forget(Range<u64>),
}

/// Kinds of request, as the first byte of their payload.
const CALL: u8 = 0;
const WRITE: u8 = 1;
const READ: u8 = 2;

struct World {
    random: Rng,
    client: ClientSession,
    server: Option<ServerSession>,
    is_connected: bool,
    journal: Journal,
    deferred: VecDeque<DeferredWrite>,
    /// Requests to be started.
    waiting: Vec<(RequestId, u8)>,
    /// Calls whose function is running.
    running: Vec<RequestId>,
    effects: BTreeMap<RequestId, u32>,
    requests: BTreeMap<RequestId, u8>,
    outcomes: BTreeMap<RequestId, Vec<Outcome>>,
    /// How often the client had to start a new session; equal ids mean the same requests.
    restarts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Unknown,
    Cancelled,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            random: Rng(seed),
            client: ClientSession::new("demo", None),
            server: None,
            is_connected: false,
            journal: Journal::default(),
            deferred: VecDeque::new(),
            waiting: Vec::new(),
            running: Vec::new(),
            effects: BTreeMap::new(),
            requests: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            restarts: 0,
        }
    }

    fn make_request(&mut self) {
        let kind = self.random.below(3) as u8;
        let key = || "k".to_owned();
        let request = match kind {
            CALL => Request::Call {
                function: "f".into(),
                entry: CallEntry::Main,
                args: vec![],
                env: vec![],
            },
            WRITE => Request::AppendState { key: key() },
            _ => Request::ReadState { key: key(), offset: 0, length: None },
        };
        let id = self.client.request(request, &[kind]).unwrap();
        self.requests.insert(id, kind);
    }

    /// Opens a new connection, in place of the current one.
    fn connect(&mut self) {
        self.disconnect();
        self.client.connected().unwrap();
        let (hello, version) = greet(&self.client.transmit().unwrap()).unwrap();
        let resumed = hello.resume.is_some() && (self.server.is_some() || self.journal.has_session);
        if self.server.is_none() {
            let recovered = if resumed {
                self.journal.recovered_session()
            } else {
                RecoveredSession::default()
            };
            self.server = Some(ServerSession::restore(ID, "demo".into(), recovered));
            self.journal.has_session = true;
        }
        let welcome = Answer::Welcome { version, session: ID, resumed };
        let event = self.client.receive(&encode_handshake(&welcome).unwrap()).unwrap();
        assert_eq!(event, Some(ClientEvent::Open { lost: vec![] }), "the journal has the session");
        self.server.as_mut().unwrap().connected(*VERSIONS.end());
        self.is_connected = true;
    }

    fn disconnect(&mut self) {
        self.client.disconnected();
        if let Some(server) = &mut self.server {
            server.disconnected();
        }
        self.is_connected = false;
    }

    /// Kills the relay's process, which loses everything that was not journaled.
    fn kill(&mut self) {
        self.disconnect();
        self.server = None;
        self.deferred.clear();
        self.waiting.clear();
        self.running.clear();
        self.restarts += 1;
    }

    fn send(&mut self) {
        let (true, Some(server)) = (self.is_connected, &mut self.server) else { return };
        let Some(frame) = self.client.transmit() else { return self.client.acknowledge() };
        match server.receive(&frame).unwrap() {
            None => {}
            Some(ServerEvent::Start { id, payload, .. }) => self.waiting.push((id, payload[0])),
            Some(ServerEvent::Cancel { id }) => {
                self.waiting.retain(|(waiting, _)| *waiting != id);
                self.running.retain(|running| *running != id);
                let message = String::new();
                self.reply(id, Reply::Failed { code: FailureCode::Cancelled, message }, true);
            }
            Some(ServerEvent::Forget { ids }) => {
                self.deferred.push_back(DeferredWrite::Forget(ids))
            }
        }
    }

    fn answer(&mut self) {
        let (true, Some(server)) = (self.is_connected, &mut self.server) else { return };
        let Some(frame) = server.transmit() else { return };
        match self.client.receive(&frame).unwrap() {
            None => {}
            Some(ClientEvent::Reply { id, reply, .. }) => {
                let outcome = match reply {
                    Reply::Failed { code: FailureCode::Unknown, .. } => Outcome::Unknown,
                    Reply::Failed { code: FailureCode::Cancelled, .. } => Outcome::Cancelled,
                    _ => Outcome::Done,
                };
                self.outcomes.entry(id).or_default().push(outcome);
            }
            Some(event) => panic!("{event:?}"),
        }
    }

    fn reply(&mut self, id: RequestId, reply: Reply, is_noted: bool) {
        let Some(server) = &mut self.server else { return };
        if let Some(frame) = server.reply(id, reply, &[])
            && is_noted
        {
            self.deferred.push_back(DeferredWrite::Result(id, frame.to_bytes().to_vec()));
        }
    }

    /// Starts one of the waiting requests.
    fn begin(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let (id, kind) = self.waiting.swap_remove(self.random.below(self.waiting.len()));
        match kind {
            CALL => {
                self.journal.accepted.insert(id);
                if self.random.below(10) == 0 {
                    return self.kill();
                }
                *self.effects.entry(id).or_default() += 1;
                self.running.push(id);
            }
            WRITE => {
                // One step: the effect and its idempotency record.
                *self.effects.entry(id).or_default() += 1;
                self.journal.replies.insert(id, reply_frame(id, Reply::Done, &[]));
                if self.random.below(10) == 0 {
                    return self.kill();
                }
                self.reply(id, Reply::Done, false);
            }
            _ => self.reply(id, Reply::State { size: None, offset: 0 }, false),
        }
    }

    fn end(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let id = self.running.swap_remove(self.random.below(self.running.len()));
        self.reply(id, Reply::Call { return_value: 0 }, true);
    }

    fn write_note(&mut self) {
        if let Some(write) = self.deferred.pop_front() {
            self.journal.write_deferred(write);
        }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..12 => self.make_request(),
            12..35 => self.send(),
            35..55 => self.answer(),
            55..68 => self.begin(),
            68..78 => self.end(),
            78..88 => self.write_note(),
            88..94 => self.connect(),
            94..96 => self.disconnect(),
            96..98 => self.kill(),
            _ => {
                let latest = self.requests.len() as u64;
                if latest > 0 {
                    let id = RequestId(latest - self.random.below(latest.min(4) as usize) as u64);
                    self.client.cancel(id);
                }
            }
        }
    }

    /// Runs without faults until all requests have ended.
    fn settle(&mut self) {
        self.connect();
        for _ in 0..4 * self.requests.len() + 8 {
            for _ in 0..4 * self.requests.len() + 8 {
                self.send();
            }
            let random = std::mem::replace(&mut self.random, Rng(3));
            while let Some((id, kind)) = self.waiting.pop() {
                self.waiting.push((id, kind));
                self.begin();
                if self.server.is_none() {
                    self.connect();
                }
            }
            self.random = random;
            while !self.running.is_empty() {
                self.end();
            }
            for _ in 0..4 * self.requests.len() + 8 {
                self.answer();
            }
        }
    }

    fn check(&self, seed: u64) {
        for (id, kind) in &self.requests {
            let outcomes = self.outcomes.get(id).map_or(&[][..], Vec::as_slice);
            let effects = self.effects.get(id).copied().unwrap_or(0);
            let is_right = match (kind, outcomes) {
                // Cancelled before it was sent.
                (_, []) => effects == 0 && !self.client.is_awaiting(),
                (&READ, [_]) => true,
                (_, [Outcome::Done]) => effects == 1,
                (_, [Outcome::Unknown | Outcome::Cancelled]) => effects <= 1,
                _ => false,
            };
            assert!(
                is_right,
                "world {seed}: {id:?} of kind {kind}: outcomes {outcomes:?}, {effects} effects"
            );
        }
    }
}

#[test]
fn each_effect_happens_once_or_its_outcome_is_unknown() {
    let (mut restarts, mut done, mut unknown) = (0, 0, 0);
    for seed in 0..WORLDS {
        let mut world = World::new(seed);
        // Relays that are killed before they journal the session are covered by another test.
        world.connect();
        for _ in 0..STEPS {
            world.step();
        }
        world.settle();
        world.check(seed);
        restarts += world.restarts;
        let outcomes: Vec<Outcome> = world.outcomes.values().flatten().copied().collect();
        done += outcomes.iter().filter(|outcome| **outcome == Outcome::Done).count();
        unknown += outcomes.iter().filter(|outcome| **outcome == Outcome::Unknown).count();
    }
    assert!(restarts > 3000 && done > 15_000 && unknown > 500, "{restarts} {done} {unknown}");
}

#[test]
fn a_restored_session_answers_known_requests_without_starting_them() {
    let reply = |id| reply_frame(RequestId(id), Reply::Done, &[]);
    let recovered = RecoveredSession {
        acked: vec![1..2, 2..3],
        begun: vec![
            (RequestId(2), InFlight::Unknown),
            (RequestId(3), InFlight::Replied(reply(3))),
            (RequestId(5), InFlight::Unknown),
        ],
    };
    let mut server = ServerSession::restore(ID, "demo".into(), recovered);
    server.connected(*VERSIONS.end());
    assert_eq!(server.open_requests(), 2);
    let request = |id| {
        let request = Request::AppendState { key: "k".into() };
        let message = ClientMessage::Request { id: RequestId(id), request };
        encode(&message, &[]).unwrap()
    };
    for id in [2, 3, 5] {
        assert_eq!(server.receive(&request(id)), Ok(None), "{id}");
    }
    let started = server.receive(&request(4)).unwrap();
    assert!(matches!(started, Some(ServerEvent::Start { id: RequestId(4), .. })));
    assert_eq!(server.transmit(), Some(reply(3).into()));
    let unknown = server.transmit().unwrap();
    let (ServerMessage::Reply { id: RequestId(5), reply: Reply::Failed { code, .. } }, []) =
        decode(&unknown).unwrap()
    else {
        panic!("{unknown:?}");
    };
    assert_eq!(code, FailureCode::Unknown);
    let acknowledge = ClientMessage::Acknowledge { id: RequestId(3) };
    let forget = server.receive(&encode(&acknowledge, &[]).unwrap());
    assert_eq!(forget, Ok(Some(ServerEvent::Forget { ids: 1..4 })));
}

#[test]
fn a_session_that_stopped_accepting_ignores_new_requests() {
    let mut world = World::new(1);
    world.connect();
    let request = Request::AppendState { key: "k".into() };
    let id = world.client.request(request, &[WRITE]).unwrap();
    world.server.as_mut().unwrap().stop_accepting();
    world.send();
    assert!(world.waiting.is_empty());
    world.kill();
    world.connect();
    world.send();
    assert_eq!(world.waiting, [(id, WRITE)]);
}

#[test]
fn ids_that_were_never_sent_do_not_add_ranges() {
    let mut server = ServerSession::new(ID, "demo".into());
    server.connected(*VERSIONS.end());
    for id in (1..60_000).step_by(2) {
        let id = RequestId(id);
        let request = Request::AppendState { key: "k".into() };
        let message = ClientMessage::Request { id, request };
        server.receive(&encode(&message, &[]).unwrap()).unwrap();
        server.reply(id, Reply::Done, &[]);
        while server.transmit().is_some() {}
        let message = ClientMessage::Acknowledge { id };
        server.receive(&encode(&message, &[]).unwrap()).unwrap();
    }
    assert!(server.acked_ranges() <= 4097);
}

#[test]
fn a_request_in_flight_elsewhere_is_answered_once_resolved_and_not_started() {
    let reply = |id| reply_frame(RequestId(id), Reply::Done, &[]);
    let begun = (1..=3).map(|id| (RequestId(id), InFlight::Elsewhere)).collect();
    let mut server =
        ServerSession::restore(ID, "demo".into(), RecoveredSession { acked: vec![], begun });
    server.connected(*VERSIONS.end());
    assert_eq!(server.transmit(), None);
    let request = Request::AppendState { key: "k".into() };
    let again = ClientMessage::Request { id: RequestId(1), request };
    assert_eq!(server.receive(&encode(&again, &[]).unwrap()), Ok(None));
    server.resolve(RequestId(1), InFlight::Elsewhere);
    assert_eq!(server.transmit(), None);
    server.resolve(RequestId(1), InFlight::Replied(reply(1)));
    server.resolve(RequestId(1), InFlight::Unknown);
    assert_eq!(server.transmit(), Some(reply(1).into()));
    assert_eq!(server.transmit(), None, "it is decided once");
    let cancel = ClientMessage::Cancel { id: RequestId(2) };
    let cancelled = server.receive(&encode(&cancel, &[]).unwrap());
    assert_eq!(cancelled, Ok(Some(ServerEvent::Cancel { id: RequestId(2) })));
    server.reply(RequestId(2), Reply::Done, &[]);
    server.resolve(RequestId(2), InFlight::Unknown);
    assert_eq!(server.transmit(), Some(reply(2).into()), "what the page was told stays");
    server.disconnected();
    server.resolve(RequestId(3), InFlight::Replied(reply(3)));
    server.connected(*VERSIONS.end());
    let sent: Vec<_> = std::iter::from_fn(|| server.transmit()).collect();
    assert_eq!(sent, [reply(1), reply(2), reply(3)]);
}
