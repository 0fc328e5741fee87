//! Stands in for a Faasm cluster where there is none: a planner with its workers and an upload server that say, to the letter, what
//! real ones were seen to say, their odd answers and their deaths included. What functions do is real: an embedded cluster runs them.
//!
//! * [`Planner`]: batches, their status, workers and their slots; it dies of what a real one dies of.
//! * [`Upload`]: functions, state and shared files; so does it.
//! * [`Engine`]: whose behaviour it is. As Faasm 0.29 with WAMR a worker is a process with executors, loaded code and state of its own,
//!   has the host calls that WAMR has, and dies of what ends a real one.
//! * [`Times`]: how long things take.
//! * [`Fault`]: what a test lets go wrong on the way of an answer.
//!
//! What is not here: MPI, threads, S3, the execution graph, and workers' state in memory instead of Redis.

mod calls;
mod fault;
mod host;
mod message;
mod planner;
mod record;
mod reply;
mod schedule;
mod server;
mod setup;
mod state;
mod upload;
mod wamr;
mod worker;

pub use fault::Fault;
pub use message::Asked;
pub use planner::Planner;
pub use setup::{Engine, Setup, Times};
pub use upload::Upload;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks; nothing panics while it holds one of these locks half-way through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
