//! The connection to Redis: opened again when it breaks, and asked again where that does nothing twice.
//!
//! Redis answers in order over one connection, so an answer may be late because of those before it: a connection counts as broken
//! when nothing at all is answered over it for a time. Whatever goes wrong with it, a question without an answer may have been
//! carried out; so what may be repeated is for the asker to say ([`Repeat`]).

use crate::store::StoreError;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError,
    RedisResult, ScriptInvocation, ServerErrorKind,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout, timeout_at};

/// For opening a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// For one answer after the one before it, and a second more for each [`RATE`] bytes that travel.
const ANSWER: Duration = Duration::from_secs(4);

/// Slowest a connection may be before it counts as broken, bytes a second.
const RATE: u64 = 2 * 1024 * 1024;

/// For one answer, however many others are before it, besides the time for what travels.
const LONGEST_ANSWER: Duration = Duration::from_secs(30);

/// For a question with all its repetitions; the last one may end later by the time of one answer.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(12);

/// Before a question is repeated; doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// Longest that becomes.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What a question may be repeated for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It changes nothing.
    Reads,
    /// It changes something, and nothing more when it is repeated.
    Marked,
    /// It changes something each time: it is repeated only where it surely was not carried out.
    Once,
}

/// What Redis is asked.
pub(super) enum Question<'a> {
    Command(Cmd),
    /// All of it or nothing.
    Pipeline(Pipeline),
    Script(ScriptInvocation<'a>),
}

impl Question<'_> {
    async fn put<T: FromRedisValue>(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<T> {
        match self {
            Question::Command(command) => command.query_async(connection).await,
            Question::Pipeline(pipeline) => pipeline.query_async(connection).await,
            Question::Script(script) => script.invoke_async(connection).await,
        }
    }
}

/// One connection, open or not yet.
#[derive(Default)]
pub(super) struct Line {
    opened: OnceCell<MultiplexedConnection>,
    /// When something was answered last.
    heard: Mutex<Option<Instant>>,
}

impl Line {
    fn hear(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Puts a question; `None` where neither it nor anything before it is answered for this time.
    async fn put<T: FromRedisValue>(
        &self,
        question: &Question<'_>,
        connection: &mut MultiplexedConnection,
        answer_time: Duration,
    ) -> Option<RedisResult<T>> {
        let latest = Instant::now() + answer_time.max(LONGEST_ANSWER);
        let mut due = Instant::now() + answer_time;
        let mut putting = std::pin::pin!(question.put(connection));
        loop {
            if let Ok(answer) = timeout_at(due, &mut putting).await {
                self.hear();
                return Some(answer);
            }
            let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            let after = heard.map_or(due, |heard| heard + answer_time).min(latest);
            if after <= due {
                return None;
            }
            due = after;
        }
    }
}

/// Redis, whether or not it is there now.
pub(super) struct RedisConnection {
    client: Client,
    current: Mutex<Arc<Line>>,
}

impl std::fmt::Debug for RedisConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The client's address has the password.
        f.debug_struct("RedisConnection").finish_non_exhaustive()
    }
}

/// What an error says of the question.
enum RetryClass {
    /// Redis did not carry it out now, and may later.
    NotNow,
    /// Redis did not carry it out, and will not.
    Refused,
    /// It may have been carried out, and the answer makes no sense here: another one will not either.
    Nonsense,
    /// It may have been carried out; the connection is of no use any more.
    Broken,
}

fn retry_class(error: &RedisError) -> RetryClass {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, TryAgain};
    match error.kind() {
        ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | TryAgain) => RetryClass::NotNow,
        // A script of somebody else runs for long.
        ErrorKind::Extension if error.code() == Some("BUSY") => RetryClass::NotNow,
        ErrorKind::Server(_)
        | ErrorKind::Extension
        | ErrorKind::AuthenticationFailed
        | ErrorKind::InvalidClientConfig => RetryClass::Refused,
        ErrorKind::UnexpectedReturnType | ErrorKind::Parse => RetryClass::Nonsense,
        _ => RetryClass::Broken,
    }
}

impl RedisConnection {
    pub(super) fn new(client: Client) -> Self {
        Self { client, current: Mutex::default() }
    }

    /// The connection that is used now; another one once this is of no use any more.
    pub(super) fn current(&self) -> Arc<Line> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has another connection opened instead of this one.
    fn give_up(&self, line: &Arc<Line>) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&current, line) {
            *current = Arc::default();
        }
    }

    async fn open(&self, line: &Line) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None);
        let opening = || self.client.get_multiplexed_async_connection_with_config(&config);
        line.opened.get_or_try_init(opening).await.cloned()
    }

    /// Asks until there is an answer. `bytes` is about how many travel, in either direction.
    ///
    /// # Errors
    /// [`StoreError::Backend`] where nothing was changed, [`StoreError::Uncertain`] where that cannot be told.
    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        action: &'static str,
        repeat: Repeat,
        bytes: u64,
        question: Question<'_>,
    ) -> Result<T, StoreError> {
        self.ask_for(TIME_LIMIT, action, repeat, bytes, question).await
    }

    /// The same, with another time_limit.
    pub(super) async fn ask_for<T: FromRedisValue>(
        &self,
        time_limit: Duration,
        action: &'static str,
        repeat: Repeat,
        bytes: u64,
        question: Question<'_>,
    ) -> Result<T, StoreError> {
        let deadline = Instant::now() + time_limit;
        let answer_time = ANSWER.min(time_limit) + Duration::from_secs(bytes / RATE);
        let (mut pause, mut is_sent) = (FIRST_PAUSE, false);
        let failed = |is_sent, reason: String| match repeat {
            Repeat::Marked | Repeat::Once if is_sent => StoreError::Uncertain { action, reason },
            _ => StoreError::Backend { action, reason },
        };
        loop {
            let line = self.current();
            let reason = match timeout(CONNECT + ANSWER, self.open(&line)).await {
                Err(_) => "it cannot be connected to in time".to_owned(),
                Ok(Err(error)) if matches!(retry_class(&error), RetryClass::Refused) => {
                    return Err(failed(is_sent, shown(&error)));
                }
                Ok(Err(error)) => shown(&error),
                Ok(Ok(mut connection)) => {
                    match line.put(&question, &mut connection, answer_time).await {
                        Some(Ok(answer)) => return Ok(answer),
                        Some(Err(error)) => {
                            match retry_class(&error) {
                                RetryClass::NotNow => {}
                                RetryClass::Refused => return Err(failed(is_sent, shown(&error))),
                                RetryClass::Nonsense => {
                                    self.give_up(&line);
                                    return Err(failed(true, shown(&error)));
                                }
                                RetryClass::Broken => {
                                    self.give_up(&line);
                                    is_sent = true;
                                }
                            }
                            shown(&error)
                        }
                        None => {
                            self.give_up(&line);
                            is_sent = true;
                            format!("no answer for {} s", answer_time.as_secs_f32())
                        }
                    }
                }
            };
            let is_last = Instant::now() + pause >= deadline;
            if is_last || (is_sent && repeat == Repeat::Once) {
                return Err(failed(is_sent, reason));
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }
}

/// An error in the words of its cause.
fn shown(error: &RedisError) -> String {
    match error.kind() {
        ErrorKind::AuthenticationFailed => {
            "Redis does not take the name or password in its address".to_owned()
        }
        _ => format!("Redis: {error}"),
    }
}
