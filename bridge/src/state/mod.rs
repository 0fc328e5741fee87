//! The local tier: this host's copy of one user's state, shared by all functions of that user on the host.
//!
//! A [`Value`] is a byte array of fixed size that knows which of its bytes are here (`present`) and which were written
//! here and not yet sent to the global tier (`dirty`). What is dirty is always present.
//!
//! Rules, after Faasm's two-tier state:
//! * a read takes what is present and names what is missing ([`Value::missing`]);
//! * bytes that arrive for a read fill gaps and never overwrite what is present;
//! * an explicit pull replaces the whole copy, unsent writes included, but not those made since it was asked for;
//! * a push takes the dirty bytes ([`LocalTier::take_dirty`]) and gives them back when it fails;
//! * a partial push takes only those, and what it reads back afterwards replaces everything but such writes;
//! * a value that is kept fresh is replaced so as well, all but what was written or sent since it was asked for, and what was
//!   written through a mapping (`absorbed`) until it is flagged, sent or pulled explicitly.
//!
//! The tier also holds the locks of this host's copies.

mod lock;
mod pull;
#[cfg(test)]
mod tests;

pub use lock::{LockMode, LockOutcome, RunId, Ticket};

use crate::sorted_map::SortedMap;
use lock::Locks;
use pull::Pulls;
use rangemap::RangeSet;
use std::ops::Range;
use std::task;
use thiserror::Error;

/// Largest state value, bytes.
pub const MAX_VALUE_BYTES: u64 = 1 << 30;

/// Why an access to the local tier is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StateError {
    #[error(
        "state `{key}` has {have} bytes, the call says {asked}; a value keeps the size of its first access"
    )]
    SizeMismatch { key: String, have: u64, asked: u64 },
    #[error("bytes {start}..{end} lie outside state `{key}`, which has {size} bytes")]
    OutOfRange { key: String, start: u64, end: u64, size: u64 },
    #[error("state `{key}` is not on this host: read or write it first")]
    NotHere { key: String },
    #[error("state `{key}` would have {size} bytes; at most {MAX_VALUE_BYTES} are allowed")]
    TooLarge { key: String, size: u64 },
}

/// A run of bytes at its place in a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub offset: u64,
    pub bytes: Vec<u8>,
}

impl Chunk {
    /// Where the bytes lie in the value.
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.bytes.len() as u64
    }
}

/// What happened to a value on this host, for those who watch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Bytes were written here.
    Written,
    /// Bytes of the global tier arrived.
    Pulled,
    /// Bytes written here reached the global tier.
    Pushed,
}

/// The local copy of one state value.
#[derive(Clone, Debug)]
pub struct Value {
    bytes: Vec<u8>,
    present: RangeSet<u64>,
    dirty: RangeSet<u64>,
    /// Present bytes that were written through a mapping, and neither flagged nor replaced since.
    absorbed: RangeSet<u64>,
}

impl Value {
    fn new(size: u64) -> Self {
        let length = usize::try_from(size).expect("sizes are checked against MAX_VALUE_BYTES");
        let bytes = vec![0; length];
        Self { bytes, present: RangeSet::new(), dirty: RangeSet::new(), absorbed: RangeSet::new() }
    }

