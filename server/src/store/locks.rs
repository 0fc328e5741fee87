//! Locks across the cluster: a run holds the lock of a user's key exclusively while its lease is renewed.
//!
//! A store decides which run holds a lock ([`LockStore`]); this module has what all stores share: waiting, and leaving
//! the queue.
//!
//! * A lock has a lease. The host of the run (its session's relay, or the embedded cluster) renews it while the run
//!   lives; a lock that is not renewed expires with its lease.
//! * A request repeated after a reconnect, or through another relay, has the same [`Taker`]: it keeps its position in
//!   the queue, or learns that it holds the lock. A taker that released or withdrew never gets the lock again.
//! * The queue is first come, first served. A waiting taker polls; one that has not polled for [`QUEUE_PATIENCE`] is
//!   removed.

use super::{SessionKey, StoreError};
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Default lease.
pub const LOCK_LEASE: Duration = Duration::from_secs(10);

/// Renewals per lease.
const RENEWALS: u32 = 4;

/// How long the queue keeps a taker that does not poll; several times the longest pause between polls.
pub(super) const QUEUE_PATIENCE: Duration = Duration::from_secs(3);

/// Maximum number of takers that wait for one lock.
pub const MAX_LOCK_WAITERS: usize = 4096;

/// Maximum number of locks held by the runs of one session, or of one user in an embedded cluster.
pub const MAX_LOCKS_OF_OWNER: usize = 4096;

/// Pause between two polls, for each taker ahead in the queue.
const PAUSE: Duration = Duration::from_millis(20);

/// Upper bound of the pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Longest pause of the first taker in the queue: the maximum delay until it notices a release by another relay.
const LONGEST_OF_NEXT: Duration = Duration::from_millis(200);

/// A taker with fewer takers ahead of it listens for releases by this relay; those further behind only poll.
const LISTENING: usize = 2;

/// The owner of the runs that hold a lock: a session, by its key, or a user in an embedded cluster, by a random name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(pub [u8; 32]);

impl Owner {
    /// A random, unique owner.
    ///
    /// # Errors
    /// When the system provides no random bytes.
    pub fn random() -> Result<Self, StoreError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| StoreError::Backend {
            action: "create a unique lock owner",
            reason: error.to_string(),
        })?;
        Ok(Self(bytes))
    }
}

impl From<SessionKey> for Owner {
    fn from(session: SessionKey) -> Self {
        Self(session.0)
    }
}

/// A run that holds locks; its number is unique within its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Holder {
    pub owner: Owner,
    pub run: u64,
}

/// One attempt of a run to take a lock; the attempt's number is unique within its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Taker {
    pub holder: Holder,
    pub attempt: u64,
}

/// Result of a request for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The taker holds it.
    Held,
    /// The taker waits behind this many others.
    Waits { before: usize },
}

/// A lock that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldLock {
    pub user: String,
    pub key: String,
    pub taker: Taker,
}

/// The state of all locks. Each operation is atomic.
pub trait LockStore: Send + Sync {
    /// Takes a lock that is free and has no earlier taker waiting, or enters or keeps a position in its queue. To be
    /// repeated within [`QUEUE_PATIENCE`] until the lock is held.
    ///
    /// # Errors
    /// [`StoreError::Deadlock`] if another attempt of the same run holds the lock, [`StoreError::LocksFull`] if a limit
    /// is reached, [`StoreError::LockLost`] if this attempt has released or withdrawn.
    fn ask<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        taker: Taker,
        lease: Duration,
    ) -> BoxFuture<'a, Result<Asked, StoreError>>;

    /// Releases a lock; `false` if the taker does not hold it any more. A repeated request returns the result of the
    /// first.
    fn release<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        taker: Taker,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Eventually releases the lock or leaves its queue, whichever applies.
    fn withdraw(&self, user: &str, key: &str, taker: Taker);

    /// Renews the leases of all locks that an owner's runs hold, and returns these locks.
    fn renew(
        &self,
        owner: Owner,
        lease: Duration,
    ) -> BoxFuture<'_, Result<Vec<HeldLock>, StoreError>>;
}

/// The locks of a cluster; clones share them.
#[derive(Clone)]
pub struct Locks {
    store: Result<Arc<dyn LockStore>, &'static str>,
    lease: Duration,
    freed: Arc<Freed>,
}

impl std::fmt::Debug for Locks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Locks").field("lease", &self.lease).finish_non_exhaustive()
    }
}

impl Locks {
    /// Locks of this store, with this lease.
    pub fn new(store: Arc<dyn LockStore>, lease: Duration) -> Self {
        Self { store: Ok(store), lease, freed: Arc::default() }
    }

    /// No locks: every request fails with this reason.
    pub fn refused(reason: &'static str) -> Self {
        Self { store: Err(reason), lease: LOCK_LEASE, freed: Arc::default() }
    }

    /// Returns these locks with another lease.
    pub(super) fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// The lease.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// Interval between renewals.
    pub(crate) fn renewal(&self) -> Duration {
        self.lease / RENEWALS
    }

