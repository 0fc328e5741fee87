//! The journal of several relays.
//!
//! | key | type | value |
//! |---|---|---|
//! | `{faasm-relay}:session:HASH` | hash | `user`; `owner`, the relay that owns it; `hold`, the number of that relay's acquisition |
//! | `…:begun` | hash | by request: an entry, see [`Entry`] |
//! | `…:forgotten` | sorted set | ranges of acknowledged requests, `START-END` |
//! | `…:ended` | string | tombstone, for ten minutes after the session ended |
//! | `{faasm-relay}:relay:ID` | string | while the relay is alive: its start, by the clock of Redis |
//!
//! Each operation is one script. Each script is correct however often and however late Redis receives it: a broken
//! connection may still deliver requests that were sent over it. Why that is so:
//!
//! * *A call starts at most once.* [`SessionLog::accept`] puts an entry with its [`Claim`], which accepts a request once, where there is
//!   no entry and the page does not have the reply. The same question asked again finds its own entry; another one finds an
//!   entry that is not its own, and its call does not start. Entries go only when the page has the reply, and then the
//!   request is among those that are acknowledged. So it does not matter which relays still hold a session in memory, or that a
//!   page left a relay in the middle of accepting and came back to it.
//! * *A change is made at most once*: the same, with the change in the place of the claim. It needs no owner.
//! * *What ended is told.* Whoever accepted a call, and no other claim of the same relay, says what came of it, also when the session is another relay's by then.
//!   The owner asks for entries of running calls until they are replies, or until the relay in them is gone. Then it writes
//!   that nobody knows, and a result that comes later is dropped: every owner after it answers the same.
//! * *Only the owner ends a session* or forgets replies, so a relay that lost sight of its page does not take the session from
//!   the one that has it.
//! * *A session begins once.* Where it is not there, [`SessionLog::begin`] makes it only up to 20 s, by the clock of Redis, after it
//!   was asked for. A session that is there lasts for longer than that, and one that ended leaves `…:ended` for longer than that: so
//!   a session whose history is gone is not made again without it, however late the same question arrives.
//! * *A relay ends the session that it meant.* Each time that a session is taken up, its `hold` is another one, and an end names
//!   the hold: one that is still on its way when the page comes back ends nothing.
//! * Notes ([`SessionNotes::finish`], [`SessionNotes::forget`], [`SessionNotes::end`]) may come in any order: a reply to a request that was
//!   acknowledged is not kept, and nothing is noted in a session that ended.
//!
//! What a dead relay held expires: sessions have an expiry, which their owner extends while it holds them.

use super::keys::{ended_key, number, relay_key, request, session_keys};
use super::link::{Question, Repeat};
use super::notes::Note;
use super::presence::milliseconds;
use super::state::{Marked, unexpected};
use super::{Held, RedisStore, script};
use crate::store::{
    Change, Claim, IdempotencyRecord, SessionKey, SessionLog, SessionNotes, StateChanges,
    StoreError,
};
use faasm_bridge::session::{InFlight, RecoveredSession};
use faasm_bridge::wire::{Frame, MAX_PAYLOAD_BYTES, RequestId};
use futures_util::future::BoxFuture;
use redis::{Cmd, Script, ScriptInvocation};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, PoisonError};
use std::time::Duration;

static BEGIN: LazyLock<Script> = script!("begin.lua");
static TAKE_UP: LazyLock<Script> = script!("forgotten.lua", "take_up.lua");
static ACCEPT: LazyLock<Script> = script!("forgotten.lua", "accept.lua");
static VERDICT: LazyLock<Script> = script!("verdict.lua");

/// Time limit for Redis during a page's handshake and before a call starts; after it the page retries, or gets an
/// error.
const SHORT: Duration = Duration::from_secs(3);

/// Minimum uptime of a relay before it declares another one dead: the longest time that a live relay may need to renew
/// its heartbeat.
const GRACE_PERIOD: Duration = Duration::from_secs(3);

