//! Local tiers of all users, within their budgets.
//!
//! After a user's last run, clean values are evicted after [`CLEAN_KEPT`], and unpushed writes are dropped after the
//! setting `state.tier_kept`. When the budget is exhausted, clean values are evicted at once.

use super::lock;
use crate::budget::{Budget, Frees, Kind};
use faasm_bridge::state::LocalTier;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// How long a user's clean values outlive the user's last run.
const CLEAN_KEPT: Duration = Duration::from_secs(5);

/// Interval of evictions.
const PERIOD: Duration = Duration::from_secs(1);

/// Most keys of one user in a log line.
const MAX_NAMED: usize = 8;

pub(super) type Tier = Arc<Mutex<LocalTier>>;

/// The local tiers of all users.
pub(super) struct Tiers {
    budget: Budget,
    /// How long a user's unpushed writes outlive the user's last run.
    unsent_kept: Duration,
    users: Mutex<HashMap<String, Entry>>,
}

struct Entry {
    /// Shared with the user's runs; without runs this is the only handle.
    tier: Tier,
    used: Instant,
}

impl Entry {
    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.tier) == 1
    }
}

impl Tiers {
    pub(super) fn new(budget: Budget, unsent_kept: Duration) -> Arc<Self> {
        let tiers = Arc::new(Self { budget: budget.clone(), unsent_kept, users: Mutex::default() });
        let frees: Arc<dyn Frees> = Arc::clone(&tiers) as _;
        budget.ask(Arc::downgrade(&frees));
        tiers
    }

    /// Starts the thread that evicts values until the tiers are dropped.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start_eviction(tiers: &Arc<Self>) -> std::io::Result<()> {
        let tiers = Arc::downgrade(tiers);
        let evicting = move || {
            while let Some(tiers) = tiers.upgrade() {
                tiers.evict_idle(Instant::now());
                drop(tiers);
                std::thread::sleep(PERIOD);
            }
        };
        std::thread::Builder::new().name("tiers".into()).spawn(evicting).map(drop)
    }

    /// The local tier of `user`, shared by all runs of this user here.
    pub(super) fn of(&self, user: &str) -> Tier {
        let mut users = lock(&self.users);
        if let Some(entry) = users.get(user) {
            return Arc::clone(&entry.tier);
        }
        let charge = self.budget.user(user).nothing(Kind::State);
        let tier = Arc::new(Mutex::new(LocalTier::metered(Box::new(charge))));
        let entry = Entry { tier: Arc::clone(&tier), used: Instant::now() };
        users.insert(user.to_owned(), entry);
        tier
    }

    /// Evicts clean values and drops unpushed writes whose time is over.
    fn evict_idle(&self, now: Instant) {
        let mut users = lock(&self.users);
        users.retain(|user, entry| {
            if !entry.is_idle() {
                entry.used = now;
                return true;
            }
            let idle = now.saturating_duration_since(entry.used);
            let mut tier = lock(&entry.tier);
            if idle >= CLEAN_KEPT {
                tier.evict();
            }
            if idle >= self.unsent_kept {
                let before = tier.used();
                let (keys, _) = tier.drop_unsent();
                if !keys.is_empty() {
                    let named =
                        keys.iter().take(MAX_NAMED).map(|key| key.escape_debug().to_string());
                    let named = named.collect::<Vec<_>>().join(", ");
                    tracing::warn!(
                        %user, values = keys.len(), bytes = before, keys = %named,
                        "state that functions wrote and did not push is dropped"
                    );
                }
            }
            tier.used() > 0 || idle < CLEAN_KEPT
        });
    }
}

impl Frees for Tiers {
    fn free(&self, user: Option<&str>) {
        // If the lock is held, its holder either allocates nothing or is already evicting.
        let users = match self.users.try_lock() {
            Ok(users) => users,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let theirs = users.iter().filter(|(name, _)| user.is_none_or(|user| user == name.as_str()));
        for (_, entry) in theirs {
            // A locked tier evicts its own values.
            match entry.tier.try_lock() {
                Ok(mut tier) => drop(tier.evict()),
                Err(TryLockError::Poisoned(tier)) => drop(PoisonError::into_inner(tier).evict()),
                Err(TryLockError::WouldBlock) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Bounds;
    use faasm_bridge::state::Chunk;

    const MIB: u64 = 1 << 20;
    const KEPT: Duration = Duration::from_secs(300);

    fn tiers(bounds: Bounds) -> (Arc<Tiers>, Budget) {
        let budget = Budget::new(bounds);
        (Tiers::new(budget.clone(), KEPT), budget)
    }

    fn pull(tier: &Tier, key: &str) -> Result<(), faasm_bridge::state::StateError> {
        let chunk = Chunk { offset: 0, bytes: vec![1; MIB as usize].into() };
        lock(tier).fill(key, MIB, &chunk)
    }

    #[test]
    fn clean_values_are_evicted_without_runs_and_unpushed_writes_dropped_later() {
        let (tiers, budget) = tiers(Bounds::NONE);
        let tier = tiers.of("ada");
        pull(&tier, "clean").unwrap();
        lock(&tier).write("unsent", MIB, 0, &[1]).unwrap();
        let now = Instant::now();
        tiers.evict_idle(now + 2 * KEPT);
        assert!(budget.used_for(Kind::State) > 2 * MIB, "a run uses them");
        let now = now + 2 * KEPT;
        drop(tier);
        tiers.evict_idle(now + CLEAN_KEPT / 2);
        assert!(budget.used_for(Kind::State) > 2 * MIB, "the next run may come soon");
        tiers.evict_idle(now + CLEAN_KEPT);
        let used = budget.used_for(Kind::State);
        assert!(used > MIB && used < 2 * MIB, "{used}");
        tiers.evict_idle(now + KEPT - PERIOD);
        assert_eq!(budget.used_for(Kind::State), used);
        tiers.evict_idle(now + KEPT);
        assert_eq!(budget.used(), 0);
        assert!(lock(&tiers.users).is_empty());
    }

    #[test]
    fn an_exhausted_budget_evicts_clean_values_at_once() {
        let (tiers, budget) = tiers(Bounds { relay: 4 * MIB, user: 3 * MIB });
        let (ada, eve) = (tiers.of("ada"), tiers.of("eve"));
        pull(&ada, "a").unwrap();
        pull(&ada, "b").unwrap();
        pull(&ada, "c").unwrap();
        assert!(lock(&ada).get("a").is_none(), "a user's own go first");
        lock(&ada).write("d", MIB, 0, &[1]).unwrap();
        // If the relay's budget is exhausted, other users' values are evicted.
        pull(&eve, "a").unwrap();
        lock(&eve).write("b", MIB, 0, &[1]).unwrap();
        lock(&eve).write("c", MIB, 0, &[1]).unwrap();
        assert!(lock(&ada).get("d").is_some(), "unpushed writes stay");
        assert!(lock(&ada).get("c").is_none());
        // Other charges of the user evict clean values, too.
        drop((ada, eve));
        let charge = budget.user("ada").charge(Kind::Body, MIB as usize / 2);
        assert!(charge.is_ok());
    }
}
