//! The stores' behaviour, in memory and across a restart.

use super::*;
use crate::budget::{Bounds, OverDisk};
use crate::store::laws::{self, chunk};
use crate::store::{
    Asked, LockStore, Owner, SessionKey, SessionLog, SessionNotes, journal_laws, lock_laws,
};
use faasm_bridge::state::MAX_VALUE_BYTES;
use faasm_bridge::wire::SessionId;
use redb::ReadableTableMetadata;
use std::collections::BTreeMap;
use std::time::Duration;

#[tokio::test]
async fn it_keeps_the_laws_of_all_stores() {
    let store = &RedbStore::in_memory().unwrap();
    laws::state_is_zeros_where_nobody_wrote_and_keeps_its_size(store, "u1", "u2").await;
    laws::a_write_is_all_or_nothing(store, "u3").await;
    laws::a_long_value_comes_in_parts_and_leaves_as_it_came(store, "u4").await;
    laws::lists_are_bounded_and_cleared(store, "u5", "u6").await;
    laws::files_and_functions_are_replaced(store, "u7", "a/b").await;
    laws::a_random_history_agrees_with_a_model(store, "u8").await;
}

/// Disk usage of users, as counted and as recomputed.
fn kept(store: &RedbStore) -> [BTreeMap<String, u64>; 2] {
    let looked = store.inner.handle.with(|database| {
        let transaction = database.begin_write()?;
        let found = disk::counted(&transaction)?;
        let mut counted = BTreeMap::new();
        for row in transaction.open_table(disk::DISK)?.iter()? {
            let (user, bytes) = row?;
            counted.insert(user.value().to_owned(), bytes.value());
        }
        transaction.abort()?;
        Ok([counted, found])
    });
    looked.unwrap_or_else(|failed| panic!("{}", failed.reason()))
}

#[tokio::test]
async fn disk_usage_of_users_is_counted_through_all_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.redb");
    let counted = {
        let store = &RedbStore::open(&path).unwrap();
        laws::a_write_is_all_or_nothing(store, "u1").await;
        laws::lists_are_bounded_and_cleared(store, "u2", "u3").await;
        laws::files_and_functions_are_replaced(store, "u4", "a/b").await;
        laws::a_random_history_agrees_with_a_model(store, "u5").await;
        let size = 3 * values::BLOCK_BYTES as u64;
        let write = |byte: u8, from: u64, bytes: u64| {
            store.write("u6", "k", size, vec![chunk(from, &vec![byte; bytes as usize])])
        };
        write(7, 0, size).await.unwrap();
        let full = kept(store)[0]["u6"];
        assert_eq!(full, size + 4 * disk::ROW_BYTES + 1);
        let block = values::BLOCK_BYTES as u64;
        write(0, block - 10, block + 20).await.unwrap();
        assert_eq!(kept(store)[0]["u6"], full - block - disk::ROW_BYTES, "zeros are not stored");
        let [counted, found] = kept(store);
        assert_eq!(counted, found);
        assert!(["", "u1", "u4", "u5"].iter().all(|user| counted[*user] > 0), "{counted:?}");
        // As a relay of an earlier version left it.
        let forgotten = store.inner.handle.with(|database| {
            let transaction = database.begin_write()?;
            transaction.delete_table(disk::DISK)?;
            transaction.commit()?;
            Ok(())
        });
        assert!(forgotten.is_ok());
        counted
    };
    assert_eq!(kept(&RedbStore::open(&path).unwrap())[0], counted);
}

#[tokio::test]
async fn a_write_over_the_disk_limit_is_rejected_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let block = values::BLOCK_BYTES;
    let most = 2 * block as u64 + 1000;
    let budget = Budget::with_disk(Bounds::NONE, Disk::new(most));
    let store = RedbStore::open_for(&folder.path().join("relay.redb"), 8, &budget).unwrap();
    let size = 4 * block as u64;
    let write = |at: usize, blocks: usize| {
        let chunks = vec![chunk((at * block) as u64, &vec![7; blocks * block])];
        store.write("u", "k", size, chunks)
    };
    write(0, 2).await.unwrap();
    let over = write(1, 2).await.unwrap_err();
    let StoreError::OverDisk(OverDisk { bytes, most: told, .. }) = over else { panic!("{over}") };
    assert_eq!((bytes, told), (block as u64 + disk::ROW_BYTES, most), "one block is there");
    let read = store.read("u", "k", 2 * block as u64, Some(1)).await.unwrap();
    assert_eq!(read.chunk.bytes, [0][..]);
    write(0, 2).await.unwrap();
    for refused in [
        store.write("u", "l", 1000, vec![chunk(0, &[7; 1000])]).await,
        store.append("u", "l", vec![7; 1000]).await,
        store.put("u", "f", StoredFunction { integrity: "i".into(), wasm: vec![7; 1000] }).await,
    ] {
        assert!(matches!(refused, Err(StoreError::OverDisk(_))), "{refused:?}");
    }
    assert_eq!(store.read("u", "l", 0, None).await.unwrap().size, None);
    assert_eq!(budget.disk().refused(), 4);
    let [counted, found] = kept(&store);
    assert_eq!(counted, found);
}

