//! The planner: what is asked of it, and what its answers mean.
//!
//! Never asked: `RESET`, `SET_POLICY` and `FLUSH_SCHEDULING_STATE`, each of which can end a planner, or make it forget, while
//! calls run.

use super::FaasmConfig;
use super::breaker::{Breaker, BreakerState};
use super::http::{Answer, Ask, AskError, Endpoint, Peer};
use super::message::{self, Ended, Host, Hosts, Message, PlannerConfig, Results, Started};
use super::workers::Workers;
use bytes::Bytes;
use hyper::{Method, StatusCode};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Longest answer to what is no batch and no status, bytes.
const SHORT_ANSWER: usize = 1024 * 1024;

/// Longest list of apps in flight, bytes.
const LIST_ANSWER: usize = 64 * 1024 * 1024;

/// How old such a list may be.
const APPS_FRESH: Duration = Duration::from_secs(1);

const NO_HOSTS: &str = "No available hosts";
const NOT_REGISTERED: &str = "App not registered in results";

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum PlannerError {
    /// It was not asked, or has not seen the question.
    #[error("the planner is not there: {0}")]
    Down(String),
    /// It may have seen it.
    #[error("the planner did not answer: {0}")]
    Lost(String),
    /// It answered something else.
    #[error("the planner's answer makes no sense: {0}")]
    Odd(String),
    /// It answered more than it may.
    #[error("the planner's answer has more than {0} bytes")]
    TooLong(usize),
}

/// How an attempt to start a call ended where it did not start for sure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotStarted {
    /// It did not start: the planner was not asked.
    Down(String),
    /// It did not start: no slot is free, or there are no workers.
    NoRoom,
    /// It did not start: the planner does not take it.
    Refused(String),
    /// It may have started.
    Unknown(String),
}

/// What becomes of an app's calls; the texts are in the answer that it was read from.
pub(super) enum Progress<'a> {
    /// Nothing has ended, or the planner knows nothing of it: it says the same in both cases.
    Nothing,
    Some {
        finished: bool,
        ended: Vec<Ended<'a>>,
    },
}

/// A planner, and how it is doing.
pub(super) struct Planner {
    peer: Peer,
    breaker: Breaker,
    /// For one question.
    time: Duration,
    pub(super) workers: Arc<Workers>,
    /// What it last said of apps.
    in_flight: Mutex<Option<InFlight>>,
}

/// Apps that were in flight at some moment, and the workers on which each of them ran.
#[derive(Clone, Debug)]
pub(super) struct InFlight {
    /// When it was asked.
    asked: Instant,
    answered: Instant,
    apps: Arc<HashMap<i32, Vec<String>>>,
}

/// No call of an app that had started at this moment will end any more, unless its result is there already.
#[derive(Clone, Debug)]
pub(super) struct Over {
    pub(super) at: Instant,
    pub(super) why: String,
    /// Whether it is so because its workers are gone.
    pub(super) is_gone: bool,
}

/// What became of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    Done,
    /// This planner has no such request.
    NotKnown,
}

impl Planner {
    pub(super) fn new(config: &FaasmConfig) -> Self {
        let peer = Peer::new(config.planner.clone(), config.connections);
        let FaasmConfig { hosts_fresh, heartbeat, worker_port, .. } = *config;
        let workers = Arc::new(Workers::new(hosts_fresh, heartbeat, worker_port));
        let (breaker, time, in_flight) =
            (Breaker::default(), config.request_time, Mutex::default());
        Self { peer, breaker, time, workers, in_flight }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        self.peer.endpoint()
    }

