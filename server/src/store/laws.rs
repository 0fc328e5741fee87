//! Laws that every store has to satisfy: each store's tests run them.

use super::{
    FileStore, FunctionStore, MAX_ELEMENT_BYTES, MAX_LIST_BYTES, StateRead, StateStore, StoreError,
    StoredFunction,
};
use faasm_bridge::state::{Chunk, MAX_VALUE_BYTES, StateError};

const MIB: usize = 1024 * 1024;

pub(super) fn chunk(offset: u64, bytes: &[u8]) -> Chunk {
    Chunk { offset, bytes: bytes.to_vec().into() }
}

/// `user` and `other` must be unused.
pub(super) async fn state_is_zeros_where_nobody_wrote_and_keeps_its_size(
    store: &impl StateStore,
    user: &str,
    other: &str,
) {
    let none = store.read(user, "k", 0, None).await.unwrap();
    assert_eq!(none, StateRead { size: None, chunk: chunk(0, b"") });
    store.write(user, "k", 6, vec![chunk(1, b"bc"), chunk(5, b"f")]).await.unwrap();
    let whole = store.read(user, "k", 0, None).await.unwrap();
    assert_eq!(whole, StateRead { size: Some(6), chunk: chunk(0, b"\0bc\0\0f") });
    let past = store.read(user, "k", 4, Some(100)).await.unwrap();
    assert_eq!(past.chunk, chunk(4, b"\0f"));
    assert_eq!(store.read(user, "k", 2, Some(0)).await.unwrap().chunk, chunk(2, b""));
    assert_eq!(store.read(user, "k", 2, Some(1)).await.unwrap().chunk, chunk(2, b"c"));
    for offset in [6, 100, u64::MAX] {
        let read = store.read(user, "k", offset, Some(u64::MAX)).await.unwrap();
        assert_eq!(read, StateRead { size: Some(6), chunk: chunk(offset, b"") });
    }
    let other_size = store.write(user, "k", 7, vec![]).await.unwrap_err();
    let StoreError::State(StateError::SizeMismatch { key, have: 6, asked: 7 }) = other_size else {
        panic!("{other_size}");
    };
    assert_eq!(key, "k");
    assert_eq!(store.read(other, "k", 0, None).await.unwrap().size, None, "another user");
}

pub(super) async fn a_write_is_all_or_nothing(store: &impl StateStore, user: &str) {
    let outside = vec![chunk(0, b"a"), chunk(4, b"x")];
    let error = store.write(user, "k", 4, outside).await.unwrap_err();
    assert!(matches!(error, StoreError::State(StateError::OutOfRange { .. })), "{error}");
    assert_eq!(store.read(user, "k", 0, None).await.unwrap().size, None);
    let large = store.write(user, "k", MAX_VALUE_BYTES + 1, vec![]).await.unwrap_err();
    assert!(matches!(large, StoreError::State(StateError::TooLarge { .. })), "{large}");
    store.write(user, "k", 4, vec![chunk(0, b"abcd")]).await.unwrap();
    store.write(user, "k", 5, vec![chunk(0, b"xxxxx")]).await.unwrap_err();
    assert_eq!(store.read(user, "k", 0, None).await.unwrap().chunk, chunk(0, b"abcd"));
}

pub(super) async fn a_long_value_comes_in_parts_and_leaves_as_it_came(
    store: &impl StateStore,
    user: &str,
) {
    let bytes: Vec<u8> = (0..20 * MIB).map(|at| (at / 251 + at) as u8).collect();
    let size = bytes.len() as u64;
    for (part, at) in bytes.chunks(8 * MIB).zip((0_u64..).step_by(8 * MIB)) {
        store.write(user, "k", size, vec![chunk(at, part)]).await.unwrap();
    }
    // Many chunks at one offset; later ones overwrite earlier ones.
    let small = vec![chunk(100, b"aaaa"), chunk(102, b"bb"), chunk(104, b"c")];
    store.write(user, "k", size, small).await.unwrap();
    let read = store.read(user, "k", 0, None).await.unwrap().chunk.bytes;
    assert!(read[..100] == bytes[..100] && read[105..] == bytes[105..]);
    assert_eq!(&read[100..105], b"aabbc");
}

