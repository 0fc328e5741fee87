//! Executors, and the code that workers have loaded.

use crate::support::*;
use faasm_standin::{Setup, Times};
use std::time::Duration;

#[tokio::test]
async fn an_executor_belongs_to_an_app_and_a_function_and_is_kept_for_a_while() {
    let start = Duration::from_millis(60);
    let times = Times { executor_start: start, ..times() };
    let setup = Setup { times, ..Setup::default() };
    let cluster = Cluster::start_with(setup).await;
    let cluster = cluster.with(&[("f", &main_of("")), ("g", &main_of(""))]).await;
    let app = new_id();
    let took = async |function: &str, app: i32| {
        let (id, _) = cluster.send_of(app, function, 0, b"").await;
        let results = cluster.results(app).await;
        let message = results.iter().find(|message| message["id"] == id).unwrap().clone();
        let at = |name: &str| message[name].as_str().unwrap().parse::<u64>().unwrap();
        Duration::from_millis(at("finish_ts") - at("start_ts"))
    };
    assert!(took("f", app).await >= start);
    assert_eq!(cluster.planner.executors_started(0), 1);
    took("f", app).await;
    assert_eq!(cluster.planner.executors_started(0), 1, "the same app");
    assert!(took("f", new_id()).await >= start);
    assert!(took("g", app).await >= start);
    assert_eq!(cluster.planner.executors_started(0), 3, "another app, another function");
    // If idle executors are not kept, each call starts its own.
    let times = Times {
        executor_start: Duration::ZERO,
        executor_kept: Duration::ZERO,
        executor_reaped: Duration::ZERO,
        ..times
    };
    let setup = Setup { times, ..Setup::default() };
    let cluster = Cluster::start_with(setup).await.with(&[("f", &main_of(""))]).await;
    for calls in 1..4 {
        cluster.send_of(app, "f", 0, b"").await;
        until("all end", async || (cluster.results(app).await.len() == calls).then_some(())).await;
        assert_eq!(cluster.planner.executors_started(0), calls as u64);
    }
}

#[tokio::test]
async fn a_function_that_is_uploaded_again_runs_after_a_flush_or_a_restart_of_the_worker() {
    let says = |digit: u8| main_of(&format!("(call $digit (i32.const {digit}))"));
    let setup = Setup { workers: vec![4, 4], times: times(), ..Setup::default() };
    let cluster = Cluster::start_with(setup).await.with(&[("f", &says(1))]).await;
    assert_eq!(cluster.call("f").await.1, "1");
    cluster.put("f", &says(2)).await;
    assert_eq!(cluster.call("f").await.1, "1", "the version that the worker has loaded");
    let flushed = cluster.ask("FLUSH_EXECUTORS", "".into()).await;
    assert_eq!(flushed, Some((200, "Flushed executors!".into())));
    assert_eq!(cluster.call("f").await.1, "2");
    cluster.put("f", &says(3)).await;
    assert_eq!(cluster.call("f").await.1, "2");
    cluster.planner.revive_worker(0).await.unwrap();
    assert_eq!(cluster.call("f").await.1, "3");
    // Each worker has its own loaded code.
    cluster.put("f", &says(4)).await;
    cluster.planner.kill_worker(0);
    until("the worker is dropped", async || (cluster.hosts().await.len() == 1).then_some(())).await;
    assert_eq!(cluster.call("f").await.1, "4");
    // A restart of the planner has no effect on loaded code.
    cluster.put("f", &says(5)).await;
    cluster.planner.abort();
    cluster.planner.restart().await.unwrap();
    until("the worker registers", async || (!cluster.hosts().await.is_empty()).then_some(())).await;
    assert_eq!(cluster.call("f").await.1, "4");
}
