//! The relay from outside: a real server on a free port, a WebSocket client, and the binary itself.

// Clippy knows test functions, and not what they call.
#![allow(clippy::unwrap_used)]

mod calls;
mod cli;
mod fixtures;
mod http;
mod sessions;
mod support;
