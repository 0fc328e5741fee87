//! Chained calls, which pass the planner.

use crate::support::*;
use faasm_standin::Setup;
use std::collections::BTreeSet;

/// Chains a pointer to function $callee of the table, awaits it with output, and outputs its return value as a digit.
fn pointer_to(callee: &str) -> String {
    module(&format!(
        r#"(table 4 funcref) (elem (i32.const 1) $callee)
        {callee}
        (func (export "main") (result i32)
            (call $digit (call $await
                (call $chain_ptr (i32.const 1) (i32.const 64) (i32.const 1))))
            (i32.const 0))"#
    ))
}

#[tokio::test]
async fn a_chained_pointer_reports_0_whatever_it_returned_or_exited_with() {
    let returns = "(func $callee (result i32) (call $digit (i32.const 2)) (i32.const 7))";
    let exits = "(func $callee (result i32) (call $exit (i32.const 7)) (i32.const 0))";
    for callee in [returns, exits] {
        let cluster = Cluster::start().await.with(&[("f", &pointer_to(callee))]).await;
        let (app, id) = cluster.send("f").await;
        assert_eq!(cluster.result((app, id)).await, (0, "0".into()));
        let results = cluster.results(app).await;
        let child = results.iter().find(|message| message["id"] != id).unwrap();
        assert!(child.get("returnValue").is_none(), "{child}");
        assert_eq!(child["funcPtr"], 1);
        // Direct calls of a pointer through the planner behave the same.
        let app = new_id();
        let (id, _) = cluster.send_of(app, "f", 1, b"").await;
        assert_eq!(cluster.result((app, id)).await.0, 0);
    }
    let traps = pointer_to("(func $callee (result i32) unreachable)");
    let cluster = Cluster::start().await.with(&[("f", &traps)]).await;
    assert_eq!(cluster.call("f").await, (0, "1".into()), "a trap is 1");
}

#[tokio::test]
async fn a_chained_call_takes_a_slot_and_has_its_callers_app_and_a_result_of_its_own() {
    let callee =
        main_of("(call $output (i32.const 64) (call $read_input (i32.const 64) (i32.const 9)))");
    let caller = module(
        r#"(data (i32.const 32) "callee\00")
        (func (export "main") (result i32)
            (drop (call $await_output
                (call $chain_name (i32.const 32) (i32.const 66) (i32.const 3))
                (i32.const 128) (i32.const 132)))
            (call $output (i32.load (i32.const 128)) (i32.load (i32.const 132)))
            (i32.const 0))"#,
    );
    let functions = [("caller", caller.as_str()), ("callee", &callee)];
    let cluster = Cluster::start().await.with(&functions).await;
    let (app, id) = cluster.send("caller").await;
    assert_eq!(cluster.result((app, id)).await, (0, "cde".into()));
    let results = cluster.results(app).await;
    assert_eq!(results.len(), 2);
    for message in &results {
        assert_eq!((&message["appId"], &message["output_data"]), (&app.into(), &"cde".into()));
        assert_eq!(message["executedHost"], "127.77.0.1");
    }
    assert_eq!(cluster.planner.used_slots(), 0);
    // With a single slot, no slot is free for the chained call.
    let setup = Setup { workers: vec![1], times: times(), ..Setup::default() };
    let cluster = Cluster::start_with(setup).await.with(&functions).await;
    cluster.traps("caller").await;
    assert_eq!(cluster.planner.used_slots(), 0);
}

#[tokio::test]
async fn an_awaited_output_is_replaced_as_faasm_does() {
    let callee =
        module(r#"(func (export "main") (result i32) (call $digit (i32.const 2)) (i32.const 5))"#);
    let caller = module(
        r#"(data (i32.const 32) "callee\00")
        (func (export "main") (result i32)
            (if (i32.ne (i32.const 5) (call $await_output
                (call $chain_name (i32.const 32) (i32.const 66) (i32.const 3))
                (i32.const 128) (i32.const 132))) (then unreachable))
            (call $output (i32.load (i32.const 128)) (i32.load (i32.const 132)))
            (i32.const 0))"#,
    );
    let functions = [("caller", caller.as_str()), ("callee", &callee)];
    let cluster = Cluster::start().await.with(&functions).await;
    assert_eq!(cluster.call("caller").await, (0, "Call failed (return value=5)".into()));
}

#[tokio::test]
async fn a_null_pointer_runs_main_again_until_no_slot_is_free() {
    let chains_itself = module(
        r#"(func (export "main") (result i32)
            (drop (call $await (call $chain_ptr (i32.const 0) (i32.const 64) (i32.const 1))))
            (i32.const 0))"#,
    );
    let setup = Setup { workers: vec![3, 2], times: times(), ..Setup::default() };
    let cluster = Cluster::start_with(setup).await.with(&[("f", &chains_itself)]).await;
    let (app, id) = cluster.send("f").await;
    assert_eq!(cluster.result((app, id)).await.0, 0);
    let results = cluster.results(app).await;
    assert_eq!(results.len(), 5, "one in each slot");
    let hosts = results.iter().map(|message| message["executedHost"].as_str().unwrap());
    assert_eq!(hosts.collect::<BTreeSet<_>>().len(), 2);
    let failed: Vec<_> = results.iter().filter(|message| message["returnValue"] == 1).collect();
    assert_eq!(failed.len(), 1, "the last of them");
    let text = failed[0]["output_data"].as_str().unwrap();
    assert!(text.ends_with("What: Error executing WASM function with WAMR"), "{text}");
}
