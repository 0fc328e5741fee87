//! The journal of several relays: the laws of all journals, and the properties that only shared journals have.

#![allow(clippy::single_range_in_vec_init, reason = "what is forgotten is ranges")]

use super::notes::Note;
use super::*;
use crate::store::journal_laws::{self as laws, append, list, mark};
use crate::store::{Claim, SessionKey, SessionLog, SessionNotes, StateChanges};
use faasm_bridge::session::InFlight;
use faasm_bridge::wire::{RequestId, SessionId};
use faasm_redis_server::RedisServer;
use std::time::Instant;

fn session(number: u8) -> SessionKey {
    SessionId([number; 16]).into()
}

/// A Redis, and relays that share it.
struct TestBed {
    server: RedisServer,
}

impl TestBed {
    fn new() -> Self {
        Self { server: RedisServer::start_durable().unwrap() }
    }

    async fn relay(&self) -> RedisStore {
        RedisStore::connect(&RedisConfig::new(self.server.url())).await.unwrap()
    }
}

/// Stops a relay's heartbeat, as its death does; requests that it sent earlier may still arrive.
async fn die(relay: RedisStore) -> String {
    let name = relay.relay().to_owned();
    let tasks = Arc::downgrade(&relay.inner);
    drop(relay);
    while tasks.strong_count() > 0 {
        tokio::task::yield_now().await;
    }
    name
}

async fn decided(relay: &RedisStore, session: SessionKey, id: u64) -> Option<InFlight> {
    let decided = relay.decided(session, vec![RequestId(id)]).await.unwrap();
    decided.into_iter().next().map(|(_, begun)| begun)
}

fn is_lost(result: Result<(), StoreError>) -> bool {
    matches!(result, Err(StoreError::SessionLost { .. }))
}

#[tokio::test]
async fn it_keeps_the_laws_of_all_journals() {
    let bed = TestBed::new();
    let (first, second) = (bed.relay().await, bed.relay().await);
    laws::a_relay_notes(&first, session(1), "u").await;
    laws::the_next_relay_finds_it(&second, session(1), ("u", "v"), InFlight::Elsewhere).await;
    laws::what_is_refused_is_not_marked(&first, session(2), "w").await;
    laws::a_session_that_ended_does_not_begin_again(&first, session(3), "x").await;
}

#[tokio::test]
async fn a_late_request_to_create_a_session_creates_nothing() {
    let bed = TestBed::new();
    let relay = bed.relay().await;
    let ask = async |latest| {
        let question = relay.beginning(session(1), "u", latest);
        let asked: String = relay.link().ask("test", Repeat::Reads, 0, question).await.unwrap();
        asked
    };
    let late = relay.now() - 1;
    assert_eq!(ask(late).await, "late");
    assert_eq!(relay.take_up(session(1), "u").await.unwrap(), None);
    relay.begin(session(1), "u").await.unwrap();
    assert_eq!(ask(late).await, "done", "it is there");
}

#[tokio::test]
async fn a_late_end_does_not_end_a_session_acquired_again() {
    let bed = TestBed::new();
    let relay = bed.relay().await;
    let session = session(1);
    relay.begin(session, "u").await.unwrap();
    for hold in [0, 1] {
        let ends = Note::End { session, hold: relay.held().get(&session).unwrap().hold };
        // Its page comes back while the end is in flight.
        relay.take_up(session, "u").await.unwrap().unwrap();
        relay.note(ends);
        relay.settle().await;
        assert!(relay.holds(session).await.unwrap(), "{hold}");
    }
    relay.end(session);
    relay.settle().await;
    assert_eq!(relay.take_up(session, "u").await.unwrap(), None);
}

#[tokio::test]
async fn a_session_has_one_owner_at_a_time() {
    let bed = TestBed::new();
    let (first, second) = (bed.relay().await, bed.relay().await);
    let (session, claim) = (session(1), Claim::new());
    first.begin(session, "u").await.unwrap();
    first.accept(session, claim, RequestId(1)).await.unwrap();
    assert!(second.take_up(session, "u").await.unwrap().is_some());
    assert!(!first.holds(session).await.unwrap() && second.holds(session).await.unwrap());
    assert!(is_lost(first.accept(session, claim, RequestId(2)).await), "the second relay owns it");
    assert!(is_lost(first.begin(session, "u").await));
    // The earlier owner can neither end the session nor delete replies.
    first.forget(session, 1..2);
    first.end(session);
    first.settle().await;
    let recovered = second.take_up(session, "u").await.unwrap().unwrap();
    assert_eq!(recovered.begun, [(RequestId(1), InFlight::Elsewhere)]);
    assert_eq!(recovered.acked, []);
    second.accept(session, claim, RequestId(2)).await.unwrap();
    // The first relay acquires it again while its own calls run.
    assert!(first.take_up(session, "u").await.unwrap().is_some());
    for call in [1, 2] {
        assert!(
            is_lost(first.accept(session, Claim::new(), RequestId(call)).await),
            "{call} was started"
        );
    }
    second.end(session);
    second.settle().await;
    assert!(first.holds(session).await.unwrap());
}

