//! Output for people: warnings, reports, the call graph.

pub(crate) mod warning;

#[cfg(feature = "cli")]
pub(crate) mod callgraph;
#[cfg(feature = "cli")]
pub(crate) mod inspect;
