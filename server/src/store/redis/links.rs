//! The connections to Redis: one for short requests, and a pool for long transfers.
//!
//! Redis answers in order over one connection, so a short request behind a long answer would wait for all of it, and
//! run into its time limit. Each long transfer has its own connection while it lasts.

use super::link::{Question, RedisConnection, Repeat, TIME_LIMIT};
use crate::store::StoreError;
use redis::{Client, FromRedisValue};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Maximum transfer of a request over the connection for short ones, bytes.
const SHORT_BYTES: u64 = 16 * 1024;

/// Maximum number of connections for long transfers.
const MAX_TRANSFERS: usize = 16;

/// All connections to one Redis.
#[derive(Debug)]
pub(super) struct Links {
    client: Client,
    short: RedisConnection,
    idle: Mutex<Vec<RedisConnection>>,
    turns: Semaphore,
}

/// A connection for one long transfer; dropping it closes it unless [`Transfer::done`] returned it to the pool.
pub(super) struct Transfer<'a> {
    links: &'a Links,
    link: RedisConnection,
    _turn: SemaphorePermit<'a>,
}

impl Links {
    pub(super) fn new(client: Client) -> Self {
        let short = RedisConnection::new(client.clone());
        Self { client, short, idle: Mutex::default(), turns: Semaphore::new(MAX_TRANSFERS) }
    }

    /// As [`RedisConnection::ask`], over the connection that suits this many bytes.
    ///
    /// # Errors
    /// As [`RedisConnection::ask`].
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
        if bytes <= SHORT_BYTES {
            return self.short.ask_for(time_limit, action, repeat, bytes, question).await;
        }
        let transfer = self.transfer(time_limit, action).await?;
        let answer = transfer.link().ask_for(time_limit, action, repeat, bytes, question).await?;
        transfer.done();
        Ok(answer)
    }

    /// A connection for one long transfer, once one is available.
    ///
    /// # Errors
    /// When all of them stay in use for longer than `time_limit`.
    pub(super) async fn transfer(
        &self,
        time_limit: Duration,
        action: &'static str,
    ) -> Result<Transfer<'_>, StoreError> {
        let turn = tokio::time::timeout(time_limit, self.turns.acquire()).await;
        let Ok(Ok(turn)) = turn else {
            let reason = format!("{MAX_TRANSFERS} other transfers are under way; try again later");
            return Err(StoreError::Backend { action, reason });
        };
        let link = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let link = link.unwrap_or_else(|| RedisConnection::new(self.client.clone()));
        Ok(Transfer { links: self, link, _turn: turn })
    }
}

impl Transfer<'_> {
    pub(super) fn link(&self) -> &RedisConnection {
        &self.link
    }

    /// Returns the connection, which is idle, to the pool.
    pub(super) fn done(self) {
        self.links.idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.link);
    }
}