#[tokio::test]
async fn a_claim_records_outcomes_of_its_own_calls_only() {
    let bed = TestBed::new();
    let (first, second) = (bed.relay().await, bed.relay().await);
    let (session, before, now) = (session(1), Claim::new(), Claim::new());
    first.begin(session, "u").await.unwrap();
    // Its page disconnects and comes back while requests of the first claim still wait.
    second.take_up(session, "u").await.unwrap().unwrap();
    first.take_up(session, "u").await.unwrap().unwrap();
    first.accept(session, now, RequestId(1)).await.unwrap();
    assert!(is_lost(first.accept(session, before, RequestId(1)).await), "it was begun");
    first.accept(session, now, RequestId(1)).await.unwrap();
    first.finish(session, before, RequestId(1), b"refused".to_vec().into());
    first.settle().await;
    assert_eq!(decided(&second, session, 1).await, None, "it runs");
    first.finish(session, now, RequestId(1), b"result".to_vec().into());
    first.settle().await;
    assert_eq!(decided(&second, session, 1).await, Some(InFlight::Replied(b"result".to_vec())));
    // What ended before it was accepted is found by whoever tries to accept it.
    first.finish(session, before, RequestId(2), b"refused".to_vec().into());
    first.settle().await;
    assert!(is_lost(first.accept(session, now, RequestId(2)).await));
}

#[tokio::test]
async fn the_owner_learns_the_outcome_of_another_relay_s_call() {
    let bed = TestBed::new();
    let (first, second) = (bed.relay().await, bed.relay().await);
    let (session, claim) = (session(1), Claim::new());
    first.begin(session, "u").await.unwrap();
    first.accept(session, claim, RequestId(1)).await.unwrap();
    second.take_up(session, "u").await.unwrap().unwrap();
    assert_eq!(decided(&second, session, 1).await, None);
    // What the second one says of it does not count: it did not begin it.
    second.finish(session, claim, RequestId(1), b"cancelled".to_vec().into());
    second.settle().await;
    assert_eq!(decided(&second, session, 1).await, None);
    first.finish(session, claim, RequestId(1), b"result".to_vec().into());
    first.settle().await;
    assert_eq!(decided(&second, session, 1).await, Some(InFlight::Replied(b"result".to_vec())));
    second.forget(session, 1..2);
    second.settle().await;
    let recovered = second.take_up(session, "u").await.unwrap().unwrap();
    assert_eq!((recovered.begun, recovered.acked), (vec![], vec![1..2]));
    // Too late, twice over: it is not kept again.
    first.finish(session, claim, RequestId(1), b"result".to_vec().into());
    first.settle().await;
    assert!(is_lost(second.accept(session, claim, RequestId(1)).await));
    assert_eq!(second.take_up(session, "u").await.unwrap().unwrap().begun, []);
}

#[tokio::test]
async fn calls_of_a_dead_relay_stay_unknown() {
    let bed = TestBed::new();
    let (first, second) = (bed.relay().await, bed.relay().await);
    let (session, claim) = (session(1), Claim::new());
    first.begin(session, "u").await.unwrap();
    first.accept(session, claim, RequestId(1)).await.unwrap();
    let late = Arc::new(Links::new(Client::open(bed.server.url()).unwrap()));
    let name = die(first).await;
    second.take_up(session, "u").await.unwrap().unwrap();
    let begun = Instant::now();
    let verdict = loop {
        if let Some(verdict) = decided(&second, session, 1).await {
            break verdict;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "the outcome is settled");
    };
    assert_eq!(verdict, InFlight::Unknown);
    // The dead relay's result arrives after all.
    let notes = Notes::start(late, name.into(), usize::MAX);
    notes.push(Note::Finish {
        session,
        claim,
        request: RequestId(1),
        reply: journal::replied(&b"late".to_vec().into()),
    });
    notes.settle().await;
    let third = bed.relay().await;
    let recovered = third.take_up(session, "u").await.unwrap().unwrap();
    assert_eq!(recovered.begun, [(RequestId(1), InFlight::Unknown)]);
}

#[tokio::test]
async fn a_relay_that_was_disconnected_declares_no_other_dead() {
    let bed = TestBed::new();
    let (first, second) = (bed.relay().await, bed.relay().await);
    let (session, claim) = (session(1), Claim::new());
    first.begin(session, "u").await.unwrap();
    first.accept(session, claim, RequestId(1)).await.unwrap();
    second.take_up(session, "u").await.unwrap().unwrap();
    // As after a long outage of Redis: all heartbeats have expired.
    let names = [first.relay(), second.relay()].map(keys::relay_key);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2500) {
        let question = Question::Command(Cmd::del(&names[..]));
        let () = second.link().ask("test", Repeat::Reads, 0, question).await.unwrap();
        assert_eq!(decided(&second, session, 1).await, None);
    }
    first.finish(session, claim, RequestId(1), b"result".to_vec().into());
    first.settle().await;
    assert_eq!(decided(&second, session, 1).await, Some(InFlight::Replied(b"result".to_vec())));
}

