//! Which modules are linked, what of them, and what is said of them.

use crate::guests::{BUILT, GUARDED, LOST, link, text};
use faasm_asyncify::Error;
use faasm_asyncify::faasm::{self, BuiltFor, chained_names, check, unsupported};

fn wasm(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).unwrap()
}

fn module(more: &str) -> Vec<u8> {
    wasm(&format!(r#"(module {more} (memory (export "memory") 1) (func (export "_start")))"#))
}

#[test]
fn what_cannot_end_a_worker_goes_as_it_is() {
    for more in [
        "",
        r#"(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))"#,
        r#"(import "env" "pthread_mutex_lock" (func (param i32) (result i32)))"#,
        r#"(import "env" "getpid" (func (result i32)))"#,
    ] {
        assert_eq!(faasm::link(&module(more), GUARDED).unwrap(), None, "{more}");
    }
}

#[test]
fn what_is_not_known_to_be_harmless_is_not_called() {
    for name in [
        "__faasm_host_interface_test",
        "__faasm_s3_get_num_buckets",
        "MPI_Init",
        "dlopen",
        "pthread_create",
        "pthread_self",
        "shm_open",
        "dup",
        "mystery",
        "puts",
    ] {
        // Signatures differ; that of the row, where there is one.
        let ty = match name {
            "pthread_self" => "(result i32)",
            "dup" | "puts" => "(param i32) (result i32)",
            _ => "(param i32)",
        };
        let made =
            faasm::link(&module(&format!(r#"(import "env" "{name}" (func {ty}))"#)), GUARDED);
        let made = made.unwrap().unwrap_or_else(|| panic!("{name} is left"));
        assert_eq!(made.wrapped, [format!("env.{name}")]);
        assert!(!made.wasm.windows(name.len()).any(|bytes| bytes == name.as_bytes()), "{name}");
    }
    // An operator who builds a function for the cluster knows what is there.
    let s3 = module(r#"(import "env" "__faasm_s3_get_num_buckets" (func (result i32)))"#);
    assert_eq!(faasm::link(&s3, BUILT).unwrap(), None);
}

#[test]
fn only_what_can_be_reached_is_added() {
    let size = |more: &str| {
        let made = faasm::link(&module(more), GUARDED).unwrap().unwrap();
        made.wasm.len()
    };
    let push = r#"(import "env" "__faasm_push_state" (func (param i32)))"#;
    let trap = r#"(import "env" "__faasm_host_interface_test" (func (param i32)))"#;
    assert!(size(trap) < 100);
    assert!(size(push) < 1500, "{}", size(push));
    let all = link(&text(""), GUARDED);
    assert!(all.len() < 9000, "{}", all.len());
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    for options in [GUARDED, BUILT, LOST] {
        assert_eq!(link(&text(""), options), link(&text(""), options));
    }
}

#[test]
fn a_function_says_that_it_was_built() {
    assert!(!faasm::is_built_for(&wasm(&text(""))));
    assert!(!faasm::is_built_for(&link(&text(""), GUARDED)));
    assert!(!faasm::is_built_for(b"no module"));
    let built = link(&text(""), LOST);
    let says = BuiltFor { allow_lost_updates: true, pointer_entry: Some(8), chained: vec![] };
    assert_eq!(faasm::built_for(&built), Some(says.clone()));
    let guarded = faasm::link(&built, GUARDED).unwrap().unwrap();
    assert_eq!(faasm::built_for(&guarded.wasm), Some(says));
    let error = faasm::link(&built, BUILT).unwrap_err().to_string();
    assert!(error.contains("faasm:cluster"), "{error}");
}

#[test]
fn imports_of_other_types_are_refused() {
    let other = module(r#"(import "env" "__faasm_push_state" (func (param i64)))"#);
    for options in [GUARDED, BUILT] {
        let error = faasm::link(&other, options).unwrap_err();
        assert!(matches!(error, Error::Signature { .. }), "{error}");
    }
}

#[test]
fn what_no_artefact_can_do_is_said_with_the_reason() {
    let names = |allowed: bool| {
        let list = unsupported(&wasm(&text("")), allowed).unwrap();
        assert!(list.iter().all(|one| !one.reason.is_empty()));
        list.into_iter().map(|one| one.import).collect::<Vec<_>>()
    };
    let always = [
        "env.__faasm_lock_state_global",
        "env.__faasm_lock_state_write",
        "env.__faasm_read_state_ptr",
        "env.__faasm_host_interface_test",
        "env.__cxa_throw",
        "env.shm_open",
    ];
    assert_eq!(names(true), always);
    let partial = ["env.__faasm_push_state_partial", "env.__faasm_push_state_partial_mask"];
    assert_eq!(names(false), [&partial[..], &always[..]].concat());
    assert_eq!(unsupported(&module(""), false).unwrap(), []);
}

#[test]
fn what_wamr_cannot_compile_is_refused() {
    check(&wasm(&text(""))).unwrap();
    check(&link(&text(""), BUILT)).unwrap();
    for (wat, part) in [
        (
            r#"(module (memory (export "memory") 1) (func $f (export "_start") return_call $f))"#,
            "tail-call",
        ),
        (
            r#"(module (import "env" "memory" (memory 1)) (export "memory" (memory 0))
                (func (export "_start")))"#,
            "env.memory",
        ),
        (r#"(module (memory 1) (func (export "_start")))"#, "not exported"),
        (r#"(module (memory (export "memory") 1) (tag) (func (export "_start")))"#, "exception"),
        (
            r#"(module (import "env" "g" (global i32)) (memory (export "memory") 1) (func (export "_start")))"#,
            "env.g",
        ),
    ] {
        let message = check(&wasm(wat)).unwrap_err().to_string();
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
    check(b"no module").unwrap_err();
}

#[test]
fn names_that_are_constants_are_found() {
    let wat = r#"(module
      (import "env" "__faasm_chain_name" (func $chain (param i32 i32 i32) (result i32)))
      (import "env" "__faasm_chain_function" (func $old (param i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 8) "one\00two\00\ff\00end")
      (func (export "_start") (local $at i32)
        (drop (call $chain (i32.const 8) (i32.const 0) (i32.const 0)))
        (drop (call $chain (i32.const 8) (local.get $at) (local.get $at)))
        (drop (call $old (i32.const 12) (i32.const 0) (i32.const 0)))
        (drop (call $chain (i32.const 16) (i32.const 0) (i32.const 0)))
        (drop (call $chain (i32.const 18) (i32.const 0) (i32.const 0)))
        (drop (call $chain (i32.const 100) (i32.const 0) (i32.const 0)))
        (drop (call $chain (local.get $at) (i32.const 0) (i32.const 0)))))"#;
    let names = chained_names(&wasm(wat)).unwrap();
    assert_eq!(names, [&b"end"[..], b"one", b"two", b"\xff"]);
    assert!(chained_names(b"\0asm\x01\0\0\0\x01").is_err());
}

#[test]
fn every_reference_to_an_import_leads_to_its_wrapper() {
    let wat = r#"(module
      (import "env" "__faasm_write_output" (func $write (param i32 i32)))
      (memory (export "memory") 1)
      (table (export "table") 4 funcref)
      (elem (i32.const 1) func $write)
      (elem $later (table 0) (i32.const 2) funcref (ref.func $write))
      (elem declare func $write)
      (export "out" (func $write))
      (func (export "direct") (param i32 i32) (call $write (local.get 0) (local.get 1)))
      (func (export "indirect") (param i32 i32 i32)
        (call_indirect (param i32 i32) (local.get 0) (local.get 1) (local.get 2)))
      (func (export "reference") (param i32 i32)
        (table.set 0 (i32.const 3) (ref.func $write))
        (call_indirect (param i32 i32) (local.get 0) (local.get 1) (i32.const 3)))
      (func (export "_start")))"#;
    use crate::host::{End, Run, Worker};
    let made = link(wat, GUARDED);
    for (name, more) in [
        ("out", &[][..]),
        ("direct", &[]),
        ("indirect", &[1]),
        ("indirect", &[2]),
        ("reference", &[]),
    ] {
        let mut run = Run::new(&wasmtime::Engine::default(), &made, Worker::default()).unwrap();
        assert_eq!(run.call(name, &[&[0, 5], more].concat()), Ok(0), "{name}");
        assert_eq!(run.call(name, &[&[0, -5], more].concat()), Err(End::Trap), "{name}");
    }
}

#[test]
fn a_guarded_malloc_gives_nothing_outside_memory() {
    for (gives, is_memory) in [(65_520_u32, true), (65_521, false), (0xffff_fff0, false)] {
        let wat = format!(
            r#"(module
              (import "env" "__faasm_await_call_output" (func $await (param i32 i32 i32) (result i32)))
              (memory (export "memory") 1)
              (func (export "malloc") (param i32) (result i32) (i32.const {gives}))
              (func (export "free") (param i32))
              (func (export "_start") (drop (call $await (i32.const 1) (i32.const 0) (i32.const 4)))))"#
        );
        let engine = wasmtime::Engine::default();
        let module = wasmtime::Module::new(&engine, link(&wat, GUARDED)).unwrap();
        let mut linker = wasmtime::Linker::new(&engine);
        linker.define_unknown_imports_as_traps(&module).unwrap();
        let mut store = wasmtime::Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let malloc = instance.get_typed_func::<u32, u32>(&mut store, "malloc").unwrap();
        assert_eq!(malloc.call(&mut store, 16).is_ok(), is_memory, "{gives:#x}");
    }
}

#[test]
fn a_worker_enters_only_what_it_has_room_for() {
    let table = wasm(
        r#"(module (memory (export "memory") 1) (table 8 funcref)
          (elem (i32.const 1) $none $value $number $wide $long)
          (func $none) (func $value (result i32) (i32.const 1)) (func $number (param i32) (result i32) (i32.const 1))
          (func $wide (result i64 i64) (i64.const 1) (i64.const 1)) (func $long (param i64))
          (func (export "_start")))"#,
    );
    assert_eq!(faasm::enterable(&table).unwrap().into_iter().collect::<Vec<_>>(), [1, 2, 3]);
}
