//! A connection over plain HTTP: the page posts batches of frames, and asks for a body that brings the relay's.
//!
//! Each answers for its own order: batches carry their number, and a page that asks for frames says how many arrived.
//! Where that does not fit, something was lost on the way; the page then connects again and resumes its session.

use super::progress::Seen;
use super::{Attachment, Sessions, handshake, lock, requests};
use crate::budget::{Account, Charge, Kind};
use crate::config::{App, Timings};
use bytes::Bytes;
use faasm_bridge::session::SessionError;
use faasm_bridge::wire::{
    BatchHeader, ConnectionId, FrameReader, WireError, append_frame, encode_handshake,
};
use futures_util::stream::{Stream, unfold};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;

/// Longest piece of a frame that is handed to HTTP at once; small frames go together up to this size.
const PIECE_BYTES: usize = 64 * 1024;

/// A page's connection, over however many HTTP requests.
#[derive(Debug)]
pub(crate) struct FetchConnection {
    id: ConnectionId,
    attachment: Attachment,
    /// How many batches were taken.
    batches: Mutex<u64>,
    /// How many frames were given to a body.
    frames: AtomicU64,
    /// Number of the body that brings frames now; earlier ones end.
    body: watch::Sender<u64>,
    /// When the page was last known to be there.
    seen: Seen,
    stop: watch::Receiver<bool>,
}

/// When a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DownlinkMode {
    /// After a while.
    Stream,
    /// As soon as it brought something, for networks that keep an answer back until it is complete.
    Poll,
}

/// Why a request of a connection is not taken.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    #[error("there is no such connection any more: connect again")]
    Gone,
    #[error("{expected} were taken, and the page counts {given}: connect again")]
    OutOfStep { expected: u64, given: u64 },
    #[error("the last frame is cut off")]
    CutOff,
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl From<WireError> for FetchError {
    fn from(error: WireError) -> Self {
        SessionError::from(error).into()
    }
}

/// Shakes hands; the batch to answer with has the answer and, unless it is a refusal, the connection's id.
///
/// # Errors
/// When the answer cannot be encoded, or there are no random numbers.
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
    /// The connection that a request names.
    pub(crate) fn fetching(&self, id: ConnectionId) -> Result<Arc<FetchConnection>, FetchError> {
        let connection = lock(&self.fetching).get(&id).map(Arc::clone).ok_or(FetchError::Gone)?;
        connection.seen.see();
        Ok(connection)
    }
}

impl FetchConnection {
    /// Of the session's user.
    pub(crate) fn account(&self) -> &Account {
        &self.attachment.session.account
    }

    /// Takes a batch of frames. One that came before is ignored: browsers send a request again on their own.
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
            if let Err(error) = requests::take(&self.attachment.session, &mut live, &frame, app) {
                drop(live);
                self.end(true);
                return Err(error.into());
            }
        }
        *batches += 1;
        Ok(())
    }

    /// A body that brings frames until another one does, the connection ends, or it has lasted long enough: the page asks
    /// for the next one, and shows by that that it is there.
    pub(crate) fn body(
        self: Arc<Self>,
        header: BatchHeader,
        mode: DownlinkMode,
    ) -> Result<impl Stream<Item = Bytes> + Send + 'static, FetchError> {
        // Under the lock that frames are taken under, so that no earlier body takes one in between.
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
        let body = Body { connection: self, number, mode, began, rest, sending, quiet_since };
        Ok(unfold(body, async |mut body| body.next().await.map(|piece| (piece, body))))
    }

    /// Ends the connection, and the session with it where the page does not come back.
    pub(crate) fn end(&self, comes_back: bool) {
        self.attachment.leave(comes_back);
        lock(&self.attachment.sessions.fetching).remove(&self.id);
        // No body has this number.
        self.body.send_replace(u64::MAX);
    }

    /// Ends the connection when another one carries the session, the page is silent for too long, or the relay stops.
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

/// A body under way.
struct Body {
    connection: Arc<FetchConnection>,
    number: u64,
    mode: DownlinkMode,
    began: Instant,
    /// Of a long frame.
    rest: Bytes,
    /// For what of it is not sent: the session keeps another copy.
    sending: Charge,
    /// When the last bytes went out; none did yet where there is none.
    quiet_since: Option<Instant>,
}

impl Body {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(piece) = self.piece() {
                // HTTP took what came before, so the page reads.
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
                    // Sends the head, and shows the page that bodies get through to it.
                    self.quiet_since = Some(Instant::now());
                    return Some(Self::sign_of_life());
                }
                (DownlinkMode::Poll, Some(_)) => return None,
                (_, quiet_since) => quiet_since.unwrap_or(self.began),
            };
            tokio::select! {
                () = wake.notified() => {
                    if *connection.body.borrow() != self.number {
                        // Meant for the body that replaced this one.
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
                    return Some(Self::sign_of_life());
                }
            }
        }
    }

    /// An empty frame.
    fn sign_of_life() -> Bytes {
        let mut frame = Vec::new();
        append_frame(&mut frame, &[]);
        frame.into()
    }

    /// What there is to send.
    fn piece(&mut self) -> Option<Bytes> {
        if self.rest.is_empty() {
            self.sending.set_anyway(0);
            self.rest = self.frames()?.into();
        }
        // It is freed as a whole.
        if self.sending.bytes() < self.rest.len() as u64 {
            self.sending.set_anyway(self.rest.len() as u64);
        }
        Some(self.rest.split_to(PIECE_BYTES.min(self.rest.len())))
    }

    /// The next frames of the session: small ones together, a long one last.
    fn frames(&self) -> Option<Vec<u8>> {
        let mut live = self.connection.attachment.live()?;
        if *self.connection.body.borrow() != self.number {
            return None;
        }
        let mut batch = Vec::new();
        while batch.len() < PIECE_BYTES {
            let Some(frame) = self.connection.attachment.transmit(&mut live) else { break };
            self.connection.frames.fetch_add(1, Ordering::Relaxed);
            append_frame(&mut batch, &frame);
        }
        (!batch.is_empty()).then_some(batch)
    }
}
