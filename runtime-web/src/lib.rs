//! The browser runtime: runs functions built by `faasm-asyncify` in a page or a worker.
//!
//! A blocking host call suspends the function and returns the thread to the page; the function resumes when the
//! operation completes. [`faasm_bridge::guest`] gives the calls their meaning, as it does in a cluster; this crate is
//! its driver:
//!
//! * [`api`]: the JavaScript API; its types are in `types.d.ts`.
//! * [`connection`]: a session with a relay, over a [`transport`].
//! * [`function`]: loads functions, built ones and originals; [`version`] compares them with the cluster's.
//! * [`shared`]: the resources of one `Runtime`; [`tier`] is its local tier.
//! * [`chain`]: placement and execution of chained calls.
//! * [`run`]: one run, from instantiation to its result or its cancellation ([`cancel`]).
//! * [`host`]: the imports of a run's instance; host calls enter at [`entry`].
//! * [`engine`]: suspends and resumes functions.

pub mod api;
mod cancel;
mod chain;
mod connection;
mod engine;
pub mod entry;
mod error;
mod function;
mod global;
mod host;
mod object;
mod pins;
mod run;
mod shared;
mod tier;
mod transport;
mod version;
