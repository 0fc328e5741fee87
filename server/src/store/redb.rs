//! Both stores in one redb file.
//!
//! | table | key | value |
//! |---|---|---|
//! | `functions` | `user/function` | content hash and original |
//! | `state` | user, NUL, key | the whole value |
//!
//! Names of users and functions have neither `/` nor NUL, so keys are unambiguous.

use super::{FunctionStore, StateRead, StateStore, StoreError, StoredFunction};
use faasm_bridge::state::{Chunk, LocalTier, MAX_VALUE_BYTES, StateError};
use futures_util::future::BoxFuture;
use redb::backends::InMemoryBackend;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use std::path::Path;
use std::sync::Arc;

const FUNCTIONS: TableDefinition<'_, &str, (&str, &[u8])> = TableDefinition::new("functions");
const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");

/// Functions and state in one redb database.
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
        Self::prepare(Database::create(path).map_err(backend("open its file"))?)
    }

    /// A store that is gone with the process.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn in_memory() -> Result<Self, StoreError> {
        let backend_ = InMemoryBackend::new();
        let database = Database::builder().create_with_backend(backend_);
        Self::prepare(database.map_err(backend("start"))?)
    }

    /// Makes the tables, so that readers find them.
    fn prepare(database: Database) -> Result<Self, StoreError> {
        let make = || -> Result<(), redb::Error> {
            let transaction = database.begin_write()?;
            transaction.open_table(FUNCTIONS)?;
            transaction.open_table(STATE)?;
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
}

fn backend<E: std::fmt::Display>(action: &'static str) -> impl FnOnce(E) -> StoreError {
    move |error| StoreError::Backend { action, reason: error.to_string() }
}

fn function_key(user: &str, function: &str) -> String {
    format!("{user}/{function}")
}

fn state_key(user: &str, key: &str) -> String {
    format!("{user}\0{key}")
}

impl FunctionStore for RedbStore {
    fn integrity<'a>(
        &'a self,
        user: &'a str,
        function: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        let name = function_key(user, function);
        self.blocking(move |database| {
            let read = || -> Result<_, redb::Error> {
                let table = database.begin_read()?.open_table(FUNCTIONS)?;
                Ok(table.get(name.as_str())?.map(|found| found.value().0.to_owned()))
            };
            read().map_err(backend("look up a function"))
        })
    }

    fn get<'a>(
        &'a self,
        user: &'a str,
        function: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredFunction>, StoreError>> {
        let name = function_key(user, function);
        self.blocking(move |database| {
            let read = || -> Result<_, redb::Error> {
                let table = database.begin_read()?.open_table(FUNCTIONS)?;
                Ok(table.get(name.as_str())?.map(|found| {
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
        let name = function_key(user, function);
        self.blocking(move |database| {
            let write = || -> Result<_, redb::Error> {
                let mut transaction = database.begin_write()?;
                transaction.set_durability(Durability::Immediate)?;
                let value = (stored.integrity.as_str(), stored.wasm.as_slice());
                transaction.open_table(FUNCTIONS)?.insert(name.as_str(), value)?;
                transaction.commit()?;
                Ok(())
            };
            write().map_err(backend("store a function"))
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
        let name = state_key(user, key);
        self.blocking(move |database| {
            let read = || -> Result<_, redb::Error> {
                let table = database.begin_read()?.open_table(STATE)?;
                let found = table.get(name.as_str())?;
                let size = found.as_ref().map(|found| found.value().len() as u64);
                let bytes =
                    found.map_or_else(Vec::new, |found| part(found.value(), offset, length));
                Ok(StateRead { size, chunk: Chunk { offset, bytes } })
            };
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
        let name = state_key(user, key);
        let key = key.to_owned();
        self.blocking(move |database| {
            check(&key, size, &chunks)?;
            let write = || -> Result<Result<(), StateError>, redb::Error> {
                let mut transaction = database.begin_write()?;
                transaction.set_durability(Durability::Immediate)?;
                {
                    let mut table = transaction.open_table(STATE)?;
                    let found = table.get(name.as_str())?.map(|found| found.value().to_vec());
                    let mut value = found.unwrap_or_else(|| vec![0; size as usize]);
                    if value.len() as u64 != size {
                        let have = value.len() as u64;
                        // The transaction is dropped, and with it undone.
                        return Ok(Err(StateError::SizeMismatch { key, have, asked: size }));
                    }
                    for chunk in &chunks {
                        let start = chunk.offset as usize;
                        value[start..start + chunk.bytes.len()].copy_from_slice(&chunk.bytes);
                    }
                    table.insert(name.as_str(), value.as_slice())?;
                }
                transaction.commit()?;
                Ok(Ok(()))
            };
            Ok(write().map_err(backend("write state"))??)
        })
    }
}

/// Everything that can be wrong with a write before the value is looked at.
fn check(key: &str, size: u64, chunks: &[Chunk]) -> Result<(), StateError> {
    if size > MAX_VALUE_BYTES {
        return Err(StateError::TooLarge { key: key.to_owned(), size });
    }
    for chunk in chunks {
        LocalTier::range(key, size, chunk.offset, chunk.bytes.len() as u64)?;
    }
    Ok(())
}

fn part(value: &[u8], offset: u64, length: Option<u64>) -> Vec<u8> {
    let end = length.map_or(u64::MAX, |length| offset.saturating_add(length));
    let end = end.min(value.len() as u64);
    // Both bounds are at most the length of a slice.
    let range = offset.min(end) as usize..end as usize;
    value[range].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(offset: u64, bytes: &[u8]) -> Chunk {
        Chunk { offset, bytes: bytes.to_vec() }
    }

    #[tokio::test]
    async fn state_is_zeros_where_nobody_wrote_and_keeps_its_size() {
        let store = RedbStore::in_memory().unwrap();
        let none = store.read("u", "k", 0, None).await.unwrap();
        assert_eq!(none, StateRead { size: None, chunk: chunk(0, b"") });
        store.write("u", "k", 6, vec![chunk(1, b"bc"), chunk(5, b"f")]).await.unwrap();
        let whole = store.read("u", "k", 0, None).await.unwrap();
        assert_eq!(whole, StateRead { size: Some(6), chunk: chunk(0, b"\0bc\0\0f") });
        let past = store.read("u", "k", 4, Some(100)).await.unwrap();
        assert_eq!(past.chunk, chunk(4, b"\0f"));
        assert_eq!(store.read("u", "k", 100, Some(1)).await.unwrap().chunk, chunk(100, b""));
        let other_size = store.write("u", "k", 7, vec![]).await.unwrap_err();
        assert!(matches!(other_size, StoreError::State(StateError::SizeMismatch { .. })));
        assert_eq!(store.read("v", "k", 0, None).await.unwrap().size, None, "another user");
    }

    #[tokio::test]
    async fn a_write_is_all_or_nothing() {
        let store = RedbStore::in_memory().unwrap();
        let outside = vec![chunk(0, b"a"), chunk(4, b"x")];
        let error = store.write("u", "k", 4, outside).await.unwrap_err();
        assert!(matches!(error, StoreError::State(StateError::OutOfRange { .. })));
        assert_eq!(store.read("u", "k", 0, None).await.unwrap().size, None);
        let large = store.write("u", "k", MAX_VALUE_BYTES + 1, vec![]).await.unwrap_err();
        assert!(matches!(large, StoreError::State(StateError::TooLarge { .. })));
    }

    #[tokio::test]
    async fn what_was_written_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("relay.redb");
        let stored = StoredFunction { integrity: "i".into(), wasm: vec![1, 2] };
        {
            let store = RedbStore::open(&path).unwrap();
            store.write("u", "k", 1, vec![chunk(0, b"a")]).await.unwrap();
            store.put("u", "f", stored.clone()).await.unwrap();
        }
        let store = RedbStore::open(&path).unwrap();
        assert_eq!(store.read("u", "k", 0, None).await.unwrap().chunk, chunk(0, b"a"));
        assert_eq!(store.integrity("u", "f").await.unwrap(), Some("i".into()));
        assert_eq!(store.get("u", "f").await.unwrap(), Some(stored));
        assert_eq!(store.get("u", "g").await.unwrap(), None);
    }
}
