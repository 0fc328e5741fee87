//! What breaks a planner: each of it is kept from it, or survived. One test for each row of the table in
//! `cluster/faasm/mod.rs`, named after it.

use super::*;
use crate::fixtures::*;
use crate::support::{main, returned};
use std::collections::BTreeSet;

/// Outputs a byte that no text has.
const BINARY: &str = r#"(module
    (import "env" "__faasm_write_output" (func $write (param i32 i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\ff")
    (func (export "_start") (call $write (i32.const 0) (i32.const 1))))"#;

async fn says_hello(client: &mut Client) {
    assert_eq!(client.call("hello", b"x").await, (0, "Hello, x".into()));
}

/// A call after which the planner was there again, sooner or later.
async fn says_hello_in_the_end(client: &mut Client) {
    let saying = async {
        loop {
            match client.ask(main("hello"), b"x").await {
                (Reply::Failed { code: FailureCode::Unavailable, .. }, _) => {}
                reply => return assert_eq!(returned(reply), (0, "Hello, x".into())),
            }
        }
    };
    tokio::time::timeout(LONG, saying).await.expect("the planner is asked again");
}

#[tokio::test]
async fn an_output_that_is_not_utf8_is_an_unknown_call_and_a_planner_that_comes_back() {
    let cluster = Cluster::start_with(Setup { times: soon_known(), ..Setup::default() }).await;
    let cluster = cluster.with(&[("binary", BINARY), ("hello", HELLO)]).await;
    let front = cluster.relay_with(impatient(cluster.config())).await;
    let mut client = front.client().await;
    let (code, reason) = told(client.ask(main("binary"), b"").await);
    assert_eq!(code, FailureCode::Unknown, "{reason}");
    assert!(!cluster.planner.is_alive(), "as a real one");
    let (code, reason) = told(client.ask(main("hello"), b"x").await);
    assert_eq!(code, FailureCode::Unavailable, "{reason}");
    cluster.planner.restart().await.unwrap();
    says_hello_in_the_end(&mut client).await;
}

#[tokio::test]
async fn a_worker_that_died_is_noticed_before_a_batch() {
    let times = Times { host_timeout: Duration::ZERO, ..Times::default() };
    let setup = Setup { workers: vec![4, 4], times, ..Setup::default() };
    let cluster = Cluster::start_with(setup).await.with(&[("hello", HELLO)]).await;
    let front = cluster.relay().await;
    let mut client = front.client().await;
    // The first worker gets calls first, so without the question for hosts this one would block the planner.
    cluster.planner.kill_worker(0);
    says_hello(&mut client).await;
    assert!(cluster.planner.is_alive());
}

#[tokio::test]
async fn a_worker_that_died_unnoticed_costs_one_deadline() {
    let times = Times { blocked: 2 * SHORT, ..soon_known() };
    let setup = Setup { workers: vec![4, 4], times, ..Setup::default() };
    let cluster = Cluster::start_with(setup).await.with(&[("hello", HELLO)]).await;
    let front = cluster.relay_with(impatient(cluster.config())).await;
    let mut client = front.client().await;
    cluster.planner.kill_worker(0);
    let (code, reason) = told(client.ask(main("hello"), b"x").await);
    assert_eq!(code, FailureCode::Unknown, "{reason}");
    // It aborts once the time is over that it blocks for.
    let aborted = async {
        while cluster.planner.is_alive() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, aborted).await.expect("it aborts");
    cluster.planner.restart().await.unwrap();
    says_hello_in_the_end(&mut client).await;
}

#[tokio::test]
async fn reset_and_set_policy_are_never_sent_whatever_a_page_says() {
    let cluster = Cluster::lenient().await.with(&[("hello", HELLO), ("trap", TRAP)]).await;
    let front = cluster.relay().await;
    let mut client = front.client().await;
    says_hello(&mut client).await;
    client.ask(main("trap"), b"").await;
    client.ask(main("nowhere"), br#"{"http_type":"RESET"}"#).await;
    for body in [r#"{"http_type":"RESET"}"#, r#"{"http_type":"SET_POLICY","payload":"none"}"#] {
        let (status, _) = request(front.address, "POST", "/", body.into()).await;
        assert_eq!(status, 400);
    }
    let kinds: BTreeSet<String> =
        cluster.planner.asked().into_iter().map(|asked| asked.kind).collect();
    let harmless =
        ["EXECUTE_BATCH", "EXECUTE_BATCH_STATUS", "GET_AVAILABLE_HOSTS", "GET_IN_FLIGHT_APPS"];
    assert!(kinds.iter().all(|kind| harmless.contains(&kind.as_str())), "{kinds:?}");
}

#[tokio::test]
async fn a_reset_by_somebody_else_is_an_unknown_call_and_no_end() {
    let cluster = Cluster::lenient().await.with(&[("gate", GATE), ("hello", HELLO)]).await;
    let front = cluster.relay_with(impatient(cluster.config())).await;
    let mut client = front.client().await;
    let id = client.send(main("gate"), b"").await;
    cluster.gate_reached(1).await;
    let planner: SocketAddr = cluster.planner.url()[7..].parse().unwrap();
    let (status, _) = request(planner, "POST", "/", br#"{"http_type":"RESET"}"#.to_vec()).await;
    assert_eq!(status, 200);
    let (code, reason) = told(client.reply(id).await);
    assert_eq!(code, FailureCode::Unknown, "{reason}");
    assert_eq!(cluster.planner.used_slots(), -1, "as a real one");
    says_hello(&mut client).await;
    cluster.open_gate().await;
}

#[tokio::test]
async fn a_batch_whose_answer_is_lost_is_looked_up_and_not_sent_again() {
    let cluster = Cluster::start().await.with(&[("tick", TICK)]).await;
    let front = cluster.relay().await;
    let mut client = front.client().await;
    for fault in [
        faasm_standin::Fault::Swallow,
        faasm_standin::Fault::Instead(200, "nonsense".into()),
        faasm_standin::Fault::Instead(200, "{\"appId\":1}".into()),
        faasm_standin::Fault::Instead(502, "a proxy's own".into()),
    ] {
        cluster.planner.fault("EXECUTE_BATCH", fault.clone());
        assert_eq!(client.call("tick", b"t").await, (0, "t".into()), "{fault:?}");
    }
    assert_eq!(cluster.count("EXECUTE_BATCH"), 4, "each of them once");
    let ticks = cluster.stores.state.read_appended(USER, "ticks", 9).await.unwrap();
    assert_eq!(ticks, b"tttt", "each of them ran once");
    assert_eq!(cluster.planner.used_slots(), 0, "no slot leaked");
}

#[tokio::test]
async fn a_batch_that_never_arrived_is_unknown_and_not_sent_again() {
    let cluster = Cluster::start().await.with(&[("hello", HELLO)]).await;
    let front = cluster.relay_with(impatient(cluster.config())).await;
    let mut client = front.client().await;
    cluster.planner.fault("EXECUTE_BATCH", faasm_standin::Fault::Refuse);
    let (code, reason) = told(client.ask(main("hello"), b"x").await);
    assert_eq!(code, FailureCode::Unknown);
    assert!(reason.contains("unknown whether the call ran"), "{reason}");
    assert_eq!(cluster.count("EXECUTE_BATCH"), 0);
    says_hello(&mut client).await;
}

#[tokio::test]
async fn ids_of_apps_and_messages_come_once_and_pages_do_not_learn_them() {
    let cluster = Cluster::start().await.with(&[("hello", HELLO), ("trap", TRAP)]).await;
    let front = cluster.relay_with(FaasmConfig { app_per_run: true, ..cluster.config() }).await;
    let (mut ada, mut replies) = (front.client().await, String::new());
    for number in 0..50 {
        let function = if number % 5 == 0 { "trap" } else { "hello" };
        replies += &format!("{:?}", ada.ask(main(function), b"x").await);
    }
    let asked = cluster.planner.asked();
    let started: Vec<_> = asked.iter().filter(|asked| asked.kind == "EXECUTE_BATCH").collect();
    let apps: BTreeSet<i32> = started.iter().map(|asked| asked.app.unwrap()).collect();
    let message = |payload: &str| {
        let id = payload.split("\"messages\":[{\"id\":").nth(1).unwrap().split(',').next().unwrap();
        id.parse::<i32>().unwrap()
    };
    let messages: BTreeSet<i32> = started.iter().map(|asked| message(&asked.payload)).collect();
    assert_eq!((apps.len(), messages.len()), (50, 50));
    for id in apps.iter().chain(&messages) {
        assert!(*id > 0);
        assert!(!replies.contains(&id.to_string()), "{id} in {replies}");
    }
}

#[tokio::test]
async fn a_batch_has_one_message_and_no_type() {
    let cluster = Cluster::start().await.with(&[("hello", HELLO)]).await;
    let front = cluster.relay().await;
    let mut client = front.client().await;
    says_hello(&mut client).await;
    for asked in cluster.planner.asked() {
        if asked.kind == "EXECUTE_BATCH" {
            let batch: serde_json::Value = serde_json::from_str(&asked.payload).unwrap();
            assert_eq!(batch["messages"].as_array().unwrap().len(), 1);
            assert!(batch.get("type").is_none());
        }
    }
}

#[tokio::test]
async fn a_call_that_never_ends_has_a_deadline_since_pending_and_unknown_are_the_same() {
    let cluster = Cluster::start().await.with(&[("gate", GATE), ("hello", HELLO)]).await;
    let front = cluster.relay_with(impatient(cluster.config())).await;
    let mut client = front.client().await;
    let (code, reason) = told(client.ask(main("gate"), b"").await);
    assert_eq!(code, FailureCode::Unknown);
    assert!(reason.contains("no result after 0.4 s"), "{reason}");
    cluster.open_gate().await;
    says_hello(&mut client).await;
}

#[tokio::test]
async fn a_lost_workers_call_is_unknown_at_its_deadline() {
    let times = Times { host_timeout: Duration::ZERO, ..Times::default() };
    let setup = Setup { workers: vec![4, 4], times, ..Setup::default() };
    let cluster = Cluster::start_with(setup).await;
    let cluster = cluster.with(&[("gate", GATE), ("hello", HELLO)]).await;
    let config = FaasmConfig { hosts_fresh: Duration::ZERO, ..impatient(cluster.config()) };
    let front = cluster.relay_with(config).await;
    let mut client = front.client().await;
    let id = client.send(main("gate"), b"").await;
    cluster.gate_reached(1).await;
    cluster.planner.kill_worker(0);
    cluster.open_gate().await;
    let (code, reason) = told(client.reply(id).await);
    assert_eq!(code, FailureCode::Unknown, "{reason}");
    let (_, apps) = {
        let planner: SocketAddr = cluster.planner.url()[7..].parse().unwrap();
        let body = br#"{"http_type":"GET_IN_FLIGHT_APPS"}"#.to_vec();
        request(planner, "POST", "/", body).await
    };
    assert!(apps.contains("appId"), "it stays in flight, as a real one: {apps}");
    says_hello(&mut client).await;
}

#[tokio::test]
async fn a_planner_that_is_started_again_knows_nothing_and_works() {
    let cluster = Cluster::lenient().await.with(&[("gate", GATE), ("hello", HELLO)]).await;
    let front = cluster.relay().await;
    let mut client = front.client().await;
    let id = client.send(main("gate"), b"").await;
    cluster.gate_reached(1).await;
    cluster.planner.abort();
    cluster.planner.restart().await.unwrap();
    cluster.open_gate().await;
    // Long before the minute that a call may take.
    let (code, reason) = told(client.reply(id).await);
    assert_eq!(code, FailureCode::Unknown, "{reason}");
    assert!(reason.contains("has forgotten the call"), "{reason}");
    says_hello_in_the_end(&mut client).await;
}

#[tokio::test]
async fn a_call_that_takes_long_and_is_in_flight_is_waited_for() {
    let cluster = Cluster::start().await.with(&[("gate", GATE)]).await;
    let front = cluster.relay().await;
    let mut client = front.client().await;
    let id = client.send(main("gate"), b"").await;
    // Asked for several times, it is in flight each time.
    let asked = async {
        while cluster.count("GET_IN_FLIGHT_APPS") < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, asked).await.expect("it is asked");
    cluster.open_gate().await;
    assert_eq!(returned(client.reply(id).await).0, 1);
}
