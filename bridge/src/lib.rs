//! The code that the rewriter, the browser runtime and the relay share, including the one implementation of each host
//! call.
//!
//! * [`host`]: the host-interface table. Every import a function can have is one row; import lists, import objects and
//!   linkers are generated from it.
//! * [`guest`]: the guest kernel. It gives each row its meaning, on any engine, without doing I/O: a blocking call goes
//!   to the driver as an [`guest::Operation`].
//! * [`state`]: the local tier of a user's state on one host.
//! * [`wire`] and [`session`]: what a page and a relay say to each other, and the state machines that keep it in order.
//! * [`entry`]: what the host calls of a function, and in which order.
//! * [`manifest`]: what a built function says of itself; [`names`]: how its functions are called in the source;
//!   [`faasm`]: what the relay and artefacts for a Faasm cluster agree on.
//! * [`ErrorCode`] and [`BuildCode`]: the stable codes of errors; `explain`: the page of each.
//! * [`placement`]: where chained calls run; [`residence`]: where state values live.
//!
//! Nothing here performs I/O, reads a clock, or depends on tokio or the browser. So both sides behave alike, and tests
//! step through everything in virtual time.

pub mod entry;
mod error_code;
#[cfg(not(target_family = "wasm"))]
pub mod explain;
pub mod faasm;
pub mod guest;
pub mod host;
pub mod manifest;
pub mod names;
pub mod placement;
pub mod residence;
pub mod session;
pub mod sorted_map;
pub mod state;
pub mod wire;

pub use error_code::{BuildCode, ErrorCode};