#[tokio::test]
async fn a_change_is_made_once_by_any_relay_and_never_after_its_acknowledgement() {
    let bed = TestBed::new();
    let (first, second) = (bed.relay().await, bed.relay().await);
    let session = session(1);
    first.begin(session, "u").await.unwrap();
    first.change(mark(session, 1), "u", append(b"a")).await.unwrap();
    second.take_up(session, "u").await.unwrap().unwrap();
    for relay in [&first, &second] {
        relay.change(mark(session, 1), "u", append(b"a")).await.unwrap();
    }
    second.forget(session, 1..2);
    second.settle().await;
    for relay in [&first, &second] {
        relay.change(mark(session, 1), "u", append(b"a")).await.unwrap();
    }
    assert_eq!(list(&first, "u").await, b"a");
    second.end(session);
    second.settle().await;
    assert!(is_lost(first.change(mark(session, 2), "u", append(b"b")).await));
    assert_eq!(list(&first, "u").await, b"a", "the session has ended");
}

#[tokio::test]
async fn adjacent_ranges_are_merged() {
    let bed = TestBed::new();
    let relay = bed.relay().await;
    let (session, claim) = (session(1), Claim::new());
    relay.begin(session, "u").await.unwrap();
    let forget = async |ids: std::ops::Range<u64>| {
        relay.forget(session, ids);
        relay.settle().await;
        relay.take_up(session, "u").await.unwrap().unwrap().acked
    };
    let last = u64::MAX - 1;
    assert_eq!(forget(5..6).await, [5..6]);
    assert_eq!(forget(1..2).await, [1..2, 5..6]);
    assert_eq!(forget(last - 1..last).await, [1..2, 5..6, last - 1..last]);
    assert_eq!(forget(2..4).await, [1..4, 5..6, last - 1..last]);
    assert_eq!(forget(2..3).await, [1..4, 5..6, last - 1..last], "one of those before");
    assert_eq!(forget(4..5).await, [1..6, last - 1..last]);
    assert_eq!(forget(0..9).await, [0..9, last - 1..last]);
    assert_eq!(forget(3..last).await, [0..last]);
    for id in [0, 1, 8, 9, last - 1] {
        assert!(is_lost(relay.accept(session, claim, RequestId(id)).await), "{id}");
    }
    relay.accept(session, claim, RequestId(last)).await.unwrap();
}

#[tokio::test]
async fn sessions_and_changes_survive_a_killed_redis() {
    let mut bed = TestBed::new();
    let relay = bed.relay().await;
    let (session, claim) = (session(1), Claim::new());
    relay.begin(session, "u").await.unwrap();
    relay.accept(session, claim, RequestId(1)).await.unwrap();
    relay.change(mark(session, 2), "u", append(b"a")).await.unwrap();
    bed.server.kill().unwrap();
    relay.finish(session, claim, RequestId(1), b"result".to_vec().into());
    let changing = {
        let relay = relay.clone();
        tokio::spawn(async move { relay.change(mark(session, 3), "u", append(b"b")).await })
    };
    let refused = relay.accept(session, claim, RequestId(4)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Backend { .. }), "the call does not start: {refused}");
    bed.server.start_again().unwrap();
    changing.await.unwrap().unwrap();
    relay.settle().await;
    assert_eq!(list(&relay, "u").await, b"ab");
    let mut recovered = bed.relay().await.take_up(session, "u").await.unwrap().unwrap();
    recovered.begun.sort_by_key(|(id, _)| *id);
    let ids: Vec<u64> = recovered.begun.iter().map(|(id, _)| id.0).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(recovered.begun[0].1, InFlight::Replied(b"result".to_vec()), "notes wait for Redis");
}

#[tokio::test]
async fn keys_of_a_dead_relay_expire() {
    let bed = TestBed::new();
    let relay = bed.relay().await;
    let (session, claim) = (session(1), Claim::new());
    relay.begin(session, "u").await.unwrap();
    relay.accept(session, claim, RequestId(1)).await.unwrap();
    relay.change(mark(session, 2), "u", append(b"a")).await.unwrap();
    relay.forget(session, 2..3);
    relay.settle().await;
    let mut keys = Cmd::new();
    keys.arg("KEYS").arg("{faasm-relay}:*");
    let question = Question::Command(keys);
    let keys: Vec<String> = relay.link().ask("test", Repeat::Reads, 0, question).await.unwrap();
    assert_eq!(keys.len(), 4, "{keys:?}");
    for key in keys {
        let question = Question::Command(Cmd::pttl(&key));
        let left: i64 = relay.link().ask("test", Repeat::Reads, 0, question).await.unwrap();
        assert!((1..=500_000).contains(&left), "{key} lasts for {left} ms");
    }
}
