//! Stands in for a Faasm cluster where there is none: a planner and an upload server that say, to the letter, what real ones were
//! seen to say, their odd answers and their deaths included. What functions do is real: an embedded cluster runs them.
//!
//! * [`Planner`]: batches, their status, workers and their slots; it dies of what a real one dies of.
//! * [`Upload`]: functions, state and shared files.
//! * [`Fault`]: what a test lets go wrong on the way of an answer.
//!
//! What is not here: MPI, threads, several hosts' memories, the execution graph. And what the sources of Faasm say, but nobody
//! has observed, is a switch: [`Ways`].

mod fault;
mod message;
mod planner;
mod reply;
mod server;
mod upload;

pub use fault::Fault;
pub use message::Asked;
pub use planner::{Planner, Setup, Ways};
pub use upload::Upload;
