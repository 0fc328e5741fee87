//! The relay from outside: a real server on a free port, clients over both transports, and the binary itself.

// Clippy knows test functions, and not what they call.
#![allow(clippy::unwrap_used)]

mod access;
mod budgets;
mod builds;
mod calls;
mod cli;
mod client;
mod client_transport;
mod deploy;
mod durable;
mod extension;
mod faasm;
mod failures;
mod fetch;
mod files;
mod fixtures;
mod global_locks;
mod hostile;
mod http;
mod legacy;
mod limits;
mod locks;
mod log;
mod messages;
mod metrics;
mod process;
// The tests of `ci/testing/browser` use all of it.
#[allow(dead_code)]
mod proxy;
mod redis;
mod sessions;
mod settings;
mod state;
mod support;
mod tls;
mod tokens;
mod transports;
mod trees;
mod values;
mod watched;
