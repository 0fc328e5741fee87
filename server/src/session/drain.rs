//! A relay that stops: what runs may end, and nothing new begins.
//!
//! Requests that come meanwhile are neither begun nor answered. Their pages are told that the relay goes away, connect
//! again, and send them to whichever relay is there then: a relay that is replaced refuses nobody.

use super::{Sessions, lock};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Whether a relay stops, and how many requests it performs; clones are of the same relay.
#[derive(Clone, Debug, Default)]
pub(super) struct Drain {
    has_begun: Arc<watch::Sender<bool>>,
    running: Arc<watch::Sender<usize>>,
}

impl Drain {
    pub(super) fn has_begun(&self) -> bool {
        *self.has_begun.borrow()
    }

    pub(super) fn enter(&self) {
        self.running.send_modify(|running| *running += 1);
    }

    pub(super) fn leave(&self) {
        self.running.send_modify(|running| *running -= 1);
    }
}

impl Sessions {
    /// Takes no more requests, and waits for those that run; then everything that came of them is in the journal.
    pub(crate) async fn drain(&self, patience: Duration) {
        self.drain.has_begun.send_replace(true);
        let sessions: Vec<_> = lock(&self.by_id).values().cloned().collect();
        for session in sessions {
            let mut live = lock(&session.live);
            live.machine.take_no_more();
            live.wake.notify_one();
        }
        let mut running = self.drain.running.subscribe();
        // Its sender is here.
        let ending = running.wait_for(|running| *running == 0);
        let is_over = tokio::time::timeout(patience, ending).await.is_err();
        if is_over {
            let running = *self.drain.running.borrow();
            tracing::warn!(running, "requests are cut off after {} s", patience.as_secs());
        }
        self.journal.settle().await;
    }

    /// Whether new sessions and connections are turned away.
    pub(super) fn is_draining(&self) -> bool {
        self.drain.has_begun()
    }
}
