//! The wire protocol between a page and a relay: messages, their limits, and their encoding.
//!
//! A frame is a `postcard` envelope ([`ClientMessage`] or [`ServerMessage`]) and, right
//! after it, the payload (an input, an output, bytes of a state value), which is never copied into the envelope.
//! Numbers are little-endian or varint, as `postcard` defines them. The first frame of each side is the handshake
//! ([`Hello`], [`Answer`]); its form is the same in every version of the protocol, and it begins with [`MAGIC`].
//!
//! Frames travel in batches, length-prefixed: as WebSocket messages ([`append_frame`], [`frames_of`]), and over plain
//! HTTP ([`FrameReader`]).

mod batch;
mod codec;
mod limits;
mod message;

pub use batch::{
    BatchHeader, ConnectionId, FrameReader, Frames, append_beginning, append_frame, append_parts,
    frames_of,
};
pub use codec::{
    Frame, WireError, decode, decode_handshake, encode, encode_handshake, encode_shared,
};
pub use limits::*;
pub use message::*;

#[cfg(test)]
mod tests;
