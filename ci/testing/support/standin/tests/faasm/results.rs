//! Results as functions and their callers see them.

use crate::support::*;

#[tokio::test]
async fn the_output_of_a_call_that_does_not_return_0_is_replaced() {
    let returns = |value: i32| {
        module(&format!(
            r#"(func (export "main") (result i32)
                (call $digit (i32.const 1)) (i32.const {value}))"#
        ))
    };
    let cluster = Cluster::start().await;
    let functions = [("zero", returns(0)), ("seven", returns(7)), ("minus", returns(-3))];
    for (name, wat) in &functions {
        cluster.put(name, wat).await;
    }
    assert_eq!(cluster.call("zero").await, (0, "1".into()));
    assert_eq!(cluster.call("seven").await, (7, "Call failed (return value=7)".into()));
    assert_eq!(cluster.call("minus").await, (-3, "Call failed (return value=-3)".into()));
    let exits = main_of("(call $digit (i32.const 1)) (call $exit (i32.const 9))");
    cluster.put("exits", &exits).await;
    assert_eq!(cluster.call("exits").await, (9, "Call failed (return value=9)".into()));
}

#[tokio::test]
async fn every_trap_has_one_text() {
    let cluster = Cluster::start().await;
    let traps = [
        ("unreachable", main_of("(unreachable)")),
        ("divides", main_of("(drop (i32.div_u (i32.const 1) (i32.const 0)))")),
        ("outside", main_of("(drop (i32.load (i32.const 65536)))")),
        (
            "recursion",
            module("(func $f (export \"main\") (result i32) (i32.add (call $f) (call $f)))"),
        ),
        ("pointer", main_of("(call $output (i32.const 65536) (i32.const 1))")),
        ("unknown", importing(r#""env" "unheard_of" (func $f)"#, "(call $f)")),
    ];
    for (name, wat) in &traps {
        cluster.put(name, wat).await;
        cluster.traps(name).await;
    }
}

#[tokio::test]
async fn exceptions_through_wamr_have_a_distinct_text() {
    let hook = importing(
        r#""env" "__faasm_host_interface_test" (func $f (param i32))"#,
        "(call $f (i32.const 1))",
    );
    let cluster = Cluster::start().await.with(&[("hook", &hook)]).await;
    let (app, id) = cluster.send("hook").await;
    let text = format!("Task {id} threw exception. What: Default WAMR exception");
    assert_eq!(cluster.result((app, id)).await, (1, text));
    assert!(cluster.planner.worker_answers(0));
}

#[tokio::test]
async fn host_calls_that_wamr_lacks_trap_when_they_are_called() {
    let lacking = [
        ("__faasm_read_state_ptr", "(param i32 i32) (result i32)", true),
        ("__faasm_read_state_offset", "(param i32 i32 i32 i32 i32) (result i32)", true),
        ("__faasm_read_state_offset_ptr", "(param i32 i32 i32 i32) (result i32)", true),
        ("__faasm_write_state_offset", "(param i32 i32 i32 i32 i32)", false),
        ("__faasm_write_state_from_file", "(param i32 i32) (result i32)", true),
        ("__faasm_flag_state_dirty", "(param i32 i32)", false),
        ("__faasm_flag_state_offset_dirty", "(param i32 i32 i32 i32)", false),
        ("__faasm_push_state_partial", "(param i32)", false),
        ("__faasm_push_state_partial_mask", "(param i32 i32)", false),
        ("__faasm_lock_state_read", "(param i32)", false),
        ("__faasm_unlock_state_read", "(param i32)", false),
        ("__faasm_lock_state_write", "(param i32)", false),
        ("__faasm_unlock_state_write", "(param i32)", false),
        ("__faasm_lock_state_global", "(param i32)", false),
        ("__faasm_unlock_state_global", "(param i32)", false),
        ("__faasm_clear_appended_state", "(param i32)", false),
        ("__faasm_conf_flag", "(param i32) (result i32)", true),
        ("__faasm_snapshot_memory", "(param i32)", false),
        ("__faasm_restore_memory", "(param i32)", false),
        ("__faasm_backtrace", "(param i32)", false),
        ("__faasm_sm_var", "(param i32 i32)", false),
        // Another type than WAMR's, or another name.
        ("__faasm_push_state", "(param i32) (result i32)", true),
        ("__faasm_read_state", "(param i32 i32 i32 i32) (result i32)", true),
        ("__faasm_chain_function", "(param i32 i32 i32) (result i32)", true),
        ("__faasm_get_idx", "(result i32)", true),
    ];
    let cluster = Cluster::start().await;
    for (name, ty, has_result) in lacking {
        let import = format!(r#""env" "{name}" (func $f {ty})"#);
        let arguments =
            "(i32.const 0) ".repeat(ty.split("(result").next().unwrap().matches("i32").count());
        let call = format!("(call $f {arguments})");
        let body = if has_result { format!("(drop {call})") } else { call };
        cluster.put(name, &importing(&import, &body)).await;
        cluster.traps(name).await;
        // Importing the host call without calling it is harmless.
        let idle = format!("{name}_idle");
        cluster.put(&idle, &importing(&import, "")).await;
        assert_eq!(cluster.call(&idle).await, (0, String::new()), "{name}");
    }
}

#[tokio::test]
async fn the_clock_writes_the_lower_half_only() {
    let reads = r#"(module
        (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
        (import "env" "__faasm_write_output" (func $write (param i32 i32)))
        (memory (export "memory") 1)
        (data (i32.const 8) "\00\00\00\00left")
        (func (export "_start")
            (if (i32.or (call $clock (i32.const 0) (i64.const 1) (i32.const 8)) (i32.eqz (i32.load (i32.const 8))))
                (then unreachable))
            (call $write (i32.const 12) (i32.const 4))))"#;
    let cluster = Cluster::start().await.with(&[("f", reads)]).await;
    assert_eq!(cluster.call("f").await, (0, "left".into()));
}

#[tokio::test]
async fn poll_oneoff_waits() {
    // A subscription to the monotonic clock, relative, 50 ms.
    let sleeps = r#"(module
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start")
            (i32.store (i32.const 16) (i32.const 1))
            (i64.store (i32.const 24) (i64.const 50000000))
            (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))"#;
    let cluster = Cluster::start().await.with(&[("f", sleeps)]).await;
    let (app, _) = cluster.send("f").await;
    let results = cluster.results(app).await;
    let at = |name: &str| results[0][name].as_str().unwrap().parse::<u64>().unwrap();
    assert!(at("finish_ts") - at("start_ts") >= 50, "{results:?}");
}

#[tokio::test]
async fn a_host_call_of_the_c_library_is_there() {
    let gettid = importing(
        r#""env" "syscall" (func $f (param i32 i32) (result i32))"#,
        "(if (call $f (i32.const 224) (i32.const 0)) (then unreachable))",
    );
    let grows = importing(
        r#""env" "__sbrk" (func $f (param i32) (result i32))"#,
        "(if (i32.ne (call $f (i32.const 65536)) (i32.const 65536)) (then unreachable))",
    );
    let cluster = Cluster::start().await.with(&[("gettid", &gettid), ("grows", &grows)]).await;
    assert_eq!(cluster.call("gettid").await, (0, String::new()));
    assert_eq!(cluster.call("grows").await, (0, String::new()));
}
