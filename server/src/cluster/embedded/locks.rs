//! Locks across the cluster that runs of this embedded one hold: taken and released for them, and renewed while they live.

use super::lock;
use crate::store::{HeldLock, Holder, Locks, Owner, StoreError, Taker};
use faasm_bridge::guest::Completion;
use futures_util::future::join_all;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

/// What all runs of a cluster share.
pub(super) struct Holding {
    locks: Locks,
    /// What this cluster is called.
    name: Owner,
    last_run: AtomicU64,
    last_attempt: AtomicU64,
    /// What its runs hold; `true` where the store says that it was lost.
    held: Mutex<HashMap<Taker, bool>>,
    /// A task renews it.
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

    /// Who holds the locks of a user's runs: their number is bounded, and one user does not use up another one's.
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

    /// Renews what is held, once; `None` where nothing is.
    async fn renew(&self) -> Option<()> {
        let before: Vec<Taker> = lock(&self.held).keys().copied().collect();
        if before.is_empty() {
            self.is_renewing.store(false, Ordering::SeqCst);
            let is_empty = lock(&self.held).is_empty();
            // One that was added meanwhile has another task, or this one.
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

    /// Notes which locks of an owner are lost, of those that were held before it was asked.
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

/// What one run holds. All of it is free once this is dropped.
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

    /// Waits for a lock; dropped meanwhile, it leaves the queue.
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
            // It stays among those that are held, and is withdrawn with them.
            Err(error) => Completion::Failed(error.to_string()),
            Ok(was_held) => {
                self.held.remove(key);
                self.holding.remove(taker);
                if was_held { Completion::Done } else { Completion::Missing }
            }
        }
    }

    /// Whether it is known that the lock of this key was lost.
    pub(super) fn has_lost(&self, key: &str) -> bool {
        let taker = self.held.get(key);
        taker.is_some_and(|taker| lock(&self.holding.held).get(taker) == Some(&true))
    }

    /// Releases everything.
    pub(super) async fn end(&mut self) {
        while let Some(key) = self.held.first_key_value().map(|(key, _)| key.clone()) {
            if let Completion::Failed(reason) = self.release(&key).await {
                tracing::warn!(reason, "a lock is released later");
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
        // What all of them hold is renewed.
        holding.renew().await.unwrap();
        assert!(!greedy.has_lost("0") && !other.has_lost("more"));
        assert_eq!(other.release("more").await, Completion::Done);
        greedy.end().await;
        assert_eq!(same.take("0".to_owned()).await, Completion::Done);
    }
}
