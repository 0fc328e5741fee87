//! Where originals and state are kept: the traits, and what can go wrong.

mod redb;

pub use self::redb::RedbStore;

use faasm_bridge::state::{Chunk, StateError};
use futures_util::future::BoxFuture;
use thiserror::Error;

/// Why a store did not do what it was asked to.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The request does not fit the value.
    #[error(transparent)]
    State(#[from] StateError),
    /// The storage itself failed.
    #[error("the store cannot {action}: {reason}")]
    Backend { action: &'static str, reason: String },
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

/// The global tier of state: values by user and key, of a size fixed by the first write.
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
}
