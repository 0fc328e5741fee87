//! A planner that is down, slow, full, or makes no sense: each is a defined error.

use super::*;
use crate::fixtures::*;
use crate::support::{main, returned};
use faasm_standin::Fault;

#[tokio::test]
async fn a_planner_that_is_not_there_is_unavailable_and_then_left_alone_for_a_while() {
    let cluster = Cluster::start().await.with(&[("hello", HELLO)]).await;
    let front = cluster.relay_with(impatient(cluster.config())).await;
    let mut client = front.client().await;
    cluster.planner.abort();
    let (code, reason) = told(client.ask(main("hello"), b"x").await);
    assert_eq!(code, FailureCode::Unavailable);
    assert!(reason.contains("was not started") && reason.contains("for 0.4 s"), "{reason}");
    let mut reasons = Vec::new();
    for _ in 0..3 {
        let (code, reason) = told(client.ask(main("hello"), b"x").await);
        assert_eq!(code, FailureCode::Unavailable);
        reasons.push(reason);
    }
    assert!(
        reasons.iter().any(|reason| reason.contains("no requests are sent for")),
        "{reasons:?}"
    );
}

#[tokio::test]
async fn a_planner_that_comes_back_while_a_call_starts_gets_it_once() {
    let cluster = Cluster::start().await.with(&[("tick", TICK)]).await;
    let front = cluster.relay().await;
    let mut client = front.client().await;
    cluster.planner.abort();
    let id = client.send(main("tick"), b"t").await;
    cluster.planner.restart().await.unwrap();
    assert_eq!(returned(client.reply(id).await), (0, "t".into()));
    assert_eq!(cluster.count("EXECUTE_BATCH"), 1);
}

#[tokio::test]
async fn calls_wait_while_the_planner_is_away_and_each_of_them_runs_once() {
    const CALLS: usize = 20;
    let setup = Setup { workers: vec![64], ..Setup::default() };
    let cluster = Cluster::start_with(setup).await.with(&[("tick", TICK)]).await;
    let front = cluster.relay().await;
    let mut client = front.client().await;
    cluster.planner.abort();
    let mut ids = Vec::new();
    for _ in 0..CALLS {
        ids.push(client.send(main("tick"), b"t").await);
    }
    // More than as many failures as stop all questions for a while.
    tokio::time::sleep(4 * SHORT).await;
    cluster.planner.restart().await.unwrap();
    for id in ids {
        assert_eq!(returned(client.reply(id).await), (0, "t".into()));
    }
    let ticks = cluster.stores.state.read_appended(USER, "ticks", 1000).await.unwrap();
    assert_eq!((ticks.len(), cluster.count("EXECUTE_BATCH")), (CALLS, CALLS));
}

#[tokio::test]
async fn a_slow_answer_to_a_batch_is_looked_up() {
    let cluster = Cluster::start().await.with(&[("tick", TICK)]).await;
    let config = FaasmConfig { request_time: SHORT, ..cluster.config() };
    let front = cluster.relay_with(config).await;
    let mut client = front.client().await;
    for fault in [Fault::Hang, Fault::Late(2 * SHORT)] {
        cluster.planner.fault("EXECUTE_BATCH", fault);
        assert_eq!(client.call("tick", b"t").await, (0, "t".into()));
    }
    let ticks = cluster.stores.state.read_appended(USER, "ticks", 9).await.unwrap();
    assert_eq!(ticks, b"tt");
}

#[tokio::test]
async fn answers_about_results_that_make_no_sense_are_asked_for_again() {
    let cluster = Cluster::start().await.with(&[("hello", HELLO)]).await;
    let front = cluster.relay().await;
    let mut client = front.client().await;
    let odd = [
        Fault::Swallow,
        Fault::Instead(200, "nonsense".into()),
        Fault::Instead(200, "{\"appId\":1,\"finished\":true}".into()),
        Fault::Instead(400, "Bad JSON in request body".into()),
    ];
    for fault in odd {
        cluster.planner.fault("EXECUTE_BATCH_STATUS", fault.clone());
        assert_eq!(client.call("hello", b"x").await, (0, "Hello, x".into()), "{fault:?}");
    }
}

#[tokio::test]
async fn hosts_that_make_no_sense_are_asked_for_again_and_nothing_is_started_meanwhile() {
    let cluster = Cluster::start().await.with(&[("hello", HELLO)]).await;
    let front = cluster.relay().await;
    let mut client = front.client().await;
    for _ in 0..4 {
        let nonsense = Fault::Instead(200, "nonsense".into());
        cluster.planner.fault("GET_AVAILABLE_HOSTS", nonsense);
    }
    assert_eq!(client.call("hello", b"x").await, (0, "Hello, x".into()));
    let kinds: Vec<String> = cluster.planner.asked().into_iter().map(|asked| asked.kind).collect();
    assert_eq!(
        kinds[..6],
        ["GET_AVAILABLE_HOSTS"; 5].into_iter().chain(["EXECUTE_BATCH"]).collect::<Vec<_>>()[..]
    );
}

