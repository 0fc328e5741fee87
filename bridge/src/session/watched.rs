//! The state values that a session watches, on the relay's end.
//!
//! Changes while the page is slow or away are notified once: a key is quiet, changed, or notified. A notification that was
//! sent over a lost connection may not have arrived, so it is sent again over the next one.

use crate::wire::{MAX_WATCHED, MAX_WATCHED_BYTES};
use std::collections::BTreeMap;

/// Result of a request to watch a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watching {
    /// The value was watched already.
    GoesOn,
    Begins,
    /// There are [`MAX_WATCHED`] already, or their keys are too long.
    TooMany,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Quiet,
    /// The value changed, and the notification is not sent yet.
    Changed,
    /// The value changed, and the notification was sent over this connection.
    Notified,
}

#[derive(Debug, Default)]
pub(super) struct Watched {
    keys: BTreeMap<String, State>,
    bytes: usize,
}

impl Watched {
    pub(super) fn begin(&mut self, key: &str) -> Watching {
        if self.keys.contains_key(key) {
            return Watching::GoesOn;
        }
        if self.keys.len() >= MAX_WATCHED || self.bytes + key.len() > MAX_WATCHED_BYTES {
            return Watching::TooMany;
        }
        self.bytes += key.len();
        self.keys.insert(key.to_owned(), State::Quiet);
        Watching::Begins
    }

    pub(super) fn end(&mut self, key: &str) {
        if self.keys.remove(key).is_some() {
            self.bytes -= key.len();
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// A value was written; returns whether a notification is to be queued, that is, none is queued yet.
    pub(super) fn changed(&mut self, key: &str) -> bool {
        let state = self.keys.get_mut(key);
        state.is_some_and(|state| std::mem::replace(state, State::Changed) != State::Changed)
    }

    /// Whether a notification is still to be sent.
    pub(super) fn is_changed(&self, key: &str) -> bool {
        self.keys.get(key) == Some(&State::Changed)
    }

    pub(super) fn notified(&mut self, key: &str) {
        if let Some(state) = self.keys.get_mut(key) {
            *state = State::Notified;
        }
    }

    /// A new connection was opened; returns the keys to notify over it.
    pub(super) fn notify_again(&mut self) -> Vec<String> {
        let changed = self.keys.iter_mut().filter(|(_, state)| **state != State::Quiet);
        changed
            .map(|(key, state)| {
                *state = State::Changed;
                key.clone()
            })
            .collect()
    }
}
