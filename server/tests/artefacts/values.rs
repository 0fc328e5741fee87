//! Values of state: pointers, sizes, and what is not there.

use crate::guests::{BUILT, GUARDED, LOST, SIZE, link, refused, run};
use crate::host::{End, Run, Worker};

/// A key at 8, one at the end of memory, one without an end, one that is too long, one that is no text.
fn keys(run: &mut Run) {
    run.put(8, b"key\0");
    run.put(SIZE as usize - 2, b"k\0");
    run.put(1024, &[b'k'; 1026]);
    run.put(40, b"k\xed\xa0\x80\0");
    run.put(60, b"\0");
    run.worker().global.insert("key".into(), b"value".to_vec());
    run.worker().global.insert("k".into(), b"value".to_vec());
}

#[test]
fn bad_keys_are_refused_before_the_host_sees_them() {
    let unterminated = |run: &mut Run| {
        keys(run);
        run.put(SIZE as usize - 2, b"kk");
    };
    for (call, rest) in [
        ("read_state", &[64, 5][..]),
        ("write_state", &[64, 5]),
        ("push_state", &[]),
        ("pull_state", &[5]),
        ("append_state", &[64, 5]),
        ("read_appended_state", &[64, 5, 1]),
        ("clear_appended_state", &[]),
        ("read_state_offset", &[5, 0, 64, 5]),
        ("write_state_offset", &[5, 0, 64, 5]),
        ("flag_state_dirty", &[5]),
        ("flag_state_offset_dirty", &[5, 0, 1]),
    ] {
        let with = |key: i32| [&[key], rest].concat();
        refused(unterminated, call, &with(SIZE - 2), "bad-pointer", "outside guest memory");
        refused(keys, call, &with(SIZE), "bad-pointer", "outside guest memory");
        refused(keys, call, &with(-1), "bad-pointer", "outside guest memory");
        refused(keys, call, &with(1024), "bad-pointer", "no NUL within 1024 bytes");
        refused(keys, call, &with(40), "bad-pointer", "not UTF-8");
        refused(keys, call, &with(60), "operation-failed", "at least one byte");
    }
    for (key, part) in [(b".faasm.function.f\0", "reserved"), (b".faasm.list.0000.\0", "reserved")]
    {
        refused(|run| run.put(8, key), "read_state", &[8, 64, 1], "state", part);
    }
}

#[test]
fn a_key_may_be_the_last_bytes_of_memory() {
    for options in [GUARDED, BUILT] {
        let mut run = run(options);
        keys(&mut run);
        assert_eq!(run.call("read_state", &[SIZE - 2, 64, 5]), Ok(5));
        assert_eq!(run.get(64, 5), b"value");
    }
}

#[test]
fn buffers_lie_inside_memory_and_do_not_wrap() {
    for (call, at_buffer) in [
        ("read_state", &[8][..]),
        ("write_state", &[8]),
        ("append_state", &[8]),
        ("read_state_offset", &[8, 5, 0]),
        ("write_state_offset", &[8, 5, 0]),
    ] {
        for (at, length) in [(SIZE - 4, 5), (-4, 5), (SIZE, 5), (i32::MIN, 5)] {
            let arguments = [at_buffer, &[at, length]].concat();
            refused(keys, call, &arguments, "bad-pointer", "outside guest memory");
        }
    }
    refused(keys, "write_state", &[8, 64, -1], "bad-pointer", "outside guest memory");
    refused(keys, "read_appended_state", &[8, 64, -1, 1], "bad-pointer", "outside guest memory");
}

#[test]
fn reading_gives_the_size_and_as_much_as_fits() {
    for options in [GUARDED, BUILT] {
        let mut run = run(options);
        keys(&mut run);
        run.put(64, &[9; 8]);
        // The buffer may lie anywhere where nothing is copied.
        assert_eq!(run.call("read_state", &[8, -1, 0]), Ok(5));
        assert_eq!(run.call("read_state", &[8, 64, 2]), Ok(5));
        assert_eq!(run.get(64, 4), b"va\x09\x09");
        assert_eq!(run.call("read_state", &[8, 64, i32::MAX]), Ok(5));
        assert_eq!(run.get(64, 6), b"value\x09");
        // With another signature.
        assert_eq!(run.call("read_state_async", &[8, 80, 5, 1]), Ok(0));
        assert_eq!(run.get(80, 5), b"value");
        // A value that is not there is not made.
        run.put(8, b"none\0");
        assert_eq!(run.call("read_state", &[8, 64, 5]), Ok(0));
        assert!(run.worker().local.keys().eq(["key"]));
        assert_eq!(run.get(64, 5), b"value");
    }
}

