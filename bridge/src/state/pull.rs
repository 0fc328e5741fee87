//! Requests for whole values that are in progress, and the writes made on this host meanwhile.
//!
//! The global tier reads a value at some moment after the request. A write made here after the request may be newer
//! than that, so it stays: otherwise a run that writes and pushes would lose its write to the pull of another run.

use super::{Chunk, RunId};
use rangemap::RangeSet;
use std::ops::Range;

/// A value that a run has requested.
#[derive(Debug)]
struct Pull {
    run: RunId,
    key: String,
    /// Ranges written here since the request, whether or not they were pushed.
    written: RangeSet<u64>,
    /// Ranges sent meanwhile are treated as written, too: they may reach the global tier after the value was read
    /// there.
    keeps_sent: bool,
}

/// The requests in progress; a run has at most one.
#[derive(Debug, Default)]
pub(super) struct Pulls(Vec<Pull>);

impl Pulls {
    /// Records the request of a run.
    pub(super) fn begin(&mut self, run: RunId, key: &str, keeps_sent: bool) {
        self.release(run);
        self.0.push(Pull { run, key: key.to_owned(), written: RangeSet::new(), keeps_sent });
    }

    /// Records that parts of a value are being sent to the global tier.
    pub(super) fn sent(&mut self, key: &str, chunks: &[Chunk]) {
        for pull in self.0.iter_mut().filter(|pull| pull.keeps_sent && pull.key == key) {
            pull.written.extend(chunks.iter().map(Chunk::range).filter(|range| !range.is_empty()));
        }
    }

    /// Records that bytes of a value were written here.
    pub(super) fn wrote(&mut self, key: &str, range: &Range<u64>) {
        if range.is_empty() {
            return;
        }
        for pull in self.0.iter_mut().filter(|pull| pull.key == key) {
            pull.written.insert(range.clone());
        }
    }

    /// Whether a run has requested a value to keep it fresh.
    pub(super) fn is_kept_fresh(&self, run: RunId, key: &str) -> bool {
        self.0.iter().any(|pull| pull.run == run && pull.key == key && pull.keeps_sent)
    }

    /// Ends the request of a run; returns the ranges written since.
    pub(super) fn end(&mut self, run: RunId, key: &str) -> RangeSet<u64> {
        let position = self.0.iter().position(|pull| pull.run == run && pull.key == key);
        position.map_or_else(RangeSet::new, |position| self.0.swap_remove(position).written)
    }

    /// Cancels the request of a run.
    pub(super) fn release(&mut self, run: RunId) {
        self.0.retain(|pull| pull.run != run);
    }
}