    /// Size in bytes, fixed for the life of the value.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The parts of `range` that are not here, in order.
    pub fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        if range.is_empty() { Vec::new() } else { self.present.gaps(&range).collect() }
    }

    /// The shortest range that holds every missing part of `range`, if any part is.
    pub fn gap(&self, range: Range<u64>) -> Option<Range<u64>> {
        let missing = self.missing(range);
        Some(missing.first()?.start..missing.last()?.end)
    }

    /// The bytes of `range`; what is missing reads as zero, so ask [`Value::missing`] first.
    pub fn read(&self, range: Range<u64>) -> &[u8] {
        &self.bytes[to_usize(range)]
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        let range = offset..offset + bytes.len() as u64;
        self.bytes[to_usize(range.clone())].copy_from_slice(bytes);
        if !range.is_empty() {
            self.present.insert(range.clone());
            self.absorbed.remove(range.clone());
            self.dirty.insert(range);
        }
    }

    /// Puts pulled bytes where nothing is yet; present bytes keep their value.
    fn fill(&mut self, chunk: &Chunk) {
        let range = chunk.range();
        for gap in self.missing(range.clone()) {
            let from = to_usize(gap.start - chunk.offset..gap.end - chunk.offset);
            self.bytes[to_usize(gap)].copy_from_slice(&chunk.bytes[from]);
        }
        if !range.is_empty() {
            self.present.insert(range);
        }
    }

    /// Takes bytes that were written through a mapping: they are here, and dirty only once somebody says so.
    fn absorb(&mut self, offset: u64, bytes: &[u8]) {
        let range = offset..offset + bytes.len() as u64;
        self.bytes[to_usize(range.clone())].copy_from_slice(bytes);
        if !range.is_empty() {
            self.present.insert(range.clone());
            self.absorbed.insert(range);
        }
    }

    /// Takes a whole value from the global tier, all but `kept`; what is there of that stays as dirty as it was.
    fn replace(&mut self, bytes: &[u8], kept: &RangeSet<u64>) {
        let whole = 0..self.size();
        if whole.is_empty() {
            return;
        }
        for part in kept.gaps(&whole).collect::<Vec<_>>() {
            self.dirty.remove(part.clone());
            self.absorbed.remove(part.clone());
            let part = to_usize(part);
            self.bytes[part.clone()].copy_from_slice(&bytes[part]);
        }
        self.present.insert(whole);
    }

    /// Marks bytes as changed; only present bytes can be, the rest of `range` is left alone.
    fn flag_dirty(&mut self, range: Range<u64>) {
        let here: Vec<_> = self.present.overlapping(&range).cloned().collect();
        for part in here {
            let (start, end) = (part.start.max(range.start), part.end.min(range.end));
            if start < end {
                self.absorbed.remove(start..end);
                self.dirty.insert(start..end);
            }
        }
    }

    fn chunks(&self, ranges: impl Iterator<Item = Range<u64>>) -> Vec<Chunk> {
        let chunk =
            |range: Range<u64>| Chunk { offset: range.start, bytes: self.read(range).to_vec() };
        ranges.map(chunk).collect()
    }

    /// Whether something waits to be pushed.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }
}

fn to_usize(range: Range<u64>) -> Range<usize> {
    let convert = |n: u64| usize::try_from(n).expect("values are bounded by MAX_VALUE_BYTES");
    convert(range.start)..convert(range.end)
}

/// The values of one user on this host, by key.
#[derive(Debug, Default)]
pub struct LocalTier {
    values: SortedMap<String, Value>,
    locks: Locks,
    pulls: Pulls,
    /// Keys whose changes are noted.
    watched: Vec<String>,
    /// What happened to them; each kind once.
    changes: Vec<(String, Change)>,
}

impl LocalTier {
    /// An empty tier: everything read from it has to be pulled first.
    pub fn new() -> Self {
        Self::default()
    }

    /// The local copy, if this host has touched the key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// The local copy, made empty with `size` bytes if there is none.
    ///
    /// # Errors
    /// When the value exists with another size, or `size` is above [`MAX_VALUE_BYTES`].
    pub fn open(&mut self, key: &str, size: u64) -> Result<&Value, StateError> {
        self.open_mut(key, size).map(|value| &*value)
    }

    fn open_mut(&mut self, key: &str, size: u64) -> Result<&mut Value, StateError> {
        if size > MAX_VALUE_BYTES {
            return Err(StateError::TooLarge { key: key.to_owned(), size });
        }
        let value = self.values.get_or_insert_with(key.to_owned(), || Value::new(size));
        if value.size() != size {
            let (key, have) = (key.to_owned(), value.size());
            return Err(StateError::SizeMismatch { key, have, asked: size });
        }
        Ok(value)
    }

    /// Checks that `offset..offset + length` lies inside a value of `size` bytes and gives it as a range.
    pub fn range(key: &str, size: u64, offset: u64, length: u64) -> Result<Range<u64>, StateError> {
        let range = offset..offset.saturating_add(length);
        if range.end > size {
            let key = key.to_owned();
            return Err(StateError::OutOfRange { key, start: range.start, end: range.end, size });
        }
        Ok(range)
    }

    /// Writes a chunk locally and marks it dirty.
    pub fn write(
        &mut self,
        key: &str,
        size: u64,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), StateError> {
        let range = Self::range(key, size, offset, bytes.len() as u64)?;
        self.open_mut(key, size)?.write(offset, bytes);
        self.pulls.wrote(key, &range);
        self.note(key, Change::Written);
        Ok(())
    }

