//! Group commit: changes that are pending together share one transaction, and so one sync of the disk.

use super::queue::{Bounds, Queue};
use super::reopen::{DatabaseHandle, Failed};
use super::{Checked, NUMBERS, journal};
use crate::store::{SessionKey, StoreError};
use rangemap::RangeSet;
use redb::{Durability, ReadableDatabase, ReadableTable, WriteTransaction};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// Limits on pending changes and on the changes of one commit. A large commit is slow for all changes in it.
const BOUNDS: Bounds =
    Bounds { waiting_bytes: 512 * 1024 * 1024, batch: 1024, batch_bytes: 32 * 1024 * 1024 };

/// Acknowledged records are deleted by a commit that happens anyway, or by one of their own after so many
/// acknowledgements.
const FORGET_EVERY: usize = 4096;

/// Maximum number of pending ranges of acknowledged records. Records beyond them stay until their session ends, or a
/// relay starts.
const MAX_FORGETTABLE: usize = 64 * 1024;

/// Key of the row in `numbers` that counts commits.
const COMMITS: &str = "commits";

/// A change. If it returns a [`StoreError`], it must not have modified anything: it shares its transaction with other
/// changes.
type Work = Box<dyn FnOnce(&WriteTransaction) -> Checked<()> + Send>;

struct Job {
    action: &'static str,
    bytes: usize,
    work: Work,
    done: oneshot::Sender<Result<(), StoreError>>,
}

/// Acknowledged idempotency records, to be deleted.
#[derive(Debug, Default)]
struct Forgettable {
    sessions: BTreeMap<SessionKey, RangeSet<u64>>,
    /// Total number of ranges.
    ranges: usize,
    /// Acknowledgements since the last deletion.
    added: usize,
}

impl Forgettable {
    fn add(&mut self, session: SessionKey, requests: Range<u64>) {
        self.added += 1;
        if requests.is_empty() {
            return;
        }
        let ranges = self.sessions.entry(session).or_default();
        let others = self.ranges - ranges.len();
        ranges.insert(requests.clone());
        if others + ranges.len() > MAX_FORGETTABLE {
            ranges.remove(requests);
        }
        self.ranges = others + ranges.len();
        if ranges.is_empty() {
            self.sessions.remove(&session);
        }
    }

    /// Whether the deletions are due for a commit of their own.
    fn is_due(&self) -> bool {
        self.added >= FORGET_EVERY
    }

    /// Restores the deletions of a commit that failed.
    fn put_back(&mut self, other: &Self) {
        for (session, ranges) in &other.sessions {
            ranges.iter().for_each(|requests| self.add(*session, requests.clone()));
        }
    }
}

/// Makes changes in successive commits.
#[derive(Debug)]
pub(super) struct Committer {
    queue: Queue<Job>,
    forgettable: Arc<Mutex<Forgettable>>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("action", &self.action).finish_non_exhaustive()
    }
}

impl Committer {
    /// For a relay that may hold this many bytes for users.
    pub(super) fn start(handle: Arc<DatabaseHandle>, relay: u64) -> io::Result<Self> {
        let forgettable = Arc::<Mutex<Forgettable>>::default();
        let waiting = Arc::clone(&forgettable);
        let work = move |jobs| commit(&handle, jobs, &waiting);
        Ok(Self { queue: Queue::start("commit", BOUNDS.within(relay), work)?, forgettable })
    }

    /// Makes a change, atomically and durably. Dropping the future does not undo a change that is in the queue.
    pub(super) async fn change(
        &self,
        action: &'static str,
        bytes: usize,
        work: impl FnOnce(&WriteTransaction) -> Checked<()> + Send + 'static,
    ) -> Result<(), StoreError> {
        let (done, doing) = oneshot::channel();
        self.queue.push(bytes, Job { action, bytes, work: Box::new(work), done }).await;
        doing.await.unwrap_or_else(|_| {
            Err(StoreError::Uncertain { action, reason: "the store panicked".into() })
        })
    }

    /// Eventually makes a small change, if the queue has capacity.
    pub(super) fn soon(
        &self,
        action: &'static str,
        work: impl FnOnce(&WriteTransaction) -> Checked<()> + Send + 'static,
    ) {
        let (done, _) = oneshot::channel();
        self.queue.try_push(0, || Job { action, bytes: 0, work: Box::new(work), done });
    }

