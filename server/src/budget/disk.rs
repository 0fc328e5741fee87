//! What users keep on disk: a bound for each of them.
//!
//! A store counts it, in the transactions that change it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bound, and how often something was refused for it; clones are handles to the same.
#[derive(Clone, Debug)]
pub struct Disk {
    most: u64,
    refused: Arc<AtomicU64>,
}

/// So much is not to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverDisk {
    /// What was to be stored besides what there is, bytes.
    pub bytes: u64,
    /// What there is, bytes.
    pub used: u64,
    /// What there may be, bytes.
    pub most: u64,
}

impl std::error::Error for OverDisk {}

impl fmt::Display for OverDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, used, most } = self;
        write!(
            f,
            "this user keeps {used} of {most} bytes on disk, and {bytes} more were to be stored: clear lists, store less, or raise \
             budget.user_disk_bytes"
        )
    }
}

impl Default for Disk {
    /// No bound.
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

impl Disk {
    /// So many bytes for each user.
    pub fn new(most: u64) -> Self {
        Self { most, refused: Arc::default() }
    }

    /// Bytes for each user.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// Whether somebody who keeps `used` bytes may keep so many more.
    ///
    /// # Errors
    /// When they may not.
    pub fn check(&self, used: u64, bytes: u64) -> Result<(), OverDisk> {
        // What takes no more is no matter, also where the bound was lowered.
        if bytes == 0 || used.saturating_add(bytes) <= self.most {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(OverDisk { bytes, used, most: self.most })
    }

    /// How often something was refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}
