//! A relay's own journal beside state that is kept elsewhere.
//!
//! A change of state and its mark cannot be one step here: the state is the cluster's. So a change is noted as a call is:
//! before it is made, that it is about to be, and afterwards that it was. After a relay that ended in between nobody knows, and
//! the page is told so; it is never made twice.

use crate::store::{Change, Claim, Journal, Mark, SessionKey, StateStore, StoreError};
use faasm_bridge::session::{Begun, Remains};
use faasm_bridge::wire::RequestId;
use futures_util::future::BoxFuture;
use std::ops::Range;
use std::sync::Arc;

/// Changes go to the state; everything else is the inner journal's.
pub struct Apart {
    inner: Arc<dyn Journal>,
    state: Arc<dyn StateStore>,
}

impl Apart {
    /// A journal for changes of this state.
    pub fn new(inner: Arc<dyn Journal>, state: Arc<dyn StateStore>) -> Self {
        Self { inner, state }
    }
}

impl std::fmt::Debug for Apart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Apart").finish_non_exhaustive()
    }
}

impl Journal for Apart {
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
    ) -> BoxFuture<'a, Result<Option<Remains>, StoreError>> {
        self.inner.take_up(session, user)
    }

    fn holds(&self, session: SessionKey) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.inner.holds(session)
    }

    fn decided(
        &self,
        session: SessionKey,
        requests: Vec<RequestId>,
    ) -> BoxFuture<'_, Result<Vec<(RequestId, Begun)>, StoreError>> {
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
        mark: Mark,
        user: &'a str,
        change: Change,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.inner.accept(mark.session, mark.claim, mark.request).await?;
            match change {
                Change::Write { key, size, chunks } => {
                    self.state.write(user, &key, size, chunks).await?;
                }
                Change::Append { key, element } => {
                    self.state.append(user, &key, element).await?;
                }
                Change::Clear { key } => self.state.clear_appended(user, &key).await?,
            }
            self.inner.finish(mark.session, mark.claim, mark.request, &mark.reply);
            Ok(())
        })
    }

    /// The locks are where the journal is, so that here it is one step.
    fn unlock<'a>(
        &'a self,
        mark: Mark,
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
