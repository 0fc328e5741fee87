//! Locks of one relay, decided by a table in memory. The holders are also stored in the database, so that a relay that
//! is killed and restarted does not give a lock to another run while its holder reconnects.
//!
//! Leases are measured in memory, and restart when a relay starts. A lock is granted only after its row is written; a
//! stale row delays the lock by one lease after the next start.

use super::{Checked, RedbStore};
use crate::store::locks::QUEUE_PATIENCE;
use crate::store::{
    Asked, HeldLock, Holder, LockStore, MAX_LOCK_WAITERS, MAX_LOCKS_OF_OWNER, Owner, SessionKey,
    StoreError, Taker,
};
use faasm_bridge::wire::RequestId;
use futures_util::future::BoxFuture;
use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// By user and key: owner, run and attempt of the taker.
pub(super) const NAME: &str = "locks";

const LOCKS: TableDefinition<'_, (&str, &str), (&[u8; 32], u64, u64)> = TableDefinition::new(NAME);

/// User and key.
type Name = (String, String);

pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(LOCKS)?;
    Ok(())
}

/// Locks held when the last relay ended.
pub(super) fn left(transaction: &ReadTransaction) -> Result<Vec<(Name, Taker)>, redb::Error> {
    let mut left = Vec::new();
    for row in transaction.open_table(LOCKS)?.iter()? {
        let (name, taker) = row?;
        let ((user, key), (owner, run, attempt)) = (name.value(), taker.value());
        let holder = Holder { owner: Owner(*owner), run };
        left.push(((user.to_owned(), key.to_owned()), Taker { holder, attempt }));
    }
    Ok(left)
}

/// Whether the database has rows of holders that no session can resume.
pub(super) fn has_stray(
    transaction: &ReadTransaction,
    is_there: impl Fn(SessionKey) -> bool,
) -> Result<bool, redb::Error> {
    Ok(left(transaction)?.iter().any(|(_, taker)| !is_there(SessionKey(taker.holder.owner.0))))
}

/// Deletes the rows of holders that no session can resume.
pub(super) fn keep(
    transaction: &WriteTransaction,
    is_there: impl Fn(SessionKey) -> bool,
) -> Result<(), redb::Error> {
    transaction.open_table(LOCKS)?.retain(|_, (owner, _, _)| is_there(SessionKey(*owner)))?;
    Ok(())
}

fn put(transaction: &WriteTransaction, (user, key): &Name, taker: Taker) -> Checked<()> {
    let Taker { holder: Holder { owner, run }, attempt } = taker;
    let row = (&owner.0, run, attempt);
    transaction.open_table(LOCKS)?.insert((user.as_str(), key.as_str()), row)?;
    Ok(Ok(()))
}

/// Removes a row, unless another taker has overwritten it.
fn remove(transaction: &WriteTransaction, (user, key): &Name, taker: Taker) -> Checked<()> {
    let mut rows = transaction.open_table(LOCKS)?;
    let name = (user.as_str(), key.as_str());
    let Taker { holder: Holder { owner, run }, attempt } = taker;
    let is_theirs = rows.get(name)?.is_some_and(|row| row.value() == (&owner.0, run, attempt));
    if is_theirs {
        rows.remove(name)?;
    }
    Ok(Ok(()))
}

/// One lock, held or waited for.
#[derive(Debug, Default)]
struct Lock {
    /// Its taker and the end of its lease; for a lock of an earlier relay the end is unknown until a caller states the
    /// lease.
    held: Option<(Taker, Until)>,
    /// Waiting takers, and the time of the last poll of each.
    queue: VecDeque<(Taker, Instant)>,
}

#[derive(Clone, Copy, Debug)]
enum Until {
    At(Instant),
    /// One lease after this time.
    LeaseAfter(Instant),
}

impl Until {
    fn is_over(self, now: Instant, lease: Option<Duration>) -> bool {
        match (self, lease) {
            (Until::At(until), _) => until <= now,
            (Until::LeaseAfter(start), Some(lease)) => start + lease <= now,
            (Until::LeaseAfter(_), None) => false,
        }
    }
}

/// The table of holders and queues. It reads no clock: callers pass the time.
#[derive(Debug, Default)]
pub(super) struct Table {
    locks: HashMap<Name, Lock>,
    of_owner: HashMap<Owner, HashSet<Name>>,
    /// Stale rows, left by commits that failed to remove them. The next commit of a release removes them.
    left_over: Vec<(Name, Taker)>,
}

impl Table {
    /// Restores the locks that an earlier relay granted.
    pub(super) fn restore(left: Vec<(Name, Taker)>, now: Instant) -> Self {
        let mut table = Self::default();
        for (name, taker) in left {
            table.hold(name, taker, Until::LeaseAfter(now));
        }
        table
    }

