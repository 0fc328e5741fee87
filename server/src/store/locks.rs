//! Locks across the cluster: of a user's key, held by one run at a time, for as long as somebody renews them.
//!
//! A store decides who holds a lock ([`LockStore`]); here is what is the same for all of them: waiting, and leaving the queue.
//!
//! * A lock has a lease. Whoever has the run (its session's relay, or the embedded cluster) renews it while the run lives; what
//!   nobody renews is free when the lease is over.
//! * The same question asked again, after a reconnect or by another relay, has the same [`Taker`]: it keeps its place in the
//!   queue, or is told that it holds the lock. What was released or withdrawn is not given again to the same taker.
//! * The queue is in the order of arrival. Who waits asks now and then; who has not asked for [`QUEUE_PATIENCE`] is left out.

use super::{SessionKey, StoreError};
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How long a lock is held without being renewed, if nobody says otherwise.
pub const LOCK_LEASE: Duration = Duration::from_secs(10);

/// Renewals in the time of a lease.
const RENEWALS: u32 = 4;

/// For how long a place in a queue is kept without its taker asking; several times the longest pause.
pub(super) const QUEUE_PATIENCE: Duration = Duration::from_secs(3);

/// Most takers that wait for one lock.
pub const MAX_LOCK_WAITERS: usize = 4096;

/// Most locks that the runs of one session, or of one user in an embedded cluster, hold.
pub const MAX_LOCKS_OF_OWNER: usize = 4096;

/// Pause before a lock is asked for again, for each taker that was there before.
const PAUSE: Duration = Duration::from_millis(20);

/// Longest that becomes.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Longest pause of the one whose turn is next: by so much a lock that another relay released is told late, at most.
const LONGEST_OF_NEXT: Duration = Duration::from_millis(200);

/// Takers in front of one that listens for locks released by this relay; those further behind ask now and then.
const LISTENING: usize = 2;

/// Whose runs hold a lock: a session, by its key, or a user in an embedded cluster, by a random name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(pub [u8; 32]);

impl Owner {
    /// One that nobody else is.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn random() -> Result<Self, StoreError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| StoreError::Backend {
            action: "name the holder of locks",
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

/// A run that holds locks; its number is one of its owner's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Holder {
    pub owner: Owner,
    pub run: u64,
}

/// A run that asks for a lock: another number for each time that it does, among those of its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Taker {
    pub holder: Holder,
    pub attempt: u64,
}

/// What comes of asking for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The taker holds it.
    Held,
    /// It waits, behind so many others.
    Waits { before: usize },
}

/// A lock that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldLock {
    pub user: String,
    pub key: String,
    pub taker: Taker,
}

/// Who holds which lock. Each operation is one step.
pub trait LockStore: Send + Sync {
    /// Takes a lock that is free, if nobody has waited for longer, or takes or keeps a place in its queue. To be asked again
    /// within [`QUEUE_PATIENCE`] until it is held.
    ///
    /// # Errors
    /// [`StoreError::Deadlock`] where the same run holds it by another attempt, [`StoreError::LocksFull`] at a bound,
    /// [`StoreError::LockLost`] where this attempt is over.
    fn ask<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        taker: Taker,
        lease: Duration,
    ) -> BoxFuture<'a, Result<Asked, StoreError>>;

    /// Releases a lock; `false` where the taker does not hold it any more. What an earlier, equal question released counts.
    fn release<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        taker: Taker,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Some time soon, releases a lock or leaves its queue, whichever there is.
    fn withdraw(&self, user: &str, key: &str, taker: Taker);

    /// Has a new lease begin for everything that an owner's runs hold, and says what that is.
    fn renew(
        &self,
        owner: Owner,
        lease: Duration,
    ) -> BoxFuture<'_, Result<Vec<HeldLock>, StoreError>>;
}

/// The locks of a cluster; clones are handles to the same ones.
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
    /// Of this store, with this lease.
    pub fn new(store: Arc<dyn LockStore>, lease: Duration) -> Self {
        Self { store: Ok(store), lease, freed: Arc::default() }
    }

    /// None: whoever asks for one is told why.
    pub fn refused(reason: &'static str) -> Self {
        Self { store: Err(reason), lease: LOCK_LEASE, freed: Arc::default() }
    }

    /// The same with another lease.
    pub(super) fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long a lock is held without being renewed.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// Between two renewals.
    pub(crate) fn renewal(&self) -> Duration {
        self.lease / RENEWALS
    }

    fn store(&self) -> Result<&dyn LockStore, StoreError> {
        match &self.store {
            Ok(store) => Ok(&**store),
            Err(reason) => Err(StoreError::NoLocks { reason }),
        }
    }

    /// Begins to take a lock, which [`Taking::held`] waits for.
    pub fn take(&self, user: &str, key: &str, taker: Taker) -> Taking {
        let (user, key) = (user.to_owned(), key.to_owned());
        Taking { locks: self.clone(), user, key, taker, is_over: false }
    }

    /// Releases a lock; `false` where the taker had lost it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn release(&self, user: &str, key: &str, taker: Taker) -> Result<bool, StoreError> {
        let released = self.store()?.release(user, key, taker).await;
        self.freed(user, key);
        released
    }

    /// Some time soon, releases a lock or leaves its queue.
    pub fn withdraw(&self, user: &str, key: &str, taker: Taker) {
        if let Ok(store) = self.store() {
            store.withdraw(user, key, taker);
            self.freed(user, key);
        }
    }

    /// Renews everything that an owner's runs hold, and says what that is.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn renew(&self, owner: Owner) -> Result<Vec<HeldLock>, StoreError> {
        match &self.store {
            Ok(store) => store.renew(owner, self.lease).await,
            Err(_) => Ok(Vec::new()),
        }
    }

    /// Has those who wait for a lock here ask at once.
    pub(crate) fn freed(&self, user: &str, key: &str) {
        self.freed.tell(user, key);
    }
}

/// Takes a lock. Dropped before it is held, it leaves the queue.
#[derive(Debug)]
pub struct Taking {
    locks: Locks,
    user: String,
    key: String,
    taker: Taker,
    is_over: bool,
}

impl Taking {
    /// Waits until the lock is held; then it is the caller's to release.
    ///
    /// # Errors
    /// As [`LockStore::ask`]; then it is not held.
    pub async fn held(&mut self) -> Result<(), StoreError> {
        // Doubles for as long as nothing happens.
        let (mut last, mut least) = (None, PAUSE);
        loop {
            let freed = self.locks.freed.listen(&self.user, &self.key);
            let notified = freed.notify.notified();
            tokio::pin!(notified);
            // Before asking, so that what is released meanwhile is not missed.
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

    /// Stops waiting, and leaves everything as it is: the same taker will ask again, here or at another relay.
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

/// Who waits here for which lock.
#[derive(Debug, Default)]
struct Freed(Mutex<HashMap<(String, String), Listeners>>);

#[derive(Debug, Default)]
struct Listeners {
    count: usize,
    notify: Arc<Notify>,
}

/// Listens for one lock, until this is dropped.
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
        // Counted under the lock: two that go at once do not take each other for one that stays.
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
