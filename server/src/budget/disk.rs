//! Disk space of users: a limit for each of them.
//!
//! A store counts the bytes of each user in the transactions that change them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The limit and the number of rejections; clones are handles to the same limit.
#[derive(Clone, Debug)]
pub struct Disk {
    most: u64,
    refused: Arc<AtomicU64>,
}

/// The user's disk space is exhausted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverDisk {
    /// Additional bytes to be stored.
    pub bytes: u64,
    /// Bytes in use.
    pub used: u64,
    /// Limit, bytes.
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
    /// Unlimited.
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

impl Disk {
    /// A limit of this many bytes per user.
    pub fn new(most: u64) -> Self {
        Self { most, refused: Arc::default() }
    }

    /// Limit per user, bytes.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// Checks whether a user who uses `used` bytes may store this many more.
    ///
    /// # Errors
    /// The limit would be exceeded.
    pub fn check(&self, used: u64, bytes: u64) -> Result<(), OverDisk> {
        // A change that needs no more space is allowed even above the limit, which may have been lowered.
        if bytes == 0 || used.saturating_add(bytes) <= self.most {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(OverDisk { bytes, used, most: self.most })
    }

    /// Number of rejections.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}
