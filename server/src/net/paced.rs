//! Closes connections whose peer does not read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A stream whose writes fail if the peer accepts no byte within the time limit.
#[derive(Debug)]
pub(super) struct Paced<S> {
    stream: S,
    time_limit: Duration,
    /// Deadline of pending bytes; set when a write first blocks.
    waiting: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, time_limit: Duration) -> Self {
        Self { stream, time_limit, waiting: None, is_waiting: false }
    }

    /// Handles the result of a write: progress resets the deadline; a missed deadline fails the connection.
    fn settle<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.is_waiting = false;
            return polled;
        }
        let due = Instant::now() + self.time_limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if !self.is_waiting {
            waiting.as_mut().reset(due);
            self.is_waiting = true;
        }
        ready!(waiting.as_mut().poll(cx));
        let seconds = self.time_limit.as_secs_f64();
        let reason = format!("the peer accepted no data for {seconds} s");
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, reason)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.settle(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.settle(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.settle(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.settle(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const TIME_LIMIT: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn who_takes_nothing_is_dropped_and_who_takes_little_is_not() {
        let (mut peer, stream) = tokio::io::duplex(1000);
        let mut paced = Paced::new(stream, TIME_LIMIT);
        let began = Instant::now();
        let writing = tokio::spawn(async move { paced.write_all(&[0; 9000]).await });
        let mut piece = [0; 1000];
        let mut pace = tokio::time::interval(TIME_LIMIT / 2);
        for _ in 0..4 {
            pace.tick().await;
            peer.read_exact(&mut piece).await.unwrap();
        }
        let written = tokio::time::timeout(20 * TIME_LIMIT, writing).await;
        let error = written.expect("it comes to an end").unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(
            began.elapsed() >= 3 * (TIME_LIMIT / 2) + TIME_LIMIT,
            "every accepted byte extended the deadline"
        );
    }
}
