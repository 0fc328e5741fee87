//! Laws that every lock store has to satisfy: each store's tests run them.

use super::{
    Asked, Holder, LockStore, Owner, SessionKey, SessionLog, SessionNotes, StoreError, Taker,
};
use crate::store::journal_laws::mark;
use std::collections::BTreeMap;
use std::time::Duration;

/// Longer than any test: no lease expires on its own.
pub(super) const LONG: Duration = Duration::from_secs(3600);

pub(super) fn taker(owner: Owner, run: u64, attempt: u64) -> Taker {
    Taker { holder: Holder { owner, run }, attempt }
}

pub(super) async fn ask(store: &impl LockStore, user: &str, taker: Taker) -> Asked {
    store.ask(user, "k", taker, LONG).await.unwrap()
}

/// `user` must be unused.
pub(super) async fn it_is_one_run_s_at_a_time_in_the_order_of_asking(
    store: &impl LockStore,
    user: &str,
) {
    let owner = Owner::random().unwrap();
    let [a, b, c] = [1, 2, 3].map(|run| taker(owner, run, 7));
    assert_eq!(ask(store, user, a).await, Asked::Held);
    assert_eq!(ask(store, user, b).await, Asked::Waits { before: 0 });
    assert_eq!(ask(store, user, c).await, Asked::Waits { before: 1 });
    // A repeated request does not enter the queue twice.
    assert_eq!(ask(store, user, b).await, Asked::Waits { before: 0 });
    assert_eq!(ask(store, user, a).await, Asked::Held);
    // A second attempt of the run that holds the lock would be a deadlock.
    let again = store.ask(user, "k", taker(owner, 1, 8), LONG).await;
    assert!(matches!(again, Err(StoreError::Deadlock { .. })), "{again:?}");
    let other = Owner::random().unwrap();
    let elsewhere = format!("{user}x");
    assert_eq!(ask(store, &elsewhere, taker(other, 1, 1)).await, Asked::Held, "another user");
    assert_eq!(store.ask(user, "l", c, LONG).await.unwrap(), Asked::Held, "another key");
    assert!(!store.release(user, "k", taker(other, 1, 7)).await.unwrap(), "it is not theirs");
    assert!(store.release(user, "k", a).await.unwrap());
    // The lock goes to the first in the queue, not to the next one that polls.
    assert_eq!(ask(store, user, c).await, Asked::Waits { before: 1 });
    assert_eq!(ask(store, user, b).await, Asked::Held);
    // A taker that withdraws lets those behind it move up.
    assert_eq!(ask(store, user, taker(owner, 4, 1)).await, Asked::Waits { before: 1 });
    store.release(user, "k", c).await.unwrap();
    assert_eq!(ask(store, user, taker(owner, 4, 1)).await, Asked::Waits { before: 0 });
    let held = store.renew(owner, LONG).await.unwrap();
    let mut held: Vec<_> = held.into_iter().map(|held| (held.key, held.taker)).collect();
    held.sort();
    assert_eq!(held, [("k".to_owned(), b), ("l".to_owned(), c)]);
    assert!(store.release(user, "k", b).await.unwrap());
    assert_eq!(ask(store, user, taker(owner, 4, 1)).await, Asked::Held);
}

/// A session releases once, even if requests arrive twice; its end releases the locks of its runs.
pub(super) async fn a_session_releases_once_and_its_end_frees_the_rest(
    store: &(impl LockStore + SessionLog + SessionNotes),
    session: SessionKey,
    user: &str,
) {
    let owner = Owner::from(session);
    let other = taker(Owner::random().unwrap(), 1, 1);
    store.begin(session, user).await.unwrap();
    assert_eq!(ask(store, user, taker(owner, 1, 1)).await, Asked::Held);
    let lost = store.unlock(mark(session, 2), user, "k", 9).await;
    assert!(matches!(lost, Err(StoreError::LockLost { .. })), "another run: {lost:?}");
    store.unlock(mark(session, 3), user, "k", 1).await.unwrap();
    assert_eq!(ask(store, user, taker(owner, 1, 4)).await, Asked::Held);
    // The first release repeated: it must not release the lock that was taken since.
    store.unlock(mark(session, 3), user, "k", 1).await.unwrap();
    assert_eq!(ask(store, user, other).await, Asked::Waits { before: 0 });
    store.end(session);
    store.settle().await;
    assert_eq!(ask(store, user, other).await, Asked::Held);
    assert_eq!(store.renew(owner, LONG).await.unwrap(), []);
}

