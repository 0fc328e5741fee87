//! The open database, and another one in its place after its storage failed.
//!
//! After an input or output error redb refuses everything until it is opened again, reads included. So it is closed and
//! opened at once, on which redb goes back to its last commit. After that it takes no changes for a while: what made one fail
//! is likely to make the next one fail, and reads would wait for it to be opened again and again.

use crate::store::StoreError;
use redb::{Database, DatabaseError};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Least time between opening a database again and the next change, or the next attempt to open it.
const REST: Duration = Duration::from_millis(200);

/// The same, as a multiple of the time that opening took: a large database takes long.
const REST_FACTOR: u32 = 10;

/// Least room on the disk for a change, besides four times its own bytes: a change is written beside what it replaces.
/// A little is left for the journal, which needs little.
const MIN_ROOM_BYTES: u64 = 8 * 1024 * 1024;

type Opening = Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

/// Where a database is, whether or not it is open now.
pub(super) struct DatabaseHandle {
    current: RwLock<Current>,
    /// Not there for a database in memory.
    opening: Option<Opening>,
    /// Whose disk has to have room.
    folder: Option<PathBuf>,
}

struct Current {
    database: Option<Database>,
    /// Counts databases.
    number: u64,
    rests_until: Option<Instant>,
}

impl Current {
    fn rests(&self) -> bool {
        self.rests_until.is_some_and(|until| Instant::now() < until)
    }
}

/// Why something came to nothing.
pub(super) enum Failed {
    /// In the database, whose number it is.
    Database(u64, redb::Error),
    /// There is none, since it could not be opened again.
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
            Failed::Closed(_) => "its storage failed, and could not be opened again yet".into(),
        }
    }

    /// Whether the database is of no use any more.
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

    /// Does something with the database.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, Failed> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = &current.database else { return Err(Failed::Closed(current.number)) };
        work(database).map_err(|error| Failed::Database(current.number, error))
    }

    /// Reads, from another database if this one's storage failed.
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

    /// Opens the database again; whether there is another one than that which failed.
    pub(super) fn open_again(&self, failed: &Failed) -> bool {
        let Some(opening) = &self.opening else { return false };
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.number != failed.number() {
            return current.database.is_some();
        }
        if current.rests() {
            return false;
        }
        tracing::warn!(reason = failed.reason(), "the store failed; it is opened again");
        // It has the file locked until it is dropped.
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
                tracing::error!(%error, "the store cannot be opened again");
                false
            }
        }
    }

    /// Whether a change of so many bytes can be tried now.
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
        Err(format!("its disk has {free} bytes left, and this takes {needed}: make room"))
    }
}

/// What is free on the disk of a folder, if the system says.
fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}
