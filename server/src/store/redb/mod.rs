//! All stores in one redb file.
//!
//! | table | key | value |
//! |---|---|---|
//! | `functions` | user, function | content hash and original |
//! | `files` | path | the file |
//! | `values` | user, key | number and size of the value |
//! | `blocks` | number of a value, position | up to [`values::BLOCK_BYTES`] of it; blocks of zeros are absent |
//! | `lists` | user, key | number of the list, count of its elements, their bytes |
//! | `elements` | number of a list, position | one element |
//! | `numbers` | `last` | the last number assigned to a value or list |
//! | | `commits` | count of commits |
//! | `marks` | session, request | idempotency record: the reply to a change of state |
//! | `disk` | user, or none for files | bytes that they occupy |
//! | `locks` | user, key | holder of the lock: owner, run, attempt |
//!
//! Pending changes are queued and share commits (`commit.rs`). The journal's log of sessions and calls is a file beside
//! the database (`log.rs`).
//!
//! Numbers keep the keys of blocks short: a state key has up to 64 KiB.

mod commit;
mod disk;
mod image;
mod journal;
mod lists;
mod locks;
mod log;
mod queue;
mod record;
mod reopen;
mod values;

use super::{
    FileStore, FunctionStore, StateRead, StateStore, StoreError, StoredFunction, is_valid_path,
};
use crate::budget::{Budget, Disk};
use commit::Committer;
use faasm_bridge::state::Chunk;
use futures_util::future::BoxFuture;
use log::Log;
use record::Recorder;
use redb::backends::InMemoryBackend;
use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    TableHandle, WriteTransaction,
};
use reopen::DatabaseHandle;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

const FUNCTIONS: TableDefinition<'_, (&str, &str), (&str, &[u8])> =
    TableDefinition::new("functions");
const FILES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("files");
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

/// Key of the row in `numbers` with the last number.
const LAST: &str = "last";

/// Number of tables.
const TABLES: usize = 10;

/// Size of the database's cache, which is never freed; the system's page cache holds more while memory permits.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// Suffix of the journal's log after the database's name.
const LOG_EXTENSION: &str = "journal";

/// Result of a transaction: the outer error is redb's, the inner one is any other.
type Checked<T> = Result<Result<T, StoreError>, redb::Error>;

/// Functions, state and files in one redb database; clones share it.
#[derive(Clone, Debug)]
pub struct RedbStore {
    inner: Arc<Inner>,
}

/// The threads are declared first: they have to end before the database is closed.
#[derive(Debug)]
struct Inner {
    committer: Committer,
    recorder: Option<Recorder>,
    handle: Arc<DatabaseHandle>,
    locks: locks::Shared,
    /// Disk limit per user.
    disk: Disk,
}

