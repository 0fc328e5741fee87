//! The stores' behaviour, in memory and over a restart.

use super::*;
use crate::store::laws::{self, chunk};
use faasm_bridge::state::MAX_VALUE_BYTES;
use redb::ReadableTableMetadata;

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

#[tokio::test]
async fn lists_are_apart_from_values_and_leave_nothing_when_they_are_cleared() {
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
async fn what_was_written_is_there_after_a_restart() {
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

/// How many rows of bytes there are.
fn rows(store: &RedbStore, table: TableDefinition<'static, (u64, u32), &'static [u8]>) -> u64 {
    let count = |database: &Database| Ok(database.begin_read()?.open_table(table)?.len()?);
    store.inner.slot.read("count", count).unwrap()
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
    assert_eq!(store.read("u", "k", size - 2, None).await.unwrap().chunk.bytes, b"\0z");
    store.write("u", "k", size, vec![chunk(size - 1, &[0])]).await.unwrap();
    assert_eq!(rows(&store, values::BLOCKS), 2);
}
