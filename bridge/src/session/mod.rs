//! The two ends of a session, as state machines without I/O and without a clock.
//!
//! A session outlives its connection. The client keeps every request until its reply is here, the server keeps every
//! reply until it is acknowledged; after a reconnect the client sends its open requests again and the server recognises
//! those it has by their id. So each request is performed once, however often the connection breaks.
//!
//! Drivers feed frames in (`receive`), take frames out (`transmit`), and say when a connection comes and goes.

mod client;
mod server;

pub use client::{ClientEvent, ClientSession, Phase};
pub use server::{ServerEvent, ServerSession, greet};

use crate::wire::WireError;
use thiserror::Error;

/// Why a session cannot go on over this connection.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SessionError {
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The peer chose a version that was not offered.
    #[error("the relay chose version {version}, which was not offered")]
    Version { version: u16 },
}

#[cfg(test)]
mod tests;
