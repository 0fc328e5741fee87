//! Asynchronous calls by `POST /`, and their results.

use super::Refusal;
use super::answer::charged;
use crate::budget::{Budget, Charge, Frees, Kind};
use bytes::Bytes;
use hyper::StatusCode;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant};

/// Maximum number of asynchronous calls per user; the oldest ended ones are dropped first.
const MAX_CALLS: usize = 1024;

/// Memory of a call besides its output.
const ENTRY_BYTES: usize = 512;

/// Asynchronous calls. A result is kept for a while, unless its user's memory is needed for something else; the memory
/// of other users does not matter.
#[derive(Debug)]
pub(super) struct Calls {
    kept: Duration,
    budget: Budget,
    table: Mutex<Table>,
    /// Whether a task that drops old results runs.
    is_swept: AtomicBool,
}

#[derive(Debug, Default)]
struct Table {
    last_id: u32,
    by_user: HashMap<String, BTreeMap<u32, Entry>>,
}

#[derive(Debug)]
struct Entry {
    function: String,
    _charge: Charge,
    /// The time of its end, and its status text; `None` while it runs.
    ended: Option<(Instant, Bytes)>,
}

/// Whether it succeeded, and its output or the reason of its failure.
pub(super) type Ended = (bool, Vec<u8>);

impl Calls {
    pub(super) fn new(kept: Duration, budget: &Budget) -> Arc<Self> {
        let (budget, table) = (budget.clone(), Mutex::default());
        let calls = Arc::new(Self { kept, budget, table, is_swept: AtomicBool::new(false) });
        let budget = &calls.budget;
        let frees: Arc<dyn Frees> = Arc::clone(&calls) as _;
        budget.ask(Arc::downgrade(&frees));
        calls
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a call and returns its id.
    ///
    /// # Errors
    /// When too many calls of the user run, or there is no memory for the entry.
    pub(super) fn add(&self, user: &str, function: &str) -> Result<u32, Refusal> {
        let charge = self.budget.user(user).charge(Kind::Answer, ENTRY_BYTES)?;
        let mut table = self.table();
        table.forget_old(Instant::now(), self.kept);
        let Table { last_id, by_user } = &mut *table;
        let theirs = by_user.entry(user.to_owned()).or_default();
        if theirs.len() >= MAX_CALLS {
            let ended = theirs.iter().find(|(_, call)| call.ended.is_some()).map(|(id, _)| *id);
            let oldest = ended.ok_or_else(|| {
                let what = format!(
                    "{MAX_CALLS} asynchronous calls of this user are running; try again later"
                );
                Refusal::new(StatusCode::TOO_MANY_REQUESTS, what)
            })?;
            theirs.remove(&oldest);
        }
        *last_id = last_id.wrapping_add(1);
        let function = function.to_owned();
        theirs.insert(*last_id, Entry { function, _charge: charge, ended: None });
        Ok(*last_id)
    }

    pub(super) fn end(self: &Arc<Self>, user: &str, id: u32, (succeeded, output): Ended) {
        let word: &[u8] = if succeeded { b"SUCCESS: " } else { b"FAILED: " };
        // Before locking the table: the charge may have to evict results from it.
        let text = match self.budget.user(user).charge(Kind::Answer, word.len() + output.len()) {
            Ok(charge) => charged([word, &output].concat(), charge),
            Err(over) => {
                let what =
                    "FAILED: Call failed (over-budget): the call ran, and its output is not kept";
                format!("{what}: {over}").into()
            }
        };
        let mut table = self.table();
        let call = table.by_user.get_mut(user).and_then(|theirs| theirs.get_mut(&id));
        if let Some(call) = call {
            call.ended = Some((Instant::now(), text));
        }
        drop(table);
        if !self.is_swept.swap(true, Ordering::SeqCst) {
            tokio::spawn(sweep(Arc::downgrade(self), self.kept));
        }
    }

    /// The status of a call, in Faasm's format.
    pub(super) fn status(&self, id: u32, user: &str, function: &str) -> Option<Bytes> {
        let mut table = self.table();
        table.forget_old(Instant::now(), self.kept);
        let call = table.by_user.get(user)?.get(&id).filter(|call| call.function == function)?;
        Some(match &call.ended {
            None => Bytes::from_static(b"RUNNING"),
            Some((_, text)) => text.clone(),
        })
    }
}

/// Drops old results, until no ended call is left.
async fn sweep(calls: Weak<Calls>, kept: Duration) {
    loop {
        tokio::time::sleep(kept).await;
        let Some(calls) = calls.upgrade() else { return };
        let mut table = calls.table();
        table.forget_old(Instant::now(), kept);
        let mut all = table.by_user.values().flat_map(BTreeMap::values);
        if !all.any(|call| call.ended.is_some()) {
            // The next call to end starts this task again.
            calls.is_swept.store(false, Ordering::SeqCst);
            return;
        }
    }
}

impl Table {
    fn forget_old(&mut self, now: Instant, kept: Duration) {
        self.retain(|_, ended| now.saturating_duration_since(*ended) < kept);
    }

