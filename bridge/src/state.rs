//! The local tier: this host's copy of one user's state, shared by all functions of that user on the host.
//!
//! A [`Value`] is a byte array of fixed size that knows which of its bytes are here (`present`) and which were written
//! here and not yet sent to the global tier (`dirty`). What is dirty is always present.
//!
//! Rules, after Faasm's two-tier state:
//! * a read takes what is present and names what is missing ([`Value::missing`]);
//! * bytes that arrive for a read fill gaps and never overwrite what is present;
//! * an explicit pull replaces the whole copy, unsent writes included;
//! * a push takes the dirty bytes ([`Value::take_dirty`]) and gives them back when it fails.

use rangemap::RangeSet;
use std::collections::BTreeMap;
use std::ops::Range;
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

/// The local copy of one state value.
#[derive(Clone, Debug)]
pub struct Value {
    bytes: Vec<u8>,
    present: RangeSet<u64>,
    dirty: RangeSet<u64>,
}

impl Value {
    fn new(size: u64) -> Self {
        let length = usize::try_from(size).expect("sizes are checked against MAX_VALUE_BYTES");
        Self { bytes: vec![0; length], present: RangeSet::new(), dirty: RangeSet::new() }
    }

    /// Size in bytes, fixed for the life of the value.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The parts of `range` that are not here, in order.
    pub fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        if range.is_empty() { Vec::new() } else { self.present.gaps(&range).collect() }
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

    /// Marks bytes as changed; only present bytes can be, the rest of `range` is left alone.
    fn flag_dirty(&mut self, range: Range<u64>) {
        let here: Vec<_> = self.present.overlapping(&range).cloned().collect();
        for part in here {
            let (start, end) = (part.start.max(range.start), part.end.min(range.end));
            if start < end {
                self.dirty.insert(start..end);
            }
        }
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
    values: BTreeMap<String, Value>,
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
        let value = self.values.entry(key.to_owned()).or_insert_with(|| Value::new(size));
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
        Self::range(key, size, offset, bytes.len() as u64)?;
        self.open_mut(key, size)?.write(offset, bytes);
        Ok(())
    }

    /// Takes in what a read pulled; `size` is the size of the global value.
    pub fn fill(&mut self, key: &str, size: u64, chunk: &Chunk) -> Result<(), StateError> {
        Self::range(key, size, chunk.offset, chunk.bytes.len() as u64)?;
        self.open_mut(key, size)?.fill(chunk);
        Ok(())
    }

    /// Replaces the local copy by what an explicit pull brought.
    pub fn replace(&mut self, key: &str, bytes: Vec<u8>) -> Result<(), StateError> {
        let value = self.open_mut(key, bytes.len() as u64)?;
        value.present = RangeSet::new();
        value.dirty = RangeSet::new();
        value.fill(&Chunk { offset: 0, bytes });
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
        let chunks = value
            .present
            .iter()
            .map(|range| Chunk { offset: range.start, bytes: value.read(range.clone()).to_vec() });
        Some((value.size(), chunks.collect()))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(offset: u64, bytes: &[u8]) -> Chunk {
        Chunk { offset, bytes: bytes.to_vec() }
    }

    #[test]
    fn the_first_access_fixes_the_size() {
        let mut tier = LocalTier::new();
        tier.write("k", 4, 0, b"abcd").unwrap();
        let error = tier.write("k", 5, 0, b"abcde").unwrap_err();
        assert_eq!(error, StateError::SizeMismatch { key: "k".into(), have: 4, asked: 5 });
        assert!(matches!(tier.open("big", MAX_VALUE_BYTES + 1), Err(StateError::TooLarge { .. })));
    }

    #[test]
    fn pulled_bytes_fill_gaps_only() {
        let mut tier = LocalTier::new();
        tier.write("k", 6, 2, b"XY").unwrap();
        assert_eq!(tier.get("k").unwrap().missing(0..6), vec![0..2, 4..6]);
        tier.fill("k", 6, &chunk(0, b"abcdef")).unwrap();
        assert_eq!(tier.get("k").unwrap().read(0..6), b"abXYef");
        assert!(tier.get("k").unwrap().missing(0..6).is_empty());
    }

    #[test]
    fn an_explicit_pull_replaces_unsent_writes() {
        let mut tier = LocalTier::new();
        tier.write("k", 3, 0, b"abc").unwrap();
        tier.replace("k", b"xyz".to_vec()).unwrap();
        assert_eq!(tier.get("k").unwrap().read(0..3), b"xyz");
        assert!(tier.take_dirty("k").is_none());
    }

    #[test]
    fn a_push_sends_what_is_present_and_can_be_undone() {
        let mut tier = LocalTier::new();
        tier.write("k", 6, 1, b"bc").unwrap();
        let (size, chunks) = tier.take_dirty("k").unwrap();
        assert_eq!((size, chunks.as_slice()), (6, &[chunk(1, b"bc")][..]));
        assert!(tier.take_dirty("k").is_none());
        let sent: Vec<_> = chunks.iter().map(Chunk::range).collect();
        tier.restore_dirty("k", &sent);
        assert_eq!(tier.take_dirty("k").unwrap().1, chunks);
    }

    #[test]
    fn ranges_outside_the_value_are_refused() {
        let mut tier = LocalTier::new();
        assert!(matches!(tier.write("k", 4, 3, b"ab"), Err(StateError::OutOfRange { .. })));
        assert!(matches!(
            LocalTier::range("k", 4, u64::MAX, 2),
            Err(StateError::OutOfRange { .. })
        ));
        assert!(tier.get("k").is_none());
    }
}
