//! The open database, and its replacement after its storage failed.
//!
//! After an I/O error redb rejects every operation, reads included, until it is reopened. So it is closed and reopened
//! at once, which makes redb return to its last commit. Then it rejects changes for a while: the cause of the failure
//! is likely to persist, and reads would wait for repeated reopening.

use crate::store::StoreError;
use redb::{Database, DatabaseError};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Minimum time from reopening a database to the next change, or to the next attempt to open it.
const REST: Duration = Duration::from_millis(200);

/// The same as a multiple of the time that reopening took: it is slow for a large database.
const REST_FACTOR: u32 = 10;

/// Minimum free disk space for a change, in addition to four times its size: redb writes a change beside the data that
/// it replaces. Leaves a little for the journal, which needs little.
const MIN_ROOM_BYTES: u64 = 8 * 1024 * 1024;

type Opening = Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

/// A handle to a database that may be open or closed.
pub(super) struct DatabaseHandle {
    current: RwLock<Current>,
    /// `None` for a database in memory.
    opening: Option<Opening>,
    /// The folder whose disk needs free space.
    folder: Option<PathBuf>,
}

struct Current {
    database: Option<Database>,
    /// Counts the databases opened so far.
    number: u64,
    rests_until: Option<Instant>,
}

impl Current {
    fn rests(&self) -> bool {
        self.rests_until.is_some_and(|until| Instant::now() < until)
    }
}

/// Why an operation failed.
pub(super) enum Failed {
    /// An error of the database with this number.
    Database(u64, redb::Error),
    /// The database could not be reopened.
    Closed(u64),
}

impl Failed {
    fn number(&self) -> u64 {
        match self {
            Failed::Database(number, _) | Failed::Closed(number) => *number,
        }
    }

    pub(super) fn reason(&self) -> String {
        match self {
            Failed::Database(_, error) => error.to_string(),
            Failed::Closed(_) => "its storage failed, and it could not be reopened yet".into(),
        }
    }

    /// Whether the database has to be reopened.
    pub(super) fn is_final(&self) -> bool {
        use redb::Error::{DatabaseClosed, Io, LockPoisoned, PreviousIo};
        match self {
            Failed::Database(_, error) => {
                matches!(error, DatabaseClosed | Io(_) | LockPoisoned(_) | PreviousIo)
            }
            Failed::Closed(_) => true,
        }
    }
}

impl std::fmt::Debug for DatabaseHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseHandle").finish_non_exhaustive()
    }
}

impl DatabaseHandle {
    pub(super) fn new(
        database: Database,
        opening: Option<Opening>,
        folder: Option<PathBuf>,
    ) -> Self {
        let current = Current { database: Some(database), number: 0, rests_until: None };
        Self { current: RwLock::new(current), opening, folder }
    }

    /// Runs an operation on the database.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, Failed> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = &current.database else { return Err(Failed::Closed(current.number)) };
        work(database).map_err(|error| Failed::Database(current.number, error))
    }

    /// Reads; if the storage failed, reopens the database and retries.
    pub(super) fn read<T>(
        &self,
        action: &'static str,
        work: impl Fn(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let failed = match self.with(&work) {
            Ok(read) => return Ok(read),
            Err(failed) => failed,
        };
        let read = match failed.is_final() && self.open_again(&failed) {
            true => self.with(&work),
            false => Err(failed),
        };
        read.map_err(|failed| StoreError::Backend { action, reason: failed.reason() })
    }

    /// Reopens the database; returns whether another one than the failed one is open.
    pub(super) fn open_again(&self, failed: &Failed) -> bool {
        let Some(opening) = &self.opening else { return false };
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.number != failed.number() {
            return current.database.is_some();
        }
        if current.rests() {
            return false;
        }
        tracing::warn!(reason = failed.reason(), "the store failed and is reopened");
        // The old database locks the file until it is dropped.
        current.database = None;
        let begun = Instant::now();
        let opened = opening();
        current.rests_until = Some(Instant::now() + REST + begun.elapsed() * REST_FACTOR);
        match opened {
            Ok(database) => {
                (current.database, current.number) = (Some(database), current.number + 1);
                true
            }
            Err(error) => {
                tracing::error!(%error, "the store cannot be reopened");
                false
            }
        }
    }

    /// Whether a change of this size can be tried now.
    pub(super) fn takes_changes(&self, bytes: usize) -> Result<(), String> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        if current.database.is_some() && current.rests() {
            return Err("its storage failed a moment ago".into());
        }
        let Some(free) = self.folder.as_deref().and_then(free_bytes) else { return Ok(()) };
        let needed = MIN_ROOM_BYTES.saturating_add(4 * bytes as u64);
        if free >= needed {
            return Ok(());
        }
        Err(format!(
            "its disk has {free} bytes left, and this change needs {needed}: free some space"
        ))
    }
}

/// Free space on the disk of a folder, if the system reports it.
fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}
