//! When a page was last known to be there: a long frame on a slow network is no silence.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::lock;

/// The time of the last sign.
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

    /// Completes when there was no sign for so long.
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

/// A stream that notes signs of its peer: bytes that arrive, and bytes that are taken after some were not. The first ones
/// that are taken say nothing, for the system takes them.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    stream: S,
    seen: Seen,
    is_held_up: bool,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, seen: Seen::now(), is_held_up: false }
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
        if buffer.filled().len() > before {
            self.seen.see();
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
