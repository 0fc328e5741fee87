//! The stand-in as Faasm 0.29 with WAMR: one test for each behaviour observed on a real cluster.

// Clippy exempts test functions, but not the functions they call.
#![allow(clippy::unwrap_used)]

mod artefacts;
mod chained;
mod deaths;
mod executors;
mod lenient;
mod planner;
mod results;
mod state;
mod support;
mod uploads;
