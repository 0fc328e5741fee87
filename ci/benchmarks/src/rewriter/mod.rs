//! The cost of the rewriter's output: size, time and build time, compared with Binaryen's own Asyncify.

mod artefact;
pub(crate) mod build;
mod column;
mod figures;
mod node;
pub(crate) mod optimise;
mod report;
mod run;
pub(crate) mod shapes;
mod size;
mod small;
pub(crate) mod suite;
mod unshim;
mod wasmtime;
mod workload;