/// The record of a started request.
enum Entry<'a> {
    /// `r`, the relay, a colon, and the number of its claim.
    Running { relay: &'a str },
    /// `=`, and the reply's frame.
    Replied(&'a [u8]),
    /// `?`: its relay died before it recorded the outcome.
    Unknown,
}

/// How long after its request a session may be created. Sessions last longer ([`super::presence::MARGIN`]).
const BEGINNING: Duration = Duration::from_secs(20);

const RUNNING: u8 = b'r';
const REPLIED: u8 = b'=';
const UNKNOWN: &[u8] = b"?";

impl<'a> Entry<'a> {
    fn of(entry: &'a [u8]) -> Self {
        match entry.split_first() {
            Some((&REPLIED, frame)) => Entry::Replied(frame),
            Some((&RUNNING, rest)) => {
                let relay = std::str::from_utf8(rest).ok().and_then(|rest| rest.split_once(':'));
                relay.map_or(Entry::Unknown, |(relay, _)| Entry::Running { relay })
            }
            _ => Entry::Unknown,
        }
    }

    fn begun(self) -> InFlight {
        match self {
            Entry::Running { .. } => InFlight::Elsewhere,
            Entry::Replied(frame) => InFlight::Replied(frame.to_vec()),
            Entry::Unknown => InFlight::Unknown,
        }
    }
}

/// The entry of an accepted call.
pub(super) fn running(relay: &str, claim: Claim) -> String {
    format!("{}{relay}:{}", char::from(RUNNING), claim.number())
}

/// The entry of a call that ended.
pub(super) fn replied(frame: &Frame) -> Vec<u8> {
    [&[REPLIED], &*frame.envelope, &*frame.payload].concat()
}

/// A script whose keys are the session, its entries and its acknowledged ranges.
pub(super) fn on_session(script: &Script, session: SessionKey) -> ScriptInvocation<'_> {
    let mut invocation = script.prepare_invoke();
    for key in session_keys(session) {
        invocation.key(key);
    }
    invocation
}

/// A range of acknowledged requests.
fn range(text: &str) -> Option<Range<u64>> {
    let (start, end) = text.split_once('-')?;
    Some(request(start)?.0..request(end)?.0)
}

impl RedisStore {
    /// Records that this relay owns a session, and the session's requests that still have to be acknowledged.
    fn hold(&self, session: SessionKey, begun: impl IntoIterator<Item = RequestId>) {
        self.held().entry(session).or_default().begun.extend(begun);
    }

    async fn try_begin(&self, session: SessionKey, user: &str) -> Result<(), StoreError> {
        const ACTION: &str = "create a session";
        let question = self.beginning(session, user, self.now() + milliseconds(BEGINNING));
        let begun: String = self.link().ask_for(SHORT, ACTION, Repeat::Reads, 0, question).await?;
        match begun.as_str() {
            "done" => {
                self.hold(session, []);
                Ok(())
            }
            "lost" => Err(StoreError::SessionLost { reason: "another relay acquired it" }),
            "ended" => Err(StoreError::SessionLost { reason: "it has ended" }),
            "late" => {
                let reason = "the request reached Redis too late; try again".to_owned();
                Err(StoreError::Backend { action: ACTION, reason })
            }
            other => Err(unexpected(ACTION, other)),
        }
    }

