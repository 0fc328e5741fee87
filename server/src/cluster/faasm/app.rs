//! Apps: calls that belong together, and the one place where it is asked what became of them.
//!
//! A worker's executors belong to one app and stay for half a minute after its last call, and making one takes several times as
//! long as a short call. So all calls of one page are one app, or those of one run of it where the settings say so. That gives
//! a function nothing that it would not have in an app of its own: all calls of a page are of one user, whose state and files any
//! call of that user sees; an executor runs one function only, one call at a time, and its memory is set back after each call; and
//! results are told by the random id of their message, which nobody but this relay knows. A function that leaves something behind
//! in spite of that leaves it to later calls of the same function, by the same page.
//!
//! All who wait for calls of an app
//! share one poller: at most one status request of an app is under way, whoever waits, and so many of all apps. Between two
//! of them is a pause that grows by a quarter each time nothing has ended, so that an answer is late by at most about a fifth
//! of the time that the call took.
//!
//! A planner says the same of a call that runs and of one it has forgotten. So where calls of an app have run for a while, it is
//! asked for the apps in flight, at most once in a second for all of them: a call leaves that list when its result is
//! there. One that is not in the list, and whose result is not there afterwards, is lost. The list also has the workers of
//! each app. Where all of them are gone, the app stays in flight for ever, and its calls are lost, too; while one of them is
//! there, it is waited for, since nobody says which call runs where.
//!
//! A planner's answer has all results that an app ever had, with their inputs. So an app is closed to further calls when it
//! has had many, or large ones, and what comes next gets a new app. Measured with the stand-in, a result with 16 bytes in and out
//! adds 270 bytes to each answer and 4.5 us to the time of asking and reading it; one with 1 KiB each 2.6 kB and 7 us; one with
//! 16 KiB each 23 kB and 30 us. A short call takes three questions, and a new app costs 6 ms. So for small calls that follow each
//! other the best is an app for each 30 calls (0.4 ms a call for both together; 0.55 ms with 64, 0.95 ms with 128), while calls
//! at once share questions and gain by larger ones. With 16 KiB it is 12 calls, which is 270 kB.
//!
//! An app with a call that is lost, or that nobody waits for any more, is in flight for ever. It is closed, too. And since a
//! planner that gets another call of an app may turn to all workers that the app is on, no app is used further once a worker has left:
//! nobody says at once which apps had calls there.

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

/// Of an answer, beyond what its app's calls explain.
const SPARE_BYTES: usize = 1024 * 1024;

/// Most pages, or runs, whose app is remembered.
const MAX_RUNS: usize = 8192;

/// Of a result, besides input, output, names and arguments: more than its other fields have, chained calls' ids included.
const FIELDS_BYTES: usize = 64 * 1024;

/// Between the first two questions.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// At least, after a question that was not answered.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(50);

/// How long a call has run before it is asked whether it is in flight still.
const IN_FLIGHT_AFTER: Duration = Duration::from_secs(1);

/// Bytes of answers for which one app may ask in a second.
const ANSWER_RATE: f64 = 64.0 * 1024.0 * 1024.0;

/// What is known of a call.
#[derive(Debug)]
pub(super) enum CallEnd {
    Ended(Outcome),
    /// Its result will not come, and this is why.
    Lost(String),
}

/// A call that somebody waits for.
#[derive(Debug)]
struct Waiting {
    sender: oneshot::Sender<CallEnd>,
    /// When the planner had said that it started; `None` where it may not have.
    started: Option<Instant>,
}

/// Calls that belong together.
#[derive(Debug)]
pub(super) struct App {
    pub(super) id: i32,
    user: String,
    /// How often workers had left when it began.
    departures: u64,
    state: Mutex<State>,
    /// Somebody else waits.
    joined: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<i32, Waiting>,
    is_polled: bool,
    /// It takes no further call.
    is_closed: bool,
    calls: usize,
    /// Of inputs as they come back.
    bytes: usize,
    /// Longest answer so far.
    longest_answer: usize,
}

impl App {
    fn new(id: i32, user: &str, departures: u64) -> Self {
        let (state, joined) = (Mutex::default(), Notify::new());
        Self { id, user: user.to_owned(), departures, state, joined }
    }

    /// Whether a call may be sent that entered it before.
    pub(super) fn is_open(&self, departures: u64) -> bool {
        self.departures == departures && !lock(&self.state).is_closed
    }

    /// A place for one more call with so many bytes of input as the planner gives it back, unless it is closed.
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

    /// Lets no further call in. An app with a call that may run for ever is in flight for ever, and one whose answers are too long
    /// tells nothing of any call.
    pub(super) fn close(&self) {
        lock(&self.state).is_closed = true;
    }

    /// Hands results to those who wait for them; whether there were any. Where calls of this app that had started at some
    /// moment are over, those that are not among them are lost; calls that started later are not.
    fn deliver(&self, ended: &[Ended<'_>], over: Option<&Over>, counts: &FaasmCounts) -> bool {
        let mut state = lock(&self.state);
        let mut any = false;
        for ended in ended {
            // Whoever chose this app's id too can only be somebody else's relay; a message's id is as random.
            if ended.user != self.user {
                continue;
            }
            if let Some(waiting) = state.waiting.remove(&ended.id) {
                any = true;
                // They may have gone.
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

    /// Whether somebody waits for a call that has run for a while.
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
    /// Status requests at once.
    polls: Semaphore,
    longest_pause: Duration,
    /// Bytes that outputs may have in one answer.
    outputs: usize,
    app_per_run: bool,
    counts: FaasmCounts,
    runs: Mutex<Runs>,
}

/// Whose calls an app has, together with their user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Whose {
    Page(SessionKey),
    Run(Run),
}

#[derive(Default)]
struct Runs {
    /// Counts calls; tells which page or run was used last.
    clock: u64,
    apps: HashMap<(Whose, String), (u64, Arc<App>)>,
}

/// Bounds of asking.
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
            // As JSON a text can be longer than it is.
            outputs: output_bytes.saturating_mul(2).saturating_add(SPARE_BYTES),
            app_per_run,
            counts,
            runs: Mutex::default(),
        }
    }

    /// The app that a call belongs to, and the call's id in it, after workers have left so often.
    ///
    /// # Errors
    /// When the system gives no randomness.
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
            // What comes back after this gets another app.
            runs.apps.retain(|_, (used, _)| clock - *used < MAX_RUNS as u64 / 2);
        }
        Ok((app, message))
    }

    /// What becomes of a call that has been started, or may have been.
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

    /// Asks after an app until nobody waits for it.
    async fn poll(self: Arc<Self>, app: Arc<App>) {
        let mut pause = Duration::ZERO;
        // Why calls of this app that ran when it was asked have ended, or never will.
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
                    // Those that join at the same time share a question.
                    tokio::time::sleep_until(asked + SHORTEST_PAUSE).await;
                }
            }
            // Before the next question, which then has the result of what is not in flight.
            over = if app.is_slow() { self.is_over(app.id).await } else { None };
        }
    }

    /// Whether calls of an app that run now cannot end any more.
    async fn is_over(&self, app: i32) -> Option<Over> {
        let _permit = self.polls.acquire().await.ok()?;
        self.planner.over(app).await.ok()?
    }

    /// Asks once. Whether something had ended, and how long to wait at least.
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
                    why: "the planner has no result of it, and says that all calls of its app have ended".to_owned(),
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
                tracing::debug!(%error, "asking after calls");
                (false, PAUSE_AFTER_FAILURE)
            }
        }
    }

    /// How long to wait after an answer for its size.
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
