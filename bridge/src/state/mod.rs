//! The local tier: this host's copy of one user's state, shared by all functions of that user on the host.
//!
//! A [`Value`] is a byte array of fixed size that knows which of its bytes are on this host (`present`) and which were
//! written here and not yet sent to the global tier (`dirty`). Dirty bytes are always present.
//!
//! Rules, after Faasm's two-tier state:
//! * a read uses present bytes and pulls missing ones ([`Value::missing`]);
//! * pulled bytes fill gaps and never overwrite present bytes;
//! * an explicit pull replaces the whole copy, unsent writes included, except writes made since the pull was requested;
//! * a push takes the dirty bytes ([`LocalTier::take_dirty`]) and marks them dirty again if it fails;
//! * a partial push takes only dirty ranges, and the value it reads back replaces everything except dirty bytes and
//!   writes made meanwhile;
//! * for a value that is kept fresh the same holds, except that bytes sent since the request stay as well, and bytes
//!   written through a mapping (`absorbed`) until they are flagged, sent or pulled explicitly.
//!
//! The tier also holds the locks of this host's copies.
//!
//! A [`Meter`] limits its memory. At the limit, copies that are clean and not held by calls are evicted first
//! ([`LocalTier::evict`]), and pulled again when they are needed.

mod changed;
mod lock;
mod meter;
#[cfg(test)]
mod meter_tests;
mod pull;
#[cfg(test)]
mod tests;

pub use lock::{LockMode, LockOutcome, RunId, Ticket};
pub use meter::Meter;

use crate::sorted_map::SortedMap;
use bytes::Bytes;
use lock::Locks;
use meter::{Usage, entry_bytes, range_bytes};
use pull::Pulls;
use rangemap::RangeSet;
use std::ops::Range;
use std::task;
use thiserror::Error;

/// Most separate parts that a masked push sends.
const MAX_MASKED_PARTS: usize = 1 << 20;

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
    #[error("state `{key}` needs {bytes} bytes more than the memory budget allows: {why}")]
    OverBudget { key: String, bytes: u64, why: String },
    #[error(
        "the mask `{mask_key}` selects more than {MAX_MASKED_PARTS} separate parts of state `{key}`: push larger parts, or the whole value"
    )]
    TooFragmented { key: String, mask_key: String },
}

/// Consecutive bytes at an offset of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub offset: u64,
    pub bytes: Bytes,
}

impl Chunk {
    /// Position of the bytes in the value.
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.bytes.len() as u64
    }
}

/// A change of a value on this host, for its watchers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Bytes were written here.
    Written,
    /// Bytes arrived from the global tier.
    Pulled,
    /// Bytes written here were stored in the global tier.
    Pushed,
}

/// The local copy of one state value.
#[derive(Clone, Debug)]
pub struct Value {
    bytes: Vec<u8>,
    present: RangeSet<u64>,
    dirty: RangeSet<u64>,
    /// Present bytes that were written through a mapping and not flagged or replaced since.
    absorbed: RangeSet<u64>,
    /// The bytes for which this value is counted.
    counted: u64,
}

impl Value {
    fn new(size: u64) -> Self {
        let length = usize::try_from(size).expect("sizes are checked against MAX_VALUE_BYTES");
        let bytes = vec![0; length];
        let none = RangeSet::new;
        Self { bytes, present: none(), dirty: none(), absorbed: none(), counted: 0 }
    }

    /// Size in bytes, fixed for the life of the value.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The parts of `range` that are not present, in order.
    pub fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        if range.is_empty() { Vec::new() } else { self.present.gaps(&range).collect() }
    }

    /// The shortest range that contains every missing part of `range`, if any is missing.
    pub fn gap(&self, range: Range<u64>) -> Option<Range<u64>> {
        let missing = self.missing(range);
        Some(missing.first()?.start..missing.last()?.end)
    }

    /// The bytes of `range`; missing bytes read as zero, so check [`Value::missing`] first.
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

    /// Writes pulled bytes into gaps; present bytes are unchanged.
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

    /// Copies the bytes of `now`, read from a mapping, that differ from `before`. They become present, and dirty only
    /// when flagged. Returns their ranges in the value.
    fn absorb_changed(&mut self, offset: u64, now: &[u8], before: &[u8]) -> Vec<Range<u64>> {
        let whole = to_usize(offset..offset + now.len() as u64);
        let Some(target) = self.bytes.get_mut(whole) else { return Vec::new() };
        let changed = changed::copy_changed(target, now, before);
        let in_value = |range: Range<usize>| offset + range.start as u64..offset + range.end as u64;
        let changed: Vec<_> = changed.into_iter().map(in_value).collect();
        self.absorbed.extend(changed.iter().cloned());
        self.present.extend(changed.iter().cloned());
        changed
    }

    /// Overwrites the value except the ranges in `kept`; their dirty bits are unchanged.
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

    /// Marks bytes as dirty; missing bytes of `range` are ignored.
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
        let chunk = |range: Range<u64>| Chunk {
            offset: range.start,
            bytes: Bytes::copy_from_slice(self.read(range)),
        };
        ranges.map(chunk).collect()
    }

    fn counted_bytes(&self, key: &str) -> u64 {
        let ranges = self.present.len() + self.dirty.len() + self.absorbed.len();
        self.size() + entry_bytes(key) + range_bytes(ranges)
    }

    /// Whether the value has bytes that may not be in the global tier.
    fn is_unsent(&self) -> bool {
        !self.dirty.is_empty() || !self.absorbed.is_empty()
    }

    /// Whether the value has bytes to push.
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
    /// Keys whose changes are recorded.
    watched: Vec<String>,
    /// Changes of the watched keys; each kind once.
    changes: Vec<(String, Change)>,
    count: Usage,
    /// Keys whose copies are in use by calls, with the number of these calls.
    held: SortedMap<String, u32>,
}