impl RedbStore {
    /// Opens or creates the database file, and the journal's log beside it.
    ///
    /// # Errors
    /// When the files cannot be used, for example because another relay has them open.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_for(path, crate::config::Limits::default().sessions, &Budget::default())
    }

    /// As [`RedbStore::open`], for a relay of so many sessions. The journal has capacity for twice as many: the
    /// attached ones, and as many recovered ones whose pages have not resumed yet. The budget limits the bytes of
    /// pending writes and the bytes stored for each user.
    ///
    /// # Errors
    /// As [`RedbStore::open`].
    pub fn open_for(path: &Path, sessions: usize, budget: &Budget) -> Result<Self, StoreError> {
        warn_of_a_lone_journal(path);
        let file = path.to_owned();
        let opening = move || Self::builder().create(&file);
        // The database first: its lock also protects the log.
        let database = opening().map_err(backend("open its file"))?;
        let log = Log::open(&path.with_extension(LOG_EXTENSION), log::boot());
        let (log, image) = log.map_err(backend("open its journal"))?;
        // Locks of abandoned sessions are held for one lease too: the page may not know yet that its session is lost.
        let held = Self::held(&database)?;
        Self::prepare(&database, |session| image.contains(session))?;
        let relay = budget.bounds().relay;
        let recorder = Recorder::start(log, image, sessions.saturating_mul(2), relay)
            .map_err(backend("start its journal"))?;
        let folder = path.parent().map(Path::to_owned);
        Self::start(database, Some(Box::new(opening)), folder, Some(recorder), held, budget)
    }

    /// A store in memory, which ends with the process.
    ///
    /// # Errors
    /// When memory cannot be allocated.
    pub fn in_memory() -> Result<Self, StoreError> {
        let database = Self::builder().create_with_backend(InMemoryBackend::new());
        let database = database.map_err(backend("start"))?;
        Self::prepare(&database, |_| false)?;
        Self::start(database, None, None, None, locks::Table::default(), &Budget::default())
    }

    fn start(
        database: Database,
        opening: Option<Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>>,
        folder: Option<PathBuf>,
        recorder: Option<Recorder>,
        locks: locks::Table,
        budget: &Budget,
    ) -> Result<Self, StoreError> {
        // The parent of a bare file name is the empty path.
        let folder = folder.map(|folder| match folder.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => folder,
        });
        let handle = Arc::new(DatabaseHandle::new(database, opening, folder));
        let committer = Committer::start(Arc::clone(&handle), budget.bounds().relay);
        let committer = committer.map_err(backend("start"))?;
        let (locks, disk) = (Arc::new(locks.into()), budget.disk().clone());
        Ok(Self { inner: Arc::new(Inner { committer, recorder, handle, locks, disk }) })
    }

    fn builder() -> redb::Builder {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        builder
    }

    /// The locks that an earlier relay granted.
    fn held(database: &Database) -> Result<locks::Table, StoreError> {
        let read = || -> Result<_, redb::Error> {
            let transaction = database.begin_read()?;
            // A new database has no tables, and one of an earlier version lacks this one.
            if !transaction.list_tables()?.any(|table| table.name() == locks::NAME) {
                return Ok(Vec::new());
            }
            locks::left(&transaction)
        };
        let left = read().map_err(backend("read its locks"))?;
        Ok(locks::Table::restore(left, Instant::now()))
    }

    /// Creates the tables, so that readers find them, and deletes idempotency records of sessions that no longer exist.
    /// It writes only if necessary, so that a relay can start and read even if its disk is full.
    fn prepare(
        database: &Database,
        is_there: impl Fn(super::SessionKey) -> bool,
    ) -> Result<(), StoreError> {
        let is_prepared = || -> Result<bool, redb::Error> {
            let transaction = database.begin_read()?;
            let tables = transaction.list_tables()?.count();
            Ok(tables >= TABLES
                && !journal::has_stray_marks(&transaction, &is_there)?
                && !locks::has_stray(&transaction, &is_there)?)
        };
        if is_prepared().map_err(backend("read its tables"))? {
            return Ok(());
        }
        let make = || -> Result<(), redb::Error> {
            let transaction = database.begin_write()?;
            transaction.open_table(FUNCTIONS)?;
            transaction.open_table(FILES)?;
            transaction.open_table(NUMBERS)?;
            values::prepare(&transaction)?;
            lists::prepare(&transaction)?;
            journal::prepare(&transaction)?;
            locks::prepare(&transaction)?;
            journal::keep_marks(&transaction, &is_there)?;
            locks::keep(&transaction, &is_there)?;
            disk::prepare(&transaction)?;
            transaction.commit()?;
            Ok(())
        };
        make().map_err(backend("make its tables"))
    }

    /// Reads in a transaction, on a thread that may block.
    fn look<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl Fn(ReadTransaction) -> Result<T, redb::Error> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let handle = Arc::clone(&self.inner.handle);
        Box::pin(async move {
            let reading = move || handle.read(action, |database| work(database.begin_read()?));
            tokio::task::spawn_blocking(reading).await.map_err(backend("finish"))?
        })
    }

    /// Makes a change of approximately this many bytes, atomically and durably.
    fn commit(
        &self,
        action: &'static str,
        bytes: usize,
        work: impl FnOnce(&WriteTransaction) -> Checked<()> + Send + 'static,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.inner.committer.change(action, bytes, work))
    }
}

/// Warns if the journal exists but its database is empty or missing.
fn warn_of_a_lone_journal(path: &Path) {
    let is_empty = |path: &Path| path.metadata().map_or(true, |metadata| metadata.len() == 0);
    let journal = path.with_extension(LOG_EXTENSION);
    if is_empty(path) && !is_empty(&journal) {
        tracing::warn!(
            database = %path.display(),
            journal = %journal.display(),
            "the database is empty or missing, but its journal exists: functions, state and files are lost; if that is not intended, stop the relay and restore the database"
        );
    }
}

fn backend<E: std::fmt::Display>(action: &'static str) -> impl FnOnce(E) -> StoreError {
    move |error| StoreError::Backend { action, reason: error.to_string() }
}

/// An unused number for a value or list.
fn new_number(transaction: &WriteTransaction) -> Result<u64, redb::Error> {
    let mut numbers = transaction.open_table(NUMBERS)?;
    let last = numbers.get(LAST)?.map_or(0, |last| last.value());
    numbers.insert(LAST, last + 1)?;
    Ok(last + 1)
}

impl FunctionStore for RedbStore {
    /// No other process can store functions: the database is locked by this one.
    fn is_shared(&self) -> bool {
        false
    }

