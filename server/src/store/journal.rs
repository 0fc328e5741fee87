//! What a relay records of its sessions so that it can recover them after a restart or crash: the trait.
//!
//! Safety depends on the order of these steps:
//!
//! * [`SessionLog::accept`] completes before a function starts. A call that was accepted and has no result may have had
//!   effects, so whoever takes the session up says that nobody knows; one that was not accepted never started.
//! * [`StateChanges::change`] makes a change of state and its mark in one atomic step, so a request whose mark is there was
//!   performed, and one without a mark was not.
//! * Results and what can be forgotten are noted some time later. Where a note is lost, a result is unknown that need not
//!   be, or a reply is sent again that the page has: neither does anything twice.
//!
//! Several relays may share a journal. A session then belongs to its owner, the relay that acquired it last: only the
//! owner has calls accepted and ends the session. A call that another relay still runs is answered when that relay
//! records its outcome or is gone.

use super::StoreError;
use faasm_bridge::session::{InFlight, RecoveredSession};
use faasm_bridge::state::Chunk;
use faasm_bridge::wire::{Frame, RequestId, SessionId};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::ops::Range;
use std::sync::Arc;
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
    /// One that this process had not.
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

/// Says that a request was performed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyRecord {
    pub session: SessionKey,
    pub claim: Claim,
    pub request: RequestId,
    /// What it is answered, as a frame.
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

/// Sessions, the calls they had accepted and their locks: what has to be known before something else happens.
pub trait SessionLog: Send + Sync {
    /// Begins a session, or does nothing where it is begun; what it does is kept from then on.
    ///
    /// # Errors
    /// [`StoreError::SessionLost`] where the session is another relay's, or has ended: it does not begin again, however late this
    /// arrives.
    fn begin<'a>(
        &'a self,
        session: SessionKey,
        user: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// What is left of a session of this user, if it is there; it is this relay's from here on.
    fn take_up<'a>(
        &'a self,
        session: SessionKey,
        user: &'a str,
    ) -> BoxFuture<'a, Result<Option<RecoveredSession>, StoreError>>;

    /// Whether a session that this relay began or took up is still its own.
    fn holds(&self, session: SessionKey) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// The outcomes known so far of these requests, which another relay started. To be polled for the others.
    fn decided(
        &self,
        session: SessionKey,
        requests: Vec<RequestId>,
    ) -> BoxFuture<'_, Result<Vec<(RequestId, InFlight)>, StoreError>>;

    /// Notes that a call is about to start, once for each claim and request. When this completes it outlives this process.
    ///
    /// # Errors
    /// When it could not be noted, or the session is not begun or has ended: the call must not start.
    /// [`StoreError::SessionLost`] where the session is another relay's, or the request was begun by another one.
    fn accept(
        &self,
        session: SessionKey,
        claim: Claim,
        request: RequestId,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Releases the lock that a run of the mark's session holds, with its mark, both or neither. Where the mark is there already
    /// it does nothing.
    ///
    /// # Errors
    /// [`StoreError::LockLost`] where the run does not hold it.
    fn unlock<'a>(
        &'a self,
        mark: IdempotencyRecord,
        user: &'a str,
        key: &'a str,
        run: u64,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// What is written behind: nobody waits for a note, and a note that is lost does no harm.
pub trait SessionNotes: Send + Sync {
    /// Notes the reply of a call some time soon, as a frame; by the claim that it was, or was to be, accepted with.
    fn finish(&self, session: SessionKey, claim: Claim, request: RequestId, reply: Frame);

    /// Notes some time soon that the page has the replies to these.
    fn forget(&self, session: SessionKey, requests: Range<u64>);

    /// Notes some time soon that nobody comes back to a session: its locks are free.
    fn end(&self, session: SessionKey);

    /// The same for every session of an earlier process that was not taken up since.
    fn end_left_over(&self);

    /// Completes when everything that was to be noted soon is.
    fn settle(&self) -> BoxFuture<'_, ()>;
}

/// Changes of state that pages ask for, each with its mark.
pub trait StateChanges: Send + Sync {
    /// Makes a change with its mark, both or neither; lasting when it completes. Where the mark is there already it does
    /// nothing.
    fn change<'a>(
        &'a self,
        mark: IdempotencyRecord,
        user: &'a str,
        change: Change,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// The journal of a relay: three parts, so that what wraps one of them says nothing of the others. Clones are handles to the same
/// journal.
#[derive(Clone)]
pub struct Journal {
    pub log: Arc<dyn SessionLog>,
    pub notes: Arc<dyn SessionNotes>,
    pub state: Arc<dyn StateChanges>,
}

impl Journal {
    /// All three parts in one store.
    pub fn in_one<S>(store: Arc<S>) -> Self
    where
        S: SessionLog + SessionNotes + StateChanges + 'static,
    {
        Self { log: store.clone(), notes: store.clone(), state: store }
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").finish_non_exhaustive()
    }
}