impl LocalTier {
    /// An empty tier: every value must be pulled before it can be read.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty tier whose memory is limited by `meter`.
    pub fn metered(meter: Box<dyn Meter>) -> Self {
        Self { count: Usage::new(meter), ..Self::default() }
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.count.used()
    }

    /// Holds the copy of a key, whether or not it exists yet: it is not evicted until [`LocalTier::let_go`].
    pub(crate) fn hold(&mut self, key: &str) {
        *self.held.get_or_insert_with(key.to_owned(), || 0) += 1;
    }

    /// Undoes one [`LocalTier::hold`].
    pub(crate) fn let_go(&mut self, key: &str) {
        let Some(times) = self.held.get_mut(key) else { return };
        *times -= 1;
        if *times == 0 {
            self.held.remove(key);
        }
    }

    /// Evicts the copies that are clean and not held; returns the number of bytes freed.
    pub fn evict(&mut self) -> u64 {
        self.drop_unheld(|value| !value.is_unsent()).1
    }

    /// Drops the copies that are not held, including their unsent writes. Returns the keys of those with unsent writes,
    /// and the number of bytes freed.
    pub fn drop_unsent(&mut self) -> (Vec<String>, u64) {
        self.drop_unheld(|_| true)
    }

    fn drop_unheld(&mut self, is_given_up: impl Fn(&Value) -> bool) -> (Vec<String>, u64) {
        let (mut unsent, mut freed) = (Vec::new(), 0);
        let held = &self.held;
        self.values.retain(|key, value| {
            let is_given_up = !held.contains_key(key.as_str()) && is_given_up(value);
            if is_given_up {
                freed += value.counted;
                if value.is_unsent() {
                    unsent.push(key.clone());
                }
            }
            !is_given_up
        });
        self.count.shrink(freed);
        (unsent, freed)
    }

    /// Reserves so many more bytes; evicts copies if necessary.
    fn grow(&mut self, key: &str, bytes: u64) -> Result<(), StateError> {
        if !self.count.has(bytes) {
            self.evict();
        }
        let refused = |why| StateError::OverBudget { key: key.to_owned(), bytes, why };
        self.count.grow(bytes).map_err(refused)
    }

    /// Updates the bytes counted for a value after it changed.
    ///
    /// # Errors
    /// If it needs more bytes than are available; they are counted nevertheless.
    fn update_count(&mut self, key: &str) -> Result<(), StateError> {
        let Some(value) = self.values.get_mut(key) else { return Ok(()) };
        let (now, before) = (value.counted_bytes(key), value.counted);
        value.counted = now;
        if now <= before {
            self.count.shrink(before - now);
            return Ok(());
        }
        let bytes = now - before;
        let grown = self.count.grow(bytes);
        grown.map_err(|why| {
            self.count.grown(bytes);
            StateError::OverBudget { key: key.to_owned(), bytes, why }
        })
    }

    /// The local copy, if this host has one.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// The local copy; created with `size` missing bytes if there is none.
    ///
    /// # Errors
    /// If the value exists with another size, or `size` exceeds [`MAX_VALUE_BYTES`].
    pub fn open(&mut self, key: &str, size: u64) -> Result<&Value, StateError> {
        self.open_mut(key, size).map(|value| &*value)
    }

