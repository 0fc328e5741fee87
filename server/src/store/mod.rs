//! Traits and errors of the stores of originals, state, shared files and the journal.

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
use self::changes::Writing;
pub use self::journal::{
    Change, Claim, IdempotencyRecord, Journal, SessionKey, SessionLog, SessionNotes, StateChanges,
};
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

/// Maximum size of a list's element, bytes.
pub const MAX_ELEMENT_BYTES: u64 = TRANSFER_BYTES;

/// Maximum total size of a list's elements, bytes; one reply carries a whole list.
pub const MAX_LIST_BYTES: u64 = MAX_PAYLOAD_BYTES as u64;

/// Maximum number of elements in a list.
pub const MAX_LIST_ELEMENTS: u32 = 1 << 20;

/// Maximum size of a shared file, bytes; one reply carries a whole file.
pub const MAX_FILE_BYTES: usize = MAX_PAYLOAD_BYTES;

/// Maximum length of a shared file's path, bytes.
pub const MAX_PATH_BYTES: usize = 1024;

/// Why a store operation failed.
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
    /// A key reserved for the relay.
    #[error(
        "keys that begin with `{RESERVED}` belong to the relay, so `{key}` cannot be used: choose another key"
    )]
    Reserved { key: String },
    /// The list would exceed its limit on elements or bytes.
    #[error(
        "list `{key}` would have {elements} elements of {bytes} bytes together; at most {MAX_LIST_ELEMENTS} and {MAX_LIST_BYTES} are allowed: clear it"
    )]
    ListFull { key: String, elements: u32, bytes: u64 },
    /// A value longer than this relay stores.
    #[error("state `{key}` would have {size} bytes; this relay stores at most {most}")]
    ValueTooLong { key: String, size: u64, most: u64 },
    /// A value where the key holds a list, or vice versa, in a store that keeps both under one key.
    #[error(
        "state `{key}` is {is}; in this store a key holds either a value or a list: use another key, or clear it"
    )]
    OtherKind { key: String, is: &'static str },
    /// A value of zero bytes, in a store that cannot represent it.
    #[error(
        "state `{key}` would be empty, and this store cannot hold empty values: give it at least one byte"
    )]
    EmptyValue { key: String },
    /// A user whose keys could collide with another user's.
    #[error(
        "user `{user}` has an underscore in the name, and this store tells users apart by the first one of a key: use another name"
    )]
    UserName { user: String },
    /// The journal does not have the session, or another relay owns it: the operation was not performed.
    #[error("this relay does not own the session any more: {reason}")]
    SessionLost { reason: &'static str },
    /// A run asks for a lock that it already holds.
    #[error("this run already holds the lock `{key}`: taking it again would wait forever")]
    Deadlock { key: String },
    /// The run never held the lock, or its lease expired.
    #[error("the run does not hold the lock of `{key}`, or not any more: its lease ran out")]
    LockLost { key: String },
    /// A limit on locks or on waiting runs is reached.
    #[error("the lock of `{key}` cannot be taken: {reason}; try again later")]
    LocksFull { key: String, reason: &'static str },
    /// This cluster has no locks.
    #[error("this cluster has no locks: {reason}")]
    NoLocks { reason: &'static str },
    /// A storage limit of the user is exceeded.
    #[error("not stored: {0}")]
    OverDisk(#[from] OverDisk),
    /// The storage itself failed, and nothing was changed.
    #[error("the store cannot {action}: {reason}")]
    Backend { action: &'static str, reason: String },
    /// The storage failed during a change; the outcome is unknown.
    #[error("the store failed to {action}, and whether the change was made is unknown: {reason}")]
    Uncertain { action: &'static str, reason: String },
}

impl StoreError {
    /// The failure as sent to the page; `None` if another relay owns the session, in which case nothing was done.
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

/// A function's original, as the toolchain linked it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFunction {
    /// Content hash, as computed by [`crate::integrity`].
    pub integrity: String,
    pub wasm: Vec<u8>,
}

/// Originals by user and name.
pub trait FunctionStore: Send + Sync {
    /// Whether other processes also store functions here, so that lookups must not be cached.
    fn is_shared(&self) -> bool;

    /// Content hash of a function, if it exists.
    fn integrity<'a>(
        &'a self,
        user: &'a str,
        function: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>>;

    /// The function, if it exists.
    fn get<'a>(
        &'a self,
        user: &'a str,
        function: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredFunction>, StoreError>>;

    /// Stores a function, replacing any earlier one; durable when the future completes.
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
    /// Size of the value, if it exists.
    pub size: Option<u64>,
    /// The requested bytes, up to the end of the value.
    pub chunk: Chunk,
}

/// The global tier of state, by user and key: values, whose size the first write fixes, and, separately, lists.
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

    /// Writes all chunks or none; durable when the future completes. Bytes never written are zero.
    ///
    /// Dropping the future does not undo a write that has started.
    fn write<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        size: u64,
        chunks: Vec<Chunk>,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Appends one element to a list; durable when the future completes.
    fn append<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        element: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Concatenates the first `count` elements of a list, or all if it has fewer.
    fn read_appended<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        count: u32,
    ) -> BoxFuture<'a, Result<Vec<u8>, StoreError>>;

    /// Upper bound of the bytes that [`StateStore::read_appended`] returns; callers reserve memory by it.
    fn appended_bytes<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        count: u32,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        let _ = (user, key, count);
        Box::pin(async { Ok(MAX_LIST_BYTES) })
    }

    /// Clears a list; durable when the future completes.
    fn clear_appended<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// Files that the functions of all users can read, by path; see [`is_valid_path`].
pub trait FileStore: Send + Sync {
    /// The file, if it exists; `None` for an invalid path.
    fn read_file<'a>(&'a self, path: &'a str)
    -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>>;

    /// Upper bound of the bytes that [`FileStore::read_file`] returns, if the file exists; callers reserve memory by
    /// it.
    fn file_bytes<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        let _ = path;
        Box::pin(async { Ok(Some(MAX_FILE_BYTES as u64)) })
    }

    /// Stores a file, replacing any earlier one; durable when the future completes. The caller checks path and size.
    fn write_file<'a>(
        &'a self,
        path: &'a str,
        bytes: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// Whether `path` can name a shared file: names separated by `/`, none of them `.` or `..`, at most [`MAX_PATH_BYTES`],
/// without control characters and backslashes. `etc/hosts` is valid, `/etc/hosts` is not.
pub fn is_valid_path(path: &str) -> bool {
    path.len() <= MAX_PATH_BYTES
        && !path.chars().any(|c| c.is_control() || c == '\\')
        && path.split('/').all(|name| !matches!(name, "" | "." | ".."))
}

/// The stores of one cluster; clones share them.
#[derive(Clone)]
pub struct Stores {
    pub functions: Arc<dyn FunctionStore>,
    pub state: Arc<dyn StateStore>,
    pub files: Arc<dyn FileStore>,
    pub journal: Journal,
    /// In the same place as the journal, which releases the locks of a session that ends.
    pub locks: Locks,
    /// Who hears of values that are written; see [`Stores::for_app`].
    pub changes: Arc<Changes>,
    /// Longest value that an app writes, bytes; a store may take less.
    pub longest_value: u64,
}

impl Stores {
    /// Uses one store for everything.
    pub fn in_one<S>(store: S) -> Self
    where
        S: FunctionStore + StateStore + FileStore + SessionLog + SessionNotes + StateChanges,
        S: LockStore + 'static,
    {
        let store = Arc::new(store);
        let (functions, state, files) = (store.clone(), store.clone(), store.clone());
        let locks = Locks::new(store.clone(), LOCK_LEASE);
        let journal = Journal::in_one(store);
        let changes = Arc::default();
        Self { functions, state, files, journal, locks, changes, longest_value: u64::MAX }
    }

    /// Returns these stores with the given lease for locks.
    pub fn with_lock_lease(mut self, lease: Duration) -> Self {
        self.locks = self.locks.with_lease(lease);
        self
    }

    /// The same stores, as an [`App`](crate::App) writes with them: no value is longer than [`Stores::longest_value`], and those who
    /// listen are told of each that is written.
    pub fn for_app(mut self) -> Self {
        let (changes, longest) = (&self.changes, self.longest_value);
        self.state = Arc::new(Writing::new(self.state, Arc::clone(changes), longest));
        self.journal.state =
            Arc::new(Writing::new(self.journal.state, Arc::clone(changes), longest));
        self
    }

    /// In-memory stores; their content ends with the process.
    ///
    /// # Errors
    /// When memory cannot be allocated.
    pub fn in_memory() -> Result<Self, StoreError> {
        RedbStore::in_memory().map(Self::in_one)
    }

    /// The same stores, for an app that writes values of at most so many bytes.
    pub fn with_values_up_to(mut self, most: u64) -> Self {
        self.longest_value = most;
        self
    }

    /// All stores in one Redis, which may be shared by several relays; see [`RedisStore::connect`].
    ///
    /// # Errors
    /// When the address is wrong, or Redis cannot be used.
    pub async fn redis(config: &RedisConfig) -> Result<Self, StoreError> {
        let store = RedisStore::connect(config).await?;
        let changes = store.changes();
        Ok(Self { changes, ..Self::in_one(store) })
    }

    /// All stores in one database file, created if it does not exist.
    ///
    /// # Errors
    /// When the file cannot be used, for example because another relay has it open.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        RedbStore::open(path).map(Self::in_one)
    }

    /// As [`Stores::open`], for a relay of so many sessions. The journal has capacity for twice as many: the attached
    /// ones, and as many recovered ones whose pages have not resumed yet. The budget limits the bytes of pending writes
    /// and the bytes stored for each user.
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
