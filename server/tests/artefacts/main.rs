//! What `faasm_asyncify::faasm` makes of functions: on a worker that ends where Faasm's would, and in the embedded cluster.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod embedded;
mod guests;
mod host;
mod lists;
mod memory;
mod modules;
mod random;
mod results;
mod values;
