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
//!
//! A [`Meter`] bounds what it takes up. Where there is no more, copies that are clean and that no call uses are given up first
//! ([`LocalTier::evict`]), to be pulled again when they are asked for.

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
use lock::Locks;
use meter::{Count, entry_bytes, range_bytes};
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
    #[error("state `{key}` would take up {bytes} bytes more than there is room for: {why}")]
    OverBudget { key: String, bytes: u64, why: String },
    #[error(
        "the mask `{mask_key}` selects more than {MAX_MASKED_PARTS} separate parts of state `{key}`: push larger parts, or the whole value"
    )]
    TooFragmented { key: String, mask_key: String },
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
    /// What it is counted as.
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

    /// Takes those of `now`, bytes of a mapping, that differ from `before`: they are here, and dirty only once somebody says so.
    /// Gives where they are in the value.
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

    fn takes_up(&self, key: &str) -> u64 {
        let ranges = self.present.len() + self.dirty.len() + self.absorbed.len();
        self.size() + entry_bytes(key) + range_bytes(ranges)
    }

    /// Whether the global tier may lack something of it.
    fn is_unsent(&self) -> bool {
        !self.dirty.is_empty() || !self.absorbed.is_empty()
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
    count: Count,
    /// Keys whose copies calls use, and how many do.
    held: SortedMap<String, u32>,
}

impl LocalTier {
    /// An empty tier: everything read from it has to be pulled first.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with somebody who bounds what it takes up.
    pub fn metered(meter: Box<dyn Meter>) -> Self {
        Self { count: Count::new(meter), ..Self::default() }
    }

    /// What it takes up, bytes.
    pub fn used(&self) -> u64 {
        self.count.used()
    }

    /// A call uses the copy of a key, whether or not there is one yet: it is not given up until [`LocalTier::let_go`].
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

    /// Gives up the copies that are clean and that no call uses; gives how many bytes that frees.
    pub fn evict(&mut self) -> u64 {
        self.give_up(|value| !value.is_unsent()).1
    }

    /// Gives up the copies that no call uses, and with them what was written and not sent. Gives the keys of those of which
    /// something was not, and how many bytes it frees.
    pub fn drop_unsent(&mut self) -> (Vec<String>, u64) {
        self.give_up(|_| true)
    }

    fn give_up(&mut self, is_given_up: impl Fn(&Value) -> bool) -> (Vec<String>, u64) {
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

    /// Room for so many bytes more.
    fn grow(&mut self, key: &str, bytes: u64) -> Result<(), StateError> {
        if !self.count.has(bytes) {
            self.evict();
        }
        let refused = |why| StateError::OverBudget { key: key.to_owned(), bytes, why };
        self.count.grow(bytes).map_err(refused)
    }

    /// Counts a value again after it changed.
    ///
    /// # Errors
    /// When it takes up more than there is room for: it does all the same.
    fn settle(&mut self, key: &str) -> Result<(), StateError> {
        let Some(value) = self.values.get_mut(key) else { return Ok(()) };
        let (now, before) = (value.takes_up(key), value.counted);
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
        self.settle(key)
    }

    /// Takes in what a read pulled; `size` is the size of the global value.
    pub fn fill(&mut self, key: &str, size: u64, chunk: &Chunk) -> Result<(), StateError> {
        Self::range(key, size, chunk.offset, chunk.bytes.len() as u64)?;
        self.open_mut(key, size)?.fill(chunk);
        self.note(key, Change::Pulled);
        self.settle(key)
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
        self.settle(key)
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
        self.settle(key)
    }

    /// What a whole push sends: every present byte of a dirty value, and the value's size; nothing when it is clean.
    ///
    /// The value counts as clean from here on, so that writes made during the push are sent by the next one.
    pub fn take_dirty(&mut self, key: &str) -> Option<(u64, Vec<Chunk>)> {
        let value = self.values.get_mut(key).filter(|value| value.is_dirty())?;
        value.dirty = RangeSet::new();
        value.absorbed = RangeSet::new();
        let (size, chunks) = (value.size(), value.chunks(value.present.iter().cloned()));
        self.sent(key, &chunks);
        Some((size, chunks))
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
        let (size, chunks) = (value.size(), value.chunks(dirty.iter().cloned()));
        self.sent(key, &chunks);
        Some((size, chunks))
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

    /// Parts of a value are being sent.
    fn sent(&mut self, key: &str, chunks: &[Chunk]) {
        self.pulls.sent(key, chunks);
        // Taking a part out of a range makes two of it.
        let _ = self.settle(key);
    }

    /// Takes in what a mapping of the value has now, where that is not what it had before.
    pub fn absorb_changed(&mut self, key: &str, offset: u64, now: &[u8], before: &[u8]) {
        let Some(value) = self.values.get_mut(key) else { return };
        let changed = value.absorb_changed(offset, now, before);
        if changed.is_empty() {
            return;
        }
        changed.iter().for_each(|range| self.pulls.wrote(key, range));
        self.note(key, Change::Written);
        // The guest has written it: it stays, and is told with the next write that there is no room.
        let _ = self.settle(key);
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
        self.settle(key)
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
    ///
    /// # Errors
    /// When there is no room for another lock.
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

    /// Gives one lock back; one that the run does not hold is left alone.
    pub fn unlock(&mut self, run: RunId, key: &str, mode: LockMode) {
        let freed = self.locks.unlock(run, key, mode);
        self.count.shrink(freed);
    }

    /// Ready once the lock asked for is held.
    pub fn poll_lock(&mut self, ticket: Ticket, cx: &mut task::Context<'_>) -> task::Poll<()> {
        self.locks.poll(ticket, cx)
    }

    /// Gives back every lock of a run that ended, and what it waited for.
    pub fn release(&mut self, run: RunId) {
        self.pulls.release(run);
        let freed = self.locks.release(run);
        self.count.shrink(freed);
    }

    /// Undoes [`LocalTier::take_dirty`] after a failed push.
    pub fn restore_dirty(&mut self, key: &str, ranges: &[Range<u64>]) {
        if let Some(value) = self.values.get_mut(key) {
            for range in ranges {
                value.flag_dirty(range.clone());
            }
            // As in `absorb_changed`.
            let _ = self.settle(key);
        }
    }
}
