//! What a test lets go wrong with an answer.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What happens to the answer of one request. The request itself is performed, except where it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks off instead.
    Swallow,
    /// The connection breaks off, and the request is not performed.
    Refuse,
    /// It never comes.
    Hang,
    /// It comes this much later.
    Late(Duration),
    /// This comes instead.
    Instead(u16, String),
}

/// Faults that are still to happen, each to one request of a kind.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<(String, Fault)>>);

impl Faults {
    pub(crate) fn add(&self, kind: &str, fault: Fault) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((kind.to_owned(), fault));
    }

    /// The next one for this kind of request.
    pub(crate) fn take(&self, kind: &str) -> Option<Fault> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = all.iter().position(|(wanted, _)| wanted == kind)?;
        Some(all.remove(at).1)
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
