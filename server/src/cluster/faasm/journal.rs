//! Journal for state that lives outside the journal's store.
//!
//! A change of state and its idempotency record cannot be one transaction here, because the state is in the cluster. So
//! a change is journalled like a call: its start before it is made, and its result afterwards, also if it failed. If
//! the relay dies in between, the outcome is unknown and the page is told so; the change is never made twice.

use crate::store::{
    Change, IdempotencyRecord, Journal, SessionLog, SessionNotes, StateChanges, StateStore,
    StoreError,
};
use faasm_bridge::session::reply_frame;
use faasm_bridge::wire::{FailureCode, Reply};
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// Applies changes to the state, and records them in the session log like calls.
pub struct NonAtomicJournal {
    log: Arc<dyn SessionLog>,
    notes: Arc<dyn SessionNotes>,
    state: Arc<dyn StateStore>,
}

impl NonAtomicJournal {
    /// The same journal, where changes are of this state. Locks are where the journal is, so that releasing one is one step.
    pub fn of(journal: Journal, state: Arc<dyn StateStore>) -> Journal {
        let Journal { log, notes, .. } = journal;
        let changes = Self { log: Arc::clone(&log), notes: Arc::clone(&notes), state };
        Journal { log, notes, state: Arc::new(changes) }
    }
}

impl std::fmt::Debug for NonAtomicJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NonAtomicJournal").finish_non_exhaustive()
    }
}

impl StateChanges for NonAtomicJournal {
    fn change<'a>(
        &'a self,
        mark: IdempotencyRecord,
        user: &'a str,
        change: Change,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.log.accept(mark.session, mark.claim, mark.request).await?;
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
            self.notes.finish(mark.session, mark.claim, mark.request, reply.into());
            made
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Claim, RedbStore, SessionKey};
    use faasm_bridge::session::InFlight;
    use faasm_bridge::wire::{RequestId, SessionId};

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
            let own = Journal::in_one(Arc::new(RedbStore::open(&path).unwrap()));
            let journal = NonAtomicJournal::of(own, Arc::new(state));
            journal.log.begin(session, "u").await.unwrap();
            journal.state.change(mark(1), "u", write(3)).await.unwrap();
            let failed = journal.state.change(mark(2), "u", write(4)).await.unwrap_err();
            journal.notes.settle().await;
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
