//! Locks that runs of a session wait for and hold.
//!
//! A task for each pending lock waits beside the running requests: waiting runs must not delay the request that
//! releases the lock. While a connection carries the session the relay renews its locks, because a page whose thread
//! computes could not.

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

/// A session's state of its locks; which run holds which lock is in the store.
#[derive(Debug, Default)]
pub(super) struct Renewal {
    /// Whether a task renews them.
    is_running: AtomicBool,
    /// Counts granted locks.
    granted: AtomicU64,
    /// Notified when a connection attaches: leases may be about to expire.
    is_back: Arc<Notify>,
    /// Number of requests that wait for a lock.
    waiting: AtomicUsize,
    /// Locks whose release failed in the store: key, run, and the request that failed.
    unwanted: Mutex<HashMap<(String, u64), RequestId>>,
}

/// Maximum number of failed releases remembered: as many as the locks that a session can hold.
const MAX_UNWANTED: usize = MAX_LOCKS_OF_OWNER;

impl Renewal {
    /// A connection carries the session again.
    pub(super) fn connected(&self) {
        self.is_back.notify_one();
    }

    /// Remembers that a release failed.
    fn failed(&self, key: &str, run: u64, id: RequestId) {
        let mut unwanted = lock(&self.unwanted);
        if unwanted.len() < MAX_UNWANTED {
            unwanted.insert((key.to_owned(), run), id);
        }
    }

    /// Eventually releases the locks whose release failed. An entry is kept until the store reports the lock as not
    /// held; only entries in `known`, from before the store was asked, are removed.
    fn withdraw(
        &self,
        locks: &Locks,
        held: &[HeldLock],
        known: &HashMap<(String, u64), RequestId>,
    ) {
        let mut left = HashMap::new();
        for HeldLock { user, key, taker } in held {
            let name = (key.clone(), taker.holder.run);
            // Not a lock that the run has taken since.
            if let Some(id) = known.get(&name).filter(|id| taker.attempt < id.0) {
                locks.withdraw(user, key, *taker);
                left.insert(name, *id);
            }
        }
        lock(&self.unwanted)
            .retain(|name, id| known.get(name) != Some(id) || left.contains_key(name));
    }
}

/// Maximum number of a session's requests that wait for locks.
const MAX_WAITING: usize = 256;

/// A request that waits for a lock, until this is dropped.
struct Waits(Arc<Session>);

impl Waits {
    fn begin(session: &Arc<Session>) -> Option<Self> {
        // Only the session's single connection increments it, under its lock.
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

/// Starts waiting for a lock.
pub(super) fn start(
    session: &Arc<Session>,
    live: &mut Live,
    id: RequestId,
    (key, run): (String, u64),
    app: &App,
) {
    let Some(waits) = Waits::begin(session) else {
        let message = format!(
            "{MAX_WAITING} runs of the session wait for locks, which is the limit: end some of them first"
        );
        let refusal = Reply::Failed { code: FailureCode::Busy, message };
        count(session, &refusal);
        live.machine.reply(id, refusal, &[]);
        return;
    };
    let span = tracing::info_span!("session", session = %session.shown(), request = id.0);
    let running = Running::new(&session.drain);
    let holder = Holder { owner: session.key.into(), run };
    // Before the task starts, because the task may be aborted before its first poll: the lock may be held from an
    // earlier, identical request.
    let user = live.machine.user().to_owned();
    let mut taking = app.locks.take(&user, &key, Taker { holder, attempt: id.0 });
    let (session, app) = (Arc::clone(session), app.clone());
    let waiting = async move {
        let (_running, _waits) = (running, waits);
        let lease = app.locks.lease();
        let reply = loop {
            let held = async {
                session.begin(&*app.journal.log).await?;
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
                // The page has reconnected in the meantime, and knows that its request is pending here.
                continue;
            }
            // The page repeats the request, here or at the relay that owns its session.
            drop(live);
            session.unstart(id);
            return taking.leave_open();
        };
        count(&session, &reply);
        if reply == Reply::Done {
            ensure_renewal(&session, &app.locks);
        }
        let mut live = lock(&session.live);
        live.tasks.remove(&id);
        live.machine.reply(id, reply, &[]);
        live.wake.notify_one();
    };
    let task = tokio::spawn(waiting.instrument(span));
    // The task takes this lock before it ends, so its entry is inserted before it is removed.
    live.tasks.insert(id, task.abort_handle());
}

/// Completes when this relay stops waiting, and the page has to repeat the request: the relay is draining, another
/// relay owns the session, or no connection has carried the session for one lease.
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
            // Cannot fail: the session owns the sender.
            _ = attachment.changed() => {}
            () = tokio::time::sleep(lease / 4) => {}
        }
    }
}

/// Releases a lock that a run holds, exactly once.
pub(super) async fn release(
    app: &App,
    session: &Arc<Session>,
    id: RequestId,
    user: &str,
    (key, run): (&str, u64),
) -> Result<(Reply, Vec<u8>), Failure> {
    session.begin(&*app.journal.log).await?;
    let reply = reply_frame(id, Reply::Done, &[]);
    let mark = IdempotencyRecord { session: session.key, claim: session.claim, request: id, reply };
    let released = app.journal.log.unlock(mark, user, key, run).await;
    // Also where that failed: it may be free in the store all the same.
    app.locks.freed(user, key);
    match released {
        Ok(()) => Ok((Reply::Done, Vec::new())),
        Err(error) => {
            if !matches!(error, StoreError::LockLost { .. } | StoreError::SessionLost { .. }) {
                session.renewal.failed(key, run, id);
                ensure_renewal(session, &app.locks);
            }
            Err(error.into())
        }
    }
}

/// Makes the renewal task consider a lock that was just granted, or whose release failed.
fn ensure_renewal(session: &Arc<Session>, locks: &Locks) {
    session.renewal.granted.fetch_add(1, Ordering::SeqCst);
    keep(session, locks);
}

/// Renews the locks of the session, if it has any, while a connection carries it.
pub(super) fn keep(session: &Arc<Session>, locks: &Locks) {
    if !session.renewal.is_running.swap(true, Ordering::SeqCst) {
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

/// Renews once. Returns what cuts the pause before the next renewal short; `None` ends the task.
async fn renew_once(session: &Weak<Session>, locks: &Locks) -> Option<Arc<Notify>> {
    let session = session.upgrade().filter(|session| !session.is_lost())?;
    let renewal = &session.renewal;
    let is_connected = lock(&session.live).machine.is_connected();
    if is_connected {
        let granted = renewal.granted.load(Ordering::SeqCst);
        let unwanted = lock(&renewal.unwanted).clone();
        let held = locks.renew(session.key.into()).await;
        if let Ok(held) = &held {
            renewal.withdraw(locks, held, &unwanted);
        }
        match held {
            Ok(held) if held.is_empty() => {
                renewal.is_running.store(false, Ordering::SeqCst);
                let is_all = renewal.granted.load(Ordering::SeqCst) == granted;
                // A lock granted in the meantime is renewed by this task, or by a new one.
                if is_all || renewal.is_running.swap(true, Ordering::SeqCst) {
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
