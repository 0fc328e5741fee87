//! A WebSocket connection: handshake, then frames in both directions until either side or another connection ends it.

use super::progress::{Arriving, TooMuch, Watched};
use super::{Attachment, Sessions, handshake, requests};
use crate::budget::{Kind, OverBudget};
use crate::config::{App, Timings};
use bytes::Bytes;
use faasm_bridge::session::{Outgoing, SHARED_BYTES};
use faasm_bridge::wire::{
    Answer, FRAME_PREFIX_BYTES, MAX_FRAME_BYTES, MESSAGE_BYTES, encode_handshake,
};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Maximum bytes queued in the WebSocket layer besides one frame.
const WRITE_BUFFER_BYTES: usize = 128 * 1024;

/// Longest fragment of a message that is sent, bytes.
const FRAGMENT_BYTES: usize = 128 * 1024;

/// Bytes read from a connection at once: what each of them has, idle or not.
const READ_BUFFER_BYTES: usize = 8 * 1024;

/// Limits of the WebSocket layer, derived from those of the protocol.
pub(crate) fn websocket_config(frame_bytes: usize) -> WebSocketConfig {
    let message_bytes = frame_bytes.saturating_add(FRAME_PREFIX_BYTES).max(MESSAGE_BYTES);
    WebSocketConfig::default()
        .max_message_size(Some(message_bytes))
        .max_frame_size(Some(message_bytes))
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_write_buffer_size(2 * MAX_FRAME_BYTES)
}

/// Time limit for closing: the peer may not be reading any more.
const TIME_LIMIT: Duration = Duration::from_secs(1);

/// Why a connection ends, for the peer and the log.
#[derive(Debug)]
struct CloseReason {
    code: CloseCode,
    reason: Cow<'static, str>,
}

impl CloseReason {
    fn new(code: CloseCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// As a close frame, whose reason has at most 123 bytes.
    fn frame(&self) -> CloseFrame {
        let reason: String = self.reason.chars().filter(char::is_ascii).take(123).collect();
        CloseFrame { code: self.code, reason: reason.into() }
    }
}

/// Serves a session over this WebSocket until the connection ends.
pub(crate) async fn serve_websocket<S>(
    mut socket: WebSocketStream<Watched<S>>,
    app: App,
    sessions: Arc<Sessions>,
    timings: Timings,
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let shaken = tokio::time::timeout(
        timings.handshake,
        shake_hands(&mut socket, &sessions, timings.clone()),
    );
    let shaken = tokio::select! {
        shaken = shaken => shaken,
        _ = stop.wait_for(|stop| *stop) => return,
    };
    let attachment = match shaken {
        Ok(Ok(attachment)) => attachment,
        Ok(Err(reason)) => return close(&mut socket, &reason).await,
        Err(_) => {
            return close(&mut socket, &CloseReason::new(CloseCode::Policy, "no handshake")).await;
        }
    };
    let (seen, arriving) = (socket.get_ref().seen(), socket.get_ref().arriving());
    arriving.admit(&attachment.session.account);
    let (mut sink, mut stream) = socket.split();
    let reason = tokio::select! {
        () = seen.silent_for(attachment.timings.silence) => CloseReason::new(CloseCode::Policy, "the page was silent for too long"),
        reason = receive(&mut stream, &arriving, &attachment, &app) => reason,
        reason = transmit(&mut sink, &attachment) => reason,
        () = attachment.token_expires() => CloseReason::new(CloseCode::Policy, "the token expires: connect again with a fresh one"),
        () = attachment.replaced() => match attachment.session.is_lost() {
            true => CloseReason::new(CloseCode::Away, "another relay owns the session: connect again"),
            false => CloseReason::new(CloseCode::Normal, "another connection carries the session"),
        },
        _ = stop.wait_for(|stop| *stop) => CloseReason::new(CloseCode::Away, "the relay stops"),
    };
    tracing::debug!(reason = %reason.reason, "connection ends");
    if *stop.borrow() {
        // Sends the replies of the last requests.
        let _ = tokio::time::timeout(TIME_LIMIT, transmit(&mut sink, &attachment)).await;
    }
    drop(attachment);
    // The close frame follows frames that are still buffered.
    if let Ok(mut socket) = sink.reunite(stream) {
        close(&mut socket, &reason).await;
    }
}

/// Sends the reason and closes; does not wait for a peer that does not read.
async fn close<S>(socket: &mut WebSocketStream<S>, reason: &CloseReason)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let _ = tokio::time::timeout(TIME_LIMIT, socket.close(Some(reason.frame()))).await;
}

async fn shake_hands<S>(
    socket: &mut WebSocketStream<S>,
    sessions: &Arc<Sessions>,
    timings: Timings,
) -> Result<Attachment, CloseReason>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let frame = loop {
        match socket.next().await {
            Some(Ok(Message::Binary(frame))) => break frame,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(_)) | None => {
                return Err(CloseReason::new(CloseCode::Protocol, "no handshake"));
            }
            Some(Err(error)) => return Err(close_reason(&error)),
        }
    };
    let (greeting, attachment) = handshake::enter(&frame, sessions, &timings).await;
    answer(socket, &greeting).await?;
    attachment.ok_or_else(|| CloseReason::new(CloseCode::Policy, "refused"))
}

async fn answer<S>(socket: &mut WebSocketStream<S>, answer: &Answer) -> Result<(), CloseReason>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let frame = encode_handshake(answer)
        .map_err(|error| CloseReason::new(CloseCode::Error, error.to_string()))?;
    socket.send(Message::binary(frame)).await.map_err(|error| close_reason(&error))
}

