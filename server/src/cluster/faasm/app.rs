//! Apps: groups of calls, and polling for their results.
//!
//! A worker's executors belong to one app and stay for half a minute after its last call. Creating an executor takes
//! several times as long as a short call. So all calls of one page form one app, or all calls of one run if so
//! configured. This gives functions no additional access: all calls of a page belong to one user, whose state and files
//! every call of that user sees; an executor runs one function only, one call at a time, and its memory is reset after
//! each call; and results are identified by the random id of their message, which only this relay knows. If a function
//! leaves data behind nevertheless, only later calls of the same function by the same page can see it.
//!
//! All waiters of an app share one poller: at most one status request per app is in flight, and a limited number for
//! all apps. The interval between two polls grows by a quarter each time no call has ended, so that a result is delayed
//! by at most about a fifth of the call's duration.
//!
//! A planner's response does not distinguish a running call from one that it has forgotten. So if calls of an app have
//! run for a while, the relay requests the list of in-flight apps, at most once per second for all apps: a call leaves
//! that list when its result exists. A call that is not in the list and has no result afterwards is lost. The list also
//! has the workers of each app. If all of them are gone, the app stays in flight forever, and its calls are lost, too;
//! while one worker is alive, the relay keeps waiting, because the planner does not report which call runs where.
//!
//! A status response has all results that an app ever had, with their inputs. So an app is closed after many calls, or
//! large ones, and later calls get a new app. Measured with the stand-in, a result with 16 bytes of input and output
//! adds 270 bytes to each response and 4.5 us to a poll; with 1 KiB each 2.6 kB and 7 us; with 16 KiB each 23 kB and 30
//! us. A short call takes three polls, and a new app costs 6 ms. So for small sequential calls the optimum is 30 calls
//! per app (0.4 ms per call for both costs together; 0.55 ms with 64, 0.95 ms with 128), while concurrent calls share
//! polls and benefit from larger apps. With 16 KiB the optimum is 12 calls, which is 270 kB.
//!
//! An app with a lost or abandoned call may stay in flight forever, so it is closed, too. For another call of an app, a
//! planner may contact all workers of that app. So no existing app gets further calls once a worker has left, because
//! it is not known immediately which apps had calls there.

use super::http::Answer;
use super::ids::Ids;
use super::lock;
use super::message::Ended;
use super::outcome::outcome;
use super::planner::{Over, Planner, PlannerError, Progress};
use crate::cluster::{Outcome, Run};
use crate::metrics::FaasmCounts;
use crate::store::SessionKey;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::Instant;

/// Most calls of an app.
const MAX_CALLS: usize = 64;

/// Bytes of inputs and outputs that close an app.
const MAX_BYTES: usize = 256 * 1024;

/// Slack in the size limit of a status response.
const SPARE_BYTES: usize = 1024 * 1024;

/// Most pages, or runs, whose app is cached.
const MAX_RUNS: usize = 8192;

/// Upper bound for a result's fields except input, output, names and arguments; includes the ids of chained calls.
const FIELDS_BYTES: usize = 64 * 1024;

/// Interval between the first two polls.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// Shortest interval after a failed poll.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(50);

/// How long a call runs before the relay checks whether it is still in flight.
const IN_FLIGHT_AFTER: Duration = Duration::from_secs(1);

/// Bytes of status responses per second and app.
const ANSWER_RATE: f64 = 64.0 * 1024.0 * 1024.0;

/// How polling for a call ended.
#[derive(Debug)]
pub(super) enum CallEnd {
    Ended(Outcome),
    /// Why there will be no result.
    Lost(String),
}

/// A call with a waiter.
#[derive(Debug)]
struct Waiting {
    sender: oneshot::Sender<CallEnd>,
    /// When the planner confirmed the start; `None` if it is unknown whether the call started.
    started: Option<Instant>,
}

/// A group of calls.
#[derive(Debug)]
pub(super) struct App {
    pub(super) id: i32,
    user: String,
    /// The number of departed workers when the app was created.
    departures: u64,
    state: Mutex<State>,
    /// Notifies the poller of a new waiter.
    joined: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<i32, Waiting>,
    is_polled: bool,
    /// No further call may join the app.
    is_closed: bool,
    calls: usize,
    /// Bytes of inputs as the planner returns them.
    bytes: usize,
    /// Longest status response so far.
    longest_answer: usize,
}

impl App {
    fn new(id: i32, user: &str, departures: u64) -> Self {
        let (state, joined) = (Mutex::default(), Notify::new());
        Self { id, user: user.to_owned(), departures, state, joined }
    }

    /// Whether a call that joined earlier may still be sent.
    pub(super) fn is_open(&self, departures: u64) -> bool {
        self.departures == departures && !lock(&self.state).is_closed
    }

