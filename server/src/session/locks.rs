//! Locks that runs of a session wait for and hold.
//!
//! A lock is waited for by a task beside the requests that are performed, so that runs which wait do not keep the one that is
//! to release it from being heard. Locks are renewed for as long as a connection carries the session, by the relay: a page whose
//! thread computes could not.

use super::drain::Running;
use super::requests::{Failure, count};
use super::{Live, Session, lock};
use crate::config::App;
use crate::store::{
    HeldLock, Holder, IdempotencyRecord, Locks, MAX_LOCKS_OF_OWNER, StoreError, Taker,
};
use faasm_bridge::session::reply_frame;
use faasm_bridge::wire::{FailureCode, Reply, RequestId};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::Instrument;

/// What a session knows of its locks; who holds which one the store knows.
#[derive(Debug, Default)]
pub(super) struct Renewal {
    /// A task renews them.
    is_going_on: AtomicBool,
    /// Counts locks that were given.
    given: AtomicU64,
    /// A connection came, and leases may be nearly over.
    is_back: Arc<Notify>,
    /// Requests that wait for a lock.
    waiting: AtomicUsize,
    /// What a run wanted to release, and the store did not: key, run, and the request that failed.
    unwanted: Mutex<HashMap<(String, u64), RequestId>>,
}

/// Most locks that are remembered as unwanted: as many as a session can hold.
const MAX_UNWANTED: usize = MAX_LOCKS_OF_OWNER;

impl Renewal {
    /// A connection carries the session.
    pub(super) fn connected(&self) {
        self.is_back.notify_one();
    }

    /// A lock was not released.
    fn failed(&self, key: &str, run: u64, id: RequestId) {
        let mut unwanted = lock(&self.unwanted);
        if unwanted.len() < MAX_UNWANTED {
            unwanted.insert((key.to_owned(), run), id);
        }
    }

    /// Releases what is held and unwanted, some time soon. Kept until the store says that it is not held any more, as far as it
    /// was `known` when the store was asked what is held.
    fn withdraw(
        &self,
        locks: &Locks,
        held: &[HeldLock],
        known: &HashMap<(String, u64), RequestId>,
    ) {
        let mut left = HashMap::new();
        for HeldLock { user, key, taker } in held {
            let name = (key.clone(), taker.holder.run);
            // Not what the run has taken since.
            if let Some(id) = known.get(&name).filter(|id| taker.attempt < id.0) {
                locks.withdraw(user, key, *taker);
                left.insert(name, *id);
            }
        }
        lock(&self.unwanted)
            .retain(|name, id| known.get(name) != Some(id) || left.contains_key(name));
    }
}

/// Most requests of a session that wait for locks.
const MAX_WAITING: usize = 256;

/// A request that waits for a lock, until this is dropped.
struct Waits(Arc<Session>);