#[tokio::test]
async fn what_the_planner_refuses_is_told_as_it_said_it() {
    let cluster = Cluster::start().await.with(&[("hello", HELLO)]).await;
    let front = cluster.relay().await;
    let mut client = front.client().await;
    let refusal = Fault::Instead(400, "Bad BatchExecRequest".into());
    cluster.planner.fault("EXECUTE_BATCH", refusal);
    let (code, reason) = told(client.ask(main("hello"), b"x").await);
    assert_eq!(code, FailureCode::BadRequest);
    assert!(reason.contains("400 `Bad BatchExecRequest`"), "{reason}");
}

#[tokio::test]
async fn without_workers_calls_wait_and_are_then_told_that_there_are_none() {
    let setup = Setup { workers: vec![], ..Setup::default() };
    let cluster = Cluster::start_with(setup).await.with(&[("hello", HELLO)]).await;
    let front = cluster.relay_with(impatient(cluster.config())).await;
    let mut client = front.client().await;
    let (code, reason) = told(client.ask(main("hello"), b"x").await);
    assert_eq!(code, FailureCode::Unavailable);
    assert!(reason.contains("lists no workers") && reason.contains("start workers"), "{reason}");
}

#[tokio::test]
async fn a_call_waits_for_a_slot_until_one_is_free() {
    let setup = Setup { workers: vec![1], ..Setup::default() };
    let cluster = Cluster::start_with(setup).await;
    let cluster = cluster.with(&[("gate", GATE), ("hello", HELLO)]).await;
    let front = cluster.relay().await;
    let mut client = front.client().await;
    let gate = client.send(main("gate"), b"").await;
    cluster.gate_reached(1).await;
    let mut waiting = Vec::new();
    for _ in 0..5 {
        waiting.push(client.send(main("hello"), b"x").await);
    }
    // One of them has been refused, and waits.
    let refused = async {
        while cluster.count("EXECUTE_BATCH") < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, refused).await.expect("it is tried");
    cluster.open_gate().await;
    assert_eq!(returned(client.reply(gate).await).0, 1);
    for id in waiting {
        assert_eq!(returned(client.reply(id).await), (0, "Hello, x".into()));
    }
}

#[tokio::test]
async fn the_queue_for_slots_has_an_end() {
    let setup = Setup { workers: vec![1], ..Setup::default() };
    let cluster = Cluster::start_with(setup).await;
    let cluster = cluster.with(&[("gate", GATE), ("hello", HELLO)]).await;
    let front = cluster.relay_with(FaasmConfig { queue: 1, ..cluster.config() }).await;
    let mut client = front.client().await;
    let gate = client.send(main("gate"), b"").await;
    cluster.gate_reached(1).await;
    let (first, second) =
        (client.send(main("hello"), b"x").await, client.send(main("hello"), b"x").await);
    // Whichever came later.
    let (refused, reply, _) = client.next_reply().await;
    assert!(matches!(reply, Reply::Failed { code: FailureCode::Busy, .. }), "{reply:?}");
    cluster.open_gate().await;
    let other = if refused == first { second } else { first };
    returned(client.reply(gate).await);
    assert_eq!(returned(client.reply(other).await), (0, "Hello, x".into()));
}

#[tokio::test]
async fn many_more_calls_than_slots_all_run_once() {
    const CALLS: usize = 300;
    let cluster = Cluster::start().await.with(&[("tick", TICK)]).await;
    let front = cluster.relay().await;
    let mut clients = Vec::new();
    for number in 0..CALLS {
        if number % 100 == 0 {
            clients.push((front.client().await, Vec::new()));
        }
        let (client, ids) = clients.last_mut().unwrap();
        ids.push(client.send(main("tick"), b"t").await);
    }
    for (client, ids) in &mut clients {
        for id in ids {
            assert_eq!(returned(client.reply(*id).await), (0, "t".into()));
        }
    }
    let ticks = cluster.stores.state.read_appended(USER, "ticks", 1000).await.unwrap();
    assert_eq!(ticks.len(), CALLS);
    assert_eq!(cluster.planner.used_slots(), 0);
    let (of_one, of_all) = cluster.planner.most_at_once();
    assert!(of_one == 1 && of_all <= cluster.config().polls, "{of_one}, {of_all}");
}