    fn hold(&mut self, name: Name, taker: Taker, until: Until) {
        self.of_owner.entry(taker.holder.owner).or_default().insert(name.clone());
        self.locks.entry(name).or_default().held = Some((taker, until));
    }

    /// Frees a lock that is held.
    fn free(&mut self, name: &Name) -> Option<Taker> {
        let lock = self.locks.get_mut(name)?;
        let (taker, _) = lock.held.take()?;
        if lock.queue.is_empty() {
            self.locks.remove(name);
        }
        let owner = taker.holder.owner;
        if let Some(names) = self.of_owner.get_mut(&owner) {
            names.remove(name);
            if names.is_empty() {
                self.of_owner.remove(&owner);
            }
        }
        Some(taker)
    }

    fn ask(
        &mut self,
        name: &Name,
        taker: Taker,
        now: Instant,
        lease: Duration,
    ) -> Result<Asked, StoreError> {
        let key = || name.1.clone();
        let over =
            |lock: &Lock| lock.held.is_some_and(|(_, until)| until.is_over(now, Some(lease)));
        if self.locks.get(name).is_some_and(over) {
            self.free(name);
        }
        let held = self.locks.get(name).and_then(|lock| lock.held).map(|(held, _)| held);
        match held {
            Some(held) if held == taker => {
                self.hold(name.clone(), taker, Until::At(now + lease));
                return Ok(Asked::Held);
            }
            Some(held) if held.holder == taker.holder => {
                return Err(StoreError::Deadlock { key: key() });
            }
            _ => {}
        }
        let owned = self.of_owner.get(&taker.holder.owner).map_or(0, HashSet::len);
        if owned >= MAX_LOCKS_OF_OWNER {
            let reason = "the session, or the user in the cluster, holds too many other locks";
            return Err(StoreError::LocksFull { key: key(), reason });
        }
        let lock = self.locks.entry(name.clone()).or_default();
        lock.queue.retain(|(waiter, seen)| *waiter == taker || now - *seen < QUEUE_PATIENCE);
        let place = match lock.queue.iter_mut().position(|(waiter, _)| *waiter == taker) {
            Some(place) => place,
            None if lock.queue.len() >= MAX_LOCK_WAITERS => {
                let reason = "too many runs wait for it";
                return Err(StoreError::LocksFull { key: key(), reason });
            }
            None => {
                lock.queue.push_back((taker, now));
                lock.queue.len() - 1
            }
        };
        if place == 0 && held.is_none() {
            lock.queue.pop_front();
            self.hold(name.clone(), taker, Until::At(now + lease));
            return Ok(Asked::Held);
        }
        lock.queue[place].1 = now;
        Ok(Asked::Waits { before: place })
    }

    /// The taker by which a run holds a lock whose lease has not expired.
    fn held_by(&self, name: &Name, holder: Holder, now: Instant) -> Option<Taker> {
        let (taker, until) = self.locks.get(name)?.held?;
        (taker.holder == holder && !until.is_over(now, None)).then_some(taker)
    }

    /// Frees a lock; `false` if the taker does not hold it any more. In both cases the taker leaves the queue.
    fn release(&mut self, name: &Name, taker: Taker, now: Instant) -> bool {
        if self.held_by(name, taker.holder, now) == Some(taker) {
            return self.free(name).is_some();
        }
        if let Some(lock) = self.locks.get_mut(name) {
            lock.queue.retain(|(waiter, _)| *waiter != taker);
            if lock.held.is_none() && lock.queue.is_empty() {
                self.locks.remove(name);
            }
        }
        false
    }

    fn renew(&mut self, owner: Owner, now: Instant, lease: Duration) -> Vec<HeldLock> {
        let names = self.of_owner.get(&owner).cloned().unwrap_or_default();
        let mut held = Vec::new();
        for name in names {
            let Some((taker, until)) = self.locks.get(&name).and_then(|lock| lock.held) else {
                continue;
            };
            if until.is_over(now, Some(lease)) {
                self.free(&name);
                continue;
            }
            let (user, key) = name.clone();
            self.hold(name, taker, Until::At(now + lease));
            held.push(HeldLock { user, key, taker });
        }
        held
    }

    /// Frees all locks that an owner's runs hold.
    fn end(&mut self, owner: Owner) -> Vec<(Name, Taker)> {
        let names = self.of_owner.get(&owner).cloned().unwrap_or_default();
        let freed = names.into_iter().map(|name| {
            let taker = self.free(&name)?;
            Some((name, taker))
        });
        freed.flatten().collect()
    }

    /// Has the effect of an expired lease.
    #[cfg(test)]
    pub(super) fn expire(&mut self, user: &str, key: &str) {
        self.free(&(user.to_owned(), key.to_owned()));
    }
}

