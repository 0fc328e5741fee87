//! What a relay records of its sessions so that it can recover them after a restart or crash: the trait.
//!
//! Safety depends on the order of these steps:
//!
//! * [`Journal::accept`] completes before a function starts. A call that was accepted and has no result may have had
//!   effects, so its outcome is unknown to the relay that recovers the session; a call that was not accepted never
//!   started.
//! * [`Journal::change`] makes a change of state and writes its idempotency record in one atomic step: a request was
//!   performed if and only if it has a record.
//! * Results and acknowledgements are written asynchronously. If one is lost, the outcome of a call is unknown although
//!   it completed, or a reply is sent again that the page has: neither repeats an effect.
//!
//! Several relays may share a journal. A session then belongs to its owner, the relay that acquired it last: only the
//! owner has calls accepted and ends the session. A call that another relay still runs is answered when that relay
//! records its outcome or is gone.

use super::StoreError;
use faasm_bridge::session::{InFlight, RecoveredSession};
use faasm_bridge::state::Chunk;
use faasm_bridge::wire::{RequestId, SessionId};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names a session in a journal: the hash of its id. The id itself allows to take the session over, so a journal that
/// others can read must not contain it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionKey(pub [u8; 32]);

impl From<SessionId> for SessionKey {
    fn from(id: SessionId) -> Self {
        Self(Sha256::digest(id.0).into())
    }
}

/// One acquisition of a session by this process, which may lose a session, acquire it again, and still run calls
/// accepted under the earlier claim. A call is finished only under the claim that accepted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim(u64);

impl Claim {
    /// A claim that this process has not used before.
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn number(self) -> u64 {
        self.0
    }
}

impl Default for Claim {
    fn default() -> Self {
        Self::new()
    }
}

/// The idempotency record of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyRecord {
    pub session: SessionKey,
    pub claim: Claim,
    pub request: RequestId,
    /// The reply, as a frame.
    pub reply: Vec<u8>,
}

/// A change of state that a page asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// As [`super::StateStore::write`].
    Write { key: String, size: u64, chunks: Vec<Chunk> },
    /// As [`super::StateStore::append`].
    Append { key: String, element: Vec<u8> },
    /// As [`super::StateStore::clear_appended`].
    Clear { key: String },
}

/// Sessions, their accepted calls, unacknowledged replies, and idempotency records.
pub trait Journal: Send + Sync {
    /// Creates a session, or does nothing if it exists; from then on the journal records it.
    ///
    /// # Errors
    /// [`StoreError::SessionLost`] if another relay owns the session, or if it has ended: a late request does not
    /// create it again.
    fn begin<'a>(
        &'a self,
        session: SessionKey,
        user: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Acquires a session of this user and returns its recovered state, if it exists; this relay is then the owner.
    fn take_up<'a>(
        &'a self,
        session: SessionKey,
        user: &'a str,
    ) -> BoxFuture<'a, Result<Option<RecoveredSession>, StoreError>>;

    /// Whether this relay still owns a session that it created or acquired.
    fn holds(&self, session: SessionKey) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// The outcomes known so far of these requests, which another relay started. To be polled for the others.
    fn decided(
        &self,
        session: SessionKey,
        requests: Vec<RequestId>,
    ) -> BoxFuture<'_, Result<Vec<(RequestId, InFlight)>, StoreError>>;

    /// Records that a call is about to start, once per claim and request; durable when the future completes.
    ///
    /// # Errors
    /// When the record could not be written, or the session does not exist or has ended: the call must not start.
    /// [`StoreError::SessionLost`] if another relay owns the session or has started the request.
    fn accept(
        &self,
        session: SessionKey,
        claim: Claim,
        request: RequestId,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Eventually records the reply of a call, as a frame, under the claim that accepted the call or tried to.
    fn finish(&self, session: SessionKey, claim: Claim, request: RequestId, reply: &[u8]);

    /// Eventually records that the page acknowledged these replies.
    fn forget(&self, session: SessionKey, requests: Range<u64>);

    /// Eventually records the end of a session, which releases its locks.
    fn end(&self, session: SessionKey);

    /// Ends every session of an earlier process that was not acquired since.
    fn end_left_over(&self);

    /// Makes a change and writes its idempotency record atomically; durable when the future completes. Does nothing if
    /// the record exists.
    fn change<'a>(
        &'a self,
        mark: IdempotencyRecord,
        user: &'a str,
        change: Change,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Releases a lock held by a run of the record's session and writes the idempotency record atomically. Does nothing
    /// if the record exists.
    ///
    /// # Errors
    /// [`StoreError::LockLost`] if the run does not hold it.
    fn unlock<'a>(
        &'a self,
        mark: IdempotencyRecord,
        user: &'a str,
        key: &'a str,
        run: u64,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Completes when all pending asynchronous records are written.
    fn settle(&self) -> BoxFuture<'_, ()>;
}