#[test]
fn a_value_keeps_its_size() {
    let says =
        "state `key` has 5 bytes, the call says 4; a value keeps the size of its first access";
    refused(keys, "write_state", &[8, 64, 4], "state", says);
    refused(keys, "pull_state", &[8, 4], "state", says);
    refused(keys, "read_state_offset", &[8, 4, 0, 64, 4], "state", says);
    refused(keys, "write_state_offset", &[8, 4, 0, 64, 4], "state", says);
    refused(keys, "flag_state_dirty", &[8, 4], "state", says);
    let outside = "bytes 3..6 lie outside state `key`, which has 5 bytes";
    refused(keys, "read_state_offset", &[8, 5, 3, 64, 3], "state", outside);
    refused(keys, "write_state_offset", &[8, 5, 3, 64, 3], "state", outside);
    refused(keys, "flag_state_offset_dirty", &[8, 5, 3, 3], "state", outside);
    refused(keys, "read_state_offset", &[8, 5, -1, 64, 3], "state", "4294967295..4294967298");
}

#[test]
fn what_is_written_is_pushed_and_what_is_not_there_is_no_push() {
    for options in [GUARDED, BUILT] {
        let mut run = run(options);
        run.put(8, b"key\0");
        run.put(64, b"bytes");
        assert_eq!(run.call("push_state", &[8]), Ok(0));
        assert_eq!(run.worker().calls, ["read_state"]);
        run.call("write_state", &[8, 64, 5]).unwrap();
        run.call("write_state", &[8, 64, 0]).unwrap_err();
    }
    let mut run = run(BUILT);
    keys(&mut run);
    run.put(64, b"bytes");
    // Of a value that this worker has not seen.
    run.call("push_state", &[8]).unwrap();
    run.call("write_state", &[8, 64, 5]).unwrap();
    run.call("push_state", &[8]).unwrap();
    assert_eq!(run.worker().global["key"], b"bytes");
    run.worker().global.insert("key".into(), b"other".to_vec());
    for length in [0, 5] {
        run.call("pull_state", &[8, length]).unwrap();
        assert_eq!(run.call("read_state", &[8, 64, 5]), Ok(5));
        assert_eq!(run.get(64, 5), b"other");
    }
    run.put(8, b"new\0");
    run.call("write_state", &[8, 64, 0]).unwrap();
    run.call("pull_state", &[8, 0]).unwrap();
    assert!(!run.worker().local.contains_key("new"));
    // A page's value of a key that nobody wrote has zeros.
    run.call("pull_state", &[8, 3]).unwrap();
    assert_eq!(run.call("read_state", &[8, 64, 8]), Ok(3));
    assert_eq!(run.get(64, 4), b"\0\0\0e");
}

#[test]
fn copies_of_two_workers_have_one_size() {
    let mut run = run(GUARDED);
    run.put(8, b"key\0");
    run.call("write_state", &[8, 64, 3]).unwrap();
    assert_eq!(run.worker().global["key"].len(), 3);
    run.put(64, b"new");
    run.call("write_state", &[8, 64, 3]).unwrap();
    assert_eq!(run.worker().global["key"], [0; 3]);
    run.put(8, b"part\0");
    run.call("write_state_offset", &[8, 9, 1, 64, 3]).unwrap();
    assert_eq!(run.worker().global["part"].len(), 9);
    run.put(8, b"none\0");
    run.call("pull_state", &[8, 9]).unwrap();
    assert!(!run.worker().local.contains_key("none"));
}

#[test]
fn an_unknown_clock_is_an_error() {
    let wat = r#"(module
      (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "clock") (param i32) (result i32) (call $clock (local.get 0) (i64.const 0) (i32.const 8)))
      (func (export "_start")))"#;
    let made = link(wat, GUARDED);
    let mut run = Run::new(&wasmtime::Engine::default(), &made, Worker::default()).unwrap();
    for clock in [4, -1] {
        assert_eq!(run.call("clock", &[clock]), Ok(28));
    }
    assert_eq!(run.call("clock", &[3]), Err(End::Trap), "this worker has no clock");
}