    /// Adds a call with this many bytes of returned input, unless the app is full or closed.
    fn takes(&self, bytes: usize) -> bool {
        let mut state = lock(&self.state);
        let together = state.bytes.saturating_add(bytes).max(state.longest_answer);
        let fits = state.calls == 0 || (state.calls < MAX_CALLS && together <= MAX_BYTES);
        let takes = fits && !state.is_closed;
        if takes {
            state.calls += 1;
            state.bytes = state.bytes.saturating_add(bytes);
        }
        takes
    }

    /// Closes the app to further calls: one of its calls may run forever, or its status responses are too long to be
    /// read.
    pub(super) fn close(&self) {
        lock(&self.state).is_closed = true;
    }

    /// Delivers results to their waiters; returns whether there were any. With `over`, calls without a result that
    /// started before that moment are lost; later calls are not.
    fn deliver(&self, ended: &[Ended<'_>], over: Option<&Over>, counts: &FaasmCounts) -> bool {
        let mut state = lock(&self.state);
        let mut any = false;
        for ended in ended {
            // Another relay may have chosen the same app id; message ids are random, too.
            if ended.user != self.user {
                continue;
            }
            if let Some(waiting) = state.waiting.remove(&ended.id) {
                any = true;
                // The waiter may have gone.
                let _ = waiting.sender.send(CallEnd::Ended(outcome(ended)));
            }
        }
        if let Some(over) = over {
            let is_lost = |waiting: &Waiting| waiting.started.is_some_and(|at| at < over.at);
            let lost = state.waiting.extract_if(|_, waiting| is_lost(waiting));
            let lost: Vec<Waiting> = lost.map(|(_, waiting)| waiting).collect();
            state.is_closed |= !lost.is_empty();
            if over.is_gone {
                counts.lost.inc_by(lost.len() as u64);
            }
            for waiting in lost {
                let _ = waiting.sender.send(CallEnd::Lost(over.why.clone()));
            }
        }
        any
    }

    /// Whether a call with a waiter has run for a while.
    fn is_slow(&self) -> bool {
        let is_slow =
            |waiting: &Waiting| waiting.started.is_some_and(|at| at.elapsed() > IN_FLIGHT_AFTER);
        lock(&self.state).waiting.values().any(is_slow)
    }

    fn give_up(&self, why: &str) {
        let mut state = lock(&self.state);
        state.is_closed = true;
        let all = std::mem::take(&mut state.waiting);
        drop(state);
        for waiting in all.into_values() {
            let _ = waiting.sender.send(CallEnd::Lost(why.to_owned()));
        }
    }
}

/// All apps of this relay.
pub(super) struct Apps {
    planner: Arc<Planner>,
    ids: Ids,
    messages: Ids,
    /// Permits for concurrent status requests.
    polls: Semaphore,
    longest_pause: Duration,
    /// Limit for outputs in one status response, bytes.
    outputs: usize,
    app_per_run: bool,
    counts: FaasmCounts,
    runs: Mutex<Runs>,
}

/// The scope of an app, per user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Whose {
    Page(SessionKey),
    Run(Run),
}

#[derive(Default)]
struct Runs {
    /// Counts calls, to find the least recently used page or run.
    clock: u64,
    apps: HashMap<(Whose, String), (u64, Arc<App>)>,
}

/// Settings of polling.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking {
    pub(super) at_once: usize,
    pub(super) longest_pause: Duration,
    /// Most bytes of a call's output.
    pub(super) output_bytes: usize,
    /// Whether each run is an app of its own.
    pub(super) app_per_run: bool,
}

