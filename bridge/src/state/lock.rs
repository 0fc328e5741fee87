//! Read and write locks of a host's local copies, granted in the order of the requests.
//!
//! A run may hold a read lock several times. A request for the write lock of a key that the run holds, or for any lock
//! of a key that it holds for writing, would make it wait for itself: it fails at once. Two runs that wait for each
//! other are not detected; they wait until one of them is ended.

use super::meter::entry_bytes;
use crate::sorted_map::SortedMap;
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

/// A run that takes locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunId(u64);

/// A position in the queue for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Kind of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    Read,
    Write,
}

/// Result of a request for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockOutcome {
    Held,
    Wait(Ticket),
    /// The run would wait for itself.
    Deadlock,
}

#[derive(Debug)]
struct Holder {
    run: RunId,
    mode: LockMode,
    times: u32,
}

#[derive(Debug)]
struct Waiter {
    ticket: Ticket,
    run: RunId,
    mode: LockMode,
}

#[derive(Debug, Default)]
struct Lock {
    holders: Vec<Holder>,
    queue: VecDeque<Waiter>,
}

impl Lock {
    fn admits(&self, mode: LockMode) -> bool {
        match mode {
            LockMode::Read => self.holders.iter().all(|holder| holder.mode == LockMode::Read),
            LockMode::Write => self.holders.is_empty(),
        }
    }

    fn hold(&mut self, run: RunId, mode: LockMode) {
        match self.holders.iter_mut().find(|holder| holder.run == run && holder.mode == mode) {
            Some(holder) => holder.times += 1,
            None => self.holders.push(Holder { run, mode, times: 1 }),
        }
    }
}

/// The locks of one local tier.
#[derive(Debug, Default)]
pub(super) struct Locks {
    last_run: u64,
    last_ticket: u64,
    by_key: SortedMap<String, Lock>,
    /// The waiting tickets, and the wakers of those that were polled.
    waiting: SortedMap<Ticket, Option<Waker>>,
}

impl Locks {
    pub(super) fn new_run(&mut self) -> RunId {
        self.last_run += 1;
        RunId(self.last_run)
    }

    /// Whether the lock of a key is held or awaited.
    pub(super) fn has(&self, key: &str) -> bool {
        self.by_key.contains_key(key)
    }

    pub(super) fn lock(&mut self, run: RunId, key: &str, mode: LockMode) -> LockOutcome {
        let lock = self.by_key.get_or_insert_with(key.to_owned(), Lock::default);
        if let Some(holder) = lock.holders.iter().find(|holder| holder.run == run) {
            if (holder.mode, mode) != (LockMode::Read, LockMode::Read) {
                return LockOutcome::Deadlock;
            }
            // A run that holds the lock must not queue behind writers that wait for it.
            lock.hold(run, mode);
            return LockOutcome::Held;
        }
        if lock.queue.is_empty() && lock.admits(mode) {
            lock.hold(run, mode);
            return LockOutcome::Held;
        }
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        lock.queue.push_back(Waiter { ticket, run, mode });
        self.waiting.insert(ticket, None);
        LockOutcome::Wait(ticket)
    }

    /// Returns the number of bytes that this frees.
    pub(super) fn unlock(&mut self, run: RunId, key: &str, mode: LockMode) -> u64 {
        let Some(lock) = self.by_key.get_mut(key) else { return 0 };
        let held = lock.holders.iter().position(|held| held.run == run && held.mode == mode);
        let Some(position) = held else { return 0 };
        lock.holders[position].times -= 1;
        if lock.holders[position].times == 0 {
            lock.holders.remove(position);
        }
        self.admit(key)
    }

    pub(super) fn poll(&mut self, ticket: Ticket, cx: &mut Context<'_>) -> Poll<()> {
        match self.waiting.get_mut(&ticket) {
            Some(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }

    /// Returns the number of bytes that this frees.
    pub(super) fn release(&mut self, run: RunId) -> u64 {
        let mut freed = 0;
        let keys: Vec<String> = self.by_key.keys().cloned().collect();
        for key in keys {
            if let Some(lock) = self.by_key.get_mut(&key) {
                lock.holders.retain(|holder| holder.run != run);
                for waiter in lock.queue.iter().filter(|waiter| waiter.run == run) {
                    self.waiting.remove(&waiter.ticket);
                }
                lock.queue.retain(|waiter| waiter.run != run);
            }
            freed += self.admit(&key);
        }
        freed
    }

    /// Grants the lock from the front of the queue; returns the number of bytes freed if the lock is unused then.
    fn admit(&mut self, key: &str) -> u64 {
        let Some(lock) = self.by_key.get_mut(key) else { return 0 };
        while let Some(&Waiter { ticket, run, mode }) = lock.queue.front()
            && lock.admits(mode)
        {
            lock.queue.pop_front();
            lock.hold(run, mode);
            if let Some(Some(waker)) = self.waiting.remove(&ticket) {
                waker.wake();
            }
        }
        if lock.holders.is_empty() && lock.queue.is_empty() {
            self.by_key.remove(key);
            return entry_bytes(key);
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use LockMode::{Read, Write};

    fn done(locks: &mut Locks, outcome: LockOutcome) -> bool {
        let LockOutcome::Wait(ticket) = outcome else { panic!("{outcome:?}") };
        locks.poll(ticket, &mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn readers_share_and_writers_wait_their_turn() {
        let mut locks = Locks::default();
        let [a, b, c] = std::array::from_fn(|_| locks.new_run());
        assert_eq!(locks.lock(a, "k", Read), LockOutcome::Held);
        assert_eq!(locks.lock(b, "k", Read), LockOutcome::Held);
        let writer = locks.lock(c, "k", Write);
        assert_eq!(locks.lock(a, "k", Read), LockOutcome::Held, "a run never waits for itself");
        let d = locks.new_run();
        let reader = locks.lock(d, "k", Read);
        assert!(!done(&mut locks, reader), "a later reader does not pass a writer");
        locks.unlock(a, "k", Read);
        locks.unlock(b, "k", Read);
        assert!(!done(&mut locks, writer), "taken twice, released once");
        locks.unlock(a, "k", Read);
        assert!(done(&mut locks, writer) && !done(&mut locks, reader));
        locks.unlock(c, "k", Write);
        assert!(done(&mut locks, reader));
    }

    #[test]
    fn a_run_that_would_wait_for_itself_gets_deadlock() {
        let mut locks = Locks::default();
        let run = locks.new_run();
        locks.lock(run, "k", Write);
        assert_eq!(locks.lock(run, "k", Write), LockOutcome::Deadlock);
        assert_eq!(locks.lock(run, "k", Read), LockOutcome::Deadlock);
        assert_eq!(locks.lock(run, "other", Read), LockOutcome::Held);
        assert_eq!(locks.lock(run, "other", Write), LockOutcome::Deadlock);
    }

    #[test]
    fn the_end_of_a_run_frees_what_it_held_and_waited_for() {
        let mut locks = Locks::default();
        let [a, b, c] = std::array::from_fn(|_| locks.new_run());
        locks.lock(a, "k", Write);
        let second = locks.lock(b, "k", Write);
        let third = locks.lock(c, "k", Read);
        locks.release(b);
        assert!(done(&mut locks, second), "a dropped ticket is ready");
        locks.release(a);
        assert!(done(&mut locks, third));
        locks.release(c);
        assert!(locks.by_key.is_empty() && locks.waiting.is_empty());
    }
}
