//! Where originals, state, shared files and the journal are kept: the traits, and what can go wrong.

mod bounded;
mod changes;
mod journal;
#[cfg(test)]
mod journal_laws;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod lock_laws;
mod locks;
mod redb;
mod redis;

pub use self::changes::Changes;
pub(crate) use self::changes::Hears;
pub use self::journal::{Change, Claim, IdempotencyRecord, Journal, SessionKey};
pub use self::locks::{
    Asked, HeldLock, Holder, LOCK_LEASE, LockStore, Locks, MAX_LOCK_WAITERS, MAX_LOCKS_OF_OWNER,
    Owner, Taker, Taking,
};
pub use self::redb::RedbStore;
pub use self::redis::{MAX_REDIS_VALUE_BYTES, RedisConfig, RedisStore};

use crate::budget::{Budget, OverDisk};
use faasm_bridge::faasm::RESERVED;
use faasm_bridge::state::{Chunk, StateError};
use faasm_bridge::wire::{FailureCode, MAX_PAYLOAD_BYTES, TRANSFER_BYTES};
use futures_util::future::BoxFuture;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// Longest element of a list, bytes.
pub const MAX_ELEMENT_BYTES: u64 = TRANSFER_BYTES;

/// Most bytes of a list's elements together; one reply carries a whole list.
pub const MAX_LIST_BYTES: u64 = MAX_PAYLOAD_BYTES as u64;

/// Most elements of a list.
pub const MAX_LIST_ELEMENTS: u32 = 1 << 20;

/// Largest shared file, bytes; one reply carries a whole file.
pub const MAX_FILE_BYTES: usize = MAX_PAYLOAD_BYTES;

/// Longest path of a shared file, bytes.
pub const MAX_PATH_BYTES: usize = 1024;

