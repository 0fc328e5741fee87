//! Accounts for the memory of a local tier, and applies its limit.

use std::fmt::Debug;

/// Bytes counted for a value besides its contents and twice its key: the map entries of the copy, and of each lock.
const ENTRY_BYTES: u64 = 256;

/// Bytes counted for a range of present, unsent or mapped bytes.
const RANGE_BYTES: u64 = 64;

/// The limit of a local tier's memory, in bytes.
pub trait Meter: Debug + Send {
    /// Whether so many more bytes are available.
    fn has(&self, bytes: u64) -> bool;

    /// Reserves so many more bytes.
    ///
    /// # Errors
    /// The reason why they are not available, as text for people.
    fn grow(&mut self, bytes: u64) -> Result<(), String>;

    /// Counts so many more bytes that are in use already.
    fn grown(&mut self, bytes: u64);

    /// Releases so many bytes.
    fn shrink(&mut self, bytes: u64);
}

/// Bytes counted for a key before it has any contents.
pub(super) fn entry_bytes(key: &str) -> u64 {
    2 * key.len() as u64 + ENTRY_BYTES
}

/// Bytes counted for so many ranges.
pub(super) fn range_bytes(ranges: usize) -> u64 {
    ranges as u64 * RANGE_BYTES
}

/// The bytes in use by a tier, and its limit, if it has one.
#[derive(Debug, Default)]
pub(super) struct Usage {
    used: u64,
    meter: Option<Box<dyn Meter>>,
}

impl Usage {
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
