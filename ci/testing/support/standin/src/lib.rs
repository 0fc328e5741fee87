//! A stand-in for a Faasm cluster: a planner with its workers, and an upload server. They answer word for word as real
//! ones were observed to answer, including their faulty answers and crashes. The functions really run, in an embedded
//! cluster.
//!
//! * [`Planner`]: batches, their status, workers and their slots; it crashes where a real planner crashes.
//! * [`Upload`]: functions, state and shared files; it crashes likewise.
//! * [`Engine`]: the behaviour to emulate. As Faasm 0.29 with WAMR a worker is a process with executors, loaded code
//!   and state of its own, provides the host calls of WAMR, and crashes where a real worker crashes.
//! * [`Times`] has the durations.
//! * [`Fault`]: a fault that a test injects into an answer.
//!
//! Not emulated: MPI, threads, S3, the execution graph, and state in the workers' memory instead of Redis.

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

/// Locks a mutex. Nothing panics in the middle of a change while it holds one, so a poisoned mutex is consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
