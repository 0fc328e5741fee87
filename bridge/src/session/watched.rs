//! The state values that a session is told of, on the relay's end.
//!
//! What changes while the page is slow, or away, is told once: a key is told, or to be told, or neither. What was told over a
//! connection may not have arrived, so it is told again over the next one.

use crate::wire::{MAX_WATCHED, MAX_WATCHED_BYTES};
use std::collections::BTreeMap;

/// What came of asking to be told of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watching {
    /// It was asked for before.
    GoesOn,
    Begins,
    /// There are [`MAX_WATCHED`] already, or their keys are too long.
    TooMany,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Quiet,
    /// It changed, and the page is not told yet.
    Changed,
    /// It changed, and the page was told over this connection.
    Told,
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

    /// A value was written; whether that is to be told, and is not about to be.
    pub(super) fn changed(&mut self, key: &str) -> bool {
        let state = self.keys.get_mut(key);
        state.is_some_and(|state| std::mem::replace(state, State::Changed) != State::Changed)
    }

    /// Whether a change is still to be told.
    pub(super) fn is_changed(&self, key: &str) -> bool {
        self.keys.get(key) == Some(&State::Changed)
    }

    pub(super) fn told(&mut self, key: &str) {
        if let Some(state) = self.keys.get_mut(key) {
            *state = State::Told;
        }
    }

    /// There is another connection: what is to be told over it.
    pub(super) fn tell_again(&mut self) -> Vec<String> {
        let changed = self.keys.iter_mut().filter(|(_, state)| **state != State::Quiet);
        changed
            .map(|(key, state)| {
                *state = State::Changed;
                key.clone()
            })
            .collect()
    }
}