#[tokio::test]
async fn it_keeps_the_laws_of_all_locks() {
    let folder = tempfile::tempdir().unwrap();
    let lasting = RedbStore::open(&folder.path().join("relay.redb")).unwrap();
    for store in [RedbStore::in_memory().unwrap(), lasting] {
        let expire = async |user: &str, key: &str| {
            locks::locked(&store.inner.locks).expire(user, key);
        };
        let keys = [1, 2].map(|number| SessionId([number; 16]).into());
        lock_laws::it_is_one_run_s_at_a_time_in_the_order_of_asking(&store, "u1").await;
        if store.inner.recorder.is_some() {
            let [first, _] = keys;
            lock_laws::a_session_releases_once_and_its_end_frees_the_rest(&store, first, "u2")
                .await;
        }
        let [_, second] = keys;
        let expire_k = async |user: &str| expire(user, "k").await;
        lock_laws::what_expired_is_lost(&store, second, "u3", expire_k).await;
        lock_laws::a_lease_ends_and_a_renewed_one_does_not(&store, "u4").await;
        // Each change waits for the disk here, and takers have to poll again before the queue drops them.
        let steps = if store.inner.recorder.is_some() { 150 } else { 3000 };
        for seed in 0..3 {
            let (user, history) = (format!("m{seed}"), (seed, steps));
            lock_laws::a_random_history_agrees_with_a_model(&store, &user, history, expire).await;
        }
    }
}

#[tokio::test]
async fn a_restart_keeps_locks_of_live_sessions_and_other_locks_for_a_lease() {
    const LEASE: Duration = Duration::from_secs(3);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.redb");
    let [session, gone]: [SessionKey; 2] = [1, 2].map(|number| SessionId([number; 16]).into());
    let taker = |owner: Owner| lock_laws::taker(owner, 1, 1);
    let waits = taker(Owner::random().unwrap());
    {
        let store = RedbStore::open(&path).unwrap();
        store.begin(session, "u").await.unwrap();
        for (key, owner) in [("kept", session), ("left", gone)] {
            let asked = store.ask("u", key, taker(owner.into()), LEASE).await.unwrap();
            assert_eq!(asked, Asked::Held);
        }
        let released = taker(gone.into());
        assert_eq!(store.ask("u", "released", released, LEASE).await.unwrap(), Asked::Held);
        assert!(store.release("u", "released", released).await.unwrap());
    }
    let store = RedbStore::open(&path).unwrap();
    let begun = Instant::now();
    assert_eq!(store.ask("u", "released", waits, LEASE).await.unwrap(), Asked::Held);
    // The session's page comes back.
    assert!(store.take_up(session, "u").await.unwrap().is_some());
    while store.ask("u", "left", waits, LEASE).await.unwrap() != Asked::Held {
        assert_eq!(store.renew(session.into(), LEASE).await.unwrap().len(), 1);
        let asked = store.ask("u", "kept", waits, LEASE).await.unwrap();
        assert_eq!(asked, Asked::Waits { before: 0 });
        assert!(begun.elapsed() < 20 * LEASE);
        tokio::time::sleep(LEASE / 20).await;
    }
    assert!(begun.elapsed() >= LEASE / 2, "its page may not know yet");
    assert_eq!(store.ask("u", "kept", taker(session.into()), LEASE).await.unwrap(), Asked::Held);
    store.unlock(journal_laws::mark(session, 5), "u", "kept", 1).await.unwrap();
    assert_eq!(store.ask("u", "kept", waits, LEASE).await.unwrap(), Asked::Held);
}

