//! The journal across restarts, and with storage that fails at any point.

use super::*;
use crate::store::journal_laws::{self as laws, append, mark};
use crate::store::{
    Asked, LockStore, Owner, SessionKey, SessionLog, SessionNotes, StateChanges, lock_laws,
};
use faasm_bridge::session::{InFlight, RecoveredSession};
use faasm_bridge::wire::SessionId;
use redb::StorageBackend;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

const SESSION: SessionId = SessionId([5; 16]);

fn key() -> SessionKey {
    SESSION.into()
}

async fn list(store: &RedbStore) -> Vec<u8> {
    laws::list(store, "u").await
}

#[tokio::test]
async fn it_keeps_the_laws_of_all_journals() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.redb");
    laws::a_relay_notes(&RedbStore::open(&path).unwrap(), key(), "u").await;
    let store = RedbStore::open(&path).unwrap();
    laws::the_next_relay_finds_it(&store, key(), ("u", "v"), InFlight::Unknown).await;
    laws::what_is_refused_is_not_marked(&store, SessionId([6; 16]).into(), "w").await;
    laws::a_session_that_ended_does_not_begin_again(&store, SessionId([7; 16]).into(), "x").await;
}

#[tokio::test]
async fn abandoned_sessions_end_with_their_records() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.redb");
    {
        let store = RedbStore::open(&path).unwrap();
        store.begin(key(), "u").await.unwrap();
        store.change(mark(key(), 1), "u", append(b"a")).await.unwrap();
    }
    {
        let store = RedbStore::open(&path).unwrap();
        store.end_left_over();
        store.settle().await;
        assert_eq!(store.take_up(key(), "u").await.unwrap(), None);
    }
    let store = RedbStore::open(&path).unwrap();
    store.begin(key(), "u").await.unwrap();
    let recovered = store.take_up(key(), "u").await.unwrap().unwrap();
    assert_eq!(recovered, RecoveredSession::default(), "no marks either");
}

#[tokio::test]
async fn the_oldest_abandoned_sessions_are_evicted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.redb");
    let key = |number: usize| SessionKey::from(SessionId((number as u128).to_le_bytes()));
    const SESSIONS: usize = 50;
    {
        let store = RedbStore::open_for(&path, SESSIONS, &Budget::default()).unwrap();
        for number in 0..2 * SESSIONS {
            store.begin(key(number), "u").await.unwrap();
        }
    }
    let store = RedbStore::open_for(&path, SESSIONS, &Budget::default()).unwrap();
    store.begin(key(usize::MAX), "u").await.unwrap();
    let is_there = async |number| store.take_up(key(number), "u").await.unwrap().is_some();
    assert!(!is_there(0).await && is_there(1).await && is_there(usize::MAX).await);
}

#[tokio::test]
async fn pending_changes_share_a_commit() {
    const CHANGES: u64 = 200;
    let store = RedbStore::in_memory().unwrap();
    let commits = || {
        let count = |database: &Database| {
            let numbers = database.begin_read()?.open_table(NUMBERS)?;
            Ok(numbers.get("commits")?.map_or(0, |count| count.value()))
        };
        store.inner.handle.read("count", count).unwrap()
    };
    let (go_on, goes_on) = mpsc::channel::<()>();
    let held = {
        let store = store.clone();
        tokio::spawn(async move {
            let work = move |_: &WriteTransaction| {
                let _ = goes_on.recv();
                Ok(Ok(()))
            };
            store.commit("hold the others up", 0, work).await
        })
    };
    let mut changes = tokio::task::JoinSet::new();
    for _ in 0..CHANGES {
        let store = store.clone();
        changes.spawn(async move { store.append("u", "l", b"x".to_vec()).await });
    }
    // They are tasks of this thread: once each has been polled, all are in the queue.
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    let too_long = vec![0; crate::store::MAX_ELEMENT_BYTES as usize + 1];
    go_on.send(()).unwrap();
    held.await.unwrap().unwrap();
    let refused = store.append("u", "l", too_long).await.unwrap_err();
    assert!(matches!(refused, StoreError::ElementTooLong { .. }), "{refused}");
    while let Some(changed) = changes.join_next().await {
        changed.unwrap().unwrap();
    }
    assert_eq!(list(&store).await.len() as u64, CHANGES);
    assert!(commits() <= 4, "{} commits", commits());
}

