//! Makes workers drop replaced functions. A worker runs the version that it has loaded until `FLUSH_EXECUTORS` makes it
//! drop all functions. Tests showed that this is safe while no call runs, so it is sent only while no app is in flight.
//!
//! A cluster under steady load is never idle by itself. So new calls are held back until the running ones have ended,
//! for at most [`Times::hold`]. If that does not suffice, the held calls start and the flush is retried later with
//! exponential backoff: calls are delayed for a small part of the time, and only after a function was replaced. Calls
//! of other clients of the cluster are not held back, so one of them can start between the check and the flush.
//!
//! Until the flush is done, [`Flush::stale`] returns the version of a function that workers may still run.

use super::lock;
use super::planner::{Flushed, Planner};
use crate::metrics::FaasmCounts;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

/// Most functions whose replaced version is remembered.
const MAX_REPLACED: usize = 64 * 1024;

/// Timings of flushes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Time limit for running calls to end while new ones are held back.
    pub(super) hold: Duration,
    /// Time limit of the flush itself, during which calls are held back, too.
    pub(super) flush: Duration,
    /// Interval between two checks whether the cluster is idle.
    pub(super) question: Duration,
    /// Pause after the first failed attempt; doubled after each one, up to the longest.
    pub(super) pause: Duration,
    pub(super) longest_pause: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            hold: Duration::from_millis(300),
            flush: Duration::from_secs(1),
            question: Duration::from_millis(20),
            pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
        }
    }
}

/// The executors to flush.
pub(super) trait Executors: Send + Sync + 'static {
    /// Whether no call runs.
    fn is_idle(&self) -> impl Future<Output = Result<bool, String>> + Send;
    fn flush(&self) -> impl Future<Output = Result<Flushed, String>> + Send;
}

impl Executors for Planner {
    async fn is_idle(&self) -> Result<bool, String> {
        Planner::is_idle(self).await.map_err(|error| error.to_string())
    }

    async fn flush(&self) -> Result<Flushed, String> {
        self.flush_executors().await.map_err(|error| error.to_string())
    }
}

/// Coordinates flushes of one cluster with its calls.
#[derive(Debug)]
pub(super) struct Flush {
    times: Times,
    counts: FaasmCounts,
    state: Mutex<State>,
    /// Notifies that the last running call has ended.
    ended: Notify,
    /// Notifies that calls may start again.
    released: Notify,
    /// Number of the last completed request.
    done: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// Calls that are about to start or running.
    running: usize,
    is_held: bool,
    /// Number of the last request.
    requested: u64,
    /// Whether a task processes requests.
    is_worked_on: bool,
    /// The planner does not support `FLUSH_EXECUTORS`.
    is_not_known: bool,
    /// Replaced versions, oldest first: one for the current flush, and one for the next.
    replaced: HashMap<(String, String), Vec<Replaced>>,
}

/// A replaced version of a function that workers may still run.
#[derive(Debug)]
struct Replaced {
    integrity: String,
    /// The request after which workers no longer run it.
    request: u64,
}

/// Held by a call until it has ended.
#[derive(Debug)]
pub(super) struct BatchPermit(Arc<Flush>);

impl Drop for BatchPermit {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.running -= 1;
        if state.running == 0 {
            self.0.ended.notify_one();
        }
    }
}

/// Holds calls back until dropped.
struct Hold<'a>(&'a Flush);

impl<'a> Hold<'a> {
    fn begin(flush: &'a Flush) -> Self {
        lock(&flush.state).is_held = true;
        Self(flush)
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).is_held = false;
        self.0.released.notify_waiters();
    }
}

impl Flush {
    pub(super) fn new(times: Times, counts: FaasmCounts) -> Arc<Self> {
        Arc::new(Self {
            times,
            counts,
            state: Mutex::default(),
            ended: Notify::new(),
            released: Notify::new(),
            done: watch::Sender::new(0),
        })
    }

    /// Waits until a call may start.
    pub(super) async fn enter(self: &Arc<Self>) -> BatchPermit {
        loop {
            let mut released = std::pin::pin!(self.released.notified());
            // Registers before the check, so that no release is missed.
            released.as_mut().enable();
            {
                let mut state = lock(&self.state);
                if !state.is_held {
                    state.running += 1;
                    return BatchPermit(Arc::clone(self));
                }
            }
            released.await;
        }
    }