#[tokio::test]
async fn lists_are_separate_from_values_and_clearing_removes_all_rows() {
    let store = RedbStore::in_memory().unwrap();
    store.append("u", "k", b"one".to_vec()).await.unwrap();
    store.append("u", "l", b"other".to_vec()).await.unwrap();
    assert_eq!(store.read("u", "k", 0, None).await.unwrap().size, None);
    store.write("u", "k", 0, vec![]).await.unwrap();
    assert_eq!(store.read("u", "k", 0, None).await.unwrap().size, Some(0));
    store.clear_appended("u", "k").await.unwrap();
    assert_eq!(rows(&store, lists::ELEMENTS), 1, "that of the other list");
}

#[tokio::test]
async fn writes_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.redb");
    let stored = StoredFunction { integrity: "i".into(), wasm: vec![1, 2] };
    {
        let store = RedbStore::open(&path).unwrap();
        store.write("u", "k", 1, vec![chunk(0, b"a")]).await.unwrap();
        store.append("u", "k", b"first ".to_vec()).await.unwrap();
        store.append("u", "k", b"second".to_vec()).await.unwrap();
        store.write_file("a/b", b"file".to_vec()).await.unwrap();
        store.put("u", "f", stored.clone()).await.unwrap();
    }
    let store = RedbStore::open(&path).unwrap();
    assert_eq!(store.read("u", "k", 0, None).await.unwrap().chunk, chunk(0, b"a"));
    assert_eq!(store.read_appended("u", "k", 9).await.unwrap(), b"first second");
    assert_eq!(store.read_file("a/b").await.unwrap(), Some(b"file".to_vec()));
    assert_eq!(store.integrity("u", "f").await.unwrap(), Some("i".into()));
    assert_eq!(store.get("u", "f").await.unwrap(), Some(stored));
    assert_eq!(store.get("u", "g").await.unwrap(), None);
}

/// Number of rows of bytes.
fn rows(store: &RedbStore, table: TableDefinition<'static, (u64, u32), &'static [u8]>) -> u64 {
    let count = |database: &Database| Ok(database.begin_read()?.open_table(table)?.len()?);
    store.inner.handle.read("count", count).unwrap()
}

#[tokio::test]
async fn a_write_touches_only_the_blocks_concerned() {
    let store = RedbStore::in_memory().unwrap();
    let (size, block) = (MAX_VALUE_BYTES, values::BLOCK_BYTES as u64);
    store.write("u", "k", size, vec![]).await.unwrap();
    assert_eq!(rows(&store, values::BLOCKS), 0);
    let ends = vec![chunk(block - 1, b"ab"), chunk(size - 1, b"z"), chunk(9 * block, &[0; 99])];
    store.write("u", "k", size, ends).await.unwrap();
    assert_eq!(rows(&store, values::BLOCKS), 3, "zeros need no block");
    let middle = store.read("u", "k", block - 2, Some(4)).await.unwrap();
    assert_eq!(middle, StateRead { size: Some(size), chunk: chunk(block - 2, b"\0ab\0") });
    assert_eq!(store.read("u", "k", size - 2, None).await.unwrap().chunk.bytes, b"\0z"[..]);
    store.write("u", "k", size, vec![chunk(size - 1, &[0])]).await.unwrap();
    assert_eq!(rows(&store, values::BLOCKS), 2);
}

/// Opens a store, and returns what it logs.
fn opened(path: &Path) -> (RedbStore, String) {
    let log = path.with_extension("log");
    let file = Arc::new(std::fs::File::create(&log).unwrap());
    let subscriber = tracing_subscriber::fmt().with_writer(file).finish();
    let store = tracing::subscriber::with_default(subscriber, || RedbStore::open(path).unwrap());
    (store, std::fs::read_to_string(log).unwrap())
}

#[tokio::test]
async fn an_empty_database_beside_a_journal_is_logged() {
    const WARNING: &str = "the database is empty or missing";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.redb");
    for made in ["fresh", "again"] {
        let (store, log) = opened(&path);
        assert!(!log.contains(WARNING), "{made}: {log}");
        store.begin(SessionKey::from(SessionId([1; 16])), "u").await.unwrap();
        store.settle().await;
    }
    for is_missing in [false, true] {
        if is_missing {
            std::fs::remove_file(&path).unwrap();
        } else {
            std::fs::write(&path, "").unwrap();
        }
        let (_store, log) = opened(&path);
        assert!(log.contains(WARNING) && log.contains("relay.redb"), "{log}");
    }
}
