//! Waiting for a free slot. A planner does not queue: a call for which it has no slot is refused. So calls wait here, in the
//! order in which they came, the first of them trying again and again, and those that come meanwhile behind it.

use super::lock;
use crate::cluster::ClusterError;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Between two attempts of the first in the queue; twice that after each one, up to the longest. The end of a call that this
/// relay started wakes it at once.
const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(250);

/// The queue.
#[derive(Debug)]
pub(super) struct Room {
    waiting: Mutex<usize>,
    /// Most that wait.
    most: usize,
    /// Longest that one waits.
    time: Duration,
    /// Held by the first.
    turn: tokio::sync::Mutex<()>,
    /// A slot may have become free.
    freed: Notify,
}

/// A place in the queue.
struct Place<'a>(&'a Room);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *lock(&self.0.waiting) -= 1;
    }
}

impl Room {
    pub(super) fn new(most: usize, time: Duration) -> Self {
        Self {
            waiting: Mutex::new(0),
            most,
            time,
            turn: tokio::sync::Mutex::default(),
            freed: Notify::new(),
        }
    }

    /// A call has ended.
    pub(super) fn freed(&self) {
        self.freed.notify_one();
    }

    /// Attempts something until it does not fail for want of room, which `None` says.
    ///
    /// # Errors
    /// [`ClusterError::Busy`] where too many wait, or it waited too long.
    pub(super) async fn with_room<T, F: Future<Output = Option<T>>>(
        &self,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, ClusterError> {
        let nobody_waits = *lock(&self.waiting) == 0;
        if nobody_waits && let Some(done) = attempt().await {
            return Ok(done);
        }
        let _place = self.place()?;
        let until = Instant::now() + self.time;
        let seconds = self.time.as_secs_f64();
        let late = || {
            ClusterError::Busy(format!(
                "the cluster had no free slot for {seconds} s: try again later, or add workers"
            ))
        };
        let _turn = timeout_at(until, self.turn.lock()).await.map_err(|_| late())?;
        let mut pause = SHORTEST;
        loop {
            if let Some(done) = attempt().await {
                return Ok(done);
            }
            if Instant::now() >= until {
                return Err(late());
            }
            let again = (Instant::now() + pause).min(until);
            let _ = timeout_at(again, self.freed.notified()).await;
            pause = (2 * pause).min(LONGEST);
        }
    }

    fn place(&self) -> Result<Place<'_>, ClusterError> {
        let mut waiting = lock(&self.waiting);
        if *waiting >= self.most {
            let most = self.most;
            return Err(ClusterError::Busy(format!(
                "the cluster is full, and {most} calls wait for a slot: try again later"
            )));
        }
        *waiting += 1;
        Ok(Place(self))
    }
}