pub(super) async fn lists_are_bounded_and_cleared(
    store: &impl StateStore,
    user: &str,
    other: &str,
) {
    assert_eq!(store.read_appended(user, "k", 9).await.unwrap(), b"");
    store.clear_appended(user, "k").await.unwrap();
    for element in [&b"one"[..], b"", b"two"] {
        store.append(user, "k", element.to_vec()).await.unwrap();
    }
    store.append(user, "l", b"other".to_vec()).await.unwrap();
    store.append(other, "k", b"other".to_vec()).await.unwrap();
    let first = async |count| store.read_appended(user, "k", count).await.unwrap();
    assert_eq!(
        (first(0).await, first(1).await, first(3).await),
        (b"".into(), b"one".into(), b"onetwo".into())
    );
    store.clear_appended(user, "k").await.unwrap();
    assert_eq!(store.read_appended(user, "k", u32::MAX).await.unwrap(), b"");
    store.append(user, "k", b"new".to_vec()).await.unwrap();
    assert_eq!(store.read_appended(user, "k", u32::MAX).await.unwrap(), b"new");
    assert_eq!(store.read_appended(user, "l", 1).await.unwrap(), b"other");
    assert_eq!(store.read_appended(other, "k", u32::MAX).await.unwrap(), b"other");

    let longest = vec![1; MAX_ELEMENT_BYTES as usize];
    let longer = [&longest[..], &[1]].concat();
    let error = store.append(user, "long", longer).await.unwrap_err();
    assert!(matches!(error, StoreError::ElementTooLong { .. }), "{error}");
    for _ in 0..MAX_LIST_BYTES / MAX_ELEMENT_BYTES {
        store.append(user, "long", longest.clone()).await.unwrap();
    }
    let error = store.append(user, "long", vec![1]).await.unwrap_err();
    assert!(matches!(error, StoreError::ListFull { .. }), "{error}");
    let whole = store.read_appended(user, "long", u32::MAX).await.unwrap();
    assert_eq!(whole.len() as u64, MAX_LIST_BYTES, "what did not fit left nothing");
}

pub(super) async fn files_and_functions_are_replaced(
    store: &(impl FileStore + FunctionStore),
    user: &str,
    path: &str,
) {
    assert_eq!(store.read_file(path).await.unwrap(), None);
    store.write_file(path, b"1".to_vec()).await.unwrap();
    store.write_file(path, b"".to_vec()).await.unwrap();
    assert_eq!(store.read_file(path).await.unwrap(), Some(b"".to_vec()));
    store.write_file(path, b"\xff2".to_vec()).await.unwrap();
    assert_eq!(store.read_file(path).await.unwrap(), Some(b"\xff2".to_vec()));
    assert_eq!(store.read_file(&format!("/{path}")).await.unwrap(), None);
    assert_eq!(store.get(user, "f").await.unwrap(), None);
    assert_eq!(store.integrity(user, "f").await.unwrap(), None);
    for wasm in [vec![1, 2, 0xff], vec![]] {
        let stored = StoredFunction { integrity: format!("i{}", wasm.len()), wasm };
        store.put(user, "f", stored.clone()).await.unwrap();
        assert_eq!(store.integrity(user, "f").await.unwrap(), Some(stored.integrity.clone()));
        assert_eq!(store.get(user, "f").await.unwrap(), Some(stored));
    }
    assert_eq!(store.get(user, "g").await.unwrap(), None);
}

/// Random writes and reads of parts, with lists beside them, compared with a trivial model.
pub(super) async fn a_random_history_agrees_with_a_model(store: &impl StateStore, user: &str) {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |end: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % end
    };
    let mut values: Vec<Option<Vec<u8>>> = vec![None; 3];
    let mut lists: Vec<Vec<Vec<u8>>> = vec![Vec::new(); 3];
    for _ in 0..600 {
        let which = below(3) as usize;
        let (value, list) = (format!("v{which}"), format!("l{which}"));
        match below(5) {
            0 => {
                let size = values[which].as_ref().map_or(1 + below(200), |v| v.len() as u64);
                let model = values[which].get_or_insert_with(|| vec![0; size as usize]);
                let mut chunks = Vec::new();
                for _ in 0..below(4) {
                    let start = below(size);
                    let bytes = vec![below(256) as u8; below(size - start + 1) as usize];
                    model[start as usize..][..bytes.len()].copy_from_slice(&bytes);
                    chunks.push(Chunk { offset: start, bytes: bytes.into() });
                }
                store.write(user, &value, size, chunks).await.unwrap();
            }
            1 => {
                let (offset, length) = (below(250), below(250));
                let read = store.read(user, &value, offset, Some(length)).await.unwrap();
                let model = values[which].as_deref();
                assert_eq!(read.size, model.map(|model| model.len() as u64));
                let model = model.unwrap_or_default();
                let end = (offset + length).min(model.len() as u64) as usize;
                let expected = model.get(offset as usize..end).unwrap_or_default();
                assert_eq!(read.chunk.bytes, expected);
            }
            2 => {
                let element = vec![below(256) as u8; below(20) as usize];
                lists[which].push(element.clone());
                store.append(user, &list, element).await.unwrap();
            }
            3 if below(10) == 0 => {
                lists[which].clear();
                store.clear_appended(user, &list).await.unwrap();
            }
            _ => {
                let count = below(12) as u32;
                let expected: Vec<u8> =
                    lists[which].iter().take(count as usize).flatten().copied().collect();
                assert_eq!(store.read_appended(user, &list, count).await.unwrap(), expected);
            }
        }
    }
}
