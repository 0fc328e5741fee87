//! Frames to bytes and back.

use super::limits::*;
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

/// Why a frame is not taken.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WireError {
    #[error("a frame of {bytes} bytes; at most {MAX_FRAME_BYTES} are allowed")]
    FrameTooLong { bytes: usize },
    #[error("an envelope of {bytes} bytes; at most {MAX_ENVELOPE_BYTES} are allowed")]
    EnvelopeTooLong { bytes: usize },
    #[error("a payload of {bytes} bytes; at most {MAX_PAYLOAD_BYTES} are allowed")]
    PayloadTooLong { bytes: usize },
    #[error("the envelope cannot be read: {reason}")]
    Malformed { reason: String },
    #[error("the first frame is not a handshake of this protocol")]
    NotAHandshake,
}

impl From<postcard::Error> for WireError {
    fn from(error: postcard::Error) -> Self {
        WireError::Malformed { reason: error.to_string() }
    }
}

/// One frame: envelope, then payload.
///
/// # Errors
/// When either is longer than the protocol allows.
pub fn encode<M: Serialize>(message: &M, payload: &[u8]) -> Result<Vec<u8>, WireError> {
    if payload.len() > MAX_PAYLOAD_BYTES {
        return Err(WireError::PayloadTooLong { bytes: payload.len() });
    }
    let mut frame = postcard::to_extend(message, Vec::with_capacity(64 + payload.len()))?;
    if frame.len() > MAX_ENVELOPE_BYTES {
        return Err(WireError::EnvelopeTooLong { bytes: frame.len() });
    }
    frame.extend_from_slice(payload);
    Ok(frame)
}

/// The envelope of a frame, and its payload.
///
/// # Errors
/// When the frame is too long or its envelope is not a message.
pub fn decode<M: DeserializeOwned>(frame: &[u8]) -> Result<(M, &[u8]), WireError> {
    if frame.len() > MAX_FRAME_BYTES {
        return Err(WireError::FrameTooLong { bytes: frame.len() });
    }
    let (message, payload) = postcard::take_from_bytes(frame)?;
    let envelope = frame.len() - payload.len();
    if envelope > MAX_ENVELOPE_BYTES {
        return Err(WireError::EnvelopeTooLong { bytes: envelope });
    }
    if payload.len() > MAX_PAYLOAD_BYTES {
        return Err(WireError::PayloadTooLong { bytes: payload.len() });
    }
    Ok((message, payload))
}

/// A handshake frame: [`MAGIC`], then the message.
///
/// # Errors
/// When the message is longer than an envelope may be.
pub fn encode_handshake<M: Serialize>(message: &M) -> Result<Vec<u8>, WireError> {
    let mut frame = MAGIC.to_vec();
    frame.extend(encode(message, &[])?);
    Ok(frame)
}

/// The message of a handshake frame; bytes after it are left to later versions.
///
/// # Errors
/// When the frame is not a handshake.
pub fn decode_handshake<M: DeserializeOwned>(frame: &[u8]) -> Result<M, WireError> {
    let message = frame.strip_prefix(&MAGIC).ok_or(WireError::NotAHandshake)?;
    if message.len() > MAX_ENVELOPE_BYTES {
        return Err(WireError::EnvelopeTooLong { bytes: message.len() });
    }
    Ok(postcard::take_from_bytes(message)?.0)
}
