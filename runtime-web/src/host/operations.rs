//! What is done while a function is suspended.

use super::Bindings;
use super::browser::now;
use crate::connection::Answer;
use crate::error::{Code, FaasmError};
use crate::global::{performance_now, sleep};
use crate::shared::Shared;
use faasm_bridge::guest::{Completion, Operation};
use faasm_bridge::state::Chunk;
use faasm_bridge::wire::{ChunkHeader, FailureCode, MAX_CHUNKS, Reply, Request, TRANSFER_BYTES};
use futures_util::future::LocalBoxFuture;
use std::future::poll_fn;
use std::rc::Rc;

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
                // `start_call` kept the reason.
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
                take_done(self.shared.ask(request, &bytes).await)?;
                self.pushed(&key, bytes.len() as u64);
                Ok(Completion::Done)
            }
            Operation::ReadAppended { key, count } => {
                let request = Request::ReadAppended { key: key.clone(), count };
                let bytes = take_bytes(self.shared.ask(request, &[]).await)?;
                self.pulled(&key, bytes.as_ref().map_or(0, Vec::len) as u64);
                Ok(read(bytes))
            }
            Operation::ClearAppended { key } => {
                let request = Request::ClearAppended { key };
                take_done(self.shared.ask(request, &[]).await)?;
                Ok(Completion::Done)
            }
            Operation::ReadFile { path } => {
                take_bytes(self.shared.ask(Request::ReadFile { path }, &[]).await).map(read)
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

    /// Tells that bytes came from the cluster, if they did.
    fn pulled(&self, key: &str, bytes: u64) -> bool {
        let is_sent = !self.shared.is_page_only(key);
        if is_sent {
            self.listeners.pulled(key, bytes);
        }
        is_sent
    }

    /// Tells that bytes went to the cluster, if they did.
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

/// Reads as many bytes as were asked for, in as many requests as that takes.
///
/// The size is that of the value, if there is one.
pub(crate) fn read_state<'a>(
    shared: &'a Shared,
    key: &'a str,
    offset: u64,
    length: Option<u64>,
) -> LocalBoxFuture<'a, Result<(Option<u64>, Chunk), FaasmError>> {
    Box::pin(async move {
        let mut chunk = Chunk { offset, bytes: Vec::new() };
        loop {
            let have = chunk.bytes.len() as u64;
            let request = Request::ReadState {
                key: key.to_owned(),
                offset: offset + have,
                length: length.map(|length| length - have),
            };
            let (size, part) = match shared.ask(request, &[]).await? {
                (Reply::State { size, .. }, part) => (size, part),
                (reply, _) => return Err(unexpected(reply)),
            };
            let end =
                |size: u64| length.map_or(size, |length| size.min(offset.saturating_add(length)));
            let last = part.is_empty();
            chunk.bytes.extend(part);
            if last || size.is_none_or(|size| chunk.range().end >= end(size)) {
                return Ok((size, chunk));
            }
        }
    })
}

/// Writes chunks in as many requests as that takes; each of them is all or nothing.
pub(crate) async fn write_state(
    shared: &Rc<Shared>,
    key: &str,
    size: u64,
    chunks: Vec<Chunk>,
) -> Result<(), FaasmError> {
    let _pushing = shared.pins.pushing(shared, key);
    for part in transfers(chunks) {
        let headers = part
            .iter()
            .map(|chunk| ChunkHeader { offset: chunk.offset, length: chunk.bytes.len() as u64 });
        let chunks = headers.collect();
        let request = Request::WriteState { key: key.to_owned(), size, chunks };
        let payload: Vec<u8> = part.into_iter().flat_map(|chunk| chunk.bytes).collect();
        take_done(shared.ask(request, &payload).await)?;
    }
    Ok(())
}

/// Chunks in groups that fit one request each, long ones cut.
fn transfers(chunks: Vec<Chunk>) -> Vec<Vec<Chunk>> {
    let mut transfers = vec![Vec::new()];
    let mut room = TRANSFER_BYTES as usize;
    for Chunk { mut offset, bytes } in chunks {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let last = transfers.last().map_or(0, Vec::len);
            if room == 0 || last == MAX_CHUNKS {
                transfers.push(Vec::new());
                room = TRANSFER_BYTES as usize;
            }
            let (now, later) = rest.split_at(rest.len().min(room));
            let chunk = Chunk { offset, bytes: now.to_vec() };
            if let Some(transfer) = transfers.last_mut() {
                transfer.push(chunk);
            }
            offset += now.len() as u64;
            room -= now.len();
            rest = later;
        }
    }
    transfers
}

/// The reply to something that just has to be done.
pub(crate) fn take_done(answer: Answer) -> Result<(), FaasmError> {
    match answer? {
        (Reply::Done, _) => Ok(()),
        (reply, _) => Err(unexpected(reply)),
    }
}

/// The reply to something that reads; none where it does not exist.
pub(crate) fn take_bytes(answer: Answer) -> Result<Option<Vec<u8>>, FaasmError> {
    match answer? {
        (Reply::Bytes, bytes) => Ok(Some(bytes)),
        (Reply::Missing, _) => Ok(None),
        (reply, _) => Err(unexpected(reply)),
    }
}

pub(crate) fn unexpected(reply: Reply) -> FaasmError {
    match reply {
        Reply::Failed { code: FailureCode::Unknown, message } => {
            FaasmError::new(Code::OutcomeUnknown, message)
        }
        Reply::Failed { code: FailureCode::Unauthorised, message } => {
            FaasmError::new(Code::Refused, message)
        }
        Reply::Failed { message, .. } => FaasmError::new(Code::OperationFailed, message),
        _ => FaasmError::new(Code::OperationFailed, "the relay's reply does not fit the request"),
    }
}
