//! What is done while a function is suspended.

use super::Bindings;
use crate::connection::{Answer, Connection};
use crate::error::{Code, FaasmError};
use crate::global::sleep;
use faasm_bridge::guest::{CallResult, Completion, Operation};
use faasm_bridge::state::Chunk;
use faasm_bridge::wire::{ChunkHeader, FailureCode, MAX_CHUNKS, Reply, Request, TRANSFER_BYTES};
use std::future::poll_fn;
use std::rc::Rc;

const NANOSECONDS_PER_MILLISECOND: f64 = 1e6;

impl Bindings {
    pub(super) async fn perform(&self, operation: Operation) -> Result<Completion, FaasmError> {
        let connection = &self.connection;
        match operation {
            Operation::Sleep { nanoseconds } => {
                sleep(nanoseconds as f64 / NANOSECONDS_PER_MILLISECOND).await;
                Ok(Completion::Done)
            }
            Operation::AwaitLock(ticket) => {
                poll_fn(|cx| self.tier.borrow_mut().poll_lock(ticket, cx)).await;
                Ok(Completion::Done)
            }
            Operation::AwaitCall(id) => {
                let waiting = self.calls.borrow_mut().remove(&id);
                match waiting {
                    Some(waiting) => call_result(waiting.answer().await).map(Completion::Call),
                    // It could not even be started; `start_call` kept the reason.
                    None => Err(self.take_failure().unwrap_or_else(|| {
                        FaasmError::new(Code::Fault("internal"), "a call was not started")
                    })),
                }
            }
            Operation::ReadState { key, offset, length } => {
                read_state(connection, &key, offset, length).await
            }
            Operation::WriteState { key, size, chunks } => {
                write_state(connection, &key, size, chunks).await?;
                Ok(Completion::Done)
            }
            Operation::ExchangeState { key, size, chunks } => {
                write_state(connection, &key, size, chunks).await?;
                read_state(connection, &key, 0, None).await
            }
            Operation::AppendState { key, bytes } => {
                let request = Request::AppendState { key };
                done(connection.request(request, &bytes)?.answer().await)
            }
            Operation::ReadAppended { key, count } => {
                let request = Request::ReadAppended { key, count };
                bytes(connection.request(request, &[])?.answer().await)
            }
            Operation::ClearAppended { key } => {
                let request = Request::ClearAppended { key };
                done(connection.request(request, &[])?.answer().await)
            }
            Operation::ReadFile { path } => {
                bytes(connection.request(Request::ReadFile { path }, &[])?.answer().await)
            }
        }
    }
}

/// Reads as many bytes as were asked for, in as many requests as that takes.
async fn read_state(
    connection: &Rc<Connection>,
    key: &str,
    offset: u64,
    length: Option<u64>,
) -> Result<Completion, FaasmError> {
    let mut chunk = Chunk { offset, bytes: Vec::new() };
    loop {
        let have = chunk.bytes.len() as u64;
        let request = Request::ReadState {
            key: key.to_owned(),
            offset: offset + have,
            length: length.map(|length| length - have),
        };
        let (size, part) = match connection.request(request, &[])?.answer().await? {
            (Reply::State { size, .. }, part) => (size, part),
            (reply, _) => return Err(unexpected(reply)),
        };
        let end = |size: u64| length.map_or(size, |length| size.min(offset.saturating_add(length)));
        let last = part.is_empty();
        chunk.bytes.extend(part);
        if last || size.is_none_or(|size| chunk.range().end >= end(size)) {
            return Ok(Completion::State { size, chunk });
        }
    }
}

/// Writes chunks in as many requests as that takes; each of them is all or nothing.
async fn write_state(
    connection: &Rc<Connection>,
    key: &str,
    size: u64,
    chunks: Vec<Chunk>,
) -> Result<(), FaasmError> {
    for part in transfers(chunks) {
        let headers = part
            .iter()
            .map(|chunk| ChunkHeader { offset: chunk.offset, length: chunk.bytes.len() as u64 });
        let chunks = headers.collect();
        let request = Request::WriteState { key: key.to_owned(), size, chunks };
        let payload: Vec<u8> = part.into_iter().flat_map(|chunk| chunk.bytes).collect();
        done(connection.request(request, &payload)?.answer().await)?;
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

fn done(answer: Answer) -> Result<Completion, FaasmError> {
    match answer? {
        (Reply::Done, _) => Ok(Completion::Done),
        (reply, _) => Err(unexpected(reply)),
    }
}

fn bytes(answer: Answer) -> Result<Completion, FaasmError> {
    match answer? {
        (Reply::Bytes, bytes) => Ok(Completion::Bytes(bytes)),
        (Reply::Missing, _) => Ok(Completion::Missing),
        (reply, _) => Err(unexpected(reply)),
    }
}

/// How a chained call ended, for the guest. A call the cluster refused is one that failed; a call of which nothing is
/// known ends the run.
fn call_result(answer: Answer) -> Result<CallResult, FaasmError> {
    match answer? {
        (Reply::Call { return_value }, output) => Ok(CallResult { return_value, output }),
        (Reply::CallFailed { .. }, reason) => Ok(CallResult { return_value: 1, output: reason }),
        (Reply::Failed { code: FailureCode::BadRequest | FailureCode::Cancelled, message }, _) => {
            Ok(CallResult { return_value: 1, output: message.into_bytes() })
        }
        (reply, _) => Err(unexpected(reply)),
    }
}

pub(crate) fn unexpected(reply: Reply) -> FaasmError {
    match reply {
        Reply::Failed { message, .. } => FaasmError::new(Code::Fault("operation-failed"), message),
        _ => FaasmError::new(
            Code::Fault("operation-failed"),
            "the relay's reply does not fit the request",
        ),
    }
}
