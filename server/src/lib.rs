//! The relay: carries calls and state between web pages and a cluster.
//!
//! ```text
//!   page ──WebSocket── session ──┬── Cluster        runs functions        (embedded: wasmtime; a Faasm cluster)
//!   CLI  ──HTTP PUT─── http ─────┤── StateStore     the global tier       (redb)
//!                                ├── Journal        what outlives a relay (redb and a log)
//!                                ├── FileStore      files functions share (redb)
//!                                └── FunctionStore  originals             (redb)
//! ```
//!
//! * [`serve`] takes a bound listener, what to serve, and a future that ends it.
//! * [`cluster`]: where functions run. Backends implement [`cluster::Cluster`].
//! * [`store`]: where originals, state, shared files and the journal are kept.
//! * [`budget`]: memory that users make the relay hold.
//! * [`auth`]: tokens, and the right that each operation needs.
//! * `session`: connections, over WebSockets and plain HTTP, over the session state machine of `faasm-bridge`.
//! * [`settings`]: the configuration file, the environment and flags, for [`Config`].
//! * `http`: routes, static files, uploads, and the checks that keep other web sites out.
//!
//! In another program, without HTTP: see [`cluster::embedded`].
//!
//! What a host call means is not here: that is `faasm_bridge::guest`, which this crate only drives.

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

/// Reads a body of `POST /` and forgets it again. Public for the fuzzer, which has no relay around it.
///
/// # Errors
/// What the relay would answer.
#[doc(hidden)]
pub fn check_message(json: &[u8]) -> Result<(), String> {
    http::read_message(json).map(drop)
}

/// Reads what a planner answers, and whether it makes sense. Public for the fuzzer, which has no planner.
#[doc(hidden)]
pub fn check_planner_answer(json: &[u8]) -> bool {
    cluster::faasm::check_answer(json)
}