/// A lock whose lease has expired is lost: its former taker gets an error, and cannot release the lock of the next one.
pub(super) async fn what_expired_is_lost(
    store: &(impl LockStore + SessionLog + SessionNotes),
    session: SessionKey,
    user: &str,
    expire: impl AsyncFn(&str),
) {
    let owner = Owner::from(session);
    let other = Owner::random().unwrap();
    store.begin(session, user).await.unwrap();
    assert_eq!(ask(store, user, taker(owner, 1, 1)).await, Asked::Held);
    expire(user).await;
    let lost = store.unlock(mark(session, 2), user, "k", 1).await;
    assert!(matches!(lost, Err(StoreError::LockLost { .. })), "{lost:?}");
    assert_eq!(ask(store, user, taker(other, 1, 1)).await, Asked::Held);
    let lost = store.unlock(mark(session, 3), user, "k", 1).await;
    assert!(matches!(lost, Err(StoreError::LockLost { .. })), "{lost:?}");
    assert_eq!(store.renew(owner, LONG).await.unwrap(), []);
    assert_eq!(store.renew(other, LONG).await.unwrap().len(), 1, "it is still held");
    store.withdraw(user, "k", taker(owner, 1, 1));
    store.settle().await;
    assert_eq!(store.renew(other, LONG).await.unwrap().len(), 1);
}

/// A short lease that expires in the test.
pub(super) async fn a_lease_ends_and_a_renewed_one_does_not(store: &impl LockStore, user: &str) {
    const LEASE: Duration = Duration::from_secs(3);
    let (renewed, left) = (Owner::random().unwrap(), Owner::random().unwrap());
    let waits = Owner::random().unwrap();
    assert_eq!(store.ask(user, "renewed", taker(renewed, 1, 1), LEASE).await.unwrap(), Asked::Held);
    let begun = std::time::Instant::now();
    assert_eq!(store.ask(user, "left", taker(left, 1, 1), LEASE).await.unwrap(), Asked::Held);
    loop {
        assert_eq!(store.renew(renewed, LEASE).await.unwrap().len(), 1);
        let asked = store.ask(user, "left", taker(waits, 1, 1), LEASE).await.unwrap();
        assert_eq!(
            store.ask(user, "renewed", taker(waits, 2, 1), LEASE).await.unwrap(),
            Asked::Waits { before: 0 }
        );
        if asked == Asked::Held {
            break;
        }
        assert!(begun.elapsed() < 20 * LEASE, "it ends");
        tokio::time::sleep(LEASE / 20).await;
    }
    assert!(begun.elapsed() >= LEASE - LEASE / 10, "not before: {:?}", begun.elapsed());
    assert!(!store.release(user, "left", taker(left, 1, 1)).await.unwrap());
}

/// Model of a lock: its taker, and the queue.
#[derive(Default)]
struct Model {
    held: Option<Taker>,
    queue: Vec<Taker>,
}