#[test]
fn parts_of_values_are_read_and_written_by_whole_ones() {
    for options in [GUARDED, BUILT] {
        let mut run = run(options);
        keys(&mut run);
        assert_eq!(run.call("read_state_offset", &[8, 5, 1, 64, 3]), Ok(3));
        assert_eq!(run.get(64, 4), b"alu\0");
        run.put(64, b"XY");
        run.call("write_state_offset", &[8, 5, 3, 64, 2]).unwrap();
        run.call("flag_state_offset_dirty", &[8, 5, 3, 2]).unwrap();
        run.call("flag_state_dirty", &[8, 5]).unwrap();
        run.call("push_state", &[8]).unwrap();
        assert_eq!(run.worker().global["key"], b"valXY");
        run.put(8, b"new\0");
        assert_eq!(run.call("read_state_offset", &[8, 5, 3, 64, 2]), Ok(2));
        assert_eq!(run.get(64, 2), [0, 0]);
        assert!(!run.worker().local.contains_key("new"));
        run.put(64, b"XY");
        run.call("write_state_offset", &[8, 5, 2, 64, 2]).unwrap();
        assert_eq!(run.worker().local["new"], b"\0\0XY\0");
    }
}

#[test]
fn partial_pushes_are_whole_ones_only_where_that_is_allowed() {
    for (call, arguments) in
        [("push_state_partial", &[8][..]), ("push_state_partial_mask", &[8, 8])]
    {
        refused(keys, call, arguments, "not-implemented", "--allow-lost-updates");
        let mut run = run(LOST);
        keys(&mut run);
        run.put(64, b"bytes");
        run.call("write_state", &[8, 64, 5]).unwrap();
        run.call(call, arguments).unwrap();
        assert_eq!(run.worker().global["key"], b"bytes");
    }
}

#[test]
fn what_faasm_cannot_do_names_the_import() {
    for call in ["lock_state_global", "lock_state_write", "host_interface_test"] {
        let import = format!("env.__faasm_{call} cannot be called here");
        refused(keys, call, &[8], "not-implemented", &import);
    }
    refused(keys, "read_state_ptr", &[8, 5], "not-implemented", "env.__faasm_read_state_ptr");
    refused(keys, "cxa_throw", &[8, 5, 1], "not-implemented", "env.__cxa_throw");
    refused(keys, "shm_open", &[8, 5, 1], "not-implemented", "env.shm_open");
    refused(keys, "syscall", &[225, 5], "not-implemented", "system call 225");
}

#[test]
fn what_a_function_can_do_itself_needs_no_host() {
    for options in [GUARDED, BUILT] {
        let mut run = run(options);
        run.put(8, b"ALWAYS_ON\0");
        run.put(32, b"ALWAYS_OFF\0");
        assert_eq!(run.call("conf_flag", &[8]), Ok(1));
        assert_eq!(run.call("conf_flag", &[32]), Ok(0));
        assert_eq!(run.call("migrate_point", &[1, 1]), Ok(0));
        assert_eq!(run.call("sm_reduce", &[1, 1, 1, 1]), Ok(0));
        assert!(run.worker().calls.is_empty());
        assert_eq!(run.call("syscall", &[224, 0]), Ok(7));
    }
    refused(|_| {}, "conf_flag", &[-1], "bad-pointer", "outside");
}

#[test]
fn without_memory_for_a_value_the_run_ends() {
    let full = |run: &mut Run| {
        keys(run);
        let pages = 512 - run.call("size", &[]).unwrap();
        assert!(run.call("grow", &[pages]).unwrap() > 0);
    };
    let arguments = [8, 1 << 30, 0, 64, 2];
    // The value is not there, so that all of it would have to be made.
    let none = |run: &mut Run| {
        full(run);
        run.put(8, b"none\0");
    };
    refused(none, "write_state_offset", &arguments, "out-of-memory", "1073741824 bytes");
    let says = "state `none` would have 1073741825 bytes; at most 1073741824 are allowed";
    refused(none, "write_state_offset", &[8, (1 << 30) + 1, 0, 64, 2], "state", says);
    refused(none, "pull_state", &[8, (1 << 30) + 1], "state", says);
}
