//! Cluster-wide locks held by this embedded cluster's runs: acquires, releases and renews them.

use super::lock;
use crate::store::{HeldLock, Holder, Locks, Owner, StoreError, Taker};
use faasm_bridge::guest::Completion;
use futures_util::future::join_all;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

/// State shared by all runs of a cluster.
pub(super) struct Holding {
    locks: Locks,
    /// Name of this cluster.
    name: Owner,
    last_run: AtomicU64,
    last_attempt: AtomicU64,
    /// Locks that its runs hold; `true` if the store has reported the lock as lost.
    held: Mutex<HashMap<Taker, bool>>,
    /// Whether a renewal task is running.
    is_renewing: AtomicBool,
}

impl Holding {
    pub(super) fn new(locks: Locks) -> Result<Arc<Self>, StoreError> {
        Ok(Arc::new(Self {
            locks,
            name: Owner::random()?,
            last_run: AtomicU64::new(0),
            last_attempt: AtomicU64::new(0),
            held: Mutex::default(),
            is_renewing: AtomicBool::new(false),
        }))
    }

    /// The owner name for locks of a user's runs: the store limits locks per owner, and users do not share that limit.
    fn owner(&self, user: &str) -> Owner {
        Owner(Sha256::new().chain_update(self.name.0).chain_update(user).finalize().into())
    }

    fn add(self: &Arc<Self>, taker: Taker) {
        lock(&self.held).insert(taker, false);
        if !self.is_renewing.swap(true, Ordering::SeqCst) {
            tokio::spawn(renew(Arc::downgrade(self)));
        }
    }

    fn remove(&self, taker: Taker) {
        lock(&self.held).remove(&taker);
    }

    /// Renews all held locks once; `None` if there are none.
    async fn renew(&self) -> Option<()> {
        let before: Vec<Taker> = lock(&self.held).keys().copied().collect();
        if before.is_empty() {
            self.is_renewing.store(false, Ordering::SeqCst);
            let is_empty = lock(&self.held).is_empty();
            // A lock that was added meanwhile is renewed by another task, or by this one.
            if is_empty || self.is_renewing.swap(true, Ordering::SeqCst) {
                return None;
            }
        }
        let owners: BTreeSet<Owner> = before.iter().map(|taker| taker.holder.owner).collect();
        let renewing =
            owners.into_iter().map(|owner| async move { (owner, self.locks.renew(owner).await) });
        for (owner, renewed) in join_all(renewing).await {
            self.renewed(owner, &before, renewed);
        }
        Some(())
    }

    /// Marks the lost locks of an owner among those that were held when the store was queried.
    fn renewed(&self, owner: Owner, before: &[Taker], renewed: Result<Vec<HeldLock>, StoreError>) {
        match renewed {
            Ok(renewed) => {
                let renewed: HashSet<Taker> = renewed.iter().map(|lock| lock.taker).collect();
                let mut held = lock(&self.held);
                for taker in before.iter().filter(|taker| taker.holder.owner == owner) {
                    if let Some(is_lost) = held.get_mut(taker)
                        && !renewed.contains(taker)
                        && !std::mem::replace(is_lost, true)
                    {
                        tracing::warn!(run = taker.holder.run, "a function has lost its lock");
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "locks are not renewed"),
        }
    }
}

async fn renew(holding: Weak<Holding>) {
    loop {
        let Some(this) = holding.upgrade() else { return };
        let pause = this.locks.renewal();
        if this.renew().await.is_none() {
            return;
        }
        drop(this);
        tokio::time::sleep(pause).await;
    }
}

/// The locks of one run, released on drop.
pub(super) struct RunLocks {
    holding: Arc<Holding>,
    user: String,
    holder: Holder,
    /// By key.
    held: BTreeMap<String, Taker>,
}

impl RunLocks {
    pub(super) fn new(holding: &Arc<Holding>, user: &str) -> Self {
        let run = holding.last_run.fetch_add(1, Ordering::Relaxed);
        let holder = Holder { owner: holding.owner(user), run };
        Self { holding: Arc::clone(holding), user: user.to_owned(), holder, held: BTreeMap::new() }
    }

    /// Waits for a lock. Dropping the future leaves the queue.
    pub(super) async fn take(&mut self, key: String) -> Completion {
        let attempt = self.holding.last_attempt.fetch_add(1, Ordering::Relaxed);
        let taker = Taker { holder: self.holder, attempt };
        if let Err(error) = self.holding.locks.take(&self.user, &key, taker).held().await {
            return Completion::Failed(error.to_string());
        }
        self.held.insert(key, taker);
        self.holding.add(taker);
        Completion::Done
    }

    pub(super) async fn release(&mut self, key: &str) -> Completion {
        let Some(&taker) = self.held.get(key) else { return Completion::Missing };
        let released = self.holding.locks.release(&self.user, key, taker).await;
        match released {
            // It stays in the list of held locks, and is withdrawn with them.
            Err(error) => Completion::Failed(error.to_string()),
            Ok(was_held) => {
                self.held.remove(key);
                self.holding.remove(taker);
                if was_held { Completion::Done } else { Completion::Missing }
            }
        }
    }

    /// Whether the lock of this key is known to be lost.
    pub(super) fn has_lost(&self, key: &str) -> bool {
        let taker = self.held.get(key);
        taker.is_some_and(|taker| lock(&self.holding.held).get(taker) == Some(&true))
    }

    /// Releases all locks.
    pub(super) async fn end(&mut self) {
        while let Some(key) = self.held.first_key_value().map(|(key, _)| key.clone()) {
            if let Completion::Failed(reason) = self.release(&key).await {
                tracing::warn!(reason, "a lock is released with a delay");
                return;
            }
        }
    }
}

impl Drop for RunLocks {
    fn drop(&mut self) {
        for (key, taker) in std::mem::take(&mut self.held) {
            self.holding.locks.withdraw(&self.user, &key, taker);
            self.holding.remove(taker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MAX_LOCKS_OF_OWNER, Stores};

    #[tokio::test]
    async fn a_user_with_all_the_locks_there_are_leaves_others_theirs() {
        let stores = Stores::in_memory().unwrap();
        let holding = Holding::new(stores.locks).unwrap();
        let [mut greedy, mut same, mut other] =
            ["a", "a", "b"].map(|user| RunLocks::new(&holding, user));
        for key in 0..MAX_LOCKS_OF_OWNER {
            assert_eq!(greedy.take(key.to_string()).await, Completion::Done);
        }
        let refused = same.take("more".to_owned()).await;
        assert!(matches!(refused, Completion::Failed(_)), "{refused:?}");
        assert_eq!(other.take("more".to_owned()).await, Completion::Done);
        // The locks of all runs are renewed.
        holding.renew().await.unwrap();
        assert!(!greedy.has_lost("0") && !other.has_lost("more"));
        assert_eq!(other.release("more").await, Completion::Done);
        greedy.end().await;
        assert_eq!(same.take("0".to_owned()).await, Completion::Done);
    }
}
