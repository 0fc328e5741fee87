//! The browser runtime: runs functions built by `faasm-asyncify` in a page or a worker.
//!
//! A blocking host call suspends the function and gives the thread back to the page; when what it waits for has arrived,
//! the function goes on. What the calls mean is decided by [`faasm_bridge::guest`], the same as in a cluster; this crate
//! drives it:
//!
//! * [`api`]: what pages see; its types are in `types.d.ts`.
//! * [`connection`]: one session with a relay, over a [`transport`].
//! * [`function`]: loading of functions, built ones and originals; [`version`] compares them with the cluster's.
//! * [`shared`]: what everything of one `Runtime` shares; [`tier`] is its state.
//! * [`chain`]: where the calls that functions chain run.
//! * [`run`]: one run, from instantiation to result, or until it is [`stop`]ped.
//! * [`host`]: the imports of a running function, whose calls arrive at [`entry`].
//! * [`engine`]: how a function is suspended and resumed.

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
