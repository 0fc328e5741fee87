//! The connection to Redis: it reconnects, and repeats requests that are safe to repeat.
//!
//! Redis answers in order over one connection, so earlier answers may delay later ones: a connection counts as broken
//! if no answer at all arrives for some time. After any failure an unanswered request may have been executed, so the
//! caller states whether it may be repeated ([`Repeat`]).

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

/// Time limit for opening a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// Time limit between two answers, plus a second for each [`RATE`] bytes transferred.
const ANSWER: Duration = Duration::from_secs(4);

/// Minimum throughput of a working connection, bytes a second.
const RATE: u64 = 2 * 1024 * 1024;

/// Time limit for one answer, including the answers ahead of it, in addition to its transfer time.
const LONGEST_ANSWER: Duration = Duration::from_secs(30);

/// Time limit for a request with all its repetitions; the last repetition may exceed it by the time limit of one
/// answer.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(12);

/// Delay before the first repetition; doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// Upper bound of the delay.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// When a request may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It changes nothing.
    Reads,
    /// It is idempotent.
    Marked,
    /// It is not idempotent: it is repeated only if it was certainly not executed.
    Once,
}

/// A request to Redis.
pub(super) enum Question<'a> {
    Command(Cmd),
    /// A transaction.
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
    /// Time of the last answer.
    heard: Mutex<Option<Instant>>,
}

impl Line {
    fn hear(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Sends a request; `None` if the connection delivers no answer at all within the time limit.
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

/// A Redis, connected or not.
pub(super) struct RedisConnection {
    client: Client,
    current: Mutex<Arc<Line>>,
}

impl std::fmt::Debug for RedisConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // `Debug` of the client would print the address, which contains the password.
        f.debug_struct("RedisConnection").finish_non_exhaustive()
    }
}

/// Whether a request that failed may have been executed.
enum RetryClass {
    /// Redis did not execute it now, and may later.
    NotNow,
    /// Redis did not execute it, and will not.
    Refused,
    /// It may have been executed, and the answer is malformed; a repetition would not help.
    Nonsense,
    /// It may have been executed; the connection is unusable.
    Broken,
}

fn retry_class(error: &RedisError) -> RetryClass {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, TryAgain};
    match error.kind() {
        ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | TryAgain) => RetryClass::NotNow,
        // Another client's script runs for long.
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

    /// The current connection; replaced when it becomes unusable.
    pub(super) fn current(&self) -> Arc<Line> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes the next request open a new connection instead of this one.
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

    /// Sends a request, and repeats it as allowed until it is answered. `bytes` approximates the transfer in both
    /// directions.
    ///
    /// # Errors
    /// [`StoreError::Backend`] if nothing was changed, [`StoreError::Uncertain`] if that is unknown.
    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        action: &'static str,
        repeat: Repeat,
        bytes: u64,
        question: Question<'_>,
    ) -> Result<T, StoreError> {
        self.ask_for(TIME_LIMIT, action, repeat, bytes, question).await
    }

    /// As [`Self::ask`], with another time limit.
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
                Err(_) => "the connection was not established in time".to_owned(),
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

/// The innermost cause of an error, as text.
fn shown(error: &RedisError) -> String {
    match error.kind() {
        ErrorKind::AuthenticationFailed => {
            "Redis rejects the user name or password in its address".to_owned()
        }
        _ => format!("Redis: {error}"),
    }
}
