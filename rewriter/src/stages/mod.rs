//! The stages, each from bytes to bytes, in the order of [`crate::build()`].

pub(crate) mod clock_loop;
pub(crate) mod constructors;
pub(crate) mod draft_exceptions;
pub(crate) mod draft_simd;
pub(crate) mod fence;
pub mod input;
pub(crate) mod normalise;
pub(crate) mod shim;
pub(crate) mod storage;
pub(crate) mod verify;

#[cfg(feature = "cli")]
pub(crate) mod debug_info;
#[cfg(feature = "cli")]
pub(crate) mod emit;