/// Shared with transactions.
pub(super) type Shared = Arc<Mutex<Table>>;

/// Locks the table. A poisoned mutex is usable: no code panics in the middle of a change.
pub(super) fn locked(table: &Shared) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Releases a run's lock, in the transaction that writes the idempotency record.
pub(super) fn unlock(
    table: &Shared,
    transaction: &WriteTransaction,
    name: &Name,
    holder: Holder,
) -> Checked<()> {
    let now = Instant::now();
    let mut locks = locked(table);
    let Some(taker) = locks.held_by(name, holder, now) else {
        return Ok(Err(StoreError::LockLost { key: name.1.clone() }));
    };
    // Free even if the transaction fails, as with [`RedbStore::give_up`].
    locks.free(name);
    drop(locks);
    remove(transaction, name, taker)
}

/// The taker that this request may release: not one by which the run took the lock after the request.
pub(super) fn to_release(
    table: &Shared,
    name: &Name,
    holder: Holder,
    request: RequestId,
) -> Option<Taker> {
    let held = locked(table).held_by(name, holder, Instant::now());
    held.filter(|taker| taker.attempt < request.0)
}

impl RedbStore {
    /// A store in memory has no rows: nothing would survive this process.
    fn keeps_rows(&self) -> bool {
        self.inner.recorder.is_some()
    }

    /// Frees a lock whose release could not be committed, if the taker still holds it: others should not wait for a run
    /// that has finished its work.
    pub(super) fn give_up(&self, name: Name, taker: Taker) {
        let mut locks = locked(&self.inner.locks);
        locks.release(&name, taker, Instant::now());
        if self.keeps_rows() {
            locks.left_over.push((name, taker));
        }
    }

    /// Removes the stale rows left by earlier commits.
    async fn sweep(&self) {
        let left = std::mem::take(&mut locked(&self.inner.locks).left_over);
        if left.is_empty() {
            return;
        }
        let (rows, table) = (left.clone(), Arc::clone(&self.inner.locks));
        let removing = move |transaction: &WriteTransaction| {
            for (name, taker) in &rows {
                // A repeated request may have taken the lock in the meantime.
                let held = locked(&table).held_by(name, taker.holder, Instant::now());
                if held != Some(*taker) {
                    let _ = remove(transaction, name, *taker)?;
                }
            }
            Ok(Ok(()))
        };
        if self.commit("release locks", 0, removing).await.is_err() {
            locked(&self.inner.locks).left_over.extend(left);
        }
    }

    fn remove_soon(&self, name: Name, taker: Taker) {
        if self.keeps_rows() {
            let removing = move |transaction: &WriteTransaction| remove(transaction, &name, taker);
            self.inner.committer.soon("release a lock", removing);
        }
    }

    /// Frees the locks of a session that ended.
    pub(super) fn end_locks(&self, owner: Owner) {
        let freed = locked(&self.inner.locks).end(owner);
        freed.into_iter().for_each(|(name, taker)| self.remove_soon(name, taker));
    }
}

impl LockStore for RedbStore {
    fn ask<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        taker: Taker,
        lease: Duration,
    ) -> BoxFuture<'a, Result<Asked, StoreError>> {
        Box::pin(async move {
            let name = (user.to_owned(), key.to_owned());
            let asked = locked(&self.inner.locks).ask(&name, taker, Instant::now(), lease)?;
            if asked == Asked::Held && self.keeps_rows() {
                let row = name.clone();
                let made = self.commit("take a lock", 0, move |rows| put(rows, &row, taker)).await;
                if let Err(error) = made {
                    self.give_up(name, taker);
                    return Err(error);
                }
                self.sweep().await;
            }
            Ok(asked)
        })
    }

    fn release<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        taker: Taker,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let name = (user.to_owned(), key.to_owned());
            let was_held = locked(&self.inner.locks).release(&name, taker, Instant::now());
            if was_held && self.keeps_rows() {
                let removing = move |rows: &WriteTransaction| remove(rows, &name, taker);
                self.commit("release a lock", 0, removing).await?;
            }
            Ok(was_held)
        })
    }

    fn withdraw(&self, user: &str, key: &str, taker: Taker) {
        let name = (user.to_owned(), key.to_owned());
        if locked(&self.inner.locks).release(&name, taker, Instant::now()) {
            self.remove_soon(name, taker);
        }
    }

    fn renew(
        &self,
        owner: Owner,
        lease: Duration,
    ) -> BoxFuture<'_, Result<Vec<HeldLock>, StoreError>> {
        Box::pin(async move {
            let held = locked(&self.inner.locks).renew(owner, Instant::now(), lease);
            self.sweep().await;
            Ok(held)
        })
    }
}
