//! Faults that a test injects into answers.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What happens to the answer of one request. The request itself is performed unless stated otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection closes instead.
    Swallow,
    /// The connection closes, and the request is not performed.
    Refuse,
    /// The answer never arrives.
    Hang,
    /// The answer arrives after this delay.
    Late(Duration),
    /// This status and body replace the answer.
    Instead(u16, String),
}

/// Pending faults, each for one request of a kind.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<(String, Fault)>>);

impl Faults {
    pub(crate) fn add(&self, kind: &str, fault: Fault) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((kind.to_owned(), fault));
    }

    /// The next pending fault for this kind of request.
    pub(crate) fn take(&self, kind: &str) -> Option<Fault> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = all.iter().position(|(wanted, _)| wanted == kind)?;
        Some(all.remove(at).1)
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
