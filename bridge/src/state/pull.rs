//! Whole values on their way from the global tier, and what this host writes to them meanwhile.
//!
//! A value is read in the global tier at some moment after it was asked for. What is written here after it was asked for may
//! be newer than that, so it stays: otherwise a run that writes and pushes would lose its write to another one that pulls.

use super::{Chunk, RunId};
use rangemap::RangeSet;
use std::ops::Range;

/// One value that a run waits for.
#[derive(Debug)]
struct Pull {
    run: RunId,
    key: String,
    /// What was written here since it was asked for, pushed by now or not.
    written: RangeSet<u64>,
    /// What is sent meanwhile counts as written, too: it may reach the global tier after the value was read there.
    keeps_sent: bool,
}

/// What is on its way; a run waits for one value at a time.
#[derive(Debug, Default)]
pub(super) struct Pulls(Vec<Pull>);

impl Pulls {
    /// A run asks for a value.
    pub(super) fn begin(&mut self, run: RunId, key: &str, keeps_sent: bool) {
        self.release(run);
        self.0.push(Pull { run, key: key.to_owned(), written: RangeSet::new(), keeps_sent });
    }

    /// Parts of a value are being sent to the global tier.
    pub(super) fn sent(&mut self, key: &str, chunks: &[Chunk]) {
        for pull in self.0.iter_mut().filter(|pull| pull.keeps_sent && pull.key == key) {
            pull.written.extend(chunks.iter().map(Chunk::range).filter(|range| !range.is_empty()));
        }
    }

    /// Bytes of a value were written here.
    pub(super) fn wrote(&mut self, key: &str, range: &Range<u64>) {
        if range.is_empty() {
            return;
        }
        for pull in self.0.iter_mut().filter(|pull| pull.key == key) {
            pull.written.insert(range.clone());
        }
    }

    /// Whether a run asks for a value to keep it fresh.
    pub(super) fn is_kept_fresh(&self, run: RunId, key: &str) -> bool {
        self.0.iter().any(|pull| pull.run == run && pull.key == key && pull.keeps_sent)
    }

    /// The value is here; what was written since the run asked for it.
    pub(super) fn end(&mut self, run: RunId, key: &str) -> RangeSet<u64> {
        let position = self.0.iter().position(|pull| pull.run == run && pull.key == key);
        position.map_or_else(RangeSet::new, |position| self.0.swap_remove(position).written)
    }

    /// The run waits no more.
    pub(super) fn release(&mut self, run: RunId) {
        self.0.retain(|pull| pull.run != run);
    }
}
