//! Performs operations while a function is suspended.

use super::Bindings;
use super::browser::now;
use super::transfers::{read_state, write_state};
use crate::connection::Answer;
use crate::error::{Code, FaasmError};
use crate::global::{performance_now, sleep};
use faasm_bridge::guest::{Completion, Operation};
use faasm_bridge::state::Chunk;
use faasm_bridge::wire::{FailureCode, Reply, Request};
use std::future::poll_fn;

const NANOSECONDS_PER_MILLISECOND: f64 = 1e6;

impl Bindings {
    pub(super) async fn perform(&self, operation: Operation) -> Result<Completion, FaasmError> {
        let connection = &self.shared.connection;
        match operation {
            Operation::Sleep(wanted) => {
                while let Some(left) = wanted.left(now) {
                    sleep(left as f64 / NANOSECONDS_PER_MILLISECOND).await;
                }
                Ok(Completion::Done)
            }
            Operation::AwaitLock(ticket) => {
                poll_fn(|cx| self.shared.tier.with(|tier| tier.poll_lock(ticket, cx))).await;
                Ok(Completion::Done)
            }
            Operation::AwaitCall(id) => match self.calls.take(id) {
                Some(finished) => {
                    let ended = finished.await.unwrap_or_else(|_| Err(not_started()))?;
                    Ok(Completion::Call(ended.result))
                }
                // `start_call` has recorded the reason.
                None => Err(self.take_failure().unwrap_or_else(not_started)),
            },
            Operation::LockGlobal { key } => self.locks.take(connection, key).await,
            Operation::UnlockGlobal { key } => self.locks.release(connection, &key).await,
            Operation::WriteState { key, .. } | Operation::ExchangeState { key, .. }
                if self.locks.has_lost(connection, &key) =>
            {
                Ok(Completion::Missing)
            }
            Operation::ReadState { key, offset, length } => self.pull(&key, offset, length).await,
            Operation::WriteState { key, size, chunks } => {
                self.push(&key, size, chunks).await?;
                Ok(Completion::Done)
            }
            Operation::ExchangeState { key, size, chunks } => {
                self.push(&key, size, chunks).await?;
                self.pull(&key, 0, None).await
            }
            Operation::AppendState { key, bytes } => {
                let request = Request::AppendState { key: key.clone() };
                expect_done(self.shared.request(request, &bytes).await)?;
                self.pushed(&key, bytes.len() as u64);
                Ok(Completion::Done)
            }
            Operation::ReadAppended { key, count } => {
                let request = Request::ReadAppended { key: key.clone(), count };
                let bytes = expect_bytes(self.shared.request(request, &[]).await)?;
                self.pulled(&key, bytes.as_ref().map_or(0, Vec::len) as u64);
                Ok(read(bytes))
            }
            Operation::ClearAppended { key } => {
                let request = Request::ClearAppended { key };
                expect_done(self.shared.request(request, &[]).await)?;
                Ok(Completion::Done)
            }
            Operation::ReadFile { path } => {
                expect_bytes(self.shared.request(Request::ReadFile { path }, &[]).await).map(read)
            }
        }
    }

    async fn pull(
        &self,
        key: &str,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Completion, FaasmError> {
        let began = performance_now();
        let (size, chunk) = read_state(&self.shared, key, offset, length).await?;
        if self.pulled(key, chunk.bytes.len() as u64) {
            self.shared.chains.answered(performance_now() - began, chunk.bytes.len() as u64);
        }
        Ok(Completion::State { size, chunk })
    }

    async fn push(&self, key: &str, size: u64, chunks: Vec<Chunk>) -> Result<(), FaasmError> {
        let bytes = chunks.iter().map(|chunk| chunk.bytes.len() as u64).sum();
        write_state(&self.shared, key, size, chunks).await?;
        if self.pushed(key, bytes) {
            self.shared.tier.with(|tier| tier.pushed(key));
        }
        Ok(())
    }

    /// Notifies the listener of bytes from the cluster; returns false for a page-only key.
    fn pulled(&self, key: &str, bytes: u64) -> bool {
        let is_sent = !self.shared.is_page_only(key);
        if is_sent {
            self.listeners.pulled(key, bytes);
        }
        is_sent
    }

    /// Notifies the listener of bytes to the cluster; returns false for a page-only key.
    fn pushed(&self, key: &str, bytes: u64) -> bool {
        let is_sent = !self.shared.is_page_only(key);
        if is_sent {
            self.listeners.pushed(key, bytes);
        }
        is_sent
    }
}

fn read(bytes: Option<Vec<u8>>) -> Completion {
    bytes.map_or(Completion::Missing, Completion::Bytes)
}

fn not_started() -> FaasmError {
    FaasmError::new(Code::Internal, "a call was not started")
}

/// Expects `Reply::Done`.
pub(crate) fn expect_done(answer: Answer) -> Result<(), FaasmError> {
    match answer? {
        (Reply::Done, _) => Ok(()),
        (reply, _) => Err(reply_error(reply)),
    }
}

/// Expects the reply to a read; `None` if the value does not exist.
pub(crate) fn expect_bytes(answer: Answer) -> Result<Option<Vec<u8>>, FaasmError> {
    match answer? {
        (Reply::Bytes, bytes) => Ok(Some(bytes)),
        (Reply::Missing, _) => Ok(None),
        (reply, _) => Err(reply_error(reply)),
    }
}

pub(crate) fn reply_error(reply: Reply) -> FaasmError {
    match reply {
        Reply::Failed { code: FailureCode::Unknown, message } => {
            FaasmError::new(Code::OutcomeUnknown, message)
        }
        Reply::Failed { code: FailureCode::Unauthorised, message } => {
            FaasmError::new(Code::Refused, message)
        }
        Reply::Failed { code: FailureCode::OverBudget, message } => {
            FaasmError::new(Code::OverBudget, message)
        }
        Reply::Failed { message, .. } => FaasmError::new(Code::OperationFailed, message),
        _ => FaasmError::new(Code::OperationFailed, "the relay's reply does not fit the request"),
    }
}
