//! The planner: what is asked of it, and what its answers mean.
//!
//! Never asked: `RESET`, `SET_POLICY` and `FLUSH_SCHEDULING_STATE`, each of which can end a planner, or make it forget, while
//! calls run.

use super::FaasmConfig;
use super::breaker::{Breaker, Verdict};
use super::http::{Answer, Ask, AskError, Endpoint, Peer};
use super::message::{self, Ended, Hosts, Message, PlannerConfig, Results, Started};
use bytes::Bytes;
use hyper::{Method, StatusCode};
use std::collections::HashSet;
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

/// The workers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slots {
    pub(super) workers: usize,
    pub(super) all: i64,
    pub(super) used: i64,
}

/// A planner, and how it is doing.
pub(super) struct Planner {
    peer: Peer,
    breaker: Breaker,
    /// For one question.
    time: Duration,
    /// How old what it said of its workers may be.
    hosts_fresh: Duration,
    /// What it last said of its workers.
    slots: Mutex<Option<(Instant, Slots)>>,
    /// What it last said of apps.
    in_flight: Mutex<Option<InFlight>>,
}

/// Apps that were in flight at some moment.
#[derive(Clone, Debug)]
pub(super) struct InFlight {
    /// When it was asked.
    pub(super) asked: Instant,
    apps: Arc<HashSet<i32>>,
}

impl InFlight {
    pub(super) fn has(&self, app: i32) -> bool {
        self.apps.contains(&app)
    }
}

impl Planner {
    pub(super) fn new(config: &FaasmConfig) -> Self {
        let peer = Peer::new(config.planner.clone(), config.connections);
        let (time, hosts_fresh) = (config.request_time, config.hosts_fresh);
        let (slots, in_flight) = (Mutex::default(), Mutex::default());
        Self { peer, breaker: Breaker::default(), time, hosts_fresh, slots, in_flight }
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

    /// The workers as of a moment ago. Whoever asks meanwhile gets the same answer.
    pub(super) async fn slots(&self) -> Result<Slots, PlannerError> {
        let mut slots = self.slots.lock().await;
        match *slots {
            Some((asked, slots)) if asked.elapsed() < self.hosts_fresh => return Ok(slots),
            _ => *slots = None,
        }
        let asked = Instant::now();
        let fresh = self.ask_slots().await?;
        *slots = Some((asked, fresh));
        Ok(fresh)
    }

    async fn ask_slots(&self) -> Result<Slots, PlannerError> {
        let answer = self.ask(self.plain("GET_AVAILABLE_HOSTS")?, SHORT_ANSWER).await?;
        self.read_slots(&answer)
    }

    fn read_slots(&self, answer: &Answer) -> Result<Slots, PlannerError> {
        let read = serde_json::from_slice::<Hosts>(&answer.body);
        let (StatusCode::OK, Ok(Hosts { hosts })) = (answer.status, read) else {
            return Err(self.odd(answer));
        };
        self.breaker.succeeded();
        let sum = |of: fn(&message::Host) -> i64| {
            hosts.iter().fold(0_i64, |sum, host| sum.saturating_add(of(host)))
        };
        let (all, used) = (sum(|host| host.slots), sum(|host| host.used));
        Ok(Slots { workers: hosts.len(), all, used })
    }

    /// Apps in flight, as of a moment ago. Whoever asks meanwhile gets the same answer.
    pub(super) async fn in_flight(&self) -> Result<InFlight, PlannerError> {
        let mut known = self.in_flight.lock().await;
        if let Some(known) = known.as_ref().filter(|known| known.asked.elapsed() < APPS_FRESH) {
            return Ok(known.clone());
        }
        let asked = Instant::now();
        let answer = self.ask(self.plain("GET_IN_FLIGHT_APPS")?, LIST_ANSWER).await?;
        let read = serde_json::from_slice::<message::InFlight>(&answer.body);
        let (StatusCode::OK, Ok(read)) = (answer.status, read) else {
            return Err(self.odd(&answer));
        };
        self.breaker.succeeded();
        let apps = Arc::new(read.apps.into_iter().map(|app| app.app).collect());
        let fresh = InFlight { asked, apps };
        *known = Some(fresh.clone());
        Ok(fresh)
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
        match self.breaker.verdict(Instant::now()) {
            Verdict::Anything => {}
            Verdict::Nothing(left) => {
                let milliseconds = left.as_millis();
                return Err(PlannerError::Down(format!(
                    "{} failed several times in a row and is not asked for {milliseconds} ms",
                    self.endpoint()
                )));
            }
            Verdict::Probe(probe) => {
                let question = self.send(self.plain("GET_AVAILABLE_HOSTS")?, SHORT_ANSWER);
                let answer =
                    question.await.map_err(|error| PlannerError::Down(error.to_string()))?;
                self.read_slots(&answer).map_err(|error| PlannerError::Down(error.to_string()))?;
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