    /// The request that creates a session unless it arrives after this time, by the clock of Redis (ms).
    pub(super) fn beginning(
        &self,
        session: SessionKey,
        user: &str,
        latest: u64,
    ) -> Question<'static> {
        let [key, ..] = session_keys(session);
        let mut invocation = BEGIN.key(key);
        invocation.key(ended_key(session));
        invocation.arg(user).arg(self.relay()).arg(self.lasting()).arg(latest);
        Question::Script(invocation)
    }

    /// The time by the clock of Redis, ms.
    pub(super) fn now(&self) -> u64 {
        self.inner.clock.lock().unwrap_or_else(PoisonError::into_inner).now()
    }

    async fn try_take_up(
        &self,
        session: SessionKey,
        user: &str,
    ) -> Result<Option<RecoveredSession>, StoreError> {
        static HOLDS: AtomicU64 = AtomicU64::new(1);
        let hold = HOLDS.fetch_add(1, Ordering::Relaxed);
        let mut invocation = on_session(&TAKE_UP, session);
        invocation.arg(user).arg(self.relay()).arg(self.lasting()).arg(hold);
        let (question, bytes) = (Question::Script(invocation), MAX_PAYLOAD_BYTES as u64);
        type Found = Option<(Vec<Vec<u8>>, Vec<String>)>;
        let found: Found =
            self.link().ask_for(SHORT, "acquire a session", Repeat::Reads, bytes, question).await?;
        let Some((entries, acked)) = found else { return Ok(None) };
        let pair = |pair: &[Vec<u8>]| {
            let [id, entry] = pair else { return None };
            Some((request(std::str::from_utf8(id).ok()?)?, Entry::of(entry).begun()))
        };
        let begun: Vec<_> = entries.chunks(2).filter_map(pair).collect();
        let acked = acked.iter().filter_map(|text| range(text)).collect();
        self.hold(session, begun.iter().map(|(id, _)| *id));
        self.held().entry(session).or_default().hold = hold;
        Ok(Some(RecoveredSession { acked, begun }))
    }

    async fn try_accept(
        &self,
        session: SessionKey,
        claim: Claim,
        id: RequestId,
    ) -> Result<(), StoreError> {
        const ACTION: &str = "record the start of a call";
        let mut invocation = on_session(&ACCEPT, session);
        invocation.arg(number(id.0)).arg(self.relay()).arg(running(self.relay(), claim));
        let question = Question::Script(invocation);
        // Recorded before the request is sent: whatever its result, the entry may exist.
        self.hold(session, [id]);
        // If it is uncertain whether the entry exists, the call does not start, and the error reply replaces the entry.
        let accepted: String =
            self.link().ask_for(SHORT, ACTION, Repeat::Reads, 0, question).await?;
        match accepted.as_str() {
            "done" => Ok(()),
            "lost" => {
                Err(StoreError::SessionLost { reason: "another relay owns it, or Redis lost it" })
            }
            "begun" => Err(StoreError::SessionLost { reason: "another relay started this call" }),
            other => Err(unexpected(ACTION, other)),
        }
    }

    async fn entries(
        &self,
        session: SessionKey,
        requests: &[RequestId],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let [_, begun, _] = session_keys(session);
        let fields: Vec<String> = requests.iter().map(|id| number(id.0)).collect();
        let question = Question::Command(Cmd::hmget(begun, fields));
        let bytes = MAX_PAYLOAD_BYTES as u64;
        self.link().ask("poll the outcomes of calls", Repeat::Reads, bytes, question).await
    }

    async fn try_decided(
        &self,
        session: SessionKey,
        requests: Vec<RequestId>,
    ) -> Result<Vec<(RequestId, InFlight)>, StoreError> {
        const ACTION: &str = "check whether a relay is alive";
        let entries = self.entries(session, &requests).await?;
        let mut is_there = BTreeMap::new();
        let mut decided = Vec::new();
        for (id, entry) in requests.into_iter().zip(entries) {
            // Deleted with its session.
            let Some(entry) = entry else {
                decided.push((id, InFlight::Unknown));
                continue;
            };
            let Entry::Running { relay } = Entry::of(&entry) else {
                decided.push((id, Entry::of(&entry).begun()));
                continue;
            };
            // This relay is alive, even if its heartbeat has expired.
            if relay == self.relay() {
                continue;
            }
            if !is_there.contains_key(relay) {
                let question = Question::Command(Cmd::exists(relay_key(relay)));
                let found: bool = self.link().ask(ACTION, Repeat::Reads, 0, question).await?;
                is_there.insert(relay.to_owned(), found);
            }
            if is_there.get(relay) == Some(&true) {
                continue;
            }
            let [_, begun, _] = session_keys(session);
            let mut invocation = VERDICT.key(begun);
            invocation.key(relay_key(relay)).key(relay_key(self.relay()));
            let grace = u64::try_from(GRACE_PERIOD.as_millis()).unwrap_or(u64::MAX);
            invocation.arg(number(id.0)).arg(&entry).arg(grace).arg(UNKNOWN);
            let question = Question::Script(invocation);
            let verdict: String = self.link().ask(ACTION, Repeat::Reads, 0, question).await?;
            if verdict == "unknown" {
                decided.push((id, InFlight::Unknown));
            }
        }
        Ok(decided)
    }
}