    fn integrity<'a>(
        &'a self,
        user: &'a str,
        function: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        let (user, function) = (user.to_owned(), function.to_owned());
        self.look("look up a function", move |transaction| {
            let table = transaction.open_table(FUNCTIONS)?;
            let found = table.get((user.as_str(), function.as_str()))?;
            Ok(found.map(|found| found.value().0.to_owned()))
        })
    }

    fn get<'a>(
        &'a self,
        user: &'a str,
        function: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredFunction>, StoreError>> {
        let (user, function) = (user.to_owned(), function.to_owned());
        self.look("read a function", move |transaction| {
            let table = transaction.open_table(FUNCTIONS)?;
            Ok(table.get((user.as_str(), function.as_str()))?.map(|found| {
                let (integrity, wasm) = found.value();
                StoredFunction { integrity: integrity.to_owned(), wasm: wasm.to_vec() }
            }))
        })
    }

    fn put<'a>(
        &'a self,
        user: &'a str,
        function: &'a str,
        stored: StoredFunction,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (user, function) = (user.to_owned(), function.to_owned());
        let (bytes, disk) = (stored.wasm.len(), self.inner.disk.clone());
        self.commit("store a function", bytes, move |transaction| {
            let key = (user.as_str(), function.as_str());
            let value = (stored.integrity.as_str(), stored.wasm.as_slice());
            let mut table = transaction.open_table(FUNCTIONS)?;
            let taken = |bytes: usize| disk::row(&function) + bytes as u64;
            let went = table.get(key)?.map_or(0, |found| taken(found.value().1.len()));
            let came = taken(bytes);
            let more = |_| Ok(came.saturating_sub(went));
            if let Err(over) = disk::check(transaction, &disk, &user, more)? {
                return Ok(Err(over));
            }
            table.insert(key, value)?;
            disk::count(transaction, &user, came, went)?;
            Ok(Ok(()))
        })
    }
}

impl FileStore for RedbStore {
    fn read_file<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        if !is_valid_path(path) {
            return Box::pin(async { Ok(None) });
        }
        let path = path.to_owned();
        self.look("read a file", move |transaction| {
            let table = transaction.open_table(FILES)?;
            Ok(table.get(path.as_str())?.map(|found| found.value().to_vec()))
        })
    }

    fn file_bytes<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        let path = path.to_owned();
        self.look("look up a file", move |transaction| {
            let table = transaction.open_table(FILES)?;
            Ok(table.get(path.as_str())?.map(|found| found.value().len() as u64))
        })
    }

    fn write_file<'a>(
        &'a self,
        path: &'a str,
        bytes: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let path = path.to_owned();
        let (length, disk) = (bytes.len(), self.inner.disk.clone());
        self.commit("store a file", length, move |transaction| {
            let mut table = transaction.open_table(FILES)?;
            let taken = |bytes: usize| disk::row(&path) + bytes as u64;
            let went = table.get(path.as_str())?.map_or(0, |found| taken(found.value().len()));
            let came = taken(length);
            let more = |_| Ok(came.saturating_sub(went));
            if let Err(over) = disk::check(transaction, &disk, disk::ANYBODY, more)? {
                return Ok(Err(over));
            }
            table.insert(path.as_str(), bytes.as_slice())?;
            disk::count(transaction, disk::ANYBODY, came, went)?;
            Ok(Ok(()))
        })
    }
}

impl StateStore for RedbStore {
    fn read<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        offset: u64,
        length: Option<u64>,
    ) -> BoxFuture<'a, Result<StateRead, StoreError>> {
        let (user, key) = (user.to_owned(), key.to_owned());
        self.look("read state", move |transaction| {
            values::read(&transaction, (&user, &key), offset, length)
        })
    }

    fn write<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        size: u64,
        chunks: Vec<Chunk>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        if let Err(error) = values::check(key, size, &chunks) {
            return Box::pin(async { Err(error.into()) });
        }
        let (user, key) = (user.to_owned(), key.to_owned());
        let bytes = chunks.iter().map(|chunk| chunk.bytes.len()).sum();
        let disk = self.inner.disk.clone();
        self.commit("write state", bytes, move |transaction| {
            values::write(transaction, (&user, &key), size, &chunks, &disk)
        })
    }

    fn append<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        element: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (user, key) = (user.to_owned(), key.to_owned());
        let disk = self.inner.disk.clone();
        self.commit("append to a list", element.len(), move |transaction| {
            lists::append(transaction, (&user, &key), &element, &disk)
        })
    }

    fn read_appended<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        count: u32,
    ) -> BoxFuture<'a, Result<Vec<u8>, StoreError>> {
        let (user, key) = (user.to_owned(), key.to_owned());
        self.look("read a list", move |transaction| lists::read(&transaction, (&user, &key), count))
    }

    fn appended_bytes<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        count: u32,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        let (user, key) = (user.to_owned(), key.to_owned());
        self.look("look up a list", move |transaction| {
            lists::bytes(&transaction, (&user, &key), count)
        })
    }

    fn clear_appended<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (user, key) = (user.to_owned(), key.to_owned());
        self.commit("clear a list", 0, move |transaction| lists::clear(transaction, (&user, &key)))
    }
}

#[cfg(test)]
mod journal_tests;
#[cfg(test)]
mod tests;
