//! Chaos test: real relay processes that are killed and restarted, a network that breaks, a disk that fills up; and
//! pages that check the outcome of their requests.
//!
//! Each effect names its request, so the final lists say how often each happened: exactly once if the page was told
//! that it is done, at most once if its outcome is unknown, never if it was refused.
//!
//! The seed decides which faults hit which connection and relay; how they coincide also depends on the machine's load.
//! If `libfaketime` is installed, the relays' clocks jump as well. The clock of Redis does not: its allocator is
//! incompatible with that library.
//!
//! There are two forms: one relay with its data in a folder, whose disk is sometimes full; and two relays over one
//! Redis, which is also killed and paused, while pages reconnect to either relay.

pub mod campaign;
pub mod client;
pub mod clock;
pub mod disk;
pub mod faults;
pub mod functions;
pub mod ledger;
pub mod load;
pub mod proxy;
pub mod random;
pub mod relay;
pub mod report;
pub mod work;