impl Apps {
    pub(super) fn new(planner: Arc<Planner>, asking: Asking, counts: FaasmCounts) -> Self {
        let Asking { at_once, longest_pause, output_bytes, app_per_run } = asking;
        Self {
            planner,
            ids: Ids::default(),
            messages: Ids::default(),
            polls: Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS)),
            longest_pause,
            // Escapes make a string longer in JSON.
            outputs: output_bytes.saturating_mul(2).saturating_add(SPARE_BYTES),
            app_per_run,
            counts,
            runs: Mutex::default(),
        }
    }

    /// Adds a call to an app: returns the app and the call's id. `departures` is the current number of departed
    /// workers.
    ///
    /// # Errors
    /// The system's random generator failed.
    pub(super) fn enter(
        &self,
        run: Option<Run>,
        user: &str,
        bytes: usize,
        departures: u64,
    ) -> Result<(Arc<App>, i32), getrandom::Error> {
        let message = self.messages.mint()?;
        let Some(run) = run else {
            let app = Arc::new(App::new(self.ids.mint()?, user, departures));
            app.takes(bytes);
            return Ok((app, message));
        };
        let mut runs = lock(&self.runs);
        runs.clock += 1;
        let clock = runs.clock;
        let whose = if self.app_per_run { Whose::Run(run) } else { Whose::Page(run.session) };
        let key = (whose, user.to_owned());
        if let Some((used, app)) = runs.apps.get_mut(&key)
            && app.is_open(departures)
            && app.takes(bytes)
        {
            *used = clock;
            return Ok((Arc::clone(app), message));
        }
        let app = Arc::new(App::new(self.ids.mint()?, user, departures));
        app.takes(bytes);
        runs.apps.insert(key, (clock, Arc::clone(&app)));
        if runs.apps.len() > MAX_RUNS {
            // Evicted pages and runs get a new app.
            runs.apps.retain(|_, (used, _)| clock - *used < MAX_RUNS as u64 / 2);
        }
        Ok((app, message))
    }

    /// Waits for the result of a call that has, or may have, started.
    pub(super) fn wait(
        self: &Arc<Self>,
        app: &Arc<App>,
        message: i32,
        is_started: bool,
    ) -> oneshot::Receiver<CallEnd> {
        let (sender, receiver) = oneshot::channel();
        let started = is_started.then(Instant::now);
        let mut state = lock(&app.state);
        state.waiting.insert(message, Waiting { sender, started });
        if state.is_polled {
            app.joined.notify_one();
        } else {
            state.is_polled = true;
            tokio::spawn(Arc::clone(self).poll(Arc::clone(app)));
        }
        receiver
    }

    /// Polls an app until it has no waiters.
    async fn poll(self: Arc<Self>, app: Arc<App>) {
        let mut pause = Duration::ZERO;
        // Why calls that ran when the in-flight list was requested have ended, or never will.
        let mut over: Option<Over> = None;
        loop {
            let most = {
                let mut state = lock(&app.state);
                state.waiting.retain(|_, waiting| !waiting.sender.is_closed());
                if state.waiting.is_empty() {
                    state.is_polled = false;
                    return;
                }
                let fields = state.calls.saturating_mul(FIELDS_BYTES);
                state.bytes.saturating_add(fields).saturating_add(self.outputs)
            };
            let asked = Instant::now();
            let (is_progress, at_least) = self.ask(&app, most, over.as_ref()).await;
            pause = if is_progress { SHORTEST_PAUSE } else { pause + pause / 4 };
            pause = pause.clamp(SHORTEST_PAUSE, self.longest_pause.max(SHORTEST_PAUSE));
            let again = Instant::now() + pause.max(at_least);
            tokio::select! {
                () = tokio::time::sleep_until(again) => {}
                () = app.joined.notified(), if at_least.is_zero() => {
                    pause = Duration::ZERO;
                    // Calls that join at the same time share a poll.
                    tokio::time::sleep_until(asked + SHORTEST_PAUSE).await;
                }
            }
            // Checked before the next poll, which then has the results of calls that are no longer in flight.
            over = if app.is_slow() { self.is_over(app.id).await } else { None };
        }
    }

    /// Whether calls of an app that run now can no longer end.
    async fn is_over(&self, app: i32) -> Option<Over> {
        let _permit = self.polls.acquire().await.ok()?;
        self.planner.over(app).await.ok()?
    }

    /// Polls once. Returns whether a call had ended, and the shortest interval before the next poll.
    async fn ask(&self, app: &App, most: usize, over: Option<&Over>) -> (bool, Duration) {
        let Ok(_permit) = self.polls.acquire().await else { return (false, PAUSE_AFTER_FAILURE) };
        let asked = Instant::now();
        let answered = self.planner.status(app.id, most).await;
        let progress = match &answered {
            Ok(answer) => self.planner.read_progress(app.id, answer),
            Err(error) => Err(error.clone()),
        };
        match progress {
            Ok(Progress::Nothing) => (app.deliver(&[], over, &self.counts), Duration::ZERO),
            Ok(Progress::Some { finished, ended }) => {
                let finished = finished.then(|| Over {
                    at: asked,
                    why: "the planner has no result of the call, and reports that all calls of its app have ended".to_owned(),
                    is_gone: false,
                });
                let is_progress = app.deliver(&ended, finished.as_ref().or(over), &self.counts);
                (is_progress, answered.map_or(Duration::ZERO, |answer| self.weigh(app, &answer)))
            }
            Err(error @ PlannerError::TooLong(_)) => {
                app.give_up(&error.to_string());
                (false, PAUSE_AFTER_FAILURE)
            }
            Err(error) => {
                tracing::debug!(%error, "polling for calls failed");
                (false, PAUSE_AFTER_FAILURE)
            }
        }
    }

    /// The interval after a status response, in proportion to its size.
    fn weigh(&self, app: &App, answer: &Answer) -> Duration {
        let bytes = answer.body.len();
        let mut state = lock(&app.state);
        state.longest_answer = state.longest_answer.max(bytes);
        let pause = Duration::from_secs_f64(bytes as f64 / ANSWER_RATE);
        if pause < SHORTEST_PAUSE { Duration::ZERO } else { pause }
    }
}

#[cfg(test)]
mod tests;
