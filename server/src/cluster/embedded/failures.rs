//! Failed chained calls of one call tree: the first are logged, the rest are counted.

use super::Printing;
use crate::cluster::failures::{Callee, MAX_NAMED, shown};
use faasm_bridge::explain::{link, with_link};
use faasm_bridge::wire::CallEntry;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// Shared by a call tree. The count of unlogged failures is logged when the last call ends.
pub(super) struct Failures {
    printing: Printing,
    user: String,
    /// The function of the root call.
    function: String,
    count: AtomicU64,
}

impl Failures {
    pub(super) fn new(printing: Printing, user: String, function: String) -> Self {
        Self { printing, user, function, count: AtomicU64::new(0) }
    }

    /// A call that `caller` chained has failed.
    pub(super) fn chained(
        &self,
        caller: &str,
        (function, entry): (&str, CallEntry),
        code: &str,
        reason: &str,
    ) {
        if self.count.fetch_add(1, Ordering::Relaxed) >= u64::from(MAX_NAMED) {
            return;
        }
        let (callee, reason) = (Callee(function, entry), shown(reason));
        match self.printing {
            Printing::Inherit => {
                let what =
                    format!("{caller}: its chained call of {callee} failed ({code}): {reason}");
                warn(&with_link(what, code));
            }
            Printing::Log | Printing::Capture(_) => {
                let user = &self.user;
                let see = link(code).unwrap_or_default();
                tracing::warn!(%user, function = %caller, %callee, code, reason, see, "a chained call failed");
            }
        }
    }
}

impl Drop for Failures {
    fn drop(&mut self) {
        let more = self.count.load(Ordering::Relaxed).saturating_sub(MAX_NAMED.into());
        if more == 0 {
            return;
        }
        let (user, function) = (&self.user, &self.function);
        match self.printing {
            Printing::Inherit => warn(&format!("{function}: {more} more chained calls failed")),
            Printing::Log | Printing::Capture(_) => {
                tracing::warn!(%user, %function, more, "more chained calls failed");
            }
        }
    }
}

/// A closed pipe is not an error.
fn warn(what: &str) {
    let _ = writeln!(std::io::stderr().lock(), "warning: {what}");
}
