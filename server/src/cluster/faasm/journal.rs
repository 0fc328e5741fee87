//! Journal for state that lives outside the journal's store.
//!
//! A change of state and its idempotency record cannot be one transaction here, because the state is in the cluster. So
//! a change is journalled like a call: its start before it is made, and its result afterwards, also if it failed. If
//! the relay dies in between, the outcome is unknown and the page is told so; the change is never made twice.

use crate::store::{Change, Claim, IdempotencyRecord, Journal, SessionKey, StateStore, StoreError};
use faasm_bridge::session::{InFlight, RecoveredSession, reply_frame};
use faasm_bridge::wire::{FailureCode, Reply, RequestId};
use futures_util::future::BoxFuture;
use std::ops::Range;
use std::sync::Arc;

/// Applies changes to the state; delegates everything else to the inner journal.
pub struct NonAtomicJournal {
    inner: Arc<dyn Journal>,
    state: Arc<dyn StateStore>,
}

impl NonAtomicJournal {
    /// A journal for changes of this state.
    pub fn new(inner: Arc<dyn Journal>, state: Arc<dyn StateStore>) -> Self {
        Self { inner, state }
    }
}

impl std::fmt::Debug for NonAtomicJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NonAtomicJournal").finish_non_exhaustive()
    }
}

impl Journal for NonAtomicJournal {
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
        Box::pin(async move {
            self.inner.accept(mark.session, mark.claim, mark.request).await?;
            let made = match change {
                Change::Write { key, size, chunks } => {
                    self.state.write(user, &key, size, chunks).await
                }
                Change::Append { key, element } => self.state.append(user, &key, element).await,
                Change::Clear { key } => self.state.clear_appended(user, &key).await,
            };
            let reply = match &made {
                Ok(()) => mark.reply,
                Err(error) => {
                    let (code, message) = (error.code(), error.to_string());
                    let code = code.unwrap_or(FailureCode::Unknown);
                    reply_frame(mark.request, Reply::Failed { code, message }, &[])
                }
            };
            self.inner.finish(mark.session, mark.claim, mark.request, &reply);
            made
        })
    }

    /// Locks are in the journal's store, so this is one transaction.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::RedbStore;
    use faasm_bridge::wire::SessionId;

    #[tokio::test]
    async fn a_change_that_failed_is_told_as_failed_after_a_restart_and_not_as_unknown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("relay.redb");
        let session = SessionKey::from(SessionId([1; 16]));
        let write = |size| Change::Write { key: "v".into(), size, chunks: vec![] };
        let mark = |request| {
            let reply = reply_frame(RequestId(request), Reply::Done, &[]);
            IdempotencyRecord { session, claim: Claim::new(), request: RequestId(request), reply }
        };
        let failed = {
            let state = RedbStore::in_memory().unwrap();
            let inner = Arc::new(RedbStore::open(&path).unwrap());
            let journal = NonAtomicJournal::new(inner, Arc::new(state));
            journal.begin(session, "u").await.unwrap();
            journal.change(mark(1), "u", write(3)).await.unwrap();
            let failed = journal.change(mark(2), "u", write(4)).await.unwrap_err();
            journal.settle().await;
            failed.to_string()
        };
        let store = RedbStore::open(&path).unwrap();
        let recovered = store.take_up(session, "u").await.unwrap().unwrap();
        let reply = Reply::Failed { code: FailureCode::State, message: failed };
        let begun = [
            (RequestId(1), InFlight::Replied(reply_frame(RequestId(1), Reply::Done, &[]))),
            (RequestId(2), InFlight::Replied(reply_frame(RequestId(2), reply, &[]))),
        ];
        assert_eq!(recovered.begun, begun);
    }
}
