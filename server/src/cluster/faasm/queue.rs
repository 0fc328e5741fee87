//! Admission queue. A planner does not queue: it rejects a call for which it has no free slot. A call also cannot start
//! while the planner is unreachable or a worker is suspect. So calls wait here in FIFO order; only the first one
//! retries.

use super::lock;
use crate::cluster::ClusterError;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Interval between two attempts of the first call in the queue; doubled after each attempt, up to the longest. The end
/// of a call that this relay started triggers an attempt at once.
const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(250);

/// Why a call has to wait. It was not started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// No slot is free.
    Full,
    /// The cluster cannot accept calls, for this reason.
    Away(String),
}

/// The admission queue.
#[derive(Debug)]
pub(super) struct AdmissionQueue {
    waiting: Mutex<usize>,
    /// Most queued calls.
    most: usize,
    /// Time limit in the queue.
    time: Duration,
    /// Held by the first call in the queue.
    turn: tokio::sync::Mutex<()>,
    /// Why the last attempt failed.
    why: Mutex<Wait>,
    /// Notifies that a slot may have become free.
    freed: Notify,
}

/// A position in the queue.
struct Position<'a>(&'a AdmissionQueue);

impl Drop for Position<'_> {
    fn drop(&mut self) {
        *lock(&self.0.waiting) -= 1;
    }
}

impl AdmissionQueue {
    pub(super) fn new(most: usize, time: Duration) -> Self {
        Self {
            waiting: Mutex::new(0),
            most,
            time,
            turn: tokio::sync::Mutex::default(),
            why: Mutex::new(Wait::Full),
            freed: Notify::new(),
        }
    }

    /// Records that a call has ended.
    pub(super) fn freed(&self) {
        self.freed.notify_one();
    }

    /// Retries `attempt` until it does not return [`Wait`].
    ///
    /// # Errors
    /// [`ClusterError::Busy`] if the queue is full or no slot became free in time; [`ClusterError::Unavailable`] if the
    /// cluster did not accept calls in time.
    pub(super) async fn admit<T, F: Future<Output = Result<T, Wait>>>(
        &self,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, ClusterError> {
        let nobody_waits = *lock(&self.waiting) == 0;
        if nobody_waits {
            match attempt().await {
                Ok(done) => return Ok(done),
                Err(why) => *lock(&self.why) = why,
            }
        }
        let _position = self.enter()?;
        let until = Instant::now() + self.time;
        let _turn = timeout_at(until, self.turn.lock()).await.map_err(|_| self.late())?;
        let mut pause = SHORTEST;
        loop {
            match attempt().await {
                Ok(done) => return Ok(done),
                Err(why) => *lock(&self.why) = why,
            }
            if Instant::now() >= until {
                return Err(self.late());
            }
            let again = (Instant::now() + pause).min(until);
            let _ = timeout_at(again, self.freed.notified()).await;
            pause = (2 * pause).min(LONGEST);
        }
    }

    /// The error of a call that waited too long.
    fn late(&self) -> ClusterError {
        let seconds = self.time.as_secs_f64();
        match &*lock(&self.why) {
            Wait::Full => ClusterError::Busy(format!(
                "the cluster had no free slot for {seconds} s: try again later, or add workers"
            )),
            Wait::Away(why) => ClusterError::Unavailable(format!(
                "the call was not started, because the cluster accepted no calls for {seconds} s: {why}"
            )),
        }
    }

    fn enter(&self) -> Result<Position<'_>, ClusterError> {
        let mut waiting = lock(&self.waiting);
        if *waiting >= self.most {
            let most = self.most;
            let why = match &*lock(&self.why) {
                Wait::Full => "the cluster is full".to_owned(),
                Wait::Away(why) => format!("the cluster accepts no calls ({why})"),
            };
            return Err(ClusterError::Busy(format!(
                "{why}, and {most} calls wait: try again later"
            )));
        }
        *waiting += 1;
        Ok(Position(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn away() -> Wait {
        Wait::Away("the planner is not there".to_owned())
    }

    #[tokio::test]
    async fn calls_wait_in_order_until_the_cluster_takes_them() {
        let queue = AdmissionQueue::new(10, Duration::from_secs(60));
        let (attempts, order) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let call = |number: usize| {
            let (queue, attempts, order) = (&queue, &attempts, &order);
            queue.admit(move || async move {
                let count = attempts.fetch_add(1, Ordering::SeqCst);
                if count < 4 {
                    return Err(if count % 2 == 0 { away() } else { Wait::Full });
                }
                lock(order).push(number);
                Ok(())
            })
        };
        let (a, b, c) = tokio::join!(call(1), call(2), call(3));
        assert!(a.is_ok() && b.is_ok() && c.is_ok());
        assert_eq!(*lock(&order), [1, 2, 3]);
    }

    #[tokio::test]
    async fn who_waited_too_long_is_told_why_also_behind_others() {
        let queue = AdmissionQueue::new(10, Duration::from_millis(20));
        let call = || queue.admit(async || Err::<(), _>(away()));
        for told in [call().await, {
            let (_, told) = tokio::join!(call(), call());
            told
        }] {
            let Err(ClusterError::Unavailable(why)) = told else { panic!("{told:?}") };
            assert!(why.contains("0.02 s") && why.contains("planner is not there"), "{why}");
        }
        let told = queue.admit(async || Err::<(), _>(Wait::Full)).await;
        assert!(matches!(told, Err(ClusterError::Busy(_))), "{told:?}");
    }

    #[tokio::test]
    async fn a_queue_that_is_full_says_why() {
        let queue = AdmissionQueue::new(0, Duration::from_millis(20));
        let told = queue.admit(async || Err::<(), _>(away())).await;
        let Err(ClusterError::Busy(why)) = told else { panic!("{told:?}") };
        assert!(why.contains("accepts no calls") && why.contains("0 calls wait"), "{why}");
    }
}
