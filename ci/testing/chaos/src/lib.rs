//! Chaos: real relay processes that are killed and started again, a network that breaks, a disk that is full; and pages that
//! count what came of what they asked for.
//!
//! Each effect names its request, so that in the end the lists say how often each happened: exactly once where the page was
//! told that it is done, at most once where it was told that nobody knows, never where it was refused.
//!
//! The seed decides what happens to which connection and to the relay; what meets what depends on the machine's load too.
//! The relays' clocks jump, too, where there is `libfaketime`. That of Redis does not: its allocator and that library do not
//! go together.
//!
//! There are two forms: one relay with its data in a folder, whose disk is full now and then; and two relays over one Redis,
//! which is killed and stopped as well, and pages that come back to either.

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
