//! All stores in one redb file.
//!
//! | table | key | value |
//! |---|---|---|
//! | `functions` | user, function | content hash and original |
//! | `files` | path | the file |
//! | `values` | user, key | number and size of the value |
//! | `blocks` | number of a value, position | up to [`values::BLOCK_BYTES`] of it; blocks of zeros are absent |
//! | `lists` | user, key | number of the list, how many elements it has, their bytes |
//! | `elements` | number of a list, position | one element |
//! | `numbers` | `last` | the last number given to a value or list |
//!
//! Numbers keep keys of blocks short: a state key has up to 64 KiB.

mod lists;
mod values;

use super::{
    FileStore, FunctionStore, StateRead, StateStore, StoreError, StoredFunction, is_valid_path,
};
use faasm_bridge::state::Chunk;
use futures_util::future::BoxFuture;
use redb::backends::InMemoryBackend;
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
};
use std::path::Path;
use std::sync::Arc;

const FUNCTIONS: TableDefinition<'_, (&str, &str), (&str, &[u8])> =
    TableDefinition::new("functions");
const FILES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("files");
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

/// Key of the one row of `numbers`.
const LAST: &str = "last";

/// Most bytes of the file that are kept in memory.
const CACHE_BYTES: usize = 128 * 1024 * 1024;

/// What a transaction gives: its error is redb's, and whatever else is wrong is inside.
type Checked<T> = Result<Result<T, StoreError>, redb::Error>;

/// Functions, state and files in one redb database; clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct RedbStore {
    database: Arc<Database>,
}

impl RedbStore {
    /// Opens the database file, or makes it.
    ///
    /// # Errors
    /// When the file cannot be used, for one because another relay has it open.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::prepare(Self::builder().create(path).map_err(backend("open its file"))?)
    }

    /// A store that is gone with the process.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn in_memory() -> Result<Self, StoreError> {
        let database = Self::builder().create_with_backend(InMemoryBackend::new());
        Self::prepare(database.map_err(backend("start"))?)
    }

    fn builder() -> redb::Builder {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        builder
    }

    /// Makes the tables, so that readers find them.
    fn prepare(database: Database) -> Result<Self, StoreError> {
        let make = || -> Result<(), redb::Error> {
            let transaction = database.begin_write()?;
            transaction.open_table(FUNCTIONS)?;
            transaction.open_table(FILES)?;
            transaction.open_table(NUMBERS)?;
            values::prepare(&transaction)?;
            lists::prepare(&transaction)?;
            transaction.commit()?;
            Ok(())
        };
        make().map_err(backend("make its tables"))?;
        Ok(Self { database: Arc::new(database) })
    }

    /// Runs `work` where it may block.
    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let database = Arc::clone(&self.database);
        Box::pin(async move {
            let done = tokio::task::spawn_blocking(move || work(&database)).await;
            done.map_err(backend("finish"))?
        })
    }

    /// Makes a change, all of it or nothing, and lasting.
    fn change<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&WriteTransaction) -> Checked<T> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        self.blocking(move |database| {
            let write = || -> Checked<T> {
                let mut transaction = database.begin_write()?;
                transaction.set_durability(Durability::Immediate)?;
                let done = work(&transaction)?;
                // Otherwise it is dropped, and with it undone.
                if done.is_ok() {
                    transaction.commit()?;
                }
                Ok(done)
            };
            write().map_err(backend(action))?
        })
    }
}

fn backend<E: std::fmt::Display>(action: &'static str) -> impl FnOnce(E) -> StoreError {
    move |error| StoreError::Backend { action, reason: error.to_string() }
}

/// A number no value or list has yet.
fn new_number(transaction: &WriteTransaction) -> Result<u64, redb::Error> {
    let mut numbers = transaction.open_table(NUMBERS)?;
    let last = numbers.get(LAST)?.map_or(0, |last| last.value());
    numbers.insert(LAST, last + 1)?;
    Ok(last + 1)
}

impl FunctionStore for RedbStore {
    fn integrity<'a>(
        &'a self,
        user: &'a str,
        function: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        let (user, function) = (user.to_owned(), function.to_owned());
        self.blocking(move |database| {
            let read = || -> Result<_, redb::Error> {
                let table = database.begin_read()?.open_table(FUNCTIONS)?;
                Ok(table
                    .get((user.as_str(), function.as_str()))?
                    .map(|found| found.value().0.to_owned()))
            };
            read().map_err(backend("look up a function"))
        })
    }

    fn get<'a>(
        &'a self,
        user: &'a str,
        function: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredFunction>, StoreError>> {
        let (user, function) = (user.to_owned(), function.to_owned());
        self.blocking(move |database| {
            let read = || -> Result<_, redb::Error> {
                let table = database.begin_read()?.open_table(FUNCTIONS)?;
                Ok(table.get((user.as_str(), function.as_str()))?.map(|found| {
                    let (integrity, wasm) = found.value();
                    StoredFunction { integrity: integrity.to_owned(), wasm: wasm.to_vec() }
                }))
            };
            read().map_err(backend("read a function"))
        })
    }

    fn put<'a>(
        &'a self,
        user: &'a str,
        function: &'a str,
        stored: StoredFunction,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (user, function) = (user.to_owned(), function.to_owned());
        self.change("store a function", move |transaction| {
            let key = (user.as_str(), function.as_str());
            let value = (stored.integrity.as_str(), stored.wasm.as_slice());
            transaction.open_table(FUNCTIONS)?.insert(key, value)?;
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
        self.blocking(move |database| {
            let read = || -> Result<_, redb::Error> {
                let table = database.begin_read()?.open_table(FILES)?;
                Ok(table.get(path.as_str())?.map(|found| found.value().to_vec()))
            };
            read().map_err(backend("read a file"))
        })
    }

    fn write_file<'a>(
        &'a self,
        path: &'a str,
        bytes: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let path = path.to_owned();
        self.change("store a file", move |transaction| {
            transaction.open_table(FILES)?.insert(path.as_str(), bytes.as_slice())?;
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
        self.blocking(move |database| {
            let read = || values::read(&database.begin_read()?, (&user, &key), offset, length);
            read().map_err(backend("read state"))
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
        self.change("write state", move |transaction| {
            values::write(transaction, (&user, &key), size, &chunks)
        })
    }

    fn append<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        element: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (user, key) = (user.to_owned(), key.to_owned());
        self.change("append to a list", move |transaction| {
            lists::append(transaction, (&user, &key), &element)
        })
    }

    fn read_appended<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        count: u32,
    ) -> BoxFuture<'a, Result<Vec<u8>, StoreError>> {
        let (user, key) = (user.to_owned(), key.to_owned());
        self.blocking(move |database| {
            let read = || lists::read(&database.begin_read()?, (&user, &key), count);
            read().map_err(backend("read a list"))
        })
    }

    fn clear_appended<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (user, key) = (user.to_owned(), key.to_owned());
        self.change("clear a list", move |transaction| lists::clear(transaction, (&user, &key)))
    }
}

#[cfg(test)]
mod tests;
