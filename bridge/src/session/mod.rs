//! The two ends of a session, as state machines without I/O and without a clock.
//!
//! A session outlives its connection. The client keeps every request until it has the reply, and the server keeps every
//! reply until it is acknowledged. After a reconnect the client sends its open requests again, and the server
//! recognises known ones by their id. So each request is performed once, however often the connection breaks.
//!
//! With a journal of started requests and their results a session also outlives the relay's process
//! ([`ServerSession::restore`]). A request that was started and has no result then has an unknown outcome, and is not
//! started again.
//!
//! Drivers pass received frames in (`receive`), take frames to send out (`transmit`, or `transmit_message` for a
//! WebSocket), and report when a connection opens and closes. [`ReconnectTimer`] decides when to connect and when to
//! give up.

mod client;
mod reconnect;
mod server;
mod watched;

pub use client::{ClientEvent, ClientSession, Phase};
pub use reconnect::{ReconnectTimer, Step};
pub use server::{
    InFlight, Outgoing, RecoveredSession, SHARED_BYTES, ServerEvent, ServerSession, greet,
    reply_frame,
};
pub use watched::Watching;

use crate::wire::{MAX_QUEUED_BYTES, MAX_QUEUED_REQUESTS, WireError};
use thiserror::Error;

/// Why a session cannot continue over this connection.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SessionError {
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The relay chose a version that was not offered.
    #[error("the relay chose version {version}, which was not offered")]
    Version { version: u16 },
    /// The relay's version does not have this request.
    #[error("the relay speaks a protocol version before {since}, which lacks this request")]
    TooNew { since: u16 },
    /// The queue for the next connection is full.
    #[error(
        "{MAX_QUEUED_REQUESTS} requests or {MAX_QUEUED_BYTES} bytes of requests are already queued for the next connection"
    )]
    QueueFull,
    /// The page sends requests and does not read the replies.
    #[error("the page does not read the replies")]
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