    /// Starts a call. Never sent twice by itself.
    pub(super) async fn execute(&self, app: i32, body: Bytes) -> Result<(), NotStarted> {
        let answer = match self.ask(body, SHORT_ANSWER).await {
            Ok(answer) => answer,
            Err(PlannerError::Down(why)) => return Err(NotStarted::Down(why)),
            Err(error) => return Err(NotStarted::Unknown(error.to_string())),
        };
        match answer.status {
            StatusCode::OK => match serde_json::from_slice::<Started>(&answer.body) {
                Ok(started) if started.app == app => {
                    self.breaker.succeeded();
                    Ok(())
                }
                Ok(_) | Err(_) => Err(NotStarted::Unknown(self.odd(&answer).to_string())),
            },
            StatusCode::BAD_REQUEST => {
                self.breaker.succeeded();
                Err(NotStarted::Refused(answer.shown()))
            }
            _ if answer.says(StatusCode::INTERNAL_SERVER_ERROR, NO_HOSTS) => {
                self.breaker.succeeded();
                Err(NotStarted::NoRoom)
            }
            _ => Err(NotStarted::Unknown(self.odd(&answer).to_string())),
        }
    }

    /// What became of an app's calls, in at most so many bytes; [`read_progress`] reads it.
    pub(super) async fn status(&self, app: i32, most: usize) -> Result<Answer, PlannerError> {
        let body = message::status(app).map_err(|error| PlannerError::Odd(error.to_string()))?;
        let answer = self.ask(body, most).await?;
        // The body is looked at by whoever reads it, who tells what it found.
        match answer.status {
            StatusCode::OK => Ok(answer),
            _ if answer.says(StatusCode::INTERNAL_SERVER_ERROR, NOT_REGISTERED) => {
                self.breaker.succeeded();
                Ok(answer)
            }
            _ => Err(self.odd(&answer)),
        }
    }

