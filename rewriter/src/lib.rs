//! Builds Faasm functions for the browser.
//!
//! The input is a function as the cluster runs it: a WebAssembly module with blocking host calls. The output is two
//! artefacts, one for engines with JavaScript Promise Integration and one instrumented with Asyncify for all others,
//! and a manifest. Each stage takes bytes and returns bytes:
//!
//! 1. [`input`] rejects modules that are not Faasm functions, and re-encodes the drafts of SIMD and exceptions.
//! 2. [`normalise()`] gives the binaries of all toolchains the same shape. The cluster runs its output too.
//! 3. [`shim()`] splits each call that can wait: try, then suspend.
//! 4. `instrument` adds an unwind `buffer` and runs Binaryen's Asyncify in a child process.
//! 5. [`verify()`] checks the results against the normalised module.
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
//! Without the feature `cli`, which adds Binaryen and file access, the library has only what a cluster needs: the
//! stages up to `shim`.

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
