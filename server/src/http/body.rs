//! Bodies of requests, bounded in size, time and memory: who sends slowly is let go.

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

/// What is sent, for messages, and how long it may be.
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

/// How a body is encoded, if it is.
fn encoding(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let mut values = values.map(|value| value.to_str().unwrap_or("something unreadable").trim());
    let found = values.find(|value| !value.is_empty() && !value.eq_ignore_ascii_case("identity"));
    found.map(|value| value.chars().take(40).collect())
}

/// Bytes that arrive, and the charge for them.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) bytes: Vec<u8>,
    pub(super) charge: Charge,
}

impl Arrived {
    /// Nothing yet, for this account.
    pub(super) fn nothing(account: &Account) -> Self {
        Self { bytes: Vec::new(), charge: account.nothing(Kind::Body) }
    }

    /// Takes a piece; `most` bytes is all that there will be.
    ///
    /// # Errors
    /// When there is no memory for it.
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

/// The whole body, which is charged to this account.
pub(super) async fn receive(
    request: Request<Incoming>,
    bound: Bound,
    limits: &Limits,
    account: &Account,
) -> Result<Arrived, Refusal> {
    // One that there is no room for is not begun to be read.
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

/// A body, piece by piece.
pub(super) struct Arriving<'a> {
    body: Incoming,
    bound: Bound,
    limits: &'a Limits,
    began: Instant,
    bytes: usize,
}

impl<'a> Arriving<'a> {
    /// # Errors
    /// When the request says that its body is too long, or encoded.
    pub(super) fn new(
        request: Request<Incoming>,
        bound: Bound,
        limits: &'a Limits,
    ) -> Result<Self, Refusal> {
        if let Some(encoding) = encoding(request.headers()) {
            let what = format!(
                "{} that is encoded as `{encoding}` is not decoded here: send it as it is, without `Content-Encoding`",
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

    /// What arrives next; `None` at the end.
    ///
    /// # Errors
    /// When it is too long, takes too long, or breaks off.
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
                Refusal::new(StatusCode::BAD_REQUEST, format!("{what} did not arrive: {error}"))
            })?;
            let Ok(data) = frame.into_data() else { continue };
            self.bytes += data.len();
            if self.bytes > self.bound.bytes {
                return Err(self.bound.too_large());
            }
            return Ok(Some(data));
        }
    }

    /// When what is still to come has to be here: each byte that arrived gives a little more time.
    fn due(&self) -> Instant {
        let earned = self.bytes / self.limits.body_rate.max(1);
        self.began + self.limits.body_time + Duration::from_secs(earned as u64)
    }
}