/// Storage that outlives its database, and fails on demand.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<State>);

#[derive(Debug, Default)]
struct State {
    bytes: Mutex<Vec<u8>>,
    /// The operation that fails, counted from 1; 0 if none does.
    fails_at: AtomicU64,
    operations: AtomicU64,
    /// Whether the disk is full.
    is_full: AtomicBool,
}

impl Disk {
    fn store(&self) -> RedbStore {
        self.store_with(None)
    }

    fn store_with(&self, recorder: Option<Recorder>) -> RedbStore {
        let disk = self.clone();
        let opening = move || RedbStore::builder().create_with_backend(disk.clone());
        let database = opening().unwrap();
        RedbStore::prepare(&database, |_| true).unwrap();
        let locks = locks::Table::default();
        let budget = Budget::default();
        RedbStore::start(database, Some(Box::new(opening)), None, recorder, locks, &budget).unwrap()
    }

    fn fail_at(&self, operation: u64) {
        self.0.operations.store(0, Ordering::SeqCst);
        self.0.fails_at.store(operation, Ordering::SeqCst);
    }

    fn operate(&self) -> io::Result<()> {
        let operation = self.0.operations.fetch_add(1, Ordering::SeqCst) + 1;
        match operation == self.0.fails_at.load(Ordering::SeqCst) {
            true => Err(io::Error::other("the disk failed")),
            false => Ok(()),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.bytes.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.0.bytes.lock().unwrap();
        let found = bytes.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.operate()?;
        let mut bytes = self.0.bytes.lock().unwrap();
        if len > bytes.len() as u64 && self.0.is_full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        bytes.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.operate()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.operate()?;
        self.0.bytes.lock().unwrap()[offset as usize..][..data.len()].copy_from_slice(data);
        Ok(())
    }
}

/// Retries until the store accepts changes again.
async fn append_at_last(store: &RedbStore, element: &[u8]) {
    let begun = Instant::now();
    while let Err(error) = store.append("u", "l", element.to_vec()).await {
        assert!(begun.elapsed() < Duration::from_secs(60), "{error}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn after_any_storage_failure_the_answer_matches_the_content() {
    let (mut refused, mut done) = (0, 0);
    for operation in 1.. {
        let disk = Disk::default();
        let store = disk.store();
        store.append("u", "l", b"before ".to_vec()).await.unwrap();
        disk.fail_at(operation);
        let changed = store.append("u", "l", b"then ".to_vec()).await;
        let has_failed = disk.0.operations.load(Ordering::SeqCst) >= operation;
        disk.fail_at(0);
        let expected: &[u8] = match &changed {
            Ok(()) => b"before then ",
            Err(StoreError::Backend { .. }) => b"before ",
            Err(error) => panic!("operation {operation}: {error}"),
        };
        assert_eq!(list(&store).await, expected, "operation {operation}: {changed:?}");
        append_at_last(&store, b"after").await;
        assert_eq!(list(&store).await, [expected, b"after"].concat());
        if !has_failed {
            break;
        }
        match changed {
            Ok(()) => done += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 1, "{refused} refused, {done} done despite the failure");
}

#[tokio::test]
async fn a_full_disk_rejects_changes_until_it_has_space_and_loses_nothing() {
    let disk = Disk::default();
    let store = disk.store();
    disk.0.is_full.store(true, Ordering::SeqCst);
    let mut written = Vec::new();
    let refused = loop {
        let element = vec![written.len() as u8; 100_000];
        match store.append("u", "l", element.clone()).await {
            Ok(()) => written.extend(element),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::Backend { .. }), "{refused}");
    assert!(!written.is_empty());
    assert!(list(&store).await == written, "it is read as before");
    disk.0.is_full.store(false, Ordering::SeqCst);
    append_at_last(&store, b"more").await;
    written.extend(b"more");
    assert!(list(&store).await == written);
}

#[tokio::test]
async fn a_rejected_release_frees_the_lock_and_its_row_is_removed_later() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let (log, image) = Log::open(&folder.path().join("log"), log::boot()).unwrap();
    let store = disk.store_with(Some(Recorder::start(log, image, 8, u64::MAX).unwrap()));
    let (owner, other) = (Owner::from(key()), Owner::random().unwrap());
    let taker = |owner| lock_laws::taker(owner, 1, 1);
    let ask = async |key, owner| store.ask("u", key, taker(owner), lock_laws::LONG).await;
    store.begin(key(), "u").await.unwrap();
    assert_eq!(ask("k", owner).await.unwrap(), Asked::Held);
    // The failure makes the store reject changes for a while.
    disk.fail_at(1);
    assert!(store.append("u", "l", b"x".to_vec()).await.is_err());
    disk.fail_at(0);
    let refused = store.unlock(mark(key(), 2), "u", "k", 1).await;
    assert!(matches!(refused, Err(StoreError::Backend { .. })), "{refused:?}");
    assert_eq!(store.renew(owner, lock_laws::LONG).await.unwrap(), []);
    append_at_last(&store, b"x").await;
    let rows = || {
        let left = |database: &Database| locks::left(&database.begin_read()?);
        store.inner.handle.read("look", left).unwrap()
    };
    assert_eq!(rows().len(), 1, "a relay that starts now restores the lock for its session");
    assert_eq!(ask("other", other).await.unwrap(), Asked::Held);
    assert_eq!(rows(), [(("u".to_owned(), "other".to_owned()), taker(other))]);
    assert_eq!(ask("k", other).await.unwrap(), Asked::Held);
    // A repeated release: it must not affect the lock that the run has taken since.
    assert_eq!(ask("l", owner).await.unwrap(), Asked::Held);
    disk.fail_at(1);
    assert!(store.append("u", "l", b"x".to_vec()).await.is_err());
    disk.fail_at(0);
    store.unlock(mark(key(), 1), "u", "l", 1).await.unwrap_err();
    assert_eq!(store.renew(owner, lock_laws::LONG).await.unwrap().len(), 1);
}

#[tokio::test]
async fn pending_deletions_are_bounded_while_changes_are_rejected() {
    let disk = Disk::default();
    let store = disk.store();
    disk.0.is_full.store(true, Ordering::SeqCst);
    while store.append("u", "l", vec![0; 100_000]).await.is_ok() {}
    // In order, as a page acknowledges: each session has one range.
    for id in 0..500_000 {
        let session = SessionKey::from(SessionId([(id % 10) as u8; 16]));
        store.inner.committer.forget_marks(session, 0..id);
    }
    assert!(store.inner.committer.forgettable() <= 10);
    // With gaps that are never filled.
    for id in 0..500_000 {
        store.inner.committer.forget_marks(key(), 2 * id..2 * id + 1);
    }
    assert!(store.inner.committer.forgettable() <= 64 * 1024);
}

#[tokio::test]
async fn the_next_commit_makes_the_deletions_of_a_failed_one() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let (log, image) = Log::open(&folder.path().join("log"), log::boot()).unwrap();
    let store = disk.store_with(Some(Recorder::start(log, image, 8, u64::MAX).unwrap()));
    store.begin(key(), "u").await.unwrap();
    store.change(mark(key(), 1), "u", append(b"a")).await.unwrap();
    store.forget(key(), 1..2);
    disk.fail_at(1);
    assert!(store.append("u", "l", b"x".to_vec()).await.is_err());
    disk.fail_at(0);
    append_at_last(&store, b"b").await;
    let begun = store.take_up(key(), "u").await.unwrap().unwrap().begun;
    assert_eq!(begun, [], "its record is deleted");
}
