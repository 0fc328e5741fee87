//! Memory of the support: never the guest's, and gone before neither of them.

use crate::guests::{BUILT, GUARDED, LOST, PAGES, link, run};
use crate::host::{End, Run, Worker};
use faasm_asyncify::faasm::Options;
use wasmtime::Engine;

fn start(wat: &str, options: Options) -> Run {
    Run::new(&Engine::default(), &link(wat, options), Worker::default()).unwrap()
}

#[test]
fn a_function_that_grows_memory_does_not_see_pages_of_the_support() {
    for options in [GUARDED, BUILT] {
        let mut run = run(options);
        let pages = PAGES as i32;
        assert_eq!(run.call("grow", &[0]), Ok(pages));
        // Not text: there has to be room for the encoding.
        run.put(64, &[0xff; 64]);
        run.call("write_output", &[64, 64]).unwrap();
        // An allocator that takes everything up to the end takes what is its own.
        assert_eq!(run.call("size", &[]), Ok(pages));
        assert_eq!(run.call("grow", &[0]), Ok(pages));
        let behind = run.memory().data_size(&run.store) as i32 >> 16;
        assert!(behind > pages);
        assert_eq!(run.call("grow", &[1]), Ok(behind));
        assert_eq!(run.call("size", &[]), Ok(behind + 1));
        let before = run.output();
        run.put((behind as usize) << 16, &[1; 65536]);
        run.call("write_output", &[64, 64]).unwrap();
        assert_eq!(run.output(), before);
    }
}

#[test]
fn memory_that_may_not_grow_has_room_for_the_support() {
    let wat = r#"(module
      (func (export "out") (import "env" "__faasm_write_output") (param i32 i32))
      (memory (export "memory") 1 1)
      (func (export "_start")))"#;
    for options in [GUARDED, BUILT] {
        let mut run = start(wat, options);
        run.put(0, &[0xff; 60_000]);
        run.call("out", &[0, 60_000]).unwrap();
        assert!(run.output().len() > 80_000);
    }
}

/// With Faasm's own C library all memory comes from the host's break.
const BREAK: &str = r#"(module
  (func (export "sbrk") (import "env" "__sbrk") (param i32) (result i32))
  (import "env" "mmap" (func $mmap (param i32 i32 i32 i32 i32 i64) (result i32)))
  (func (export "munmap") (import "env" "munmap") (param i32 i32) (result i32))
  (func (export "out") (import "env" "__faasm_write_output") (param i32 i32))
  (memory (export "memory") 2 64)
  (func (export "map") (param $bytes i32) (param $file i32) (result i32)
    (call $mmap (i32.const 0) (local.get $bytes) (i32.const 3) (i32.const 34) (local.get $file) (i64.const 0)))
  (func (export "_start")))"#;

#[test]
fn where_the_host_has_a_break_the_support_takes_its_memory_there() {
    for options in [GUARDED, BUILT] {
        let mut run = start(BREAK, options);
        run.put(0, &[0xff; 100]);
        run.call("out", &[0, 100]).unwrap();
        let first = run.call("sbrk", &[65536]).unwrap() as usize;
        assert!(first > 2 << 16);
        run.put(first, &[1; 65536]);
        let before = run.output();
        run.call("out", &[0, 100]).unwrap();
        assert_eq!(run.output(), before);
    }
}

#[test]
fn a_guarded_break_cannot_be_moved_where_the_host_would_end() {
    let mut run = start(BREAK, GUARDED);
    assert_eq!(run.call("sbrk", &[0]), Ok(2 << 16));
    for bytes in [1, 65535, -1, i32::MAX, i32::MIN, -3 << 16, 63 << 16] {
        assert_eq!(run.call("sbrk", &[bytes]), Ok(-1), "{bytes}");
    }
    assert_eq!(run.call("sbrk", &[1 << 16]), Ok(2 << 16));
    assert_eq!(run.call("sbrk", &[-1 << 16]), Ok(3 << 16));
    assert_eq!(run.call("map", &[5, -1]), Ok(2 << 16));
    assert_eq!(run.call("sbrk", &[0]), Ok(3 << 16));
    for (bytes, file) in [(5, 3), (0, -1), (-1, -1), (i32::MAX, -1)] {
        assert_eq!(run.call("map", &[bytes, file]), Ok(-1));
    }
    assert_eq!(run.call("munmap", &[3, 5]), Ok(0));
}

/// Counts how often its constructors and destructors run; its `malloc` is wrapped as `wasm-ld` does it.
const CONSTRUCTORS: &str = r#"(module
  (import "env" "__faasm_chain_name" (func $chain (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_await_call_output" (func $await (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_write_output" (func $write (param i32 i32)))
  (memory (export "memory") 1)
  (global $runs (export "runs") (mut i32) (i32.const 0))
  (func $__wasm_call_ctors
    (call $write (i32.const 16) (i32.const 1))
    (global.set $runs (i32.add (global.get $runs) (i32.const 1))))
  (func $__wasm_call_dtors (global.set $runs (i32.add (global.get $runs) (i32.const 100))))
  (func $_start (drop (call $await (call $chain (i32.const 20) (i32.const 0) (i32.const 0)) (i32.const 8) (i32.const 12))))
  (func $malloc (param i32) (result i32) (i32.const 1024))
  (func $free (param i32))
  (func $_start.command_export (call $__wasm_call_ctors) (call $_start) (call $__wasm_call_dtors))
  (func $malloc.command_export (param i32) (result i32)
    (call $__wasm_call_ctors) (call $malloc (local.get 0)) (call $__wasm_call_dtors))
  (func $free.command_export (param i32)
    (call $__wasm_call_ctors) (call $free (local.get 0)) (call $__wasm_call_dtors))
  (func (export "count") (result i32) (global.get $runs))
  (export "_start" (func $_start.command_export))
  (export "malloc" (func $malloc.command_export))
  (export "free" (func $free.command_export)))"#;

#[test]
fn constructors_run_once_and_may_output() {
    // The chained function has no name, so that the support hands out a reason: in the guest's own memory.
    for options in [GUARDED, BUILT, LOST] {
        let mut run = start(CONSTRUCTORS, options);
        run.call("_start", &[]).unwrap();
        assert_eq!(run.call("count", &[]), Ok(101));
        assert_eq!(run.output(), "\0");
        assert_eq!(run.word(8), 1024);
        let length = run.word(12) as usize;
        let reason = run.get(1024, length);
        assert!(String::from_utf8(reason).unwrap().contains("cannot name a function"));
    }
}

#[test]
fn a_start_function_may_make_host_calls() {
    let wat = r#"(module
      (import "env" "__faasm_write_output" (func $write (param i32 i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "\ff\fe")
      (start $begin)
      (func $begin (call $write (i32.const 0) (i32.const 2)))
      (func (export "_start")))"#;
    for options in [GUARDED, BUILT] {
        let mut run = start(wat, options);
        assert_eq!(run.output(), "\u{2}faasm-output;base64,//4=");
    }
    let bad = wat.replace("(i32.const 2)", "(i32.const -2)");
    let ended = Run::new(&Engine::default(), &link(&bad, GUARDED), Worker::default());
    assert_eq!(ended.err(), Some(End::Trap));
}
