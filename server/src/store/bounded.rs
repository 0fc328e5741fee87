//! A store of state with shorter values than the protocol has, for pages and functions alike.

use super::{StateRead, StateStore, StoreError};
use faasm_bridge::state::Chunk;
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// Refuses writes of values that are too long; everything else is the inner store's.
pub(super) struct Bounded {
    inner: Arc<dyn StateStore>,
    /// Bytes.
    most: u64,
}

impl Bounded {
    pub(super) fn new(inner: Arc<dyn StateStore>, most: u64) -> Self {
        Self { inner, most }
    }
}

impl StateStore for Bounded {
    fn read<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        offset: u64,
        length: Option<u64>,
    ) -> BoxFuture<'a, Result<StateRead, StoreError>> {
        self.inner.read(user, key, offset, length)
    }

    fn write<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        size: u64,
        chunks: Vec<Chunk>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        if size > self.most {
            let most = self.most;
            let error = StoreError::ValueTooLong { key: key.to_owned(), size, most };
            return Box::pin(async move { Err(error) });
        }
        self.inner.write(user, key, size, chunks)
    }

    fn append<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        element: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.inner.append(user, key, element)
    }

    fn read_appended<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        count: u32,
    ) -> BoxFuture<'a, Result<Vec<u8>, StoreError>> {
        self.inner.read_appended(user, key, count)
    }

    fn clear_appended<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.inner.clear_appended(user, key)
    }
}
