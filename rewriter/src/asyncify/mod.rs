//! Instrumentation with Asyncify: the analysis of what can suspend, outlining, frame sizes, and the unwind buffer.

pub(crate) mod analyse;
pub mod buffer;
pub(crate) mod frames;
pub(crate) mod instrument;
pub(crate) mod outline;
pub(crate) mod polish;
pub(crate) mod unsupported;