    fn open_mut(&mut self, key: &str, size: u64) -> Result<&mut Value, StateError> {
        if size > MAX_VALUE_BYTES {
            return Err(StateError::TooLarge { key: key.to_owned(), size });
        }
        if !self.values.contains_key(key) {
            let counted = size + entry_bytes(key);
            self.grow(key, counted)?;
            self.values.insert(key.to_owned(), Value { counted, ..Value::new(size) });
        }
        let value = self.values.get_or_insert_with(key.to_owned(), || Value::new(size));
        if value.size() != size {
            let (key, have) = (key.to_owned(), value.size());
            return Err(StateError::SizeMismatch { key, have, asked: size });
        }
        Ok(value)
    }

    /// Returns `offset..offset + length` after checking that it lies inside a value of `size` bytes.
    pub fn range(key: &str, size: u64, offset: u64, length: u64) -> Result<Range<u64>, StateError> {
        let range = offset..offset.saturating_add(length);
        if range.end > size {
            let key = key.to_owned();
            return Err(StateError::OutOfRange { key, start: range.start, end: range.end, size });
        }
        Ok(range)
    }

    /// Writes a chunk locally and marks it as dirty.
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
        self.update_count(key)
    }

    /// Adds pulled bytes; `size` is the size of the global value.
    pub fn fill(&mut self, key: &str, size: u64, chunk: &Chunk) -> Result<(), StateError> {
        Self::range(key, size, chunk.offset, chunk.bytes.len() as u64)?;
        self.open_mut(key, size)?.fill(chunk);
        self.note(key, Change::Pulled);
        self.update_count(key)
    }

    /// Adds the bytes that a read pulled; returns `false` if neither tier has the value.
    ///
    /// `size` is that of the global value, if it exists; bytes missing in the global tier read as zero.
    ///
    /// # Errors
    /// If the local value has another size.
    pub fn take_in(
        &mut self,
        key: &str,
        size: Option<u64>,
        chunk: &Chunk,
    ) -> Result<bool, StateError> {
        match (size, self.get(key).map(Value::size)) {
            (Some(size), _) => self.fill(key, size, chunk)?,
            (None, Some(size)) => {
                let zeros = Chunk { offset: 0, bytes: vec![0; size as usize].into() };
                self.fill(key, size, &zeros)?;
            }
            (None, None) => return Ok(false),
        }
        Ok(true)
    }

    /// Records that a run requests a whole value, for [`LocalTier::replace`] or [`LocalTier::refresh`].
    pub fn ask(&mut self, run: RunId, key: &str) {
        self.pulls.begin(run, key, false);
    }

    /// As [`LocalTier::ask`], for a value that is kept fresh: [`LocalTier::refresh`] also keeps bytes sent since.
    pub fn ask_to_keep_fresh(&mut self, run: RunId, key: &str) {
        self.pulls.begin(run, key, true);
    }

    /// Replaces the local copy by the result of an explicit pull, except bytes written here since it was requested.
    ///
    /// # Errors
    /// If the local value has another size.
    pub fn replace(&mut self, run: RunId, key: &str, bytes: &[u8]) -> Result<(), StateError> {
        let written = self.pulls.end(run, key);
        self.open_mut(key, bytes.len() as u64)?.replace(bytes, &written);
        self.note(key, Change::Pulled);
        self.update_count(key)
    }

    /// Marks bytes of an existing value as dirty.
    pub fn flag_dirty(
        &mut self,
        key: &str,
        size: u64,
        range: Range<u64>,
    ) -> Result<(), StateError> {
        Self::range(key, size, range.start, range.end.saturating_sub(range.start))?;
        self.open_mut(key, size)?.flag_dirty(range);
        self.update_count(key)
    }

    /// The bytes written here that no push has taken: of these [`LocalTier::restore_dirty`] is to mark again what a push that
    /// fails had taken. A push may send more than these.
    pub fn unsent(&self, key: &str) -> Vec<Range<u64>> {
        let Some(value) = self.values.get(key) else { return Vec::new() };
        let mut unsent = value.dirty.clone();
        unsent.extend(value.absorbed.iter().cloned());
        unsent.into_iter().collect()
    }

    /// What a whole push sends: every present byte of a dirty value, and the value's size; nothing when it is clean.
    ///
    /// The value is clean afterwards, so that the next push sends writes made during this one.
    pub fn take_dirty(&mut self, key: &str) -> Option<(u64, Vec<Chunk>)> {
        let value = self.values.get_mut(key).filter(|value| value.is_dirty())?;
        value.dirty = RangeSet::new();
        value.absorbed = RangeSet::new();
        let (size, chunks) = (value.size(), value.chunks(value.present.iter().cloned()));
        self.sent(key, &chunks);
        Some((size, chunks))
    }

    /// Takes the contents of a partial push: the dirty ranges, and the value's size; `None` if it is clean.
    ///
    /// The ranges are clean afterwards.
    pub fn take_dirty_ranges(&mut self, key: &str) -> Option<(u64, Vec<Chunk>)> {
        let value = self.values.get_mut(key).filter(|value| value.is_dirty())?;
        let dirty = std::mem::take(&mut value.dirty);
        for range in dirty.iter() {
            value.absorbed.remove(range.clone());
        }
        let (size, chunks) = (value.size(), value.chunks(dirty.iter().cloned()));
        self.sent(key, &chunks);
        Some((size, chunks))
    }

    /// Takes the contents of a masked push: the present bytes at which the mask's bytes are not zero.
    ///
    /// They are clean afterwards.
    ///
    /// # Errors
    /// If the value or the mask is not on this host, or the mask has another size.
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
                if masked.len() == MAX_MASKED_PARTS {
                    let (key, mask_key) = (key.to_owned(), mask_key.to_owned());
                    return Err(StateError::TooFragmented { key, mask_key });
                }
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
        self.sent(key, &chunks);
        Ok(Some((size, chunks)))
    }

    /// Records that parts of a value are being sent.
    fn sent(&mut self, key: &str, chunks: &[Chunk]) {
        self.pulls.sent(key, chunks);
        // Removing a part from a range can split it in two.
        let _ = self.update_count(key);
    }

    /// Copies the bytes of a mapping that differ from `before` into the value.
    pub fn absorb_changed(&mut self, key: &str, offset: u64, now: &[u8], before: &[u8]) {
        let Some(value) = self.values.get_mut(key) else { return };
        let changed = value.absorb_changed(offset, now, before);
        if changed.is_empty() {
            return;
        }
        changed.iter().for_each(|range| self.pulls.wrote(key, range));
        self.note(key, Change::Written);
        // The guest has written the bytes already, so they stay; its next write fails if the limit is exceeded.
        let _ = self.update_count(key);
    }

    /// Replaces the copy by the value that a partial push read back, except bytes that are dirty or were written here
    /// since the request. If the value is kept fresh, bytes written through a mapping stay as well: their run may still
    /// flag them.
    ///
    /// # Errors
    /// If the local value has another size.
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
        self.update_count(key)
    }

    /// Records that a push has been stored in the global tier.
    pub fn pushed(&mut self, key: &str) {
        self.note(key, Change::Pushed);
    }

    /// Sets the keys whose changes are recorded from now on.
    pub fn watch(&mut self, keys: Vec<String>) {
        self.watched = keys;
    }

    /// Takes the changes of the watched values since the last call, each kind of change once.
    pub fn take_changes(&mut self) -> Vec<(String, Change)> {
        std::mem::take(&mut self.changes)
    }

    fn note(&mut self, key: &str, change: Change) {
        let is_noted = |(noted, kind): &(String, Change)| noted == key && *kind == change;
        if self.watched.iter().any(|watched| watched == key) && !self.changes.iter().any(is_noted) {
            self.changes.push((key.to_owned(), change));
        }
    }

    /// A new id for a run that takes locks or requests values.
    pub fn new_run(&mut self) -> RunId {
        self.locks.new_run()
    }

    /// Requests the lock of a key, whether or not the value exists.
    ///
    /// # Errors
    /// If the memory limit allows no further lock.
    pub fn lock(
        &mut self,
        run: RunId,
        key: &str,
        mode: LockMode,
    ) -> Result<LockOutcome, StateError> {
        if !self.locks.has(key) {
            self.grow(key, entry_bytes(key))?;
        }
        Ok(self.locks.lock(run, key, mode))
    }

    /// Releases one lock; does nothing if the run does not hold it.
    pub fn unlock(&mut self, run: RunId, key: &str, mode: LockMode) {
        let freed = self.locks.unlock(run, key, mode);
        self.count.shrink(freed);
    }

    /// Ready once the requested lock is held.
    pub fn poll_lock(&mut self, ticket: Ticket, cx: &mut task::Context<'_>) -> task::Poll<()> {
        self.locks.poll(ticket, cx)
    }

    /// Releases all locks of a run that ended, and cancels its requests.
    pub fn release(&mut self, run: RunId) {
        self.pulls.release(run);
        let freed = self.locks.release(run);
        self.count.shrink(freed);
    }

    /// Marks what was [`unsent`](Self::unsent) before a push as dirty again, after that failed or was cut off.
    pub fn restore_dirty(&mut self, key: &str, ranges: &[Range<u64>]) {
        if let Some(value) = self.values.get_mut(key) {
            for range in ranges {
                value.flag_dirty(range.clone());
            }
            // As in `absorb_changed`.
            let _ = self.update_count(key);
        }
    }
}
