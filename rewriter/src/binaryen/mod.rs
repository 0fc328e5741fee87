//! Binaryen, which ends its process on what it calls a fatal error: it runs in a child of ours.

mod child;
mod process;

pub use child::{Job, Run};
pub use process::Binaryen;
pub(crate) use process::BinaryenProcess;