    /// Drops ended calls for which `stays` is false.
    fn retain(&mut self, stays: impl Fn(&str, &Instant) -> bool) {
        self.by_user.retain(|user, theirs| {
            let ended = |call: &Entry| call.ended.as_ref().map(|(when, _)| *when);
            theirs.retain(|_, call| ended(call).is_none_or(|when| stays(user, &when)));
            !theirs.is_empty()
        });
    }
}

impl Frees for Calls {
    fn free(&self, user: Option<&str>) {
        // Another user's memory is no reason to drop results.
        let Some(user) = user else { return };
        let mut table = match self.table.try_lock() {
            Ok(table) => table,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        table.retain(|of, _| of != user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Bounds;

    const KEPT: Duration = Duration::from_secs(300);

    fn status(calls: &Calls, user: &str, id: u32) -> Option<String> {
        let text = calls.status(id, user, "f")?;
        Some(String::from_utf8(text.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn results_that_are_not_fetched_expire() {
        let budget = Budget::new(Bounds::NONE);
        let calls = Calls::new(Duration::from_millis(1), &budget);
        for _ in 0..2 {
            let call = calls.add("ada", "f").unwrap();
            calls.end("ada", call, (true, b"one".to_vec()));
            while budget.used() > 0 || calls.is_swept.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    #[tokio::test]
    async fn users_do_not_evict_each_others_results() {
        let calls = Calls::new(KEPT, &Budget::new(Bounds::NONE));
        let first = calls.add("ada", "f").unwrap();
        calls.end("ada", first, (true, b"one".to_vec()));
        let theirs = calls.add("eve", "f").unwrap();
        calls.end("eve", theirs, (true, b"two".to_vec()));
        for _ in 1..MAX_CALLS {
            calls.add("eve", "f").unwrap();
        }
        calls.add("eve", "f").unwrap();
        let refused = calls.add("eve", "f").unwrap_err();
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(status(&calls, "ada", first).as_deref(), Some("SUCCESS: one"));
        assert_eq!(status(&calls, "eve", first), None);
        assert_eq!(status(&calls, "eve", theirs), None, "evicted by a result of the same user");
    }

    #[tokio::test]
    async fn results_are_kept_for_a_while_unless_their_user_needs_the_memory() {
        let budget = Budget::new(Bounds { relay: u64::MAX, user: 2000 });
        let calls = Calls::new(KEPT, &budget);
        let first = calls.add("ada", "f").unwrap();
        calls.end("ada", first, (true, vec![b'x'; 1000]));
        let text = status(&calls, "ada", first).unwrap();
        assert!(text.starts_with("SUCCESS: x"), "{text}");
        assert!(budget.used() > 1000);
        let charge = budget.user("ada").charge(Kind::Body, 1500).unwrap();
        assert_eq!(status(&calls, "ada", first), None);
        drop(charge);
        let second = calls.add("ada", "f").unwrap();
        calls.end("ada", second, (true, vec![b'x'; 3000]));
        let text = status(&calls, "ada", second).unwrap();
        assert!(text.starts_with("FAILED: Call failed (over-budget)"), "{text}");
        calls.table().forget_old(Instant::now() + KEPT, KEPT);
        assert_eq!(budget.used(), 0);
    }
}
