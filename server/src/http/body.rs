//! Bodies of requests, limited in size, time and memory: slow senders are disconnected.

use super::Refusal;
use crate::budget::{Account, Charge, Kind};
use crate::config::Limits;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_ENCODING, HeaderMap};
use hyper::{Request, StatusCode};
use std::time::Duration;
use tokio::time::Instant;

/// What the body is, for messages, and its maximum size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) what: &'static str,
    pub(super) bytes: usize,
}

impl Bound {
    fn too_large(self) -> Refusal {
        let what = format!("{} has at most {} bytes", self.what, self.bytes);
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, what)
    }
}

/// The body's content encoding, if it has one.
fn encoding(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let mut values = values.map(|value| value.to_str().unwrap_or("something unreadable").trim());
    let found = values.find(|value| !value.is_empty() && !value.eq_ignore_ascii_case("identity"));
    found.map(|value| value.chars().take(40).collect())
}

/// Received bytes, and the charge for them.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) bytes: Vec<u8>,
    pub(super) charge: Charge,
}

impl Arrived {
    /// No bytes yet, for this account.
    pub(super) fn nothing(account: &Account) -> Self {
        Self { bytes: Vec::new(), charge: account.nothing(Kind::Body) }
    }

    /// Appends a piece; the body has at most `most` bytes.
    ///
    /// # Errors
    /// When the charge exceeds a budget.
    pub(super) fn take(&mut self, piece: &[u8], most: usize) -> Result<(), Refusal> {
        let needed = self.bytes.len() + piece.len();
        if needed > self.bytes.capacity() {
            let capacity = needed.max(2 * self.bytes.capacity()).min(most.max(needed));
            self.charge.set(capacity as u64)?;
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }
}

/// Receives the whole body, charged to this account.
pub(super) async fn receive(
    request: Request<Incoming>,
    bound: Bound,
    limits: &Limits,
    account: &Account,
) -> Result<Arrived, Refusal> {
    // A body that exceeds the budget is rejected before it is read.
    if let Some(bytes) =
        request.body().size_hint().exact().filter(|bytes| *bytes <= bound.bytes as u64)
    {
        drop(account.charge(Kind::Body, bytes as usize)?);
    }
    let mut arriving = Arriving::new(request, bound, limits)?;
    let mut arrived = Arrived::nothing(account);
    while let Some(piece) = arriving.next().await? {
        arrived.take(&piece, bound.bytes)?;
    }
    Ok(arrived)
}

/// Receives a body piece by piece.
pub(super) struct Arriving<'a> {
    body: Incoming,
    bound: Bound,
    limits: &'a Limits,
    began: Instant,
    bytes: usize,
}

impl<'a> Arriving<'a> {
    /// # Errors
    /// When the declared size is too large, or the body is encoded.
    pub(super) fn new(
        request: Request<Incoming>,
        bound: Bound,
        limits: &'a Limits,
    ) -> Result<Self, Refusal> {
        if let Some(encoding) = encoding(request.headers()) {
            let what = format!(
                "the body ({}) has the `Content-Encoding` `{encoding}`, which this relay does not decode: send it without encoding",
                bound.what
            );
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, what));
        }
        let body = request.into_body();
        if body.size_hint().lower() > bound.bytes as u64 {
            return Err(bound.too_large());
        }
        Ok(Self { body, bound, limits, began: Instant::now(), bytes: 0 })
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// When the body is too long, takes too long, or the connection breaks.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let pause = Instant::now() + self.limits.body_pause;
            let due = self.due();
            let arrived = tokio::time::timeout_at(pause.min(due), self.body.frame()).await;
            let what = self.bound.what;
            let frame = arrived.map_err(|_| {
                let message = if pause < due {
                    let seconds = self.limits.body_pause.as_secs_f64();
                    format!("nothing of {what} arrived for {seconds} s")
                } else {
                    let seconds = self.began.elapsed().as_secs();
                    format!("{what} arrives too slowly: {} bytes in {seconds} s", self.bytes)
                };
                Refusal::new(StatusCode::REQUEST_TIMEOUT, message)
            })?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| {
                Refusal::new(
                    StatusCode::BAD_REQUEST,
                    format!("{what} did not arrive completely: {error}"),
                )
            })?;
            let Ok(data) = frame.into_data() else { continue };
            self.bytes += data.len();
            if self.bytes > self.bound.bytes {
                return Err(self.bound.too_large());
            }
            return Ok(Some(data));
        }
    }

    /// The deadline for the rest: each byte received extends it a little.
    fn due(&self) -> Instant {
        let earned = self.bytes / self.limits.body_rate.max(1);
        self.began + self.limits.body_time + Duration::from_secs(earned as u64)
    }
}
