//! Builds Faasm functions for the browser.
//!
//! The input is a function as the cluster runs it: a WebAssembly module with blocking host calls. The output is two
//! artefacts, one for engines with JavaScript Promise Integration and one instrumented with Asyncify for all others,
//! and a manifest. Each stage takes bytes and returns bytes:
//!
//! 1. [`input`] refuses what is no function, and gives the draft SIMD of 2019 today's encoding.
//! 2. [`normalise()`] gives all toolchains' binaries one shape. What comes out runs in the cluster too.
//! 3. [`shim()`] makes of each call that can wait: try, then suspend.
//! 4. `instrument` adds an unwind `buffer` and Asyncify: our own pass, or Binaryen's in a child process.
//! 5. [`verify()`] checks the results against what came in.
//! 6. `emit` writes them.
//!
//! ```
//! # fn main() -> Result<(), faasm_asyncify::Error> {
//! // (module (memory 1) (func (export "_start")))
//! let wasm = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x05\x03\x01\0\x01\x07\x0a\x01\x06_start\0\0\x0a\x04\x01\x02\0\x0b";
//! let function = faasm_asyncify::normalise(wasm)?;
//! assert_eq!(function.entry.main, ["_start"]);
//! # Ok(())
//! # }
//! ```
//!
//! Without the feature `cli`, which brings file access, there is what a cluster needs: up to `shim`. The feature `binaryen` brings
//! Binaryen, which is C++; all but its Asyncify and `-O2` works without.

#[cfg(feature = "cli")]
mod asyncify;
mod error;
pub mod faasm;
mod module;
#[cfg(feature = "cli")]
mod own;
mod report;
mod stages;

#[cfg(feature = "cli")]
pub mod binaryen;
#[cfg(feature = "cli")]
mod build;

#[cfg(feature = "cli")]
pub use asyncify::buffer;
pub use error::Error;
pub use module::bounds::Bounds;
pub use module::features;
pub use module::provider::Provider;
pub use report::warning::Warning;
pub use stages::input;
pub use stages::normalise::{Normalised, normalise};
pub use stages::shim::{SUSPEND, shim};
pub use stages::verify::{ASYNCIFY_EXPORTS, Made, verify};

#[cfg(feature = "cli")]
pub use asyncify::analyse::{Bound, CallKind, Reach, Step, why};
#[cfg(feature = "cli")]
pub use asyncify::instrument::{
    Instrumentation, Instrumented, Unwinding, by_default, instrument, optimize,
};
#[cfg(feature = "cli")]
pub use binaryen::Binaryen;
#[cfg(feature = "cli")]
pub use build::{Built, CLUSTER_ENDING, ForFaasm, Options, Stage, build, integrity};
#[cfg(feature = "cli")]
pub use report::callgraph::callgraph;
#[cfg(feature = "cli")]
pub use report::inspect::{Report, inspect};
#[cfg(feature = "cli")]
pub use stages::debug_info::DebugInfo;
#[cfg(feature = "cli")]
pub use stages::emit::{Files, emit};

/// Import module of everything the shim adds.
pub const BRIDGE_MODULE: &str = "faasm_bridge";
