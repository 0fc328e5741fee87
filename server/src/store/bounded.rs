//! A store of state with shorter values than the protocol has, for pages and functions alike.

use super::{
    Change, Claim, IdempotencyRecord, Journal, SessionKey, StateRead, StateStore, StoreError,
};
use faasm_bridge::session::{InFlight, RecoveredSession};
use faasm_bridge::state::Chunk;
use faasm_bridge::wire::RequestId;
use futures_util::future::BoxFuture;
use std::ops::Range;
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
        match check(key, size, self.most) {
            Ok(()) => self.inner.write(user, key, size, chunks),
            Err(error) => Box::pin(async move { Err(error) }),
        }
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

    fn appended_bytes<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        count: u32,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        self.inner.appended_bytes(user, key, count)
    }

    fn clear_appended<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.inner.clear_appended(user, key)
    }
}

/// The same for changes that pages ask for.
pub(super) struct BoundedJournal {
    inner: Arc<dyn Journal>,
    /// Bytes.
    most: u64,
}

impl BoundedJournal {
    pub(super) fn new(inner: Arc<dyn Journal>, most: u64) -> Self {
        Self { inner, most }
    }
}

fn check(key: &str, size: u64, most: u64) -> Result<(), StoreError> {
    if size <= most {
        return Ok(());
    }
    Err(StoreError::ValueTooLong { key: key.to_owned(), size, most })
}

impl Journal for BoundedJournal {
    fn begin<'a>(
        &'a self,
        session: SessionKey,
        user: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.inner.begin(session, user)
    }

    fn take_up<'a>(
        &'a self,
        session: SessionKey,
        user: &'a str,
    ) -> BoxFuture<'a, Result<Option<RecoveredSession>, StoreError>> {
        self.inner.take_up(session, user)
    }

    fn holds(&self, session: SessionKey) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.inner.holds(session)
    }

    fn decided(
        &self,
        session: SessionKey,
        requests: Vec<RequestId>,
    ) -> BoxFuture<'_, Result<Vec<(RequestId, InFlight)>, StoreError>> {
        self.inner.decided(session, requests)
    }

    fn accept(
        &self,
        session: SessionKey,
        claim: Claim,
        request: RequestId,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.accept(session, claim, request)
    }

    fn finish(&self, session: SessionKey, claim: Claim, request: RequestId, reply: &[u8]) {
        self.inner.finish(session, claim, request, reply);
    }

    fn forget(&self, session: SessionKey, requests: Range<u64>) {
        self.inner.forget(session, requests);
    }

    fn end(&self, session: SessionKey) {
        self.inner.end(session);
    }

    fn end_left_over(&self) {
        self.inner.end_left_over();
    }

    fn change<'a>(
        &'a self,
        mark: IdempotencyRecord,
        user: &'a str,
        change: Change,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        if let Change::Write { key, size, .. } = &change
            && let Err(error) = check(key, *size, self.most)
        {
            return Box::pin(async move { Err(error) });
        }
        self.inner.change(mark, user, change)
    }

    fn unlock<'a>(
        &'a self,
        mark: IdempotencyRecord,
        user: &'a str,
        key: &'a str,
        run: u64,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.inner.unlock(mark, user, key, run)
    }

    fn settle(&self) -> BoxFuture<'_, ()> {
        self.inner.settle()
    }
}
