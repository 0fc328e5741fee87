//! A function that exports every host call, so that a test makes them one by one.

use crate::host::{End, Run, Worker};
use faasm_asyncify::faasm::{self, Options, Use};
use faasm_bridge::faasm::Output;
use std::sync::OnceLock;
use wasmtime::{Engine, Module};

pub(crate) const GUARDED: Options = Options { use_: Use::Guarded, check_names: true };
pub(crate) const BUILT: Options =
    Options { use_: Use::BuiltFor { allow_lost_updates: false }, check_names: false };
pub(crate) const LOST: Options =
    Options { use_: Use::BuiltFor { allow_lost_updates: true }, check_names: false };

/// Host calls that take and give `i32` only: export, import, number of parameters, whether there is a result.
pub(crate) const CALLS: &[(&str, &str, usize, bool)] = &[
    ("read_input", "__faasm_read_input", 2, true),
    ("write_output", "__faasm_write_output", 2, false),
    ("chain_name", "__faasm_chain_name", 3, true),
    ("chain_function", "__faasm_chain_function", 3, true),
    ("chain_ptr", "__faasm_chain_ptr", 3, true),
    ("await_call", "__faasm_await_call", 1, true),
    ("await_call_output", "__faasm_await_call_output", 3, true),
    ("read_state", "__faasm_read_state", 3, true),
    ("read_state_async", "__faasm_read_state", 4, false),
    ("write_state", "__faasm_write_state", 3, false),
    ("read_state_offset", "__faasm_read_state_offset", 5, true),
    ("write_state_offset", "__faasm_write_state_offset", 5, false),
    ("flag_state_dirty", "__faasm_flag_state_dirty", 2, false),
    ("flag_state_offset_dirty", "__faasm_flag_state_offset_dirty", 4, false),
    ("push_state", "__faasm_push_state", 1, false),
    ("push_state_partial", "__faasm_push_state_partial", 1, true),
    ("push_state_partial_mask", "__faasm_push_state_partial_mask", 2, false),
    ("pull_state", "__faasm_pull_state", 2, true),
    ("append_state", "__faasm_append_state", 3, false),
    ("read_appended_state", "__faasm_read_appended_state", 4, true),
    ("clear_appended_state", "__faasm_clear_appended_state", 1, false),
    ("conf_flag", "__faasm_conf_flag", 1, true),
    ("lock_state_global", "__faasm_lock_state_global", 1, false),
    ("lock_state_write", "__faasm_lock_state_write", 1, false),
    ("read_state_ptr", "__faasm_read_state_ptr", 2, true),
    ("host_interface_test", "__faasm_host_interface_test", 1, false),
    ("migrate_point", "__faasm_migrate_point", 2, false),
    ("sm_reduce", "__faasm_sm_reduce", 4, false),
    ("cxa_throw", "__cxa_throw", 3, false),
    ("syscall", "syscall", 2, true),
    ("shm_open", "shm_open", 3, true),
    ("exit", "exit", 1, false),
];

/// Pages of memory; the function grows it by itself.
pub(crate) const PAGES: usize = 2;
pub(crate) const SIZE: i32 = (PAGES as i32) << 16;

pub(crate) fn text(more: &str) -> String {
    let imports = CALLS.iter().map(|(export, import, params, result)| {
        let result = if *result { "(result i32)" } else { "" };
        format!(
            r#"(func ${export} (export "{export}") (import "env" "{import}") (param{}) {result})"#,
            " i32".repeat(*params)
        )
    });
    format!(
        r#"(module {}
          (func $proc_exit (export "proc_exit") (import "wasi_snapshot_preview1" "proc_exit") (param i32))
          {more}
          (memory (export "memory") {PAGES} 512)
          (table (export "table") 8 funcref)
          (elem (i32.const 1) $void $value $double $wide $exits $deep)
          (global $seen (export "seen") (mut i32) (i32.const 0))
          (func $void (global.set $seen (i32.const 1)))
          (func $value (result i32)
            (call $write_output (i32.const 64) (call $read_input (i32.const 64) (i32.const 64)))
            (i32.const -7))
          (func $double (param i32) (result i32) (i32.add (local.get 0) (local.get 0)))
          (func $wide (param i64) (result i64) (local.get 0))
          (func $exits (call $write_output (i32.const 64) (i32.const 3)) (call $proc_exit (i32.const 9)))
          (func $deep (result i32) unreachable)
          (func (export "size") (result i32) (memory.size))
          (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
          (func (export "_start")))"#,
        imports.collect::<String>()
    )
}

pub(crate) fn link(wat: &str, options: Options) -> Vec<u8> {
    let wasm = wat::parse_str(wat).unwrap();
    faasm::link(&wasm, options).unwrap().expect("it has to be linked").wasm
}

/// Compiled once, since nearly every test needs one of them.
fn compiled(options: Options) -> &'static (Engine, Module) {
    static COMPILED: [OnceLock<(Engine, Module)>; 3] = [const { OnceLock::new() }; 3];
    let place = match options.use_ {
        Use::Guarded => 0,
        Use::BuiltFor { allow_lost_updates } => 1 + usize::from(allow_lost_updates),
    };
    COMPILED[place].get_or_init(|| {
        let engine = Engine::default();
        let module = Module::new(&engine, link(&text(""), options)).unwrap();
        (engine, module)
    })
}

/// All host calls, on a worker with nothing.
pub(crate) fn run(options: Options) -> Run {
    let (engine, module) = compiled(options);
    Run::of(engine, module, Worker::default()).unwrap()
}

/// Functions that were built, and then guarded.
pub(crate) fn run_both() -> Run {
    let built = link(&text(""), BUILT);
    let made = faasm::link(&built, GUARDED).unwrap().unwrap();
    Run::new(&Engine::default(), &made.wasm, Worker::default()).unwrap()
}

/// That a call ended the run by a fault: with this code and a text that has this part.
pub(crate) fn faulted(run: &mut Run, ended: Result<i32, End>, code: &str, part: &str) {
    assert_eq!(ended, Err(End::Exit(0)));
    let output = run.output();
    match Output::read(&output) {
        Output::Fault { code: found, message } => {
            assert_eq!(found, code, "{message}");
            assert!(message.contains(part), "no `{part}` in: {message}");
        }
        other => panic!("{other:?}"),
    }
}

/// Makes a call with both kinds: a guarded function traps, one that was built for Faasm faults; neither reaches the host.
pub(crate) fn refused(
    prepare: impl Fn(&mut Run),
    call: &str,
    arguments: &[i32],
    code: &str,
    part: &str,
) {
    let mut guarded = run(GUARDED);
    prepare(&mut guarded);
    assert_eq!(guarded.call(call, arguments), Err(End::Trap), "{call} {arguments:?}");
    let mut built = run(BUILT);
    prepare(&mut built);
    let ended = built.call(call, arguments);
    faulted(&mut built, ended, code, part);
}