    fn store(&self) -> Result<&dyn LockStore, StoreError> {
        match &self.store {
            Ok(store) => Ok(&**store),
            Err(reason) => Err(StoreError::NoLocks { reason }),
        }
    }

    /// Requests a lock; [`Taking::held`] waits for it.
    pub fn take(&self, user: &str, key: &str, taker: Taker) -> Taking {
        let (user, key) = (user.to_owned(), key.to_owned());
        Taking { locks: self.clone(), user, key, taker, is_over: false }
    }

    /// Releases a lock; `false` if the taker had lost it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn release(&self, user: &str, key: &str, taker: Taker) -> Result<bool, StoreError> {
        let released = self.store()?.release(user, key, taker).await;
        self.freed(user, key);
        released
    }

    /// Eventually releases a lock or leaves its queue.
    pub fn withdraw(&self, user: &str, key: &str, taker: Taker) {
        if let Ok(store) = self.store() {
            store.withdraw(user, key, taker);
            self.freed(user, key);
        }
    }

    /// Renews all locks that an owner's runs hold, and returns them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn renew(&self, owner: Owner) -> Result<Vec<HeldLock>, StoreError> {
        match &self.store {
            Ok(store) => store.renew(owner, self.lease).await,
            Err(_) => Ok(Vec::new()),
        }
    }

    /// Makes this relay's waiters for a lock poll at once.
    pub(crate) fn freed(&self, user: &str, key: &str) {
        self.freed.tell(user, key);
    }
}

/// A pending request for a lock. Dropping it before the lock is held leaves the queue.
#[derive(Debug)]
pub struct Taking {
    locks: Locks,
    user: String,
    key: String,
    taker: Taker,
    is_over: bool,
}

impl Taking {
    /// Waits until the lock is held; the caller has to release it.
    ///
    /// # Errors
    /// As [`LockStore::ask`]; the lock is then not held.
    pub async fn held(&mut self) -> Result<(), StoreError> {
        // Doubles while the position in the queue does not change.
        let (mut last, mut least) = (None, PAUSE);
        loop {
            let freed = self.locks.freed.listen(&self.user, &self.key);
            let notified = freed.notify.notified();
            tokio::pin!(notified);
            // Subscribe before polling, so that a release in between is not missed.
            notified.as_mut().enable();
            let (store, lease) = (self.locks.store()?, self.locks.lease);
            match store.ask(&self.user, &self.key, self.taker, lease).await? {
                Asked::Held => {
                    self.is_over = true;
                    return Ok(());
                }
                Asked::Waits { before } => {
                    let has_moved = last.replace(before) != Some(before);
                    least = if has_moved { PAUSE } else { (2 * least).min(LONGEST_OF_NEXT) };
                    let turns = u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1);
                    let pause = PAUSE.saturating_mul(turns).max(least).min(LONGEST_PAUSE);
                    tokio::select! {
                        () = notified, if before < LISTENING => {}
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        }
    }

    /// Stops waiting without leaving the queue: the same taker will poll again, here or through another relay.
    pub fn leave_open(mut self) {
        self.is_over = true;
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        if !self.is_over {
            self.locks.withdraw(&self.user, &self.key, self.taker);
        }
    }
}

/// This relay's waiters by lock.
#[derive(Debug, Default)]
struct Freed(Mutex<HashMap<(String, String), Listeners>>);

#[derive(Debug, Default)]
struct Listeners {
    count: usize,
    notify: Arc<Notify>,
}

/// A subscription to releases of one lock; dropping it unsubscribes.
struct Listening<'a> {
    freed: &'a Freed,
    name: (String, String),
    notify: Arc<Notify>,
}

impl Freed {
    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Listeners>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen(&self, user: &str, key: &str) -> Listening<'_> {
        let name = (user.to_owned(), key.to_owned());
        let mut all = self.lock();
        let listeners = all.entry(name.clone()).or_default();
        listeners.count += 1;
        let notify = Arc::clone(&listeners.notify);
        drop(all);
        Listening { freed: self, name, notify }
    }

    fn tell(&self, user: &str, key: &str) {
        if let Some(listeners) = self.lock().get(&(user.to_owned(), key.to_owned())) {
            listeners.notify.notify_waiters();
        }
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        let mut all = self.freed.lock();
        // Counted under the table's lock: otherwise each of two concurrent drops would count the other as a remaining
        // listener.
        if let Some(listeners) = all.get_mut(&self.name) {
            listeners.count -= 1;
            if listeners.count == 0 {
                all.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_that_go_at_once_leave_nothing() {
        let freed = Freed::default();
        let [one, other] = [(), ()].map(|()| freed.listen("u", "k"));
        // `other` is dropped while `one` has left the table and its notify is still referenced.
        let going = Arc::clone(&one.notify);
        drop(one);
        assert_eq!(freed.lock().len(), 1);
        drop(other);
        assert_eq!(freed.lock().len(), 0);
        drop(going);
    }
}
