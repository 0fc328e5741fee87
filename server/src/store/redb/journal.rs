//! The journal of one relay: sessions and calls are in a log ([`super::log`]), idempotency records in the database,
//! each written in the transaction of its change.

use super::log::Record;
use super::record::Recorder;
use super::{Checked, RedbStore, lists, locks, values};
use crate::store::{
    Change, Claim, Holder, IdempotencyRecord, SessionKey, SessionLog, SessionNotes, StateChanges,
    StoreError,
};
use faasm_bridge::session::{InFlight, RecoveredSession};
use faasm_bridge::wire::{Frame, RequestId};
use futures_util::future::BoxFuture;
use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// By session and request: the reply to the change, as a frame.
const MARKS: TableDefinition<'_, (&[u8; 32], u64), &[u8]> = TableDefinition::new("marks");

pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(MARKS)?;
    Ok(())
}

pub(super) fn forget_marks(
    transaction: &WriteTransaction,
    session: SessionKey,
    requests: Range<u64>,
) -> Result<(), redb::Error> {
    if requests.is_empty() {
        return Ok(());
    }
    let mut marks = transaction.open_table(MARKS)?;
    let range = (&session.0, requests.start)..(&session.0, requests.end);
    marks.retain_in(range, |_, _| false)?;
    Ok(())
}

/// Whether the database has idempotency records of sessions that no longer exist.
pub(super) fn has_stray_marks(
    transaction: &ReadTransaction,
    is_there: impl Fn(SessionKey) -> bool,
) -> Result<bool, redb::Error> {
    for row in transaction.open_table(MARKS)?.iter()? {
        if !is_there(SessionKey(*row?.0.value().0)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Deletes the idempotency records of sessions that no longer exist.
pub(super) fn keep_marks(
    transaction: &WriteTransaction,
    is_there: impl Fn(SessionKey) -> bool,
) -> Result<(), redb::Error> {
    transaction.open_table(MARKS)?.retain(|(session, _), _| is_there(SessionKey(*session)))?;
    Ok(())
}

/// Does `work` and writes its idempotency record, unless the record exists.
pub(super) fn mark(
    transaction: &WriteTransaction,
    mark: &IdempotencyRecord,
    work: impl FnOnce() -> Checked<()>,
) -> Checked<()> {
    let key = (&mark.session.0, mark.request.0);
    let mut marks = transaction.open_table(MARKS)?;
    if marks.get(key)?.is_some() {
        return Ok(Ok(()));
    }
    let done = work()?;
    if done.is_ok() {
        marks.insert(key, mark.reply.as_slice())?;
    }
    Ok(done)
}

fn marks_of(
    transaction: &ReadTransaction,
    session: SessionKey,
) -> Result<BTreeMap<RequestId, Vec<u8>>, redb::Error> {
    let marks = transaction.open_table(MARKS)?;
    let mut found = BTreeMap::new();
    for row in marks.range((&session.0, 0)..=(&session.0, u64::MAX))? {
        let (key, reply) = row?;
        found.insert(RequestId(key.value().1), reply.value().to_vec());
    }
    Ok(found)
}

impl RedbStore {
    /// A store in memory has no log: nothing would survive this process.
    fn recorder(&self) -> Option<&Recorder> {
        self.inner.recorder.as_ref()
    }
}

impl SessionLog for RedbStore {
    fn begin<'a>(
        &'a self,
        session: SessionKey,
        user: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let Some(recorder) = self.recorder() else { return Ok(()) };
            recorder.ensure(Record::Begin { session, user: user.to_owned() }).await
        })
    }

    fn take_up<'a>(
        &'a self,
        session: SessionKey,
        user: &'a str,
    ) -> BoxFuture<'a, Result<Option<RecoveredSession>, StoreError>> {
        Box::pin(async move {
            let Some(recorder) = self.recorder() else { return Ok(None) };
            let Some(mut recovered) = recorder.take_up(session, user).await? else {
                return Ok(None);
            };
            let marks = self.look("read its idempotency records", move |transaction| {
                marks_of(&transaction, session)
            });
            let marks = marks.await?.into_iter();
            recovered.begun.extend(marks.map(|(id, reply)| (id, InFlight::Replied(reply))));
            Ok(Some(recovered))
        })
    }

    /// The database is locked by this process, so no other relay owns its sessions.
    fn holds(&self, _session: SessionKey) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async { Ok(true) })
    }

    fn decided(
        &self,
        _session: SessionKey,
        requests: Vec<RequestId>,
    ) -> BoxFuture<'_, Result<Vec<(RequestId, InFlight)>, StoreError>> {
        Box::pin(async { Ok(requests.into_iter().map(|id| (id, InFlight::Unknown)).collect()) })
    }

    fn accept(
        &self,
        session: SessionKey,
        _claim: Claim,
        request: RequestId,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let Some(recorder) = self.recorder() else { return Ok(()) };
            recorder.ensure(Record::Accept { session, request }).await
        })
    }

    fn unlock<'a>(
        &'a self,
        mark: IdempotencyRecord,
        user: &'a str,
        key: &'a str,
        run: u64,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let holder = Holder { owner: mark.session.into(), run };
        let name = (user.to_owned(), key.to_owned());
        let is_kept = self.recorder().is_some();
        Box::pin(async move {
            let table = &self.inner.locks;
            let held = locks::to_release(table, &name, holder, mark.request);
            let (shared, row) = (Arc::clone(table), name.clone());
            let made = self.commit("release a lock", 0, move |transaction| {
                let unlock = || locks::unlock(&shared, transaction, &row, holder);
                if is_kept { self::mark(transaction, &mark, unlock) } else { unlock() }
            });
            let made = made.await;
            let has_failed =
                matches!(made, Err(StoreError::Backend { .. } | StoreError::Uncertain { .. }));
            if let (true, Some(taker)) = (has_failed, held) {
                self.give_up(name, taker);
            }
            made
        })
    }
}