impl Waits {
    fn begin(session: &Arc<Session>) -> Option<Self> {
        // Only the session's one connection adds, under its lock.
        let before = session.renewal.waiting.fetch_add(1, Ordering::SeqCst);
        let this = Self(Arc::clone(session));
        (before < MAX_WAITING).then_some(this)
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.renewal.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Begins to wait for a lock.
pub(super) fn start(
    session: &Arc<Session>,
    live: &mut Live,
    id: RequestId,
    (key, run): (String, u64),
    app: &App,
) {
    let Some(waits) = Waits::begin(session) else {
        let message =
            format!("{MAX_WAITING} runs of the session wait for locks: end some of them first");
        let refusal = Reply::Failed { code: FailureCode::Busy, message };
        count(session, &refusal);
        live.machine.reply(id, refusal, &[]);
        return;
    };
    let span = tracing::info_span!("session", session = %session.shown(), request = id.0);
    let running = Running::new(&session.drain);
    let holder = Holder { owner: session.key.into(), run };
    // Before the task, which may be ended before it begins: the lock may be held from an earlier time that it was asked for.
    let user = live.machine.user().to_owned();
    let mut taking = app.locks.take(&user, &key, Taker { holder, attempt: id.0 });
    let (session, app) = (Arc::clone(session), app.clone());
    let waiting = async move {
        let (_running, _waits) = (running, waits);
        let lease = app.locks.lease();
        let reply = loop {
            let held = async {
                session.begin(&*app.journal).await?;
                taking.held().await
            };
            let held = tokio::select! {
                held = held => Some(held.map_err(Failure::from)),
                () = interrupted(&session, lease) => None,
            };
            match held {
                Some(Ok(())) => break Reply::Done,
                Some(Err(Failure::Told { code, message })) => {
                    tracing::warn!(?code, message, "request failed");
                    break Reply::Failed { code, message };
                }
                Some(Err(Failure::SessionLost)) => session.lose(),
                None => {}
            }
            let live = lock(&session.live);
            let goes_on = !session.is_lost() && !session.drain.has_begun();
            if goes_on && live.machine.is_connected() {
                // The page came back just now, and found that its request was here.
                continue;
            }
            // It asks again: here, or where its session is.
            drop(live);
            session.unstart(id);
            return taking.leave_open();
        };
        count(&session, &reply);
        if reply == Reply::Done {
            given(&session, &app.locks);
        }
        let mut live = lock(&session.live);
        live.tasks.remove(&id);
        live.machine.reply(id, reply, &[]);
        live.wake.notify_one();
    };
    let task = tokio::spawn(waiting.instrument(span));
    // The task needs this lock to end, so it is still in the table to be removed.
    live.tasks.insert(id, task.abort_handle());
}

/// Completes when nobody waits here any more, and the page asks again if it still wants the lock: the relay stops, the session is
/// another relay's, or no connection has carried it for the time of a lease.
async fn interrupted(session: &Session, lease: Duration) {
    let mut attachment = session.attachment.subscribe();
    let mut away: Option<Instant> = None;
    loop {
        if session.is_lost() || session.drain.has_begun() {
            return;
        }
        let is_away = !lock(&session.live).machine.is_connected();
        away = is_away.then(|| away.unwrap_or_else(Instant::now));
        if away.is_some_and(|since| since.elapsed() >= lease) {
            return;
        }
        tokio::select! {
            // Its sender is the session's.
            _ = attachment.changed() => {}
            () = tokio::time::sleep(lease / 4) => {}
        }
    }
}

/// Releases a lock that a run holds, once.
pub(super) async fn release(
    app: &App,
    session: &Arc<Session>,
    id: RequestId,
    user: &str,
    (key, run): (&str, u64),
) -> Result<(Reply, Vec<u8>), Failure> {
    session.begin(&*app.journal).await?;
    let reply = reply_frame(id, Reply::Done, &[]);
    let mark = IdempotencyRecord { session: session.key, claim: session.claim, request: id, reply };
    let released = app.journal.unlock(mark, user, key, run).await;
    // Also where that failed: it may be free in the store all the same.
    app.locks.freed(user, key);
    match released {
        Ok(()) => Ok((Reply::Done, Vec::new())),
        Err(error) => {
            if !matches!(error, StoreError::LockLost { .. } | StoreError::SessionLost { .. }) {
                session.renewal.failed(key, run, id);
                given(session, &app.locks);
            }
            Err(error.into())
        }
    }
}

/// A run of the session was given a lock, or could not give one back.
fn given(session: &Arc<Session>, locks: &Locks) {
    session.renewal.given.fetch_add(1, Ordering::SeqCst);
    keep(session, locks);
}

/// Renews the locks of the session, if it has any, as long as a connection carries it.
pub(super) fn keep(session: &Arc<Session>, locks: &Locks) {
    if !session.renewal.is_going_on.swap(true, Ordering::SeqCst) {
        tokio::spawn(renew(Arc::downgrade(session), locks.clone()));
    }
}

async fn renew(session: Weak<Session>, locks: Locks) {
    while let Some(is_back) = renew_once(&session, &locks).await {
        tokio::select! {
            () = is_back.notified() => {}
            () = tokio::time::sleep(locks.renewal()) => {}
        }
    }
}

/// What to wait for before the next time; `None` at the end.
async fn renew_once(session: &Weak<Session>, locks: &Locks) -> Option<Arc<Notify>> {
    let session = session.upgrade().filter(|session| !session.is_lost())?;
    let renewal = &session.renewal;
    let is_connected = lock(&session.live).machine.is_connected();
    if is_connected {
        let given = renewal.given.load(Ordering::SeqCst);
        let unwanted = lock(&renewal.unwanted).clone();
        let held = locks.renew(session.key.into()).await;
        if let Ok(held) = &held {
            renewal.withdraw(locks, held, &unwanted);
        }
        match held {
            Ok(held) if held.is_empty() => {
                renewal.is_going_on.store(false, Ordering::SeqCst);
                let is_all = renewal.given.load(Ordering::SeqCst) == given;
                // One that was given meanwhile has another task, or this one.
                if is_all || renewal.is_going_on.swap(true, Ordering::SeqCst) {
                    return None;
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(session = %session.shown(), %error, "locks are not renewed");
            }
        }
    }
    Some(Arc::clone(&renewal.is_back))
}
