//! Limits of a relay.

use crate::store::MAX_FILE_BYTES;
use faasm_bridge::wire::{MAX_FRAME_BYTES, MAX_OPEN_REQUESTS, MAX_PAYLOAD_BYTES};
use std::time::Duration;

/// Limits of connections, sessions, users and their data. Limits in bytes can only be lower than the protocol's.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Open connections, including WebSockets. Further ones wait to be accepted.
    pub connections: usize,
    /// Open connections from one IPv4 address or one IPv6 /64 network. Further ones are closed at once.
    pub connections_per_address: usize,
    /// Handshakes of sessions per second from one such address, and the burst after a pause; 0 is unlimited.
    pub handshakes_per_address: usize,
    /// Size of a request's headers.
    pub header_bytes: usize,
    /// Time limit for receiving a request's headers, and for a TLS handshake.
    pub header_time: Duration,
    /// Time limit for the next byte of a request body.
    pub body_pause: Duration,
    /// Time limit for receiving a body, extended by [`Limits::body_rate`].
    pub body_time: Duration,
    /// Bytes of a body that extend its time limit by one second.
    pub body_rate: usize,
    /// Time limit for a peer to accept the next byte of pending data.
    pub write_pause: Duration,
    /// Size of a frame from a page.
    pub frame_bytes: usize,
    /// Size of a call's input.
    pub input_bytes: usize,
    /// Size of a call's output to a page.
    pub output_bytes: usize,
    /// Size of an uploaded shared file.
    pub file_bytes: usize,
    /// Sessions, with and without a connection.
    pub sessions: usize,
    /// Sessions of one user.
    pub sessions_per_user: usize,
    /// Requests of one session that have no reply, or whose reply is not acknowledged.
    pub requests_per_session: usize,
    /// Concurrent calls of one session, and as many other concurrent requests; further ones wait.
    pub running_per_session: usize,
    /// Calls per second of one user, and the burst after a pause; 0 is unlimited.
    pub calls_per_second: usize,
    /// Concurrent calls of one user; further ones wait.
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