impl SessionNotes for RedbStore {
    fn finish(&self, session: SessionKey, _claim: Claim, request: RequestId, reply: Frame) {
        if let Some(recorder) = self.recorder() {
            recorder.note(Record::Finish { session, request }, reply);
        }
    }

    fn forget(&self, session: SessionKey, requests: Range<u64>) {
        if let Some(recorder) = self.recorder() {
            recorder.note(Record::Forget { session, requests: requests.clone() }, Frame::default());
            self.inner.committer.forget_marks(session, requests);
        }
    }

    fn end(&self, session: SessionKey) {
        self.end_locks(session.into());
        if let Some(recorder) = self.recorder() {
            recorder.note(Record::End { session }, Frame::default());
            self.inner.committer.forget_marks(session, 0..u64::MAX);
        }
    }

    fn end_left_over(&self) {
        if let Some(recorder) = self.recorder() {
            recorder.end_left_over();
        }
    }

    fn settle(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Some(recorder) = self.recorder() {
                recorder.settle().await;
            }
        })
    }
}

impl StateChanges for RedbStore {
    fn change<'a>(
        &'a self,
        mark: IdempotencyRecord,
        user: &'a str,
        change: Change,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let is_kept = self.recorder().is_some();
        let marked = move |transaction: &WriteTransaction, work: &dyn Fn() -> Checked<()>| {
            if is_kept { self::mark(transaction, &mark, work) } else { work() }
        };
        let (user, disk) = (user.to_owned(), self.inner.disk.clone());
        match change {
            Change::Write { key, size, chunks } => {
                if let Err(error) = values::check(&key, size, &chunks) {
                    return Box::pin(async { Err(error.into()) });
                }
                let bytes = chunks.iter().map(|chunk| chunk.bytes.len()).sum();
                self.commit("write state", bytes, move |transaction| {
                    let write = || values::write(transaction, (&user, &key), size, &chunks, &disk);
                    marked(transaction, &write)
                })
            }
            Change::Append { key, element } => {
                self.commit("append to a list", element.len(), move |transaction| {
                    let append = || lists::append(transaction, (&user, &key), &element, &disk);
                    marked(transaction, &append)
                })
            }
            Change::Clear { key } => self.commit("clear a list", 0, move |transaction| {
                let clear = || lists::clear(transaction, (&user, &key));
                marked(transaction, &clear)
            }),
        }
    }
}
