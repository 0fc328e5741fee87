//! The relay from outside: a real server on a free port, a WebSocket client, and the binary itself.

mod calls;
mod cli;
mod fixtures;
mod http;
mod sessions;
mod support;
