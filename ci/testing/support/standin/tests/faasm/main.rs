//! The stand-in as Faasm 0.29 with WAMR: a test for each sentence of what was seen on a real cluster.

// Clippy knows test functions, and not what they call.
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
