//! Encodes and decodes frames.

use super::limits::*;
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

/// Why a frame is rejected.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WireError {
    #[error("the frame has {bytes} bytes; at most {MAX_FRAME_BYTES} are allowed")]
    FrameTooLong { bytes: usize },
    #[error("the envelope has {bytes} bytes; at most {MAX_ENVELOPE_BYTES} are allowed")]
    EnvelopeTooLong { bytes: usize },
    #[error("the payload has {bytes} bytes; at most {MAX_PAYLOAD_BYTES} are allowed")]
    PayloadTooLong { bytes: usize },
    #[error("the envelope cannot be decoded: {reason}")]
    Malformed { reason: String },
    #[error("the first frame is not a handshake of this protocol")]
    NotAHandshake,
}

impl From<postcard::Error> for WireError {
    fn from(error: postcard::Error) -> Self {
        WireError::Malformed { reason: error.to_string() }
    }
}

/// Encodes one frame: envelope, then payload.
///
/// # Errors
/// If either is longer than the protocol allows.
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

/// A frame in two parts, so that nobody who keeps or sends a long payload copies it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The envelope; of a frame that was read from somewhere, all of it.
    pub envelope: Bytes,
    pub payload: Bytes,
}

impl Frame {
    /// Bytes of both.
    pub fn len(&self) -> usize {
        self.envelope.len() + self.payload.len()
    }

    /// Whether it has no bytes, which no frame is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Both together, which copies a payload.
    pub fn to_bytes(&self) -> Bytes {
        match self.payload.is_empty() {
            true => self.envelope.clone(),
            false => [&*self.envelope, &*self.payload].concat().into(),
        }
    }
}

impl From<Vec<u8>> for Frame {
    fn from(frame: Vec<u8>) -> Self {
        Self { envelope: frame.into(), payload: Bytes::new() }
    }
}

/// The same as [`encode`], with the payload as it is.
///
/// # Errors
/// When either is longer than the protocol allows.
pub fn encode_shared<M: Serialize>(message: &M, payload: Bytes) -> Result<Frame, WireError> {
    if payload.len() > MAX_PAYLOAD_BYTES {
        return Err(WireError::PayloadTooLong { bytes: payload.len() });
    }
    Ok(Frame { envelope: encode(message, &[])?.into(), payload })
}

/// The envelope of a frame, and its payload.
///
/// # Errors
/// If the frame is too long or its envelope is not a message.
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

/// Encodes a handshake frame: [`MAGIC`], then the message.
///
/// # Errors
/// If the message is longer than an envelope may be.
pub fn encode_handshake<M: Serialize>(message: &M) -> Result<Vec<u8>, WireError> {
    let mut frame = MAGIC.to_vec();
    frame.extend(encode(message, &[])?);
    Ok(frame)
}

/// Decodes the message of a handshake frame; ignores further bytes, which later versions may add.
///
/// # Errors
/// If the frame is not a handshake.
pub fn decode_handshake<M: DeserializeOwned>(frame: &[u8]) -> Result<M, WireError> {
    let message = frame.strip_prefix(&MAGIC).ok_or(WireError::NotAHandshake)?;
    if message.len() > MAX_ENVELOPE_BYTES {
        return Err(WireError::EnvelopeTooLong { bytes: message.len() });
    }
    Ok(postcard::take_from_bytes(message)?.0)
}
