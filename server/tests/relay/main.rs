//! The relay from outside: a real server on a free port, a WebSocket client, and the binary itself.

// Clippy knows test functions, and not what they call.
#![allow(clippy::unwrap_used)]

mod calls;
mod cli;
mod failures;
mod files;
mod fixtures;
mod http;
mod legacy;
mod locks;
mod sessions;
mod state;
mod support;
