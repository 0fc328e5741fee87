//! The planner: requests to it, and the meaning of its responses.
//!
//! Never sent: `RESET`, `SET_POLICY` and `FLUSH_SCHEDULING_STATE`, each of which can crash a planner, or erase its
//! state, while calls run.

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

/// Size limit of responses except those to batches and status requests, bytes.
const SHORT_ANSWER: usize = 1024 * 1024;

/// Size limit of the list of in-flight apps, bytes.
const LIST_ANSWER: usize = 64 * 1024 * 1024;

/// Maximum age of that list.
const APPS_FRESH: Duration = Duration::from_secs(1);

const NO_HOSTS: &str = "No available hosts";
const NOT_REGISTERED: &str = "App not registered in results";

/// Why a request has no valid response.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum PlannerError {
    /// The request was not sent, or the planner cannot have seen it.
    #[error("the planner is unreachable: {0}")]
    Down(String),
    /// The planner may have seen the request.
    #[error("the planner did not answer: {0}")]
    Lost(String),
    /// The response is not valid.
    #[error("the planner's response is invalid: {0}")]
    Odd(String),
    /// The response exceeds its size limit.
    #[error("the planner's response has more than {0} bytes")]
    TooLong(usize),
}

/// Why a call did not, or may not have, started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotStarted {
    /// Not started: the planner was not reached.
    Down(String),
    /// Not started: no slot is free, or there are no workers.
    NoRoom,
    /// Not started: the planner rejected the call.
    Refused(String),
    /// The call may have started.
    Unknown(String),
}

/// Progress of an app's calls; it borrows from the response.
pub(super) enum Progress<'a> {
    /// No call has ended, or the planner does not know the app: its response is the same.
    Nothing,
    Some {
        finished: bool,
        ended: Vec<Ended<'a>>,
    },
}

/// A planner, with the state of its workers and its circuit breaker.
pub(super) struct Planner {
    peer: Peer,
    breaker: Breaker,
    /// Time limit of a request.
    time: Duration,
    pub(super) workers: Arc<Workers>,
    /// The last list of in-flight apps.
    in_flight: Mutex<Option<InFlight>>,
}

/// The apps in flight at some moment, and the workers of each.
#[derive(Clone, Debug)]
pub(super) struct InFlight {
    /// When the list was requested.
    asked: Instant,
    answered: Instant,
    apps: Arc<HashMap<i32, Vec<String>>>,
}

/// No call of the app that had started at `at` will end after this, unless it already has a result.
#[derive(Clone, Debug)]
pub(super) struct Over {
    pub(super) at: Instant,
    pub(super) why: String,
    /// Whether the reason is that the app's workers are gone.
    pub(super) is_gone: bool,
}

/// Result of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    Done,
    /// This planner does not support the request.
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

    /// Starts a call. This never resends the request.
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

    /// Requests the status of an app's calls, in at most this many bytes; [`read_progress`] parses it.
    pub(super) async fn status(&self, app: i32, most: usize) -> Result<Answer, PlannerError> {
        let body = message::status(app).map_err(|error| PlannerError::Odd(error.to_string()))?;
        let answer = self.ask(body, most).await?;
        // The caller parses the body and reports the result to the breaker.
        match answer.status {
            StatusCode::OK => Ok(answer),
            _ if answer.says(StatusCode::INTERNAL_SERVER_ERROR, NOT_REGISTERED) => {
                self.breaker.succeeded();
                Ok(answer)
            }
            _ => Err(self.odd(&answer)),
        }
    }

    /// Parses the response of [`Planner::status`].
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

    /// The workers that the planner lists now. The request makes it drop workers whose heartbeats have stopped.
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

    /// Whether calls of an app can no longer end: the app is not in flight, or all its workers are gone.
    pub(super) async fn over(&self, app: i32) -> Result<Option<Over>, PlannerError> {
        let in_flight = self.in_flight(APPS_FRESH).await?;
        let InFlight { asked: at, answered, apps } = in_flight;
        let Some(hosts) = apps.get(&app) else {
            let why = "the planner has forgotten the call: it was restarted or reset".to_owned();
            return Ok(Some(Over { at, why, is_gone: false }));
        };
        let why = self.why_gone(hosts, answered).await?;
        Ok(why.map(|why| Over { at, why, is_gone: true }))
    }

    /// Whether no call runs on any live worker.
    pub(super) async fn is_idle(&self) -> Result<bool, PlannerError> {
        let InFlight { answered, apps, .. } = self.in_flight(Duration::ZERO).await?;
        for hosts in apps.values() {
            // An app stays in flight forever if its worker has died.
            if self.why_gone(hosts, answered).await?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Apps in flight, with a maximum age. Concurrent callers share one request.
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

    /// Makes all workers drop their loaded functions.
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

    /// The planner's configuration.
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

    /// Sends a request if the breaker is closed. If the breaker is half-open, it first probes the planner.
    async fn ask(&self, body: Bytes, most: usize) -> Result<Answer, PlannerError> {
        match self.breaker.state_at(Instant::now()) {
            BreakerState::Anything => {}
            BreakerState::Nothing(left) => {
                let milliseconds = left.as_millis();
                return Err(PlannerError::Down(format!(
                    "{} failed several times in a row; no requests are sent for {milliseconds} ms",
                    self.endpoint()
                )));
            }
            BreakerState::Probe(probe) => {
                let question = self.send(self.plain("GET_AVAILABLE_HOSTS")?, SHORT_ANSWER);
                let answer =
                    question.await.map_err(|error| PlannerError::Down(error.to_string()))?;
                self.read_hosts(&answer).map_err(|error| PlannerError::Down(error.to_string()))?;
                tracing::info!(planner = %self.endpoint(), "the planner responds again");
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
                // The planner is up and gave a valid response.
                AskError::TooLong(most) => return PlannerError::TooLong(most),
            };
            self.breaker.failed();
            error
        })
    }

    /// Records an invalid response.
    fn odd(&self, answer: &Answer) -> PlannerError {
        self.breaker.failed();
        PlannerError::Odd(format!("{} said {}", self.endpoint(), answer.shown()))
    }
}

/// Body of the request that starts a call; `None` if it cannot be encoded as JSON.
pub(super) fn body_of(message: Message<'_>) -> Option<Bytes> {
    message::execute(message).ok()
}