    /// Takes in what a read pulled; `size` is the size of the global value.
    pub fn fill(&mut self, key: &str, size: u64, chunk: &Chunk) -> Result<(), StateError> {
        Self::range(key, size, chunk.offset, chunk.bytes.len() as u64)?;
        self.open_mut(key, size)?.fill(chunk);
        self.note(key, Change::Pulled);
        Ok(())
    }

    /// Puts what a read brought into the tier; `false` where neither tier has the value.
    ///
    /// `size` is that of the global value, if there is one; bytes that the global tier does not have read as zero.
    ///
    /// # Errors
    /// When the value has another size here.
    pub fn take_in(
        &mut self,
        key: &str,
        size: Option<u64>,
        chunk: &Chunk,
    ) -> Result<bool, StateError> {
        match (size, self.get(key).map(Value::size)) {
            (Some(size), _) => self.fill(key, size, chunk)?,
            (None, Some(size)) => {
                let zeros = Chunk { offset: 0, bytes: vec![0; size as usize] };
                self.fill(key, size, &zeros)?;
            }
            (None, None) => return Ok(false),
        }
        Ok(true)
    }

    /// A run asks the global tier for a whole value, for [`LocalTier::replace`] or [`LocalTier::refresh`].
    pub fn ask(&mut self, run: RunId, key: &str) {
        self.pulls.begin(run, key, false);
    }

    /// The same for a value that is kept fresh: [`LocalTier::refresh`] will keep what was sent since, too.
    pub fn ask_to_keep_fresh(&mut self, run: RunId, key: &str) {
        self.pulls.begin(run, key, true);
    }

    /// Replaces the local copy by what an explicit pull brought, all but what was written here since it was asked for.
    ///
    /// # Errors
    /// When the value has another size here.
    pub fn replace(&mut self, run: RunId, key: &str, bytes: &[u8]) -> Result<(), StateError> {
        let written = self.pulls.end(run, key);
        self.open_mut(key, bytes.len() as u64)?.replace(bytes, &written);
        self.note(key, Change::Pulled);
        Ok(())
    }

    /// Marks bytes of an existing value as changed.
    pub fn flag_dirty(
        &mut self,
        key: &str,
        size: u64,
        range: Range<u64>,
    ) -> Result<(), StateError> {
        Self::range(key, size, range.start, range.end.saturating_sub(range.start))?;
        self.open_mut(key, size)?.flag_dirty(range);
        Ok(())
    }

    /// What a whole push sends: every present byte of a dirty value, and the value's size; nothing when it is clean.
    ///
    /// The value counts as clean from here on, so that writes made during the push are sent by the next one.
    pub fn take_dirty(&mut self, key: &str) -> Option<(u64, Vec<Chunk>)> {
        let value = self.values.get_mut(key).filter(|value| value.is_dirty())?;
        value.dirty = RangeSet::new();
        value.absorbed = RangeSet::new();
        let chunks = value.chunks(value.present.iter().cloned());
        self.pulls.sent(key, &chunks);
        Some((value.size(), chunks))
    }

    /// What a partial push sends: the dirty ranges, and the value's size; nothing when it is clean.
    ///
    /// They count as clean from here on.
    pub fn take_dirty_ranges(&mut self, key: &str) -> Option<(u64, Vec<Chunk>)> {
        let value = self.values.get_mut(key).filter(|value| value.is_dirty())?;
        let dirty = std::mem::take(&mut value.dirty);
        for range in dirty.iter() {
            value.absorbed.remove(range.clone());
        }
        let chunks = value.chunks(dirty.iter().cloned());
        self.pulls.sent(key, &chunks);
        Some((value.size(), chunks))
    }

