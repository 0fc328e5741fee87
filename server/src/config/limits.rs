//! How much of everything a relay gives.

use crate::store::MAX_FILE_BYTES;
use faasm_bridge::wire::{MAX_FRAME_BYTES, MAX_OPEN_REQUESTS, MAX_PAYLOAD_BYTES};
use std::time::Duration;

/// Bounds of connections, sessions, users and what they send. Those in bytes can only narrow the protocol's.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Connections at once, WebSockets included. More of them wait to be accepted.
    pub connections: usize,
    /// Of these, from one IPv4 address or one IPv6 network of 64 bits. More of them are closed at once.
    pub connections_per_address: usize,
    /// Connections of sessions that one such address begins in a second, and at once after a pause; 0 is any number.
    pub handshakes_per_address: usize,
    /// Of a request's head.
    pub header_bytes: usize,
    /// For a request's head to arrive, and for a TLS handshake.
    pub header_time: Duration,
    /// Without any byte of a body that is to arrive.
    pub body_pause: Duration,
    /// For a body to arrive, besides what [`Limits::body_rate`] gives.
    pub body_time: Duration,
    /// Bytes of a body that give it another second.
    pub body_rate: usize,
    /// Without any byte taken by a peer that has something to take.
    pub write_pause: Duration,
    /// Of a frame of a page.
    pub frame_bytes: usize,
    /// Of a call's input.
    pub input_bytes: usize,
    /// Of a call's output, to a page.
    pub output_bytes: usize,
    /// Of a shared file that is uploaded.
    pub file_bytes: usize,
    /// Sessions, with and without a connection.
    pub sessions: usize,
    /// Of these, of one user.
    pub sessions_per_user: usize,
    /// Requests of one session that are not answered, or whose answer is not acknowledged.
    pub requests_per_session: usize,
    /// Calls of one session performed at once, and as many other requests; more of them wait.
    pub running_per_session: usize,
    /// Calls that one user begins in a second, and at once after a pause; 0 is any number.
    pub calls_per_second: usize,
    /// Calls of one user running at once; more of them wait.
    pub calls_per_user: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_address: 256,
            handshakes_per_address: 256,
            header_bytes: 64 * 1024,
            header_time: Duration::from_secs(15),
            body_pause: Duration::from_secs(30),
            body_time: Duration::from_secs(120),
            body_rate: 16 * 1024,
            write_pause: Duration::from_secs(60),
            frame_bytes: MAX_FRAME_BYTES,
            input_bytes: MAX_PAYLOAD_BYTES,
            output_bytes: MAX_PAYLOAD_BYTES,
            file_bytes: MAX_FILE_BYTES,
            sessions: 1024,
            sessions_per_user: 256,
            requests_per_session: MAX_OPEN_REQUESTS,
            running_per_session: 64,
            calls_per_second: 10_000,
            calls_per_user: 256,
        }
    }
}
