//! A connection over plain HTTP: the page posts batches of frames, and requests bodies that carry the relay's frames.
//!
//! Each side keeps its own order: batches are numbered, and a page that requests frames states how many have arrived.
//! On a mismatch something was lost on the way; the page then reconnects and resumes its session.

use super::progress::Seen;
use super::{Attachment, Sessions, handshake, lock, requests};
use crate::budget::{Account, Charge, Kind};
use crate::config::{App, Timings};
use bytes::Bytes;
use faasm_bridge::session::SessionError;
use faasm_bridge::wire::{
    BatchHeader, ConnectionId, FrameReader, WireError, append_beginning, append_frame,
    append_parts, encode_handshake,
};
use futures_util::stream::{Stream, unfold};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;

/// Maximum piece handed to HTTP at once; small frames are combined up to this size.
const PIECE_BYTES: usize = 64 * 1024;

/// A page's connection, which spans many HTTP requests.
#[derive(Debug)]
pub(crate) struct FetchConnection {
    id: ConnectionId,
    attachment: Attachment,
    /// Number of batches received.
    batches: Mutex<u64>,
    /// Number of frames written to bodies.
    frames: AtomicU64,
    /// Number of the current body; earlier ones end.
    body: watch::Sender<u64>,
    /// When the page last showed that it is alive.
    seen: Seen,
    stop: watch::Receiver<bool>,
}

/// When a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DownlinkMode {
    /// After half of `timings.silence`.
    Stream,
    /// As soon as it has carried frames, for networks that buffer a response until it is complete.
    Poll,
}

/// Why a request of a connection is rejected.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    #[error("this connection does not exist any more: connect again")]
    Gone,
    #[error("the relay expected number {expected}, and the page sent {given}: connect again")]
    OutOfStep { expected: u64, given: u64 },
    #[error("the last frame is truncated")]
    CutOff,
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl From<WireError> for FetchError {
    fn from(error: WireError) -> Self {
        SessionError::from(error).into()
    }
}

/// Performs the handshake. The response batch has the answer and, unless it is a refusal, the connection's id.
///
/// # Errors
/// When the answer cannot be encoded, or the system provides no random bytes.
pub(crate) async fn begin(
    frame: &[u8],
    sessions: &Arc<Sessions>,
    timings: &Timings,
    stop: watch::Receiver<bool>,
) -> std::io::Result<Vec<u8>> {
    let (answer, attachment) = handshake::enter(frame, sessions, timings).await;
    let mut batch = Vec::new();
    append_frame(&mut batch, &encode_handshake(&answer).map_err(std::io::Error::other)?);
    if let Some(attachment) = attachment {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(std::io::Error::other)?;
        append_frame(&mut batch, &id);
        let connection = Arc::new(FetchConnection {
            id: ConnectionId(id),
            attachment,
            batches: Mutex::new(0),
            frames: AtomicU64::new(0),
            body: watch::Sender::new(0),
            seen: Seen::now(),
            stop,
        });
        lock(&sessions.fetching).insert(connection.id, Arc::clone(&connection));
        tokio::spawn(async move { connection.keep().await });
    }
    Ok(batch)
}

impl Sessions {
    /// The connection named by a request.
    pub(crate) fn fetching(&self, id: ConnectionId) -> Result<Arc<FetchConnection>, FetchError> {
        let connection = lock(&self.fetching).get(&id).map(Arc::clone).ok_or(FetchError::Gone)?;
        connection.seen.see();
        Ok(connection)
    }
}

impl FetchConnection {
    /// The account of the session's user.
    pub(crate) fn account(&self) -> &Account {
        &self.attachment.session.account
    }

    /// Processes a batch of frames. A duplicate is ignored: browsers repeat requests on their own.
    pub(crate) fn take(
        &self,
        header: BatchHeader,
        batch: &[u8],
        app: &App,
    ) -> Result<(), FetchError> {
        self.seen.see();
        let mut reader = FrameReader::default();
        let frames = reader.push(batch)?;
        if !reader.is_at_boundary() {
            return Err(FetchError::CutOff);
        }
        let mut batches = lock(&self.batches);
        match header.seq {
            given if given < *batches => return Ok(()),
            given if given > *batches => {
                return Err(FetchError::OutOfStep { expected: *batches, given });
            }
            _ => {}
        }
        let mut live = self.attachment.live().ok_or(FetchError::Gone)?;
        for frame in frames {
            if let Err(error) =
                requests::take(&self.attachment.session, &mut live, &frame.into(), app)
            {
                drop(live);
                self.end(true);
                return Err(error.into());
            }
        }
        *batches += 1;
        Ok(())
    }