fn close_reason(error: &Error) -> CloseReason {
    match error {
        Error::Io(error) if is::<TooMuch>(error) => {
            CloseReason::new(CloseCode::Size, error.to_string())
        }
        Error::Io(error) if is::<OverBudget>(error) => {
            CloseReason::new(CloseCode::Again, format!("over-budget: {error}"))
        }
        Error::Capacity(error) => CloseReason::new(CloseCode::Size, error.to_string()),
        Error::Utf8(_) => CloseReason::new(CloseCode::Invalid, "the text is not UTF-8"),
        Error::Protocol(error) => CloseReason::new(CloseCode::Protocol, error.to_string()),
        error => CloseReason::new(CloseCode::Away, error.to_string()),
    }
}

/// Whether reading ended with this kind of error.
fn is<E: std::error::Error + 'static>(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<E>())
}

/// Receives frames until the connection has to end.
async fn receive<S>(
    stream: &mut SplitStream<WebSocketStream<S>>,
    arriving: &Arriving,
    attachment: &Attachment,
    app: &App,
) -> CloseReason
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut longest = 0;
    loop {
        let message = match stream.next().await {
            None => return CloseReason::new(CloseCode::Normal, "closed by the page"),
            Some(Err(error)) => return close_reason(&error),
            Some(Ok(message)) => message,
        };
        match message {
            Message::Binary(message) => {
                longest = message.len().max(longest);
                let taken = take(&message, longest, attachment, app);
                drop(message);
                arriving.taken();
                if let Err(reason) = taken {
                    return reason;
                }
            }
            Message::Close(frame) => {
                // A page that navigates away, or a browser that gives up, sends another code or none.
                if frame.is_some_and(|frame| frame.code == CloseCode::Normal) {
                    attachment.leave(false);
                }
                return CloseReason::new(CloseCode::Normal, "closed by the page");
            }
            Message::Text(_) => {
                return CloseReason::new(CloseCode::Unsupported, "frames are binary");
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

/// Whether a frame stays where it arrived. Who keeps a part of it keeps the buffer of the connection, which is as long as its
/// longest message and is charged as the frame: so the frame must be nearly that. Of a short frame nobody keeps a part.
fn is_shared(frame: usize, longest: usize) -> bool {
    frame < SHARED_BYTES || frame + frame / 8 >= longest
}

/// Takes the frames of a message. The longest one of the connection so far has `longest` bytes.
fn take(
    message: &Bytes,
    longest: usize,
    attachment: &Attachment,
    app: &App,
) -> Result<(), CloseReason> {
    let Some(mut live) = attachment.live() else {
        return Err(CloseReason::new(CloseCode::Normal, "another connection carries the session"));
    };
    let protocol = |error: String| CloseReason::new(CloseCode::Protocol, error);
    let most = attachment.sessions.admission.limits.frame_bytes;
    for frame in live.machine.frames_of(message) {
        let frame = frame.map_err(|error| protocol(error.to_string()))?;
        if frame.len() > most {
            let message = format!("a frame of {} bytes; this relay takes {most}", frame.len());
            return Err(CloseReason::new(CloseCode::Size, message));
        }
        let frame = match is_shared(frame.len(), longest) {
            true => message.slice_ref(frame),
            false => Bytes::copy_from_slice(frame),
        };
        let taken = requests::take(&attachment.session, &mut live, &frame, app);
        taken.map_err(|error| protocol(error.to_string()))?;
    }
    Ok(())
}

/// Sends pending frames, one message at a time, so that a slow reader delays only itself; sends pings in between.
async fn transmit<S>(
    sink: &mut SplitSink<WebSocketStream<S>, Message>,
    attachment: &Attachment,
) -> CloseReason
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let period = attachment.timings.ping;
    let mut pings = tokio::time::interval_at(Instant::now() + period, period);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let next = attachment.live().map(|mut live| attachment.transmit_message(&mut live));
        let message = match next {
            None => {
                return CloseReason::new(
                    CloseCode::Normal,
                    "another connection carries the session",
                );
            }
            Some(Some(message)) => message,
            Some(None) if attachment.is_drained() => {
                return CloseReason::new(CloseCode::Away, "the relay stops");
            }
            Some(None) => {
                tokio::select! {
                    () = attachment.wake.notified() => {}
                    _ = pings.tick() => {
                        if let Err(error) = sink.send(Message::Ping(Default::default())).await {
                            return close_reason(&error);
                        }
                    }
                }
                continue;
            }
        };
        // The session may be told meanwhile that it need not keep it, and in the layers below are a few pieces.
        let mut sending = attachment.session.account.nothing(Kind::Reply);
        sending.grown(message.bytes() as u64);
        if let Err(error) = send(sink, message).await {
            return close_reason(&error);
        }
    }
}

/// Sends a message, a long one as fragments: the layer below copies what it sends, and so has one of them at a time.
async fn send<S>(
    sink: &mut SplitSink<WebSocketStream<S>, Message>,
    message: Outgoing,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Outgoing(parts) = message;
    let mut left: usize = parts.iter().map(Bytes::len).sum();
    let mut kind = Data::Binary;
    for mut part in parts {
        while !part.is_empty() {
            let piece = part.split_to(part.len().min(FRAGMENT_BYTES));
            left -= piece.len();
            let fragment = Frame::message(piece, OpCode::Data(kind), left == 0);
            sink.send(Message::Frame(fragment)).await?;
            kind = Data::Continue;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_shared_where_little_else_is_kept_with_it() {
        const MIB: usize = 1 << 20;
        assert!(is_shared(MIB, MIB + FRAME_PREFIX_BYTES));
        assert!(
            !is_shared(MIB, 2 * MIB),
            "another message was longer, or this one has more frames"
        );
        assert!(is_shared(100, 2 * MIB), "what is short is copied anyway");
        assert!(!is_shared(SHARED_BYTES, 2 * MIB));
    }
}