    /// Deletes acknowledged records with a later commit.
    pub(super) fn forget_marks(&self, session: SessionKey, requests: Range<u64>) {
        let mut forgettable = lock(&self.forgettable);
        forgettable.add(session, requests);
        if !forgettable.is_due() {
            return;
        }
        forgettable.added = 0;
        drop(forgettable);
        let (done, _) = oneshot::channel();
        let work: Work = Box::new(|_| Ok(Ok(())));
        // A full queue means that commits are pending anyway.
        self.queue.try_push(0, || Job { action: "forget marks", bytes: 0, work, done });
    }

    /// Number of ranges of records that are pending deletion.
    #[cfg(test)]
    pub(super) fn forgettable(&self) -> usize {
        lock(&self.forgettable).ranges
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The stage at which a transaction failed.
enum Stage {
    /// Nothing of it was written.
    Working,
    /// The commit's number; reopening the database shows whether it was written.
    Committing(u64),
}

fn commit(handle: &DatabaseHandle, jobs: Vec<Job>, forgettable: &Mutex<Forgettable>) {
    let bytes = jobs.iter().map(|job| job.bytes).sum();
    if let Err(reason) = handle.takes_changes(bytes) {
        tracing::warn!(reason, "the store rejects changes");
        return jobs.into_iter().for_each(|job| {
            let error = StoreError::Backend { action: job.action, reason: reason.clone() };
            let _ = job.done.send(Err(error));
        });
    }
    let forgotten = std::mem::take(&mut *lock(forgettable));
    let (actions, works): (Vec<_>, Vec<_>) =
        jobs.into_iter().map(|job| ((job.action, job.done), job.work)).unzip();
    let mut works = Some(works);
    let mut stage = Stage::Working;
    let mut transact = |database: &redb::Database| {
        let works = works.take().unwrap_or_default();
        transaction(database, works, &forgotten, &mut stage)
    };
    let mut made = handle.with(&mut transact);
    // The database had failed earlier, so nothing was written yet.
    if let Err(failed @ Failed::Closed(_)) = &made
        && handle.open_again(failed)
    {
        made = handle.with(transact);
    }
    let results = match made {
        Ok(results) => results,
        Err(failed) => {
            let reason = failed.reason();
            let is_open = failed.is_final() && handle.open_again(&failed);
            let outcome = outcome(handle, &stage, is_open);
            tracing::error!(reason, changes = actions.len(), ?outcome, "a commit failed");
            if !matches!(outcome, Outcome::There) {
                lock(forgettable).put_back(&forgotten);
            }
            let answer = |action| match outcome {
                Outcome::There => Ok(()),
                Outcome::Absent => Err(StoreError::Backend { action, reason: reason.clone() }),
                Outcome::Uncertain => Err(StoreError::Uncertain { action, reason: reason.clone() }),
            };
            actions.iter().map(|(action, _)| answer(action)).collect()
        }
    };
    for ((_, done), result) in actions.into_iter().zip(results) {
        // The caller may have dropped its future.
        let _ = done.send(result);
    }
}

/// The outcome of a failed commit.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    There,
    Absent,
    Uncertain,
}

fn outcome(handle: &DatabaseHandle, stage: &Stage, is_open: bool) -> Outcome {
    let number = match stage {
        Stage::Working => return Outcome::Absent,
        Stage::Committing(number) => *number,
    };
    if !is_open {
        return Outcome::Uncertain;
    }
    let last = handle.with(|database| {
        let numbers = database.begin_read()?.open_table(NUMBERS)?;
        Ok(numbers.get(COMMITS)?.map_or(0, |last| last.value()))
    });
    match last {
        Ok(last) if last == number => Outcome::There,
        Ok(_) => Outcome::Absent,
        Err(_) => Outcome::Uncertain,
    }
}

/// Makes all these changes in one transaction.
fn transaction(
    database: &redb::Database,
    works: Vec<Work>,
    forgotten: &Forgettable,
    stage: &mut Stage,
) -> Result<Vec<Result<(), StoreError>>, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    for (session, ranges) in &forgotten.sessions {
        for requests in ranges.iter() {
            journal::forget_marks(&transaction, *session, requests.clone())?;
        }
    }
    let results = works.into_iter().map(|work| work(&transaction));
    let results = results.collect::<Result<Vec<_>, _>>()?;
    if forgotten.sessions.is_empty() && results.iter().all(Result::is_err) {
        transaction.abort()?;
        return Ok(results);
    }
    let number = {
        let mut numbers = transaction.open_table(NUMBERS)?;
        let last = numbers.get(COMMITS)?.map_or(0, |last| last.value());
        numbers.insert(COMMITS, last + 1)?;
        last + 1
    };
    *stage = Stage::Committing(number);
    transaction.commit()?;
    Ok(results)
}
