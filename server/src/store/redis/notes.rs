//! Bounded write-behind queue to Redis: retried in order of arrival while Redis is unavailable, several notes in flight
//! at a time. They may be executed in any order; see [`super::journal`].

use super::journal::{on_session, running};
use super::keys::{LOCK, ended_key, locks_key, number};
use super::link::{Question, Repeat};
use super::links::Links;
use super::locks::{owner_text, release};
use super::presence::milliseconds;
use super::{RedisStore, script};
use crate::store::{Claim, SessionKey, StoreError, Taker};
use faasm_bridge::session::reply_frame;
use faasm_bridge::wire::{FailureCode, Reply, RequestId};
use futures_util::{StreamExt, stream};
use redis::Script;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

static FINISH: LazyLock<Script> = script!("forgotten.lua", "finish.lua");
static FORGET: LazyLock<Script> = script!("forgotten.lua", "forget.lua");
static END: LazyLock<Script> = script!("end.lua");

/// Maximum number of queued notes.
const MAX_NOTES: usize = 256 * 1024;

/// Maximum bytes of queued results; a result beyond it is recorded as unknown.
pub(super) const MAX_NOTE_BYTES: usize = 256 * 1024 * 1024;

/// Maximum number of notes in flight.
const AT_ONCE: usize = 64;

/// How long a note is retried. Sessions last about as long without their relay.
const TIME_LIMIT: Duration = Duration::from_secs(300);

/// Expiry of the tombstone of an ended session: longer than any earlier request can be in flight, see
/// [`super::journal`].
const ENDED: Duration = Duration::from_secs(600);

/// Longest wait for queued notes when a relay shuts down.
const SETTLING: Duration = Duration::from_secs(10);

/// A change to write to Redis.
#[derive(Clone, Debug)]
pub(super) enum Note {
    /// An entry for a call that ended.
    Finish {
        session: SessionKey,
        claim: Claim,
        request: RequestId,
        reply: Vec<u8>,
    },
    /// The page acknowledged these replies; these of the requests have entries.
    Forget {
        session: SessionKey,
        requests: Range<u64>,
        begun: BTreeSet<RequestId>,
    },
    End {
        session: SessionKey,
        hold: u64,
    },
    /// A lock is released, or its queue left.
    Withdraw {
        user: String,
        key: String,
        taker: Taker,
    },
}

impl Note {
    fn bytes(&self) -> usize {
        match self {
            Note::Finish { reply, .. } => reply.len(),
            Note::Forget { .. } | Note::End { .. } | Note::Withdraw { .. } => 0,
        }
    }

    async fn tell(&self, link: &Links, relay: &str) -> Result<(), StoreError> {
        let (action, invocation) = match self {
            Note::Finish { session, claim, request, reply } => {
                let mut invocation = on_session(&FINISH, *session);
                invocation.arg(number(request.0)).arg(relay).arg(running(relay, *claim)).arg(reply);
                ("record a result", invocation)
            }
            Note::Forget { session, requests, begun } => {
                let mut invocation = on_session(&FORGET, *session);
                invocation.arg(relay).arg(number(requests.start)).arg(number(requests.end));
                for id in begun {
                    invocation.arg(number(id.0));
                }
                ("forget replies", invocation)
            }
            Note::End { session, hold } => {
                let mut invocation = on_session(&END, *session);
                let owner = owner_text((*session).into());
                invocation.key(locks_key(&owner)).key(ended_key(*session));
                invocation.arg(relay).arg(owner).arg(LOCK).arg(*hold).arg(milliseconds(ENDED));
                ("end a session", invocation)
            }
            Note::Withdraw { user, key, taker } => ("release a lock", release(user, key, *taker)),
        };
        let (question, bytes) = (Question::Script(invocation), self.bytes() as u64);
        let _: String = link.ask(action, Repeat::Marked, bytes, question).await?;
        Ok(())
    }
}

/// The sending end of the queue.
#[derive(Debug)]
pub(super) struct Notes {
    sender: mpsc::Sender<Note>,
    waiting: Arc<Waiting>,
    most_bytes: usize,
}

/// Notes that are not written yet.
#[derive(Debug, Default)]
struct Waiting {
    notes: AtomicUsize,
    bytes: AtomicUsize,
    changed: Notify,
}

impl Waiting {
    fn add(&self, note: &Note) {
        self.notes.fetch_add(1, Ordering::SeqCst);
        self.bytes.fetch_add(note.bytes(), Ordering::SeqCst);
    }

    fn remove(&self, note: &Note) {
        self.bytes.fetch_sub(note.bytes(), Ordering::SeqCst);
        if self.notes.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.changed.notify_waiters();
        }
    }
}

impl Notes {
    /// A queue, and the task that writes its notes to Redis until the queue is dropped.
    pub(super) fn start(link: Arc<Links>, relay: Arc<str>, most_bytes: usize) -> Self {
        let (sender, receiver) = mpsc::channel::<Note>(MAX_NOTES);
        let waiting = Arc::new(Waiting::default());
        let told = Arc::clone(&waiting);
        let notes = stream::unfold(receiver, |mut receiver| async {
            Some((receiver.recv().await?, receiver))
        });
        tokio::spawn(notes.for_each_concurrent(AT_ONCE, move |note| {
            let (link, relay, told) = (Arc::clone(&link), Arc::clone(&relay), Arc::clone(&told));
            async move {
                persist(&note, &link, &relay).await;
                told.remove(&note);
            }
        }));
        Self { sender, waiting, most_bytes }
    }

    pub(super) fn push(&self, mut note: Note) {
        let waiting = self.waiting.bytes.load(Ordering::SeqCst);
        if waiting.saturating_add(note.bytes()) > self.most_bytes
            && let Note::Finish { request, reply, .. } = &mut note
        {
            tracing::warn!(
                "too many results wait for Redis: a result is recorded as unknown for other relays"
            );
            let message = "the call ended, and its result exceeded the capacity of the relay's queue to Redis".to_owned();
            let unknown = Reply::Failed { code: FailureCode::Unknown, message };
            *reply = super::journal::replied(&reply_frame(*request, unknown, &[]).into());
        }
        self.waiting.add(&note);
        if let Err(TrySendError::Full(note) | TrySendError::Closed(note)) =
            self.sender.try_send(note)
        {
            tracing::warn!("the queue to Redis is full: a note is dropped");
            self.waiting.remove(&note);
        }
    }

    /// Completes when Redis has executed or rejected the note.
    pub(super) async fn settle(&self) {
        let settled = async {
            loop {
                let changed = self.waiting.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.waiting.notes.load(Ordering::SeqCst) == 0 {
                    return;
                }
                changed.await;
            }
        };
        if tokio::time::timeout(SETTLING, settled).await.is_err() {
            let left = self.waiting.notes.load(Ordering::SeqCst);
            tracing::warn!(left, "shutting down with notes that Redis did not receive");
        }
    }
}

async fn persist(note: &Note, link: &Links, relay: &str) {
    let deadline = Instant::now() + TIME_LIMIT;
    while let Err(error) = note.tell(link, relay).await {
        if Instant::now() > deadline {
            tracing::error!(%error, "a note to Redis is dropped");
            return;
        }
        // A rejection by Redis arrives without delay.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

impl RedisStore {
    pub(super) fn note(&self, note: Note) {
        self.inner.notes.push(note);
    }
}
