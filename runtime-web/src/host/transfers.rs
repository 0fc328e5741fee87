//! State values between page and relay: all of a value as it was at one moment, and all of a write at once, in as many requests as
//! that takes.
//!
//! A relay that speaks less than version 5 of the protocol keeps nothing between requests: a longer value comes and goes in parts then.

use super::operations::{take_done, unexpected};
use crate::error::{Code, FaasmError};
use crate::shared::Shared;
use faasm_bridge::state::Chunk;
use faasm_bridge::wire::{
    ChunkHeader, MAX_CHUNKS, Reply, Request, TRANSFER_BYTES, WHOLE_VALUES_SINCE,
};
use futures_util::future::LocalBoxFuture;
use std::rc::Rc;

/// How often a transfer is begun: again where the relay has not kept what it needs to go on, since another relay has the session now,
/// or too many transfers are under way there.
const ATTEMPTS: u32 = 8;

/// The size of a value, if there is one, and bytes of it.
type Read = (Option<u64>, Chunk);

/// Reads as many bytes as were asked for, in as many requests as that takes.
///
/// The size is that of the value, if there is one.
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
        Err(given_up("reading", key))
    })
}

/// `None` where the relay does not keep the value any more.
async fn read_once(
    shared: &Shared,
    key: &str,
    offset: u64,
    length: Option<u64>,
) -> Result<Option<Read>, FaasmError> {
    let number = keeps(shared, key).then(|| shared.connection.next_transfer());
    let mut chunk = Chunk { offset, bytes: Vec::new() };
    loop {
        let have = chunk.bytes.len() as u64;
        let (at, left) = (offset + have, length.map(|length| length - have));
        let request = match number {
            Some(read) if have > 0 => Request::ReadOn { read, offset: at },
            Some(read) => Request::ReadWhole { key: key.to_owned(), offset, length, read },
            None => Request::ReadState { key: key.to_owned(), offset: at, length: left },
        };
        let (size, part) = match shared.ask(request, &[]).await? {
            (Reply::State { size, .. }, part) => (size, part),
            (Reply::Missing, _) => return Ok(None),
            (reply, _) => return Err(unexpected(reply)),
        };
        let end = |size: u64| length.map_or(size, |length| size.min(offset.saturating_add(length)));
        let last = part.is_empty();
        chunk.bytes.extend(part);
        if last || size.is_none_or(|size| chunk.range().end >= end(size)) {
            return Ok(Some((size, chunk)));
        }
    }
}

/// Writes chunks, all or none.
pub(crate) async fn write_state(
    shared: &Rc<Shared>,
    key: &str,
    size: u64,
    chunks: Vec<Chunk>,
) -> Result<(), FaasmError> {
    let _pushing = shared.pins.pushing(shared, key);
    // What does not go over the wire is not cut.
    let mut parts = match shared.is_page_only(key) {
        true => vec![Part::of(&chunks)],
        false => transfers(&chunks),
    };
    drop(chunks);
    if parts.len() == 1 || !keeps(shared, key) {
        for Part { headers: chunks, payload } in parts {
            let request = Request::WriteState { key: key.to_owned(), size, chunks };
            take_done(shared.ask(request, &payload).await)?;
        }
        return Ok(());
    }
    let last = parts.pop().unwrap_or_default();
    for _ in 0..ATTEMPTS {
        let (write, mut count) = (shared.connection.next_transfer(), 0);
        for Part { headers, payload } in &parts {
            let request = Request::Stage { write, part: count, chunks: headers.clone() };
            take_done(shared.ask(request, payload).await)?;
            count += 1;
        }
        let (key, chunks) = (key.to_owned(), last.headers.clone());
        let request = Request::WriteStaged { key, size, write, parts: count, chunks };
        match shared.ask(request, &last.payload).await {
            Ok((Reply::Missing, _)) => {}
            answer => return take_done(answer),
        }
    }
    Err(given_up("writing", key))
}

/// Whether the relay keeps what is on its way.
fn keeps(shared: &Shared, key: &str) -> bool {
    !shared.is_page_only(key) && shared.connection.speaks(WHOLE_VALUES_SINCE)
}

fn given_up(what: &str, key: &str) -> FaasmError {
    let message = format!(
        "{what} `{key}` took longer than the relay keeps what is on its way, {ATTEMPTS} times: too much state is transferred at once, or the connection is too slow for a value of this size; try again later"
    );
    FaasmError::new(Code::OperationFailed, message)
}

/// Chunks of one request.
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

/// Chunks in groups that fit one request each, long ones cut.
fn transfers(chunks: &[Chunk]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut part = Part::default();
    for Chunk { offset, bytes } in chunks {
        let (mut offset, mut rest) = (*offset, bytes.as_slice());
        while !rest.is_empty() {
            let room = TRANSFER_BYTES as usize - part.payload.len();
            if room == 0 || part.headers.len() == MAX_CHUNKS {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            let (now, later) = rest.split_at(rest.len().min(room));
            part.add(offset, now);
            offset += now.len() as u64;
            rest = later;
        }
    }
    parts.push(part);
    parts
}
