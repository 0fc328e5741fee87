//! Functions that were uploaded again. A worker that has loaded a function runs what it has loaded until it is told to forget
//! all functions, which `FLUSH_EXECUTORS` does. That was seen to be safe while nothing runs, so it is sent when no app is in flight.
//!
//! A cluster with a steady load is never idle by itself. So calls that are about to start are held back while what runs ends, for
//! [`Times::hold`] at most. Where that is too short, they go on and it is tried again later, after a pause that doubles
//! each time: calls are delayed for a small part of the time, and not at all where nothing was replaced. Calls of other clients
//! of the cluster are not held back, so one of them can start between the question and the flush.
//!
//! Until it is done, [`Flush::stale`] says which version of a function workers may still run.

use super::lock;
use super::planner::{Flushed, Planner};
use crate::metrics::FaasmCounts;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

/// Most functions whose older version is remembered.
const MAX_REPLACED: usize = 64 * 1024;

/// How long calls are held back, and how often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// For what runs to end.
    pub(super) hold: Duration,
    /// For the flush itself, during which calls are held back, too.
    pub(super) flush: Duration,
    /// Between two questions whether the cluster is idle.
    pub(super) question: Duration,
    /// After the first attempt that failed; twice that after each one, up to the longest.
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

/// What is flushed.
pub(super) trait Executors: Send + Sync + 'static {
    /// Whether nothing runs.
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

/// Flushes of one cluster, and the calls that they wait for.
#[derive(Debug)]
pub(super) struct Flush {
    times: Times,
    counts: FaasmCounts,
    state: Mutex<State>,
    /// The last call that ran has ended.
    ended: Notify,
    /// Calls may start again.
    released: Notify,
    /// Requests up to this one are done.
    done: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// Calls that are about to start, or have started and not ended.
    running: usize,
    is_held: bool,
    /// Counts requests.
    requested: u64,
    /// A task works on them.
    is_worked_on: bool,
    /// The cluster has no such request.
    is_not_known: bool,
    /// Older versions, oldest first: one for the flush that is under way, and one for the next.
    replaced: HashMap<(String, String), Vec<Replaced>>,
}

/// An older version of a function that workers may still run.
#[derive(Debug)]
struct Replaced {
    integrity: String,
    /// The request that ends this.
    request: u64,
}

/// A call, until it has ended.
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

/// Holds calls back until it is dropped.
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

    /// Lets a call start, now or when it is not held back any more.
    pub(super) async fn enter(self: &Arc<Self>) -> BatchPermit {
        loop {
            let mut released = std::pin::pin!(self.released.notified());
            // From now on, so that a release between the look and the wait is not missed.
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

    /// Notes that a function with this integrity was replaced; a flush has to be requested after it.
    pub(super) fn note_replaced(&self, user: &str, function: &str, old: String) {
        let mut state = lock(&self.state);
        if state.is_not_known || state.replaced.len() >= MAX_REPLACED {
            return;
        }
        let request = state.requested + 1;
        let name = (user.to_owned(), function.to_owned());
        let versions = state.replaced.entry(name).or_default();
        match versions.as_mut_slice() {
            // Replaced twice before a flush: the older one is what they have loaded, if anything.
            [.., last] if last.request == request => {}
            [_, last] => last.request = request,
            _ => versions.push(Replaced { integrity: old, request }),
        }
    }

    /// Integrity of the version of a function that workers may still run, if that is not the one that was uploaded last.
    pub(super) fn stale(&self, user: &str, function: &str) -> Option<String> {
        let state = lock(&self.state);
        // Most of the time nothing is waited for.
        if state.replaced.is_empty() {
            return None;
        }
        let versions = state.replaced.get(&(user.to_owned(), function.to_owned()))?;
        versions.first().map(|oldest| oldest.integrity.clone())
    }

    /// Requests a flush; completes when one that began after this has been done. Dropped before, it is done all the same.
    ///
    /// # Errors
    /// Where the cluster cannot do it, and what to do instead.
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
                // The sender is there as long as `flush` is.
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
                Ok(None) => tracing::debug!("the cluster is busy, and is flushed later"),
                Err(error) => tracing::debug!(%error, "the cluster is flushed later"),
            }
            sleep(pause).await;
            pause = (2 * pause).min(self.times.longest_pause);
        }
    }

    /// Notes what became of a flush for requests up to this one; whether there are later ones.
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

    /// Flushes, unless the cluster is too busy for that.
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

/// What a planner that has no such request means for who uploads.
const NOT_KNOWN: &str = "the planner does not know FLUSH_EXECUTORS, so workers go on running the version of a function that they have loaded: restart the workers after a function was uploaded again";

#[cfg(test)]
mod tests;
