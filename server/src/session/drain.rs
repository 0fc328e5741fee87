//! Draining a relay that stops: running requests may complete, and no new ones start.
//!
//! Requests that arrive while draining are neither started nor answered. Their pages learn that the relay stops,
//! reconnect, and send them to the relay that runs then: replacing a relay fails no request.

use super::{Sessions, lock};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// Whether the relay is draining, and how many requests run; clones share the state.
#[derive(Clone, Debug, Default)]
pub(super) struct Drain(Arc<State>);

#[derive(Debug, Default)]
struct State {
    has_begun: AtomicBool,
    running: AtomicUsize,
    /// Notified when draining has begun and no request runs.
    is_over: Notify,
}

impl Drain {
    pub(super) fn has_begun(&self) -> bool {
        self.0.has_begun.load(Ordering::SeqCst)
    }

    fn leave(&self) {
        let running = self.0.running.fetch_sub(1, Ordering::SeqCst) - 1;
        if running == 0 && self.has_begun() {
            self.0.is_over.notify_one();
        }
    }

    fn running(&self) -> usize {
        self.0.running.load(Ordering::SeqCst)
    }

    async fn is_over(&self) {
        while self.running() > 0 {
            self.0.is_over.notified().await;
        }
    }
}

/// A running request, until this is dropped.
#[derive(Debug)]
pub(crate) struct Running(Drain);

impl Running {
    pub(super) fn new(drain: &Drain) -> Self {
        drain.0.running.fetch_add(1, Ordering::SeqCst);
        Self(drain.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Sessions {
    /// Stops accepting requests, and waits for the running ones; their results are then in the journal.
    pub(crate) async fn drain(&self, time_limit: Duration) {
        self.drain.0.has_begun.store(true, Ordering::SeqCst);
        let sessions: Vec<_> = self.places.lock().sessions().cloned().collect();
        for session in sessions {
            let mut live = lock(&session.live);
            live.machine.stop_accepting();
            live.wake.notify_one();
            drop(live);
            // Wakes requests that wait for a lock.
            session.attachment.send_modify(|_| {});
        }
        if tokio::time::timeout(time_limit, self.drain.is_over()).await.is_err() {
            let running = self.drain.running();
            tracing::warn!(running, "requests are cut off after {} s", time_limit.as_secs());
        }
        self.journal.notes.settle().await;
    }

    /// Keeps the relay from ending while work outside of sessions runs; `None` if it is already draining.
    pub(crate) fn run(&self) -> Option<Running> {
        let running = Running::new(&self.drain);
        (!self.is_draining()).then_some(running)
    }

    /// Whether new sessions and connections are refused.
    pub(crate) fn is_draining(&self) -> bool {
        self.drain.has_begun()
    }
}
