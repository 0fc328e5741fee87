//! `POST /session…`: sessions over plain HTTP, for networks that break WebSockets.

use super::body::{self, Arrived, Arriving, Bound};
use super::{Answer, HttpContext, Refusal, plain};
use crate::session::{DownlinkMode, FetchConnection, FetchError, begin};
use crate::store::StoreError;
use bytes::Bytes;
use faasm_bridge::wire::{
    BATCH_HEADER_BYTES, BatchHeader, FRAME_PREFIX_BYTES, FrameReader, MAX_ENVELOPE_BYTES,
};
use futures_util::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use std::sync::Arc;

const FRAMES: &str = "application/octet-stream";

/// The operation of a session's request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    /// Performs the handshake, which starts a connection.
    Begin,
    /// Delivers frames of the page.
    Send,
    /// Requests frames of the relay.
    Receive(DownlinkMode),
    /// Ends the session.
    End,
}

/// The operation for a path, if the path is one of a session.
pub(super) fn action(path: &str) -> Option<Action> {
    match path {
        "/session" => Some(Action::Begin),
        "/session/send" => Some(Action::Send),
        "/session/receive" => Some(Action::Receive(DownlinkMode::Stream)),
        "/session/poll" => Some(Action::Receive(DownlinkMode::Poll)),
        "/session/end" => Some(Action::End),
        _ => None,
    }
}

/// Answers a request whose `Origin` and `Host` have been checked.
pub(super) async fn answer(
    context: &Arc<HttpContext>,
    action: Action,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    if let Action::Begin = action {
        return shake_hands(context, request).await;
    }
    let frame = FRAME_PREFIX_BYTES + context.config.limits.frame_bytes;
    let bound =
        if let Action::Send = action { BATCH_HEADER_BYTES + frame } else { BATCH_HEADER_BYTES };
    let (connection, header, rest) = arrive(context, request, bound).await?;
    match action {
        Action::Send => connection.take(header, &rest.bytes[BATCH_HEADER_BYTES..], &context.app)?,
        Action::Receive(mode) => return Ok(stream(connection.body(header, mode)?)),
        Action::End => connection.end(false),
        Action::Begin => {}
    }
    Ok(plain(StatusCode::NO_CONTENT, FRAMES, ""))
}

async fn shake_hands(
    context: &Arc<HttpContext>,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let bytes = FRAME_PREFIX_BYTES + MAX_ENVELOPE_BYTES;
    let bound = Bound { what: "a handshake", bytes };
    let nobody = context.config.budget.nobody();
    let body = body::receive(request, bound, &context.config.limits, &nobody).await?;
    let frames = FrameReader::default().push(&body.bytes).map_err(FetchError::from)?;
    let frame = frames.into_iter().next().unwrap_or_default();
    let begun = begin(&frame, &context.sessions, &context.config.timings, context.stopping()).await;
    let batch = begun.map_err(|error| {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, format!("no session: {error}"))
    })?;
    Ok(uncached(plain(StatusCode::OK, FRAMES, batch)))
}

/// The connection of a request, its [`BatchHeader`], and the body after the header. Without a known connection the rest
/// of the body is not read.
/// is not read to its end.
async fn arrive(
    context: &HttpContext,
    request: Request<Incoming>,
    bound: usize,
) -> Result<(Arc<FetchConnection>, BatchHeader, Arrived), Refusal> {
    let bound = Bound { what: "a batch", bytes: bound };
    let mut arriving = Arriving::new(request, bound, &context.config.limits)?;
    let mut body = Arrived::nothing(&context.config.budget.nobody());
    let mut known = None;
    while let Some(piece) = arriving.next().await? {
        body.take(&piece, bound.bytes)?;
        if let Some(header) = body.bytes.first_chunk::<BATCH_HEADER_BYTES>() {
            // Each piece shows that the page is alive.
            let header = BatchHeader::from_bytes(*header);
            let connection = context.sessions.fetching(header.connection)?;
            if known.is_none() {
                body.charge = body.charge.to(connection.account())?;
            }
            known = Some((connection, header));
        }
    }
    let (connection, header) = known.ok_or_else(|| {
        let what =
            format!("a request of a session starts with a header of {BATCH_HEADER_BYTES} bytes");
        Refusal::new(StatusCode::BAD_REQUEST, what)
    })?;
    Ok((connection, header, body))
}

fn stream(frames: impl futures_util::Stream<Item = Bytes> + Send + 'static) -> Answer {
    let frames = frames.map(|bytes| Ok::<_, StoreError>(Frame::data(bytes)));
    let mut answer = Response::new(StreamBody::new(frames).boxed_unsync());
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(FRAMES));
    // Without it, nginx buffers frames.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    uncached(answer)
}

/// Forbids proxies to cache or transform the response.
fn uncached(mut answer: Answer) -> Answer {
    let value = HeaderValue::from_static("no-store, no-transform");
    answer.headers_mut().insert(header::CACHE_CONTROL, value);
    answer
}

impl From<FetchError> for Refusal {
    fn from(error: FetchError) -> Self {
        let status = match &error {
            FetchError::Gone => StatusCode::GONE,
            FetchError::OutOfStep { .. } => StatusCode::CONFLICT,
            FetchError::CutOff | FetchError::Session(_) => StatusCode::BAD_REQUEST,
        };
        Refusal::new(status, error.to_string())
    }
}
