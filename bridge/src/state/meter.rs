//! What a local tier takes up, told to whoever bounds that.

use std::fmt::Debug;

/// What a value takes up besides its bytes, and twice its key: the copy has entries of its own, and so has each lock.
const ENTRY_BYTES: u64 = 256;

/// What a range of bytes that are present, unsent or written through a mapping takes up.
const RANGE_BYTES: u64 = 64;

/// Who bounds what a local tier takes up, bytes.
pub trait Meter: Debug + Send {
    /// Whether there is so much more.
    fn has(&self, bytes: u64) -> bool;

    /// So much more is about to be taken up.
    ///
    /// # Errors
    /// Why it may not be, for people.
    fn grow(&mut self, bytes: u64) -> Result<(), String>;

    /// So much more is taken up already.
    fn grown(&mut self, bytes: u64);

    /// So much less is taken up.
    fn shrink(&mut self, bytes: u64);
}

/// What there is for a key before anything is in it.
pub(super) fn entry_bytes(key: &str) -> u64 {
    2 * key.len() as u64 + ENTRY_BYTES
}

/// What so many ranges take up.
pub(super) fn range_bytes(ranges: usize) -> u64 {
    ranges as u64 * RANGE_BYTES
}

/// What a tier takes up, and who bounds it, if anybody does.
#[derive(Debug, Default)]
pub(super) struct Count {
    used: u64,
    meter: Option<Box<dyn Meter>>,
}

impl Count {
    pub(super) fn new(meter: Box<dyn Meter>) -> Self {
        Self { used: 0, meter: Some(meter) }
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    pub(super) fn has(&self, bytes: u64) -> bool {
        self.meter.as_ref().is_none_or(|meter| meter.has(bytes))
    }

    pub(super) fn grow(&mut self, bytes: u64) -> Result<(), String> {
        if let Some(meter) = &mut self.meter {
            meter.grow(bytes)?;
        }
        self.used += bytes;
        Ok(())
    }

    pub(super) fn grown(&mut self, bytes: u64) {
        if let Some(meter) = &mut self.meter {
            meter.grown(bytes);
        }
        self.used += bytes;
    }

    pub(super) fn shrink(&mut self, bytes: u64) {
        if let Some(meter) = &mut self.meter {
            meter.shrink(bytes);
        }
        self.used -= bytes;
    }
}