    /// A body that carries frames until another one replaces it, the connection ends, or its time is over: the page
    /// then requests the next one, which shows that the page is alive.
    pub(crate) fn body(
        self: Arc<Self>,
        header: BatchHeader,
        mode: DownlinkMode,
    ) -> Result<impl Stream<Item = Bytes> + Send + 'static, FetchError> {
        // Under the lock under which frames are taken, so that no earlier body takes one in between.
        let live = self.attachment.live().ok_or(FetchError::Gone)?;
        let expected = self.frames.load(Ordering::Relaxed);
        if header.seq != expected {
            return Err(FetchError::OutOfStep { expected, given: header.seq });
        }
        self.body.send_modify(|number| *number += 1);
        let number = *self.body.borrow();
        drop(live);
        let began = Instant::now();
        let rest = Bytes::new();
        let sending = self.account().nothing(Kind::Reply);
        let quiet_since = None;
        let payload = Bytes::new();
        let body =
            Body { connection: self, number, mode, began, rest, payload, sending, quiet_since };
        Ok(unfold(body, async |mut body| body.next().await.map(|piece| (piece, body))))
    }

    /// Ends the connection, and also the session if the page does not come back.
    pub(crate) fn end(&self, comes_back: bool) {
        self.attachment.leave(comes_back);
        lock(&self.attachment.sessions.fetching).remove(&self.id);
        // A number that no body has.
        self.body.send_replace(u64::MAX);
    }

    /// Ends the connection when another one carries the session, the page is silent for too long, its token expires, or
    /// the relay stops.
    async fn keep(&self) {
        let mut stop = self.stop.clone();
        let mut body = self.body.subscribe();
        tokio::select! {
            () = self.attachment.replaced() => {}
            () = self.attachment.token_expires() => {}
            () = self.seen.silent_for(self.attachment.timings.silence) => {}
            _ = stop.wait_for(|stop| *stop) => {}
            _ = body.wait_for(|number| *number == u64::MAX) => {}
        }
        self.end(true);
    }
}

/// A response body that is being sent.
struct Body {
    connection: Arc<FetchConnection>,
    number: u64,
    mode: DownlinkMode,
    began: Instant,
    /// Of what is being sent.
    rest: Bytes,
    /// Of a long frame, after that.
    payload: Bytes,
    /// For what of it is not sent: the session keeps another copy.
    sending: Charge,
    /// When the last bytes were sent; `None` before the first.
    quiet_since: Option<Instant>,
}

impl Body {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(piece) = self.piece() {
                // HTTP accepted the previous piece, so the page is reading.
                self.connection.seen.see();
                self.quiet_since = Some(Instant::now());
                return Some(piece);
            }
            let connection = &self.connection;
            let timings = &connection.attachment.timings;
            let wake = &connection.attachment.wake;
            let mut body = connection.body.subscribe();
            let mut stop = connection.stop.clone();
            let quiet_since = match (self.mode, self.quiet_since) {
                (DownlinkMode::Stream, None) => {
                    // Sends the response head, and shows the page that bodies arrive unbuffered.
                    self.quiet_since = Some(Instant::now());
                    return Some(Self::heartbeat());
                }
                (DownlinkMode::Poll, Some(_)) => return None,
                (_, quiet_since) => quiet_since.unwrap_or(self.began),
            };
            tokio::select! {
                () = wake.notified() => {
                    if *connection.body.borrow() != self.number {
                        // The notification was for the body that replaced this one.
                        wake.notify_one();
                        return None;
                    }
                }
                _ = body.wait_for(|number| *number != self.number) => return None,
                () = connection.attachment.replaced() => return None,
                _ = stop.wait_for(|stop| *stop) => return None,
                () = tokio::time::sleep_until(self.began + timings.silence / 2) => return None,
                () = tokio::time::sleep_until(quiet_since + timings.ping) => {
                    self.quiet_since = Some(Instant::now());
                    return Some(Self::heartbeat());
                }
            }
        }
    }

    /// An empty frame, as a heartbeat.
    fn heartbeat() -> Bytes {
        let mut frame = Vec::new();
        append_frame(&mut frame, &[]);
        frame.into()
    }

    /// The next piece to send.
    fn piece(&mut self) -> Option<Bytes> {
        if self.rest.is_empty() {
            self.sending.set_anyway(0);
            self.rest = std::mem::take(&mut self.payload);
        }
        if self.rest.is_empty() {
            [self.rest, self.payload] = self.frames()?;
        }
        // The buffer is freed as a whole.
        if self.sending.bytes() < self.rest.len() as u64 {
            self.sending.set_anyway(self.rest.len() as u64);
        }
        Some(self.rest.split_to(PIECE_BYTES.min(self.rest.len())))
    }

    /// The next frames of the session: small ones together, a long one last.
    fn frames(&self) -> Option<[Bytes; 2]> {
        let mut live = self.connection.attachment.live()?;
        if *self.connection.body.borrow() != self.number {
            return None;
        }
        let mut batch = Vec::new();
        while batch.len() < PIECE_BYTES {
            let Some(frame) = self.connection.attachment.transmit(&mut live) else { break };
            self.connection.frames.fetch_add(1, Ordering::Relaxed);
            if frame.len() < PIECE_BYTES {
                append_parts(&mut batch, &[&frame.envelope, &frame.payload]);
                continue;
            }
            // What is long is shared with the session that keeps it.
            append_beginning(&mut batch, &[&frame.envelope], frame.payload.len());
            return Some([batch.into(), frame.payload]);
        }
        (!batch.is_empty()).then(|| [batch.into(), Bytes::new()])
    }
}
