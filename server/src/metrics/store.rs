//! Times the store operations of pages and HTTP, and counts failures: a wrapper around a store. Operations of functions
//! in the cluster bypass it.

use super::{Asked, Metrics, Missed};
use crate::store::{
    Change, Claim, IdempotencyRecord, SessionKey, SessionLog, StateChanges, StateRead, StateStore,
    StoreError,
};
use faasm_bridge::session::{InFlight, RecoveredSession};
use faasm_bridge::state::Chunk;
use faasm_bridge::wire::RequestId;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Instant;

type StoreFuture<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// A state store, or a part of a journal, whose operations are timed.
pub(crate) struct Timed<S: ?Sized> {
    inner: Arc<S>,
    metrics: Arc<Metrics>,
}

impl<S: ?Sized> Timed<S> {
    pub(crate) fn new(inner: Arc<S>, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }

    fn time<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        doing: StoreFuture<'a, T>,
    ) -> StoreFuture<'a, T> {
        let metrics = &*self.metrics;
        Box::pin(async move {
            let began = Instant::now();
            let done = doing.await;
            let took = began.elapsed().as_secs_f64();
            metrics.store_seconds.get_or_create(&Asked { operation }).observe(took);
            let outcome = match &done {
                Err(StoreError::Backend { .. }) => "unavailable",
                Err(StoreError::Uncertain { .. }) => "unknown",
                // Success, or a rejection of an invalid request.
                _ => return done,
            };
            metrics.store_failed.get_or_create(&Missed { operation, outcome }).inc();
            done
        })
    }
}

impl StateStore for Timed<dyn StateStore> {
    fn read<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        offset: u64,
        length: Option<u64>,
    ) -> StoreFuture<'a, StateRead> {
        self.time("read", self.inner.read(user, key, offset, length))
    }

    fn write<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        size: u64,
        chunks: Vec<Chunk>,
    ) -> StoreFuture<'a, ()> {
        self.time("write", self.inner.write(user, key, size, chunks))
    }

    fn append<'a>(&'a self, user: &'a str, key: &'a str, element: Vec<u8>) -> StoreFuture<'a, ()> {
        self.time("append", self.inner.append(user, key, element))
    }

    fn read_appended<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        count: u32,
    ) -> StoreFuture<'a, Vec<u8>> {
        self.time("read_list", self.inner.read_appended(user, key, count))
    }

    fn appended_bytes<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        count: u32,
    ) -> StoreFuture<'a, u64> {
        self.inner.appended_bytes(user, key, count)
    }

    fn clear_appended<'a>(&'a self, user: &'a str, key: &'a str) -> StoreFuture<'a, ()> {
        self.time("clear", self.inner.clear_appended(user, key))
    }
}

impl SessionLog for Timed<dyn SessionLog> {
    fn begin<'a>(&'a self, session: SessionKey, user: &'a str) -> StoreFuture<'a, ()> {
        self.time("begin", self.inner.begin(session, user))
    }

    fn take_up<'a>(
        &'a self,
        session: SessionKey,
        user: &'a str,
    ) -> StoreFuture<'a, Option<RecoveredSession>> {
        self.time("take_up", self.inner.take_up(session, user))
    }

    fn holds(&self, session: SessionKey) -> StoreFuture<'_, bool> {
        self.time("take_up", self.inner.holds(session))
    }

    fn decided(
        &self,
        session: SessionKey,
        requests: Vec<RequestId>,
    ) -> StoreFuture<'_, Vec<(RequestId, InFlight)>> {
        self.time("decide", self.inner.decided(session, requests))
    }

    fn accept(&self, session: SessionKey, claim: Claim, request: RequestId) -> StoreFuture<'_, ()> {
        self.time("accept", self.inner.accept(session, claim, request))
    }

    fn unlock<'a>(
        &'a self,
        mark: IdempotencyRecord,
        user: &'a str,
        key: &'a str,
        run: u64,
    ) -> StoreFuture<'a, ()> {
        self.time("unlock", self.inner.unlock(mark, user, key, run))
    }
}

impl StateChanges for Timed<dyn StateChanges> {
    fn change<'a>(
        &'a self,
        mark: IdempotencyRecord,
        user: &'a str,
        change: Change,
    ) -> StoreFuture<'a, ()> {
        let operation = match &change {
            Change::Write { .. } => "write",
            Change::Append { .. } => "append",
            Change::Clear { .. } => "clear",
        };
        self.time(operation, self.inner.change(mark, user, change))
    }
}