/// Why a store did not do what it was asked to.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The request does not fit the value.
    #[error(transparent)]
    State(#[from] StateError),
    /// An element longer than [`MAX_ELEMENT_BYTES`], or than this relay's cluster can read.
    #[error(
        "an element of {bytes} bytes for list `{key}`; at most {most} are allowed here: split it"
    )]
    ElementTooLong { key: String, bytes: u64, most: u64 },
    /// A key that the relay keeps for itself.
    #[error(
        "keys that begin with `{RESERVED}` belong to the relay, so `{key}` cannot be used: choose another key"
    )]
    Reserved { key: String },
    /// One element too many.
    #[error(
        "list `{key}` would have {elements} elements of {bytes} bytes together; at most {MAX_LIST_ELEMENTS} and {MAX_LIST_BYTES} are allowed: clear it"
    )]
    ListFull { key: String, elements: u32, bytes: u64 },
    /// A value longer than this relay keeps.
    #[error("state `{key}` would have {size} bytes; this relay keeps at most {most}")]
    ValueTooLong { key: String, size: u64, most: u64 },
    /// A value where a list is, or the other way round, in a store that has one place for both.
    #[error(
        "state `{key}` is {is}; this store keeps one of both under a key: use another key, or clear it"
    )]
    OtherKind { key: String, is: &'static str },
    /// A value of no bytes, in a store that has none.
    #[error(
        "state `{key}` would be empty, and this store has no empty values: give it at least one byte"
    )]
    EmptyValue { key: String },
    /// A user whose keys could be those of another one.
    #[error(
        "user `{user}` has an underscore in the name, and this store tells users apart by the first one of a key: use another name"
    )]
    UserName { user: String },
    /// The journal does not have the session, or not for this relay: what was asked for was not done.
    #[error("the session is not this relay's any more: {reason}")]
    SessionLost { reason: &'static str },
    /// A run asks for a lock that it holds.
    #[error("this run already holds the lock `{key}`: taking it again would wait forever")]
    Deadlock { key: String },
    /// A lock that is not held, or not any more.
    #[error("the run does not hold the lock of `{key}`, or not any more: its lease ran out")]
    LockLost { key: String },
    /// More locks, or more who wait for one, than there may be.
    #[error("the lock of `{key}` cannot be had: {reason}; try again later")]
    LocksFull { key: String, reason: &'static str },
    /// There are no locks here.
    #[error("there are no locks across the cluster here: {reason}")]
    NoLocks { reason: &'static str },
    /// More than a user may keep.
    #[error("it is not stored: {0}")]
    OverDisk(#[from] OverDisk),
    /// The storage itself failed, and nothing was changed.
    #[error("the store cannot {action}: {reason}")]
    Backend { action: &'static str, reason: String },
    /// The storage failed in the middle of a change, and whether it was made cannot be found out.
    #[error("the store failed while it was to {action}, and cannot tell whether it did: {reason}")]
    Uncertain { action: &'static str, reason: String },
}

impl StoreError {
    /// What a page is told the failure is; `None` where its session is another relay's, and nothing was done.
    pub(crate) fn code(&self) -> Option<FailureCode> {
        Some(match self {
            StoreError::State(_)
            | StoreError::ValueTooLong { .. }
            | StoreError::OtherKind { .. }
            | StoreError::EmptyValue { .. } => FailureCode::State,
            StoreError::ElementTooLong { .. }
            | StoreError::Reserved { .. }
            | StoreError::ListFull { .. }
            | StoreError::UserName { .. }
            | StoreError::Deadlock { .. }
            | StoreError::NoLocks { .. } => FailureCode::BadRequest,
            StoreError::LockLost { .. } => FailureCode::LockLost,
            StoreError::LocksFull { .. } => FailureCode::Busy,
            StoreError::OverDisk(_) => FailureCode::OverBudget,
            StoreError::Backend { .. } => FailureCode::Unavailable,
            StoreError::Uncertain { .. } => FailureCode::Unknown,
            StoreError::SessionLost { .. } => return None,
        })
    }
}

/// A function as the toolchain made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFunction {
    /// Content hash, as [`crate::integrity`] gives it.
    pub integrity: String,
    pub wasm: Vec<u8>,
}

/// Originals by user and name.
pub trait FunctionStore: Send + Sync {
    /// Whether others store functions here, too, so that what was found is to be looked up again.
    fn is_shared(&self) -> bool;

    /// Content hash of a function, if it is there.
    fn integrity<'a>(
        &'a self,
        user: &'a str,
        function: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>>;

    /// The function, if it is there.
    fn get<'a>(
        &'a self,
        user: &'a str,
        function: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredFunction>, StoreError>>;

    /// Stores a function in place of what was there; durable when it completes.
    fn put<'a>(
        &'a self,
        user: &'a str,
        function: &'a str,
        stored: StoredFunction,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// Part of a state value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRead {
    /// Size of the value, if there is one.
    pub size: Option<u64>,
    /// The bytes asked for, as far as they exist.
    pub chunk: Chunk,
}

/// The global tier of state, by user and key: values, of a size fixed by the first write, and, apart from them, lists.
///
/// A value has at most [`faasm_bridge::state::MAX_VALUE_BYTES`].
pub trait StateStore: Send + Sync {
    /// Reads `length` bytes from `offset`, to the end where `length` is `None`.
    fn read<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        offset: u64,
        length: Option<u64>,
    ) -> BoxFuture<'a, Result<StateRead, StoreError>>;

    /// Writes all chunks or none; durable when it completes. Bytes nobody wrote are zero.
    ///
    /// Dropping the future does not undo a write that has begun.
    fn write<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        size: u64,
        chunks: Vec<Chunk>,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Appends one element to a list; durable when it completes.
    fn append<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        element: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The first `count` elements of a list, or as many as there are, one after the other.
    fn read_appended<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        count: u32,
    ) -> BoxFuture<'a, Result<Vec<u8>, StoreError>>;

    /// At most so many bytes are what [`StateStore::read_appended`] gives: for whoever has to have memory for them first.
    fn appended_bytes<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        count: u32,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        let _ = (user, key, count);
        Box::pin(async { Ok(MAX_LIST_BYTES) })
    }

    /// Empties a list; durable when it completes.
    fn clear_appended<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// Files that functions of all users can read, by path; see [`is_valid_path`].
pub trait FileStore: Send + Sync {
    /// The file, if it is there; there is none where the path is not valid.
    fn read_file<'a>(&'a self, path: &'a str)
    -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>>;

    /// At most so many bytes are what [`FileStore::read_file`] gives, if there is a file: for whoever has to have memory for them
    /// first.
    fn file_bytes<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        let _ = path;
        Box::pin(async { Ok(Some(MAX_FILE_BYTES as u64)) })
    }

    /// Stores a file in place of what was there; durable when it completes. Path and size are checked by the caller.
    fn write_file<'a>(
        &'a self,
        path: &'a str,
        bytes: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// Whether `path` can name a shared file: names with `/` between them, none of them `.` or `..`, at most
/// [`MAX_PATH_BYTES`], without control characters and backslashes. `etc/hosts` is a path, `/etc/hosts` is none.
pub fn is_valid_path(path: &str) -> bool {
    path.len() <= MAX_PATH_BYTES
        && !path.chars().any(|c| c.is_control() || c == '\\')
        && path.split('/').all(|name| !matches!(name, "" | "." | ".."))
}

/// The stores of one cluster; clones are handles to the same ones.
#[derive(Clone)]
pub struct Stores {
    pub functions: Arc<dyn FunctionStore>,
    pub state: Arc<dyn StateStore>,
    pub files: Arc<dyn FileStore>,
    pub journal: Arc<dyn Journal>,
    /// In the same place as the journal, which releases the locks of a session that ends.
    pub locks: Locks,
    /// Who hears of values that are written; see [`Stores::telling`].
    pub changes: Arc<Changes>,
}

impl Stores {
    /// Everything in one store.
    pub fn in_one<S>(store: S) -> Self
    where
        S: FunctionStore + StateStore + FileStore + Journal + LockStore + 'static,
    {
        let store = Arc::new(store);
        let (functions, state, files) = (store.clone(), store.clone(), store.clone());
        let locks = Locks::new(store.clone(), LOCK_LEASE);
        Self { functions, state, files, journal: store, locks, changes: Arc::default() }
    }

    /// The same stores, with locks that last so long without being renewed.
    pub fn with_lock_lease(mut self, lease: Duration) -> Self {
        self.locks = self.locks.with_lease(lease);
        self
    }

    /// The same stores, where whatever is written through them is told to those who listen. For an [`App`](crate::App), around
    /// all that it writes with.
    pub fn telling(mut self) -> Self {
        self.state = Arc::new(changes::Telling::new(self.state, Arc::clone(&self.changes)));
        self.journal = Arc::new(changes::Telling::new(self.journal, Arc::clone(&self.changes)));
        self
    }

    /// Everything in memory, gone with the process.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn in_memory() -> Result<Self, StoreError> {
        RedbStore::in_memory().map(Self::in_one)
    }

    /// The same stores, with state values of at most so many bytes.
    pub fn with_values_up_to(mut self, most: u64) -> Self {
        self.state = Arc::new(bounded::Bounded::new(self.state, most));
        self.journal = Arc::new(bounded::BoundedJournal::new(self.journal, most));
        self
    }

    /// Everything in one Redis, which may be other relays', too; see [`RedisStore::connect`].
    ///
    /// # Errors
    /// When the address is wrong, or Redis cannot be used.
    pub async fn redis(config: &RedisConfig) -> Result<Self, StoreError> {
        let store = RedisStore::connect(config).await?;
        let changes = store.changes();
        Ok(Self { changes, ..Self::in_one(store) })
    }

    /// Everything in one database file, made if it is not there.
    ///
    /// # Errors
    /// When the file cannot be used, for one because another relay has it open.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        RedbStore::open(path).map(Self::in_one)
    }

    /// The same for a relay of so many sessions, of which the journal has room for twice as many: those that are carried,
    /// and as many that nobody came back to yet. The budget tells how much may wait to be written, and how much each user may
    /// keep.
    ///
    /// # Errors
    /// As [`Stores::open`].
    pub fn open_for(path: &Path, sessions: usize, budget: &Budget) -> Result<Self, StoreError> {
        RedbStore::open_for(path, sessions, budget).map(Self::in_one)
    }
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stores").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_form() {
        for good in ["a", "a/b.txt", ".hidden", "a b/ü", &"x".repeat(MAX_PATH_BYTES)] {
            assert!(is_valid_path(good), "{good}");
        }
        for bad in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "a/../b",
            "..",
            "a\\b",
            "a\0",
            "a\nb",
            &"x".repeat(MAX_PATH_BYTES + 1),
        ] {
            assert!(!is_valid_path(bad), "{bad}");
        }
    }
}