/// Random histories of several owners that take, release, lose, withdraw and renew, compared with a trivial model.
pub(super) async fn a_random_history_agrees_with_a_model(
    store: &(impl LockStore + SessionLog + SessionNotes),
    user: &str,
    (seed, steps): (u64, u32),
    expire: impl AsyncFn(&str, &str),
) {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64 ^ seed.wrapping_mul(0x2545_f491_4f6c_dd1d);
    let mut below = |end: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % end
    };
    let owners: Vec<Owner> = (0..3).map(|_| Owner::random().unwrap()).collect();
    let mut model: BTreeMap<&str, Model> = BTreeMap::new();
    // The pending attempt of each run, by owner, run and key.
    let mut open: BTreeMap<(usize, u64, &str), Taker> = BTreeMap::new();
    let mut attempts = 0;
    for step in 0..steps {
        let (who, run) = (below(3) as usize, below(2));
        let key = ["a", "b"][below(2) as usize];
        let lock = model.entry(key).or_default();
        let said = format!("seed {seed}, step {step}");
        match below(12) {
            // Requests the lock, possibly repeating a pending attempt.
            0..=5 => {
                let taker = *open.entry((who, run, key)).or_insert_with(|| {
                    attempts += 1;
                    taker(owners[who], run, attempts)
                });
                let asked = store.ask(user, key, taker, LONG).await.unwrap();
                if lock.held.is_none() && lock.queue.first().is_none_or(|first| *first == taker) {
                    lock.queue.retain(|waiter| *waiter != taker);
                    lock.held = Some(taker);
                }
                if lock.held == Some(taker) {
                    assert_eq!(asked, Asked::Held, "{said}");
                    continue;
                }
                if !lock.queue.contains(&taker) {
                    lock.queue.push(taker);
                }
                let before = lock.queue.iter().position(|waiter| *waiter == taker).unwrap();
                assert_eq!(asked, Asked::Waits { before }, "{said}");
            }
            // A second attempt of the run that holds it.
            6 => {
                attempts += 1;
                let again = taker(owners[who], run, attempts);
                if lock.held.is_some_and(|held| held.holder == again.holder) {
                    let asked = store.ask(user, key, again, LONG).await;
                    assert!(matches!(asked, Err(StoreError::Deadlock { .. })), "{said}: {asked:?}");
                }
            }
            // Releases what it holds, has lost without noticing, or waits for.
            7 | 8 => {
                let Some(taker) = open.remove(&(who, run, key)) else { continue };
                let held = lock.held == Some(taker);
                assert_eq!(store.release(user, key, taker).await.unwrap(), held, "{said}");
                lock.queue.retain(|waiter| *waiter != taker);
                lock.held = lock.held.filter(|held| *held != taker);
            }
            9 => {
                let Some(taker) = open.remove(&(who, run, key)) else { continue };
                store.withdraw(user, key, taker);
                store.settle().await;
                lock.queue.retain(|waiter| *waiter != taker);
                lock.held = lock.held.filter(|held| *held != taker);
            }
            10 => {
                expire(user, key).await;
                // Its run still believes that it holds the lock, and does not poll.
                if let Some(held) = lock.held.take() {
                    let is_lost = |taker: &Taker| *taker == held;
                    let lost = open.iter().find(|(_, taker)| is_lost(taker)).map(|(at, _)| *at);
                    if let Some(at) = lost.filter(|_| below(2) == 0) {
                        assert!(!store.release(user, key, held).await.unwrap(), "{said}");
                        open.remove(&at);
                    } else if let Some(at) = lost {
                        // As if the run had crashed.
                        open.remove(&at);
                    }
                }
            }
            _ => {
                let held = store.renew(owners[who], LONG).await.unwrap();
                let mut held: Vec<_> =
                    held.into_iter().map(|held| (held.key, held.taker)).collect();
                held.sort();
                let theirs =
                    model.iter().filter_map(|(key, lock)| Some(((*key).to_owned(), lock.held?)));
                let theirs: Vec<_> =
                    theirs.filter(|(_, held)| held.holder.owner == owners[who]).collect();
                assert_eq!(held, theirs, "{said}");
            }
        }
    }
    // No waiter was lost: each gets the lock in turn.
    for (key, lock) in model {
        let mut held = lock.held;
        for waiter in lock.queue {
            if let Some(held) = held.replace(waiter) {
                assert!(store.release(user, key, held).await.unwrap());
            }
            assert_eq!(store.ask(user, key, waiter, LONG).await.unwrap(), Asked::Held);
        }
    }
}