impl SessionLog for RedisStore {
    fn begin<'a>(
        &'a self,
        session: SessionKey,
        user: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.try_begin(session, user))
    }

    fn take_up<'a>(
        &'a self,
        session: SessionKey,
        user: &'a str,
    ) -> BoxFuture<'a, Result<Option<RecoveredSession>, StoreError>> {
        Box::pin(self.try_take_up(session, user))
    }

    fn holds(&self, session: SessionKey) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            let [key, ..] = session_keys(session);
            let question = Question::Command(Cmd::hget(key, "owner"));
            let action = "check the owner of a session";
            let owner: Option<String> =
                self.link().ask_for(SHORT, action, Repeat::Reads, 0, question).await?;
            Ok(owner.as_deref() == Some(self.relay()))
        })
    }

    fn decided(
        &self,
        session: SessionKey,
        requests: Vec<RequestId>,
    ) -> BoxFuture<'_, Result<Vec<(RequestId, InFlight)>, StoreError>> {
        Box::pin(self.try_decided(session, requests))
    }

    fn accept(
        &self,
        session: SessionKey,
        claim: Claim,
        request: RequestId,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.try_accept(session, claim, request))
    }

    fn unlock<'a>(
        &'a self,
        mark: IdempotencyRecord,
        user: &'a str,
        key: &'a str,
        run: u64,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.hold(mark.session, [mark.request]);
        Box::pin(self.try_unlock(mark, user, key, run))
    }
}

impl SessionNotes for RedisStore {
    fn finish(&self, session: SessionKey, claim: Claim, request: RequestId, reply: Frame) {
        self.note(Note::Finish { session, claim, request, reply: replied(&reply) });
    }

    fn forget(&self, session: SessionKey, requests: Range<u64>) {
        let ids = RequestId(requests.start)..RequestId(requests.end);
        let mut held = self.held();
        let begun: BTreeSet<RequestId> = match held.get_mut(&session) {
            Some(Held { begun: all, .. }) if !ids.is_empty() => {
                let mut begun = all.split_off(&ids.start);
                all.append(&mut begun.split_off(&ids.end));
                begun
            }
            _ => BTreeSet::new(),
        };
        drop(held);
        self.note(Note::Forget { session, requests, begun });
    }

    fn end(&self, session: SessionKey) {
        let hold = self.held().remove(&session).map_or(0, |held| held.hold);
        self.note(Note::End { session, hold });
    }

    /// Sessions of an earlier process expire on their own.
    fn end_left_over(&self) {}

    fn settle(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.inner.notes.settle())
    }
}

impl StateChanges for RedisStore {
    fn change<'a>(
        &'a self,
        mark: IdempotencyRecord,
        user: &'a str,
        change: Change,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.hold(mark.session, [mark.request]);
        let marked = Marked {
            keys: session_keys(mark.session),
            request: number(mark.request.0),
            reply: replied(&mark.reply.into()),
        };
        Box::pin(self.change_state(user, change, Some(marked)))
    }
}
