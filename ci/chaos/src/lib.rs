//! Chaos: real relay processes that are killed and started again, a network that breaks, a disk that is full; and pages that
//! count what came of what they asked for.
//!
//! Each effect names its request, so that in the end the lists say how often each happened: exactly once where the page was
//! told that it is done, at most once where it was told that nobody knows, never where it was refused.
//!
//! The seed decides what happens to which connection and to the relay; what meets what depends on the machine's load too.
//! A relay goes by monotonic time only, so clocks are left alone.

pub mod campaign;
pub mod client;
pub mod disk;
pub mod functions;
pub mod ledger;
pub mod load;
pub mod proxy;
pub mod random;
pub mod relay;
pub mod report;
pub mod work;