    /// What a masked push sends: the present bytes at which the mask's bytes are not zero.
    ///
    /// They count as clean from here on.
    ///
    /// # Errors
    /// When the value or the mask is not here, or the mask has another size.
    pub fn take_masked(
        &mut self,
        key: &str,
        mask_key: &str,
    ) -> Result<Option<(u64, Vec<Chunk>)>, StateError> {
        let missing = |key: &str| StateError::NotHere { key: key.to_owned() };
        let size = self.get(key).ok_or_else(|| missing(key))?.size();
        let mask = self.get(mask_key).ok_or_else(|| missing(mask_key))?;
        if mask.size() != size {
            let key = mask_key.to_owned();
            return Err(StateError::SizeMismatch { key, have: mask.size(), asked: size });
        }
        if !mask.missing(0..size).is_empty() {
            return Err(missing(mask_key));
        }
        let mut masked: RangeSet<u64> = RangeSet::new();
        let mut at = 0;
        for run in mask.read(0..size).chunk_by(|a, b| (*a == 0) == (*b == 0)) {
            let end = at + run.len() as u64;
            if run[0] != 0 {
                masked.insert(at..end);
            }
            at = end;
        }
        let Some(value) = self.values.get_mut(key) else { return Ok(None) };
        let taken: Vec<_> = masked.intersection(&value.present).collect();
        if taken.is_empty() {
            return Ok(None);
        }
        for range in &taken {
            value.dirty.remove(range.clone());
            value.absorbed.remove(range.clone());
        }
        let chunks = value.chunks(taken.into_iter());
        self.pulls.sent(key, &chunks);
        Ok(Some((size, chunks)))
    }

    /// Takes in bytes that were written through a mapping of the value.
    pub fn absorb(&mut self, key: &str, offset: u64, bytes: &[u8]) {
        if let Some(value) = self.values.get_mut(key) {
            value.absorb(offset, bytes);
            self.pulls.wrote(key, &(offset..offset + bytes.len() as u64));
            self.note(key, Change::Written);
        }
    }

    /// Takes in what a partial push read back, all but what was written here since it was asked for, or is unsent. Of a value
    /// that is kept fresh, what was written through a mapping stays, too: its run may flag it yet.
    ///
    /// # Errors
    /// When the value has another size by now.
    pub fn refresh(&mut self, run: RunId, key: &str, bytes: &[u8]) -> Result<(), StateError> {
        let is_kept_fresh = self.pulls.is_kept_fresh(run, key);
        let mut kept = self.pulls.end(run, key);
        let value = self.open_mut(key, bytes.len() as u64)?;
        kept.extend(value.dirty.iter().cloned());
        if is_kept_fresh {
            kept.extend(value.absorbed.iter().cloned());
        }
        value.replace(bytes, &kept);
        self.note(key, Change::Pulled);
        Ok(())
    }

    /// Says that a push has reached the global tier.
    pub fn pushed(&mut self, key: &str) {
        self.note(key, Change::Pushed);
    }

    /// Names the keys whose changes are noted from here on.
    pub fn watch(&mut self, keys: Vec<String>) {
        self.watched = keys;
    }

    /// What happened to the watched values since this was asked last, each kind of change once.
    pub fn take_changes(&mut self) -> Vec<(String, Change)> {
        std::mem::take(&mut self.changes)
    }

    fn note(&mut self, key: &str, change: Change) {
        let is_noted = |(noted, kind): &(String, Change)| noted == key && *kind == change;
        if self.watched.iter().any(|watched| watched == key) && !self.changes.iter().any(is_noted) {
            self.changes.push((key.to_owned(), change));
        }
    }

    /// A name for a run that takes locks, or asks for values.
    pub fn new_run(&mut self) -> RunId {
        self.locks.new_run()
    }

    /// Asks for the lock of a key, whether or not there is a value.
    pub fn lock(&mut self, run: RunId, key: &str, mode: LockMode) -> LockOutcome {
        self.locks.lock(run, key, mode)
    }

    /// Gives one lock back; one that the run does not hold is left alone.
    pub fn unlock(&mut self, run: RunId, key: &str, mode: LockMode) {
        self.locks.unlock(run, key, mode);
    }

    /// Ready once the lock asked for is held.
    pub fn poll_lock(&mut self, ticket: Ticket, cx: &mut task::Context<'_>) -> task::Poll<()> {
        self.locks.poll(ticket, cx)
    }

    /// Gives back every lock of a run that ended, and what it waited for.
    pub fn release(&mut self, run: RunId) {
        self.pulls.release(run);
        self.locks.release(run);
    }

    /// Undoes [`LocalTier::take_dirty`] after a failed push.
    pub fn restore_dirty(&mut self, key: &str, ranges: &[Range<u64>]) {
        if let Some(value) = self.values.get_mut(key) {
            for range in ranges {
                value.flag_dirty(range.clone());
            }
        }
    }
}
