//! Lists: kept apart from values where the function is guarded, cleared by beginning the next one.

use crate::guests::{BUILT, GUARDED, SIZE, refused, run, run_both};
use crate::host::End;
use faasm_bridge::faasm::{MAX_LIST_ELEMENT, cleared_key, list_key};

const MOST: i32 = MAX_LIST_ELEMENT as i32;

#[test]
fn a_guarded_list_and_a_value_have_different_keys() {
    let mut run = run(GUARDED);
    run.put(8, b"key\0");
    run.put(64, b"one");
    run.call("write_state", &[8, 64, 3]).unwrap();
    run.call("append_state", &[8, 64, 3]).unwrap();
    run.call("append_state", &[8, -1, 0]).unwrap_err();
    run.call("append_state", &[8, SIZE, 0]).unwrap();
    assert_eq!(run.worker().lists[&list_key("key", 0)], [b"one".to_vec(), vec![]]);
    run.put(64, b"           ");
    assert_eq!(run.call("read_appended_state", &[8, 64, 5, 9]), Ok(5));
    assert_eq!(run.get(64, 6), b"one\0\0 ");
}

#[test]
fn lists_are_cleared_by_beginning_the_next_one() {
    for (options, first) in [(GUARDED, list_key("k", 0)), (BUILT, "k".to_owned())] {
        let mut run = run(options);
        run.put(8, b"k\0");
        run.put(64, b"one");
        run.call("append_state", &[8, 64, 3]).unwrap();
        assert!(run.worker().lists.contains_key(&first));
        run.call("clear_appended_state", &[8]).unwrap();
        assert_eq!(run.worker().global[&cleared_key("k")], b"00000001");
        run.call("read_appended_state", &[8, 64, 3, 1]).unwrap();
        assert_eq!(run.get(64, 3), [0; 3]);
        run.put(64, b"two");
        run.call("append_state", &[8, 64, 3]).unwrap();
        assert_eq!(run.worker().lists[&list_key("k", 1)], [b"two"]);
        // Somebody else has cleared it meanwhile.
        run.worker().global.insert(cleared_key("k"), b"000000fF".to_vec());
        run.call("append_state", &[8, 64, 3]).unwrap();
        assert!(run.worker().lists.contains_key(&list_key("k", 255)));
        run.call("clear_appended_state", &[8]).unwrap();
        assert_eq!(run.worker().global[&cleared_key("k")], b"00000100");
        // What is none is 0.
        run.worker().global.insert(cleared_key("k"), b"+0000001".to_vec());
        run.call("append_state", &[8, 64, 3]).unwrap();
        assert_eq!(run.worker().lists[&first], [b"one".to_vec(), b"two".to_vec()]);
    }
}

#[test]
fn a_guard_leaves_the_lists_of_what_was_built_where_they_are() {
    let mut run = run_both();
    run.put(8, b"k\0");
    run.put(64, b"one");
    run.call("append_state", &[8, 64, 3]).unwrap();
    assert!(run.worker().lists.contains_key(&list_key("k", 0)));
    run.call("clear_appended_state", &[8]).unwrap();
    run.call("append_state", &[8, 64, 3]).unwrap();
    assert_eq!(run.worker().lists[&list_key("k", 1)], [b"one"]);
    run.call("read_appended_state", &[8, 80, 3, 1]).unwrap();
    assert_eq!(run.get(80, 3), b"one");
}

#[test]
fn the_host_gets_a_buffer_for_the_largest_elements() {
    for options in [GUARDED, BUILT] {
        let mut run = run(options);
        run.put(8, b"k\0");
        run.call("append_state", &[8, 1024, MOST]).unwrap();
        run.call("append_state", &[8, 1024, MOST]).unwrap();
        assert_eq!(run.call("read_appended_state", &[8, 64, 1, 2]), Ok(1));
        assert_eq!(run.call("read_appended_state", &[8, 1024, 3 * MOST, 2]), Ok(3 * MOST));
        run.worker().calls.clear();
        for count in [0, -1, i32::MIN] {
            assert_eq!(run.call("read_appended_state", &[8, 64, 1, count]), Ok(0));
        }
        assert!(!run.worker().calls.contains(&"read_appended_state"));
    }
    let says = "16385 bytes; in a Faasm cluster 16384 are allowed";
    refused(|run| run.put(8, b"k\0"), "append_state", &[8, 64, MOST + 1], "operation-failed", says);
    let arguments = [8, 64, 1, i32::MAX];
    refused(|run| run.put(8, b"k\0"), "read_appended_state", &arguments, "out-of-memory", "bytes");
}

#[test]
fn a_generation_has_the_same_size_everywhere() {
    let mut run = run(GUARDED);
    run.put(8, b".faasm.cleared.k\0");
    run.put(64, b"00000007");
    for (call, rest) in [
        ("write_state", &[64, 3][..]),
        ("pull_state", &[100]),
        ("write_state_offset", &[100, 0, 64, 8]),
    ] {
        assert_eq!(run.call(call, &[&[8], rest].concat()), Err(End::Trap), "{call}");
    }
    run.call("write_state", &[8, 64, 8]).unwrap();
    run.call("push_state", &[8]).unwrap();
    run.put(8, b"k\0");
    run.call("append_state", &[8, 64, 1]).unwrap();
    assert!(run.worker().lists.contains_key(&list_key("k", 7)));
}

#[test]
fn only_keys_of_its_own_are_reserved_for_lists() {
    for key in [&b".faasm.x\0"[..], b".faasm.cleared.k\0"] {
        for (call, rest) in [("append_state", &[64, 3][..]), ("clear_appended_state", &[])] {
            let arguments = [&[8], rest].concat();
            refused(|run| run.put(8, key), call, &arguments, "state", "reserved");
        }
    }
}
