//! The output of `faasm_asyncify::faasm`: guarded functions end no worker; functions built for Faasm encode their
//! results in the output.

use crate::deaths::{DEADLY_IMPORTS, deadly_calls};
use crate::support::*;
use faasm_asyncify::faasm::{self, Options, Use};
use faasm_bridge::faasm::Output;

fn link(wat: &str, use_: Use) -> Vec<u8> {
    let options = Options { use_, check_names: use_ == Use::Guarded };
    faasm::link(&wat::parse_str(wat).unwrap(), options).unwrap().unwrap().wasm
}

const BUILT: Use = Use::BuiltFor { allow_lost_updates: false };

#[tokio::test]
async fn guarded_functions_never_end_a_worker() {
    let functions = deadly_calls().into_iter().map(|body| main_of(&body));
    let others = DEADLY_IMPORTS.iter().map(|(import, body)| importing(import, body));
    let unknown_clock = importing(
        r#""wasi_snapshot_preview1" "clock_time_get" (func $f (param i32 i64 i32) (result i32))"#,
        "(drop (call $f (i32.const 9) (i64.const 0) (i32.const 8)))",
    );
    let missing = main_of("(drop (call $chain_name (i32.const 0) (i32.const 64) (i32.const 1)))");
    let null = main_of("(drop (call $chain_ptr (i32.const 0) (i32.const 64) (i32.const 1)))");
    let binary = main_of(
        "(i32.store8 (i32.const 64) (i32.const 255)) (call $output (i32.const 64) (i32.const 1))",
    );
    for wat in functions.chain(others).chain([unknown_clock, missing, null, binary]) {
        let cluster = Cluster::start().await;
        cluster.put_wasm("f", link(&wat, Use::Guarded)).await;
        let _ = cluster.call("f").await;
        assert!(cluster.planner.worker_answers(0), "{wat}");
    }
}

#[tokio::test]
async fn functions_built_for_faasm_report_value_and_output() {
    let wat = module(
        r#"(table 4 funcref) (elem (i32.const 1) $callee)
        (func $callee (result i32)
            (call $output (i32.const 64) (call $read_input (i32.const 64) (i32.const 8))) (i32.const 7))
        (func (export "main") (result i32) (local $value i32)
            (local.set $value (call $await_output
                (call $chain_ptr (i32.const 1) (i32.const 66) (i32.const 3)) (i32.const 128) (i32.const 132)))
            (call $output (i32.load (i32.const 128)) (i32.load (i32.const 132)))
            (local.get $value))"#,
    );
    let cluster = Cluster::start().await;
    cluster.put_wasm("f", link(&wat, BUILT)).await;
    let (value, output) = cluster.call("f").await;
    assert_eq!(value, 0);
    assert_eq!(Output::read(&output), Output::Result { value: 7, output: b"cde".to_vec() });
}

#[tokio::test]
async fn a_fault_is_reported_with_its_code() {
    let cluster = Cluster::start().await;
    let wat = main_of("(call $write_state (i32.const 65536) (i32.const 64) (i32.const 1))");
    cluster.put_wasm("f", link(&wat, BUILT)).await;
    let (value, output) = cluster.call("f").await;
    assert_eq!(value, 0);
    assert!(matches!(Output::read(&output), Output::Fault { code: "bad-pointer", .. }), "{output}");
}

#[tokio::test]
async fn state_and_lists_work_as_they_do_in_a_page() {
    let wat = module(
        r#"
        (import "env" "__faasm_clear_appended_state" (func $clear (param i32)))
        (import "env" "__faasm_read_state_offset" (func $read_part (param i32 i32 i32 i32 i32)))
        (data (i32.const 16) "l\00")
        (func (export "main") (result i32)
            (call $write_state (i32.const 0) (i32.const 64) (i32.const 8))
            (call $push_state (i32.const 0))
            (call $pull_state (i32.const 0) (i32.const 0))
            (call $read_part (i32.const 0) (i32.const 8) (i32.const 2) (i32.const 200) (i32.const 2))
            (call $append (i32.const 16) (i32.const 64) (i32.const 1))
            (call $clear (i32.const 16))
            (call $append (i32.const 16) (i32.const 70) (i32.const 2))
            (call $read_appended (i32.const 16) (i32.const 202) (i32.const 2) (i32.const 1))
            (call $output (i32.const 200) (i32.const 4))
            (i32.const 0))"#,
    );
    for use_ in [BUILT, Use::Guarded] {
        let cluster = Cluster::start().await;
        // Imports must precede definitions.
        cluster.put_wasm("f", link(&imports_first(&wat), use_)).await;
        assert_eq!(cluster.call("f").await, (0, "cdgh".into()), "{use_:?}");
        assert_eq!(cluster.value("k").await.as_deref(), Some(&b"abcdefgh"[..]));
    }
}

/// Moves imports that follow the prelude to the beginning.
fn imports_first(wat: &str) -> String {
    let is_import = |line: &&str| line.trim_start().starts_with("(import ");
    let (imports, others): (Vec<&str>, Vec<&str>) =
        wat.strip_prefix("(module").unwrap().lines().partition(|line| is_import(line));
    format!("(module {} {}", imports.join("\n"), others.join("\n"))
}
