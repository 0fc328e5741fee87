//! Which errors of the rewriter are legitimate, and which are findings.

use faasm_asyncify::Error;
use std::fmt::Debug;

/// Whether the rewriter may reject a runnable function with this error.
///
/// Asyncify in Binaryen 116 does not support everything that a cluster can run; the rewriter must reject the rest with
/// an explanation of its own. Passing on Binaryen's error is not enough.
pub fn is_allowed(error: &Error) -> bool {
    matches!(
        error,
        Error::Unsupported { .. }
            | Error::Unreadable { .. }
            | Error::Feature { .. }
            | Error::NoRoom { .. }
            | Error::StackSize { .. }
    )
}

/// The name of an enum's variant, without its fields.
pub fn variant(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// Whether an error only reports an internal failure: Binaryen's own errors, and those that ask for a report.
pub fn is_unexplained(error: &Error) -> bool {
    matches!(
        error,
        Error::Binaryen { .. }
            | Error::BinaryenTimeout { .. }
            | Error::BinaryenMemory { .. }
            | Error::Changed { .. }
            | Error::NotInstrumented { .. }
            | Error::Rewrite { .. }
    )
}
