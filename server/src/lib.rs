//! The relay: forwards calls and state between web pages and a cluster.
//!
//! ```text
//!   page ──WebSocket── session ──┬── Cluster        runs functions        (embedded: wasmtime; a Faasm cluster)
//!   CLI  ──HTTP PUT─── http ─────┤── StateStore     the global tier       (redb)
//!                                ├── Journal        what outlives a relay (redb and a log)
//!                                ├── FileStore      files functions share (redb)
//!                                └── FunctionStore  originals             (redb)
//! ```
//!
//! * [`serve`]: serves on a bound listener until a shutdown future completes.
//! * [`cluster`]: the backends that run functions; they implement [`cluster::Cluster`].
//! * [`store`]: originals, state, shared files and the journal.
//! * [`budget`]: memory and disk budgets of users.
//! * [`auth`]: tokens, and the right that each operation needs.
//! * `session`: WebSocket and HTTP connections that drive the session state machine of `faasm-bridge`.
//! * [`settings`]: the configuration file, the environment and flags, for [`Config`].
//! * `http`: routes, static files, uploads, and the origin checks against other web sites.
//!
//! In another program, without HTTP: see [`cluster::embedded`].
//!
//! The semantics of host calls are in `faasm_bridge::guest`, which this crate only drives.

pub mod auth;
pub mod budget;
pub mod cluster;
mod config;
mod http;
mod integrity;
mod metrics;
mod net;
mod session;
pub mod store;
mod tls;

pub use config::{App, Config, Limits, Timings, settings};
pub use integrity::integrity;
pub use net::serve;
pub use tls::{Tls, TlsError};

/// Parses a body of `POST /` and drops it. Public for the fuzzer.
///
/// # Errors
/// The error that the relay would send.
#[doc(hidden)]
pub fn check_message(json: &[u8]) -> Result<(), String> {
    http::read_message(json).map(drop)
}

/// Parses a planner's response and returns whether it is valid. Public for the fuzzer.
#[doc(hidden)]
pub fn check_planner_answer(json: &[u8]) -> bool {
    cluster::faasm::check_answer(json)
}
