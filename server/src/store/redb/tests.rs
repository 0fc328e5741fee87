//! The stores' behaviour, in memory and over a restart.

use super::*;
use crate::store::{MAX_ELEMENT_BYTES, MAX_LIST_BYTES};
use faasm_bridge::state::{MAX_VALUE_BYTES, StateError};
use redb::ReadableTableMetadata;

const MIB: usize = 1024 * 1024;

fn chunk(offset: u64, bytes: &[u8]) -> Chunk {
    Chunk { offset, bytes: bytes.to_vec() }
}

#[tokio::test]
async fn state_is_zeros_where_nobody_wrote_and_keeps_its_size() {
    let store = RedbStore::in_memory().unwrap();
    let none = store.read("u", "k", 0, None).await.unwrap();
    assert_eq!(none, StateRead { size: None, chunk: chunk(0, b"") });
    store.write("u", "k", 6, vec![chunk(1, b"bc"), chunk(5, b"f")]).await.unwrap();
    let whole = store.read("u", "k", 0, None).await.unwrap();
    assert_eq!(whole, StateRead { size: Some(6), chunk: chunk(0, b"\0bc\0\0f") });
    let past = store.read("u", "k", 4, Some(100)).await.unwrap();
    assert_eq!(past.chunk, chunk(4, b"\0f"));
    assert_eq!(store.read("u", "k", 100, Some(1)).await.unwrap().chunk, chunk(100, b""));
    let other_size = store.write("u", "k", 7, vec![]).await.unwrap_err();
    assert!(matches!(other_size, StoreError::State(StateError::SizeMismatch { .. })));
    assert_eq!(store.read("v", "k", 0, None).await.unwrap().size, None, "another user");
}

#[tokio::test]
async fn a_write_is_all_or_nothing() {
    let store = RedbStore::in_memory().unwrap();
    let outside = vec![chunk(0, b"a"), chunk(4, b"x")];
    let error = store.write("u", "k", 4, outside).await.unwrap_err();
    assert!(matches!(error, StoreError::State(StateError::OutOfRange { .. })));
    assert_eq!(store.read("u", "k", 0, None).await.unwrap().size, None);
    let large = store.write("u", "k", MAX_VALUE_BYTES + 1, vec![]).await.unwrap_err();
    assert!(matches!(large, StoreError::State(StateError::TooLarge { .. })));
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

#[tokio::test]
async fn a_value_of_20_mib_comes_in_parts_and_leaves_as_it_came() {
    let store = RedbStore::in_memory().unwrap();
    let bytes: Vec<u8> = (0..20 * MIB).map(|at| (at / 251 + at) as u8).collect();
    let size = bytes.len() as u64;
    for (part, at) in bytes.chunks(8 * MIB).zip((0_u64..).step_by(8 * MIB)) {
        store.write("u", "k", size, vec![chunk(at, part)]).await.unwrap();
    }
    // Many chunks in one block, the later ones over the earlier ones.
    let small = vec![chunk(100, b"aaaa"), chunk(102, b"bb"), chunk(104, b"c")];
    store.write("u", "k", size, small).await.unwrap();
    let read = store.read("u", "k", 0, None).await.unwrap().chunk.bytes;
    assert!(read[..100] == bytes[..100] && read[105..] == bytes[105..]);
    assert_eq!(&read[100..105], b"aabbc");
}

#[tokio::test]
async fn lists_are_bounded_cleared_and_apart_from_values() {
    let store = RedbStore::in_memory().unwrap();
    assert_eq!(store.read_appended("u", "k", 9).await.unwrap(), b"");
    store.clear_appended("u", "k").await.unwrap();
    for element in [&b"one"[..], b"", b"two"] {
        store.append("u", "k", element.to_vec()).await.unwrap();
    }
    store.append("u", "l", b"other".to_vec()).await.unwrap();
    store.append("v", "k", b"other".to_vec()).await.unwrap();
    let first = async |count| store.read_appended("u", "k", count).await.unwrap();
    assert_eq!(
        (first(0).await, first(1).await, first(3).await),
        (b"".into(), b"one".into(), b"onetwo".into())
    );
    assert_eq!(store.read("u", "k", 0, None).await.unwrap().size, None);
    store.clear_appended("u", "k").await.unwrap();
    assert_eq!(rows(&store, lists::ELEMENTS), 2, "those of the other lists");
    assert_eq!(store.read_appended("u", "k", u32::MAX).await.unwrap(), b"");
    store.append("u", "k", b"new".to_vec()).await.unwrap();
    assert_eq!(store.read_appended("u", "k", u32::MAX).await.unwrap(), b"new");
    assert_eq!(store.read_appended("u", "l", 1).await.unwrap(), b"other");

    let longest = vec![1; MAX_ELEMENT_BYTES as usize];
    let longer = [&longest[..], &[1]].concat();
    let error = store.append("u", "long", longer).await.unwrap_err();
    assert!(matches!(error, StoreError::ElementTooLong { .. }), "{error}");
    for _ in 0..MAX_LIST_BYTES / MAX_ELEMENT_BYTES {
        store.append("u", "long", longest.clone()).await.unwrap();
    }
    let error = store.append("u", "long", vec![1]).await.unwrap_err();
    assert!(matches!(error, StoreError::ListFull { .. }), "{error}");
    let whole = store.read_appended("u", "long", u32::MAX).await.unwrap();
    assert_eq!(whole.len() as u64, MAX_LIST_BYTES, "what did not fit left nothing");
}

#[tokio::test]
async fn files_are_replaced_and_paths_checked() {
    let store = RedbStore::in_memory().unwrap();
    assert_eq!(store.read_file("a").await.unwrap(), None);
    store.write_file("a", b"1".to_vec()).await.unwrap();
    store.write_file("a", b"22".to_vec()).await.unwrap();
    assert_eq!(store.read_file("a").await.unwrap(), Some(b"22".to_vec()));
    assert_eq!(store.read_file("/a").await.unwrap(), None);
}