    /// Records that the version with this integrity was replaced; the caller has to request a flush afterwards.
    pub(super) fn note_replaced(&self, user: &str, function: &str, old: String) {
        let mut state = lock(&self.state);
        if state.is_not_known || state.replaced.len() >= MAX_REPLACED {
            return;
        }
        let request = state.requested + 1;
        let name = (user.to_owned(), function.to_owned());
        let versions = state.replaced.entry(name).or_default();
        match versions.as_mut_slice() {
            // Replaced twice before a flush: workers have at most the older version loaded.
            [.., last] if last.request == request => {}
            [_, last] => last.request = request,
            _ => versions.push(Replaced { integrity: old, request }),
        }
    }

    /// Integrity of the replaced version of a function that workers may still run, if any.
    pub(super) fn stale(&self, user: &str, function: &str) -> Option<String> {
        let state = lock(&self.state);
        // The common case: no flush is pending.
        if state.replaced.is_empty() {
            return None;
        }
        let versions = state.replaced.get(&(user.to_owned(), function.to_owned()))?;
        versions.first().map(|oldest| oldest.integrity.clone())
    }

    /// Requests a flush; completes when a flush that started after this call is done. Dropping the future does not
    /// cancel the flush.
    ///
    /// # Errors
    /// The cluster does not support it; the message says what to do instead.
    pub(super) fn request<E: Executors>(
        self: &Arc<Self>,
        executors: &Arc<E>,
    ) -> impl Future<Output = Result<(), String>> + Send + 'static {
        let mut done = self.done.subscribe();
        let (request, begins) = {
            let mut state = lock(&self.state);
            state.requested += 1;
            let begins = !state.is_not_known && !state.is_worked_on;
            state.is_worked_on |= begins;
            (state.requested, begins)
        };
        if begins {
            tokio::spawn(Arc::clone(self).work(Arc::clone(executors)));
        }
        let flush = Arc::clone(self);
        async move {
            let is_known = || !lock(&flush.state).is_not_known;
            if is_known() {
                // The sender lives as long as `flush`.
                let _ = done.wait_for(|done| *done >= request).await;
            }
            if is_known() { Ok(()) } else { Err(NOT_KNOWN.to_owned()) }
        }
    }

    async fn work<E: Executors>(self: Arc<Self>, executors: Arc<E>) {
        let mut pause = self.times.pause;
        loop {
            let request = lock(&self.state).requested;
            match self.attempt(&*executors).await {
                Ok(Some(flushed)) => {
                    pause = self.times.pause;
                    if !self.is_more_after(request, flushed) {
                        return;
                    }
                    continue;
                }
                Ok(None) => tracing::debug!("the cluster is busy; the flush is retried later"),
                Err(error) => tracing::debug!(%error, "the flush failed and is retried later"),
            }
            sleep(pause).await;
            pause = (2 * pause).min(self.times.longest_pause);
        }
    }

    /// Records the result of a flush for requests up to this one; returns whether there are later requests.
    fn is_more_after(&self, request: u64, flushed: Flushed) -> bool {
        let mut state = lock(&self.state);
        let request = match flushed {
            Flushed::Done => {
                tracing::info!("workers have dropped the functions they had loaded");
                self.counts.flushes.inc();
                request
            }
            Flushed::NotKnown => {
                state.is_not_known = true;
                tracing::warn!("{NOT_KNOWN}");
                state.requested
            }
        };
        state.replaced.retain(|_, versions| {
            versions.retain(|replaced| replaced.request > request);
            !versions.is_empty()
        });
        state.is_worked_on = state.requested > request;
        let is_more = state.is_worked_on;
        drop(state);
        self.done.send_replace(request);
        is_more
    }

    /// Flushes the cluster, unless it is too busy.
    async fn attempt<E: Executors>(&self, executors: &E) -> Result<Option<Flushed>, String> {
        let _hold = Hold::begin(self);
        let is_idle = async {
            while lock(&self.state).running > 0 {
                self.ended.notified().await;
            }
            while !executors.is_idle().await? {
                sleep(self.times.question).await;
            }
            Ok::<_, String>(())
        };
        match timeout(self.times.hold, is_idle).await {
            Ok(idle) => idle?,
            Err(_) => return Ok(None),
        }
        let flushed = timeout(self.times.flush, executors.flush()).await;
        flushed.map_err(|_| "no answer to FLUSH_EXECUTORS".to_owned())?.map(Some)
    }
}

/// Shown to uploaders if the planner does not support the request.
const NOT_KNOWN: &str = "the planner does not support FLUSH_EXECUTORS, so workers continue to run the version of a function that they have loaded: restart the workers after you replace a function";

#[cfg(test)]
mod tests;
