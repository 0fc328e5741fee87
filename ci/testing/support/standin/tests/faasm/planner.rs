//! What ends the planner, and what it reports of its workers.

use crate::support::*;
use faasm_standin::Setup;

/// Waits until state `gate` is not 0.
const GATED: &str = "(loop $again
    (call $pull_state (i32.const 8) (i32.const 1))
    (drop (call $read_state (i32.const 8) (i32.const 17) (i32.const 1)))
    (br_if $again (i32.eqz (i32.load8_u (i32.const 17)))))";

fn gated(rest: &str) -> String {
    module(&format!(
        r#"(data (i32.const 8) "gate\00")
        (func (export "main") (result i32) {GATED} {rest} (i32.const 0))"#
    ))
}

#[tokio::test]
async fn a_batch_while_a_dead_worker_is_listed_blocks_everything_and_then_ends_the_planner() {
    for comes_back in [false, true] {
        let cluster = with_main("").await;
        cluster.planner.kill_worker(0);
        // A request for its hosts does not change that.
        assert_eq!(cluster.hosts().await.len(), 1);
        let comes = async || {
            if comes_back {
                cluster.planner.revive_worker(0).await.unwrap();
            }
            // Each of these requests blocks.
            assert_eq!(cluster.ask("GET_IN_FLIGHT_APPS", "".into()).await, None);
            assert_eq!(cluster.ask("GET_AVAILABLE_HOSTS", "".into()).await, None);
        };
        let sent = tokio::join!(cluster.send_of(new_id(), "f", 0, b""), async {
            until("it blocks", async || {
                let asked = cluster.planner.counts();
                asked.contains_key("EXECUTE_BATCH").then_some(())
            })
            .await;
            tokio::task::yield_now().await;
            comes().await;
        });
        assert_eq!(sent.0.1, None, "the connection closes");
        assert!(!cluster.planner.is_alive());
    }
}

#[tokio::test]
async fn a_dying_worker_ends_the_planner_like_a_dead_one() {
    let cluster = Cluster::start().await;
    cluster.kills("nowhere").await;
    assert_eq!(cluster.send_of(new_id(), "nowhere", 0, b"").await.1, None);
    assert!(!cluster.planner.is_alive());
}

#[tokio::test]
async fn outputs_and_names_that_are_not_utf8_end_the_planner() {
    let chains = |name: &str| {
        module(&format!(
            r#"(data (i32.const 32) "{name}\00")
            (func (export "main") (result i32)
                (call $await (call $chain_name (i32.const 32) (i32.const 64) (i32.const 1))))"#
        ))
    };
    let binary = main_of(
        "(i32.store8 (i32.const 64) (i32.const 255)) (call $output (i32.const 64) (i32.const 1))",
    );
    for function in ["binary", "chains_binary", "chains_no_text"] {
        let cluster = Cluster::start().await;
        let functions = [
            ("binary", binary.as_str()),
            ("chains_binary", &chains("binary")),
            ("chains_no_text", &chains("\\ff")),
        ];
        let cluster = cluster.with(&functions).await;
        cluster.send_of(new_id(), function, 0, b"").await;
        until(function, async || (!cluster.planner.is_alive()).then_some(())).await;
    }
}

#[tokio::test]
async fn a_planner_that_is_restarted_during_a_call_gets_its_result_and_has_minus_one_slots() {
    let cluster = Cluster::start().await;
    let cluster = cluster.with(&[("f", &gated("(call $digit (i32.const 5))"))]).await;
    let sent = cluster.send("f").await;
    assert_eq!(cluster.planner.used_slots(), 1);
    cluster.planner.abort();
    cluster.planner.restart().await.unwrap();
    assert_eq!(cluster.status(sent.0).await.0, 500);
    // The planner learns of the worker with the worker's next heartbeat.
    assert!(cluster.hosts().await.is_empty());
    until("the worker registers", async || (!cluster.hosts().await.is_empty()).then_some(())).await;
    cluster.set("gate", &[1]).await;
    assert_eq!(cluster.result(sent).await, (0, "5".into()));
    assert_eq!(cluster.hosts().await[0]["usedSlots"], -1);
}

#[tokio::test]
async fn apps_in_flight_have_the_ips_of_their_hosts() {
    let setup = Setup { workers: vec![1, 1], times: times(), ..Setup::default() };
    let cluster = Cluster::start_with(setup).await.with(&[("f", &gated(""))]).await;
    let first = cluster.send("f").await;
    let second = cluster.send("f").await;
    let apps = cluster.say("GET_IN_FLIGHT_APPS").await;
    let expected = serde_json::json!({"apps": [
        {"appId": first.0, "hostIps": ["127.77.0.1"]},
        {"appId": second.0, "hostIps": ["127.77.0.2"]},
    ]});
    assert_eq!(apps, expected);
    let refused = cluster.send_of(new_id(), "f", 0, b"").await.1;
    assert_eq!(refused, Some((500, "No available hosts".into())));
    cluster.set("gate", &[1]).await;
    cluster.result(first).await;
    cluster.result(second).await;
    assert_eq!(cluster.say("GET_IN_FLIGHT_APPS").await, serde_json::json!({}));
    assert_eq!(cluster.planner.used_slots(), 0);
}

#[tokio::test]
async fn heartbeats_advance_while_a_worker_runs() {
    let cluster = Cluster::start().await;
    let registered = async || {
        let hosts = cluster.hosts().await;
        hosts[0]["registerTs"]["epochMs"].as_str().unwrap().parse::<u64>().unwrap()
    };
    let first = registered().await;
    let second = until("the next", async || Some(registered().await).filter(|at| *at > first));
    let step = second.await - first;
    assert!(step.is_multiple_of(200), "{step} ms");
}
