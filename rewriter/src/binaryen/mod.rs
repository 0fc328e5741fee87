//! Binaryen, which runs in a child process, because it exits its process on what it calls a fatal error.

mod child;
mod process;

pub use child::{Job, Run};
pub use process::Binaryen;
pub(crate) use process::BinaryenProcess;
