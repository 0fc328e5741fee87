//! Observes a connection's traffic: when the peer was last active, because a long frame over a slow network is not
//! silence, and how much memory the arriving message takes.

use super::lock;
use crate::budget::{Account, Charge, Kind};
use faasm_bridge::wire::MAX_ENVELOPE_BYTES;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Time of the peer's last activity.
#[derive(Clone, Debug)]
pub(crate) struct Seen(Arc<Mutex<Instant>>);

impl Seen {
    pub(super) fn now() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    pub(super) fn at(&self) -> Instant {
        *lock(&self.0)
    }

    pub(super) fn see(&self) {
        *lock(&self.0) = Instant::now();
    }

    /// Completes after this much silence.
    pub(super) async fn silent_for(&self, silence: std::time::Duration) {
        loop {
            let due = self.at() + silence;
            if due <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    }
}

/// The peer sent too much before the handshake was complete.
#[derive(Debug, Error)]
#[error("more than {BEFORE_HANDSHAKE} bytes before the handshake is complete")]
pub(super) struct TooMuch;

/// Maximum bytes that a peer may send before the handshake is complete: the handshake, its prefix, and pings.
const BEFORE_HANDSHAKE: usize = MAX_ENVELOPE_BYTES + 1024;

/// This many bytes of a message are not charged.
const UNCHARGED: usize = 64 * 1024;

/// The message that is arriving.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arriving(Arc<Mutex<Message>>);

#[derive(Debug, Default)]
struct Message {
    bytes: usize,
    /// `None` before the handshake is complete.
    charge: Option<Charge>,
}

impl Arriving {
    /// The handshake is complete: from here on messages are charged.
    pub(super) fn admit(&self, account: &Account) {
        *lock(&self.0) = Message { bytes: 0, charge: Some(account.nothing(Kind::Request)) };
    }

    /// The message was processed.
    pub(super) fn taken(&self) {
        let mut message = lock(&self.0);
        message.bytes = 0;
        if let Some(charge) = &mut message.charge {
            charge.set_anyway(0);
        }
    }

    fn more(&self, bytes: usize) -> io::Result<()> {
        let mut message = lock(&self.0);
        let Message { bytes: all, charge } = &mut *message;
        *all += bytes;
        match charge {
            None if *all > BEFORE_HANDSHAKE => Err(io::Error::other(TooMuch)),
            Some(charge) if *all > UNCHARGED => charge.set(*all as u64).map_err(io::Error::other),
            _ => Ok(()),
        }
    }
}

/// A stream that records activity of its peer: received bytes, and sent bytes that the system accepts after it had
/// refused some. An accepted write alone proves nothing, because the system buffers it.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    stream: S,
    seen: Seen,
    arriving: Arriving,
    is_held_up: bool,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S) -> Self {
        let arriving = Arriving::default();
        Self { stream, seen: Seen::now(), arriving, is_held_up: false }
    }

    pub(super) fn arriving(&self) -> Arriving {
        self.arriving.clone()
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.clone()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let more = buffer.filled().len() - before;
        if more > 0 {
            self.seen.see();
            self.arriving.more(more)?;
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if self.is_held_up && matches!(polled, Poll::Ready(Ok(1..))) {
            self.seen.see();
        }
        self.is_held_up = polled.is_pending();
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
