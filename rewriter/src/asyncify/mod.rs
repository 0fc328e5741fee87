//! Instrumentation with Asyncify: what can suspend, what Asyncify must not see, how much is unwound, the buffer for it.

pub(crate) mod analyse;
pub mod buffer;
pub(crate) mod frames;
pub(crate) mod instrument;
pub(crate) mod outline;
pub(crate) mod polish;
pub(crate) mod unsupported;
