//! The two ends of a session, as state machines without I/O and without a clock.
//!
//! A session outlives its connection. The client keeps every request until its reply is here, the server keeps every
//! reply until it is acknowledged; after a reconnect the client sends its open requests again and the server recognises
//! those it has by their id. So each request is performed once, however often the connection breaks.
//!
//! A session can also outlive the relay's process, with a journal of what was begun and what came of it
//! ([`ServerSession::restore`]). What was begun and has no result is then unknown, and not begun again.
//!
//! Drivers feed frames in (`receive`), take frames out (`transmit`, or for a WebSocket `transmit_message`), and say when a
//! connection comes and goes. When to
//! connect and when to give up is [`ReconnectTimer`]'s.

mod client;
mod reconnect;
mod server;
mod watched;

pub use client::{ClientEvent, ClientSession, Phase};
pub use reconnect::{ReconnectTimer, Step};
pub use server::{InFlight, RecoveredSession, ServerEvent, ServerSession, greet, reply_frame};
pub use watched::Watching;

use crate::wire::{MAX_QUEUED_BYTES, MAX_QUEUED_REQUESTS, WireError};
use thiserror::Error;

/// Why a session cannot go on over this connection.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SessionError {
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The peer chose a version that was not offered.
    #[error("the relay chose version {version}, which was not offered")]
    Version { version: u16 },
    /// The relay does not know such a request.
    #[error("the relay speaks a version of the protocol before {since}, which has no such request")]
    TooNew { since: u16 },
    /// Too much waits for a connection.
    #[error(
        "{MAX_QUEUED_REQUESTS} requests or {MAX_QUEUED_BYTES} bytes of them wait for the connection to come back"
    )]
    QueueFull,
    /// The page sends, and does not read what it is answered.
    #[error("the page does not read what it is answered")]
    NotReading,
}

#[cfg(test)]
mod durable_tests;
#[cfg(test)]
mod reconnect_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod watch_tests;
