//! The code that the rewriter, the browser runtime and the relay share, including the one implementation of each host
//! call.
//!
//! * [`host`]: the host-interface table. Every import a function can have is one row; import lists, import objects and
//!   linkers are generated from it.
//! * [`guest`]: the guest kernel. It gives each row its meaning, on any engine, without doing I/O: a blocking call goes
//!   to the driver as an [`guest::Operation`].
//! * [`state`]: the local tier of a user's state on one host.
//! * [`wire`] and [`session`]: the protocol between page and relay, and the state machines of both ends.
//! * [`manifest`]: the description of a built function; [`names`]: the source names of its functions;
//!   [`faasm`]: the conventions between the relay and artefacts for a Faasm cluster.
//! * [`placement`]: where chained calls run; [`residence`]: where state values live.
//!
//! Nothing here performs I/O, reads a clock, or depends on tokio or the browser. So both sides behave alike, and tests
//! step through everything in virtual time.

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