    /// Reads what [`Planner::status`] gave.
    pub(super) fn read_progress<'a>(
        &self,
        app: i32,
        answer: &'a Answer,
    ) -> Result<Progress<'a>, PlannerError> {
        if answer.status != StatusCode::OK {
            return Ok(Progress::Nothing);
        }
        match serde_json::from_slice::<Results<'a>>(&answer.body) {
            Ok(results) if results.app == app => {
                self.breaker.succeeded();
                let Results { finished, ended, .. } = results;
                Ok(Progress::Some { finished, ended })
            }
            Ok(_) | Err(_) => Err(self.odd(answer)),
        }
    }

    /// The workers that it lists now. Asking makes it drop those whose heartbeats have stopped.
    pub(super) async fn hosts(&self) -> Result<Vec<Host>, PlannerError> {
        let answer = self.ask(self.plain("GET_AVAILABLE_HOSTS")?, SHORT_ANSWER).await?;
        self.read_hosts(&answer)
    }

    fn read_hosts(&self, answer: &Answer) -> Result<Vec<Host>, PlannerError> {
        let read = serde_json::from_slice::<Hosts>(&answer.body);
        let (StatusCode::OK, Ok(Hosts { hosts })) = (answer.status, read) else {
            return Err(self.odd(answer));
        };
        self.breaker.succeeded();
        Ok(hosts)
    }

    /// Whether calls of an app can end at all, as of a moment ago: the app is in flight, on a worker that is there.
    pub(super) async fn over(&self, app: i32) -> Result<Option<Over>, PlannerError> {
        let in_flight = self.in_flight(APPS_FRESH).await?;
        let InFlight { asked: at, answered, apps } = in_flight;
        let Some(hosts) = apps.get(&app) else {
            let why = "the planner has forgotten it: it was started again, or reset".to_owned();
            return Ok(Some(Over { at, why, is_gone: false }));
        };
        let why = self.why_gone(hosts, answered).await?;
        Ok(why.map(|why| Over { at, why, is_gone: true }))
    }

    /// Whether nothing runs on any worker that is there.
    pub(super) async fn is_idle(&self) -> Result<bool, PlannerError> {
        let InFlight { answered, apps, .. } = self.in_flight(Duration::ZERO).await?;
        for hosts in apps.values() {
            // An app stays in flight for ever where its worker has died.
            if self.why_gone(hosts, answered).await?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Apps in flight, at most so old. Whoever asks meanwhile gets the same answer.
    async fn in_flight(&self, fresh: Duration) -> Result<InFlight, PlannerError> {
        let mut known = self.in_flight.lock().await;
        if let Some(known) = known.as_ref().filter(|known| known.asked.elapsed() < fresh) {
            return Ok(known.clone());
        }
        let asked = Instant::now();
        let answer = self.ask(self.plain("GET_IN_FLIGHT_APPS")?, LIST_ANSWER).await?;
        let read = serde_json::from_slice::<message::InFlight>(&answer.body);
        let (StatusCode::OK, Ok(read)) = (answer.status, read) else {
            return Err(self.odd(&answer));
        };
        self.breaker.succeeded();
        let apps = Arc::new(read.apps.into_iter().map(|app| (app.app, app.hosts)).collect());
        let fresh = InFlight { asked, answered: Instant::now(), apps };
        *known = Some(fresh.clone());
        Ok(fresh)
    }

    /// Has all workers forget the functions that they have loaded.
    pub(super) async fn flush_executors(&self) -> Result<Flushed, PlannerError> {
        let answer = self.ask(self.plain("FLUSH_EXECUTORS")?, SHORT_ANSWER).await?;
        match answer.status {
            StatusCode::OK => {
                self.breaker.succeeded();
                Ok(Flushed::Done)
            }
            StatusCode::BAD_REQUEST => {
                self.breaker.succeeded();
                Ok(Flushed::NotKnown)
            }
            _ => Err(self.odd(&answer)),
        }
    }

    /// How it is set up.
    pub(super) async fn config(&self) -> Result<PlannerConfig, PlannerError> {
        let answer = self.ask(self.plain("GET_CONFIG")?, SHORT_ANSWER).await?;
        match serde_json::from_slice::<PlannerConfig>(&answer.body) {
            Ok(config) if answer.status == StatusCode::OK && !config.ip.is_empty() => {
                self.breaker.succeeded();
                Ok(config)
            }
            Ok(_) | Err(_) => Err(self.odd(&answer)),
        }
    }

    fn plain(&self, http_type: &'static str) -> Result<Bytes, PlannerError> {
        message::plain(http_type).map_err(|error| PlannerError::Odd(error.to_string()))
    }

    /// Asks, where the breaker lets it; where that wants to know first whether the planner is there, finds that out.
    async fn ask(&self, body: Bytes, most: usize) -> Result<Answer, PlannerError> {
        match self.breaker.state_at(Instant::now()) {
            BreakerState::Anything => {}
            BreakerState::Nothing(left) => {
                let milliseconds = left.as_millis();
                return Err(PlannerError::Down(format!(
                    "{} failed several times in a row and is not asked for {milliseconds} ms",
                    self.endpoint()
                )));
            }
            BreakerState::Probe(probe) => {
                let question = self.send(self.plain("GET_AVAILABLE_HOSTS")?, SHORT_ANSWER);
                let answer =
                    question.await.map_err(|error| PlannerError::Down(error.to_string()))?;
                self.read_hosts(&answer).map_err(|error| PlannerError::Down(error.to_string()))?;
                tracing::info!(planner = %self.endpoint(), "the planner answers again");
                probe.succeeded();
            }
        }
        self.send(body, most).await
    }

    async fn send(&self, body: Bytes, most: usize) -> Result<Answer, PlannerError> {
        let ask = Ask {
            method: Method::POST,
            path: "/".to_owned(),
            header: None,
            body,
            time: self.time,
            most,
        };
        self.peer.ask(ask).await.map_err(|error| {
            let error = match error {
                AskError::NotSent(why) => PlannerError::Down(why),
                AskError::Lost(why) => PlannerError::Lost(why),
                // It is there, and says what it was asked.
                AskError::TooLong(most) => return PlannerError::TooLong(most),
            };
            self.breaker.failed();
            error
        })
    }

    /// An answer that no planner gives.
    fn odd(&self, answer: &Answer) -> PlannerError {
        self.breaker.failed();
        PlannerError::Odd(format!("{} said {}", self.endpoint(), answer.shown()))
    }
}

/// The body that starts a call, of which nothing else is kept; `None` where it cannot be written as JSON.
pub(super) fn body_of(message: Message<'_>) -> Option<Bytes> {
    message::execute(message).ok()
}
