//! Which errors of the rewriter are an answer, and which are a finding.

use faasm_asyncify::Error;
use std::fmt::Debug;

/// Whether a function that runs may be refused with this error.
///
/// Asyncify by Binaryen 116 does not know everything that runs in a cluster; whatever it does not know has to be refused
/// by an error of ours that says so. Binaryen's own word is not that.
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

/// The name of an enum's variant, without what it holds.
pub fn variant(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// Whether an error only says that something went wrong inside: Binaryen's own, and those that ask for a report.
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
