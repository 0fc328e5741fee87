//! Transfers of state values between page and relay. A read is a snapshot and a write is atomic, in as many requests as
//! they need.
//!
//! A relay below protocol version 5 keeps nothing between requests: there, a transfer of several requests is not
//! atomic.

use super::operations::{expect_done, reply_error};
use crate::error::{Code, FaasmError};
use crate::shared::Shared;
use faasm_bridge::state::Chunk;
use faasm_bridge::wire::{
    ChunkHeader, MAX_CHUNKS, Reply, Request, TRANSFER_BYTES, WHOLE_VALUES_SINCE,
};
use futures_util::future::LocalBoxFuture;
use std::rc::Rc;

/// The maximum attempts of a transfer. It restarts when the relay has dropped its buffers, because another relay has
/// acquired the session or too many transfers are in progress.
const ATTEMPTS: u32 = 8;

/// The size of a value, if it exists, and bytes of it.
type Read = (Option<u64>, Chunk);

/// Reads a range of a value, in as many requests as needed; without a length, to the end.
///
/// Returns the value's size, if it exists.
pub(crate) fn read_state<'a>(
    shared: &'a Shared,
    key: &'a str,
    offset: u64,
    length: Option<u64>,
) -> LocalBoxFuture<'a, Result<Read, FaasmError>> {
    Box::pin(async move {
        for _ in 0..ATTEMPTS {
            if let Some(read) = read_once(shared, key, offset, length).await? {
                return Ok(read);
            }
        }
        Err(transfer_failed("reading", key))
    })
}

/// Returns `None` if the relay has dropped the snapshot.
async fn read_once(
    shared: &Shared,
    key: &str,
    offset: u64,
    length: Option<u64>,
) -> Result<Option<Read>, FaasmError> {
    let number = is_buffered(shared, key).then(|| shared.connection.next_transfer());
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        let have = bytes.len() as u64;
        let (at, left) = (offset + have, length.map(|length| length - have));
        let request = match number {
            Some(read) if have > 0 => Request::ReadOn { read, offset: at },
            Some(read) => Request::ReadWhole { key: key.to_owned(), offset, length, read },
            None => Request::ReadState { key: key.to_owned(), offset: at, length: left },
        };
        let (size, part) = match shared.request(request, &[]).await? {
            (Reply::State { size, .. }, part) => (size, part),
            (Reply::Missing, _) => return Ok(None),
            (reply, _) => return Err(reply_error(reply)),
        };
        let end = |size: u64| length.map_or(size, |length| size.min(offset.saturating_add(length)));
        let last = part.is_empty();
        match bytes.is_empty() {
            // All of a short value, as it came.
            true => bytes = part,
            false => bytes.extend(part),
        }
        if last || size.is_none_or(|size| offset + bytes.len() as u64 >= end(size)) {
            return Ok(Some((size, Chunk { offset, bytes: bytes.into() })));
        }
    }
}

/// Writes chunks atomically.
pub(crate) async fn write_state(
    shared: &Rc<Shared>,
    key: &str,
    size: u64,
    chunks: Vec<Chunk>,
) -> Result<(), FaasmError> {
    let _pushing = shared.pins.pushing(shared, key);
    // A page-only write is not sent, so it is not split.
    let mut parts = match shared.is_page_only(key) {
        true => vec![Part::of(&chunks)],
        false => transfers(&chunks),
    };
    drop(chunks);
    if parts.len() == 1 || !is_buffered(shared, key) {
        for Part { headers: chunks, payload } in parts {
            let request = Request::WriteState { key: key.to_owned(), size, chunks };
            expect_done(shared.request(request, &payload).await)?;
        }
        return Ok(());
    }
    let last = parts.pop().unwrap_or_default();
    for _ in 0..ATTEMPTS {
        let (write, mut count) = (shared.connection.next_transfer(), 0);
        for Part { headers, payload } in &parts {
            let request = Request::Stage { write, part: count, chunks: headers.clone() };
            expect_done(shared.request(request, payload).await)?;
            count += 1;
        }
        let (key, chunks) = (key.to_owned(), last.headers.clone());
        let request = Request::WriteStaged { key, size, write, parts: count, chunks };
        match shared.request(request, &last.payload).await {
            Ok((Reply::Missing, _)) => {}
            answer => return expect_done(answer),
        }
    }
    Err(transfer_failed("writing", key))
}

/// Whether the relay buffers transfers of several requests.
fn is_buffered(shared: &Shared, key: &str) -> bool {
    !shared.is_page_only(key) && shared.connection.speaks(WHOLE_VALUES_SINCE)
}

fn transfer_failed(what: &str, key: &str) -> FaasmError {
    let message = format!(
        "{what} `{key}` failed {ATTEMPTS} times, since the relay dropped the transfer: too much state is transferred at once, or the connection is too slow for this value's size; try again later"
    );
    FaasmError::new(Code::OperationFailed, message)
}

/// The chunks of one request.
#[derive(Default)]
struct Part {
    headers: Vec<ChunkHeader>,
    payload: Vec<u8>,
}

impl Part {
    fn of(chunks: &[Chunk]) -> Self {
        let mut part = Self::default();
        chunks.iter().for_each(|chunk| part.add(chunk.offset, &chunk.bytes));
        part
    }

    fn add(&mut self, offset: u64, bytes: &[u8]) {
        self.headers.push(ChunkHeader { offset, length: bytes.len() as u64 });
        self.payload.extend_from_slice(bytes);
    }
}

/// Splits chunks into requests of at most [`TRANSFER_BYTES`] and [`MAX_CHUNKS`].
fn transfers(chunks: &[Chunk]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut part = Part::default();
    for Chunk { offset, bytes } in chunks {
        let (mut offset, mut rest) = (*offset, &bytes[..]);
        while !rest.is_empty() {
            let capacity = TRANSFER_BYTES as usize - part.payload.len();
            if capacity == 0 || part.headers.len() == MAX_CHUNKS {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            let (now, later) = rest.split_at(rest.len().min(capacity));
            part.add(offset, now);
            offset += now.len() as u64;
            rest = later;
        }
    }
    parts.push(part);
    parts
}
