//! Asking what became of calls: shared, bounded, and slower the longer it takes.

use super::*;
use crate::fixtures::*;
use crate::support::{main, returned};
use std::time::Instant;

#[tokio::test]
async fn all_who_wait_for_an_app_share_one_question_at_a_time() {
    let setup = Setup { workers: vec![64], ..Setup::default() };
    let cluster = Cluster::start_with(setup).await.with(&[("gate", GATE)]).await;
    let front = cluster.relay().await;
    let mut client = front.client().await;
    let first = client.machine.request(main("gate"), b"").unwrap();
    let mut all = vec![first];
    for _ in 1..30 {
        all.push(client.machine.request_of(Some(first), main("gate"), b"").unwrap());
    }
    client.flush().await;
    cluster.gate_reached(1).await;
    let started = async {
        while cluster.count("EXECUTE_BATCH") < 30 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, started).await.expect("all start");
    cluster.open_gate().await;
    for id in all {
        assert_eq!(returned(client.reply(id).await).0, 1);
    }
    assert_eq!(cluster.planner.most_at_once().0, 1, "of one app");
}

#[tokio::test]
async fn questions_of_all_apps_together_are_bounded() {
    let setup = Setup { workers: vec![64], ..Setup::default() };
    let cluster = Cluster::start_with(setup).await.with(&[("gate", GATE)]).await;
    let front = cluster.relay_with(FaasmConfig { polls: 2, ..cluster.config() }).await;
    let mut client = front.client().await;
    let mut all = Vec::new();
    for _ in 0..30 {
        all.push(client.send(main("gate"), b"").await);
    }
    let started = async {
        while cluster.count("EXECUTE_BATCH") < 30 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, started).await.expect("all start");
    cluster.open_gate().await;
    for id in all {
        assert_eq!(returned(client.reply(id).await).0, 1);
    }
    let (of_one, of_all) = cluster.planner.most_at_once();
    assert!(of_one == 1 && of_all <= 2, "{of_one} of one app, {of_all} of all");
}

/// The most questions that a call of this length may take: pauses grow by a quarter from a millisecond.
fn most_questions(took: Duration, longest: Duration) -> usize {
    let (mut pause, mut sum, mut count) = (Duration::from_millis(1), Duration::ZERO, 1);
    while sum < took {
        sum += pause;
        pause = (pause + pause / 4).min(longest);
        count += 1;
    }
    count
}

#[tokio::test]
async fn pauses_between_questions_grow_up_to_a_bound() {
    let cluster = Cluster::start().await.with(&[("gate", GATE)]).await;
    let config = cluster.config();
    let longest = config.poll_pause;
    let front = cluster.relay_with(config).await;
    let mut client = front.client().await;
    let began = Instant::now();
    let id = client.send(main("gate"), b"").await;
    let asked = async {
        // As many as take some time: the pause is at its bound by then.
        while cluster.count("EXECUTE_BATCH_STATUS") < 25 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, asked).await.expect("it is asked again and again");
    cluster.open_gate().await;
    returned(client.reply(id).await);
    let (count, took) = (cluster.count("EXECUTE_BATCH_STATUS"), began.elapsed());
    let most = most_questions(took, longest);
    assert!(count <= most, "{count} questions in {took:?}, and {most} were allowed");
}

#[tokio::test]
async fn an_answer_longer_than_it_may_be_is_an_unknown_call() {
    const WIDE: &str = r#"(module
        (import "env" "__faasm_write_output" (func $write (param i32 i32)))
        (memory (export "memory") 100)
        (func (export "_start")
            (memory.fill (i32.const 0) (i32.const 97) (i32.const 3000000))
            (call $write (i32.const 0) (i32.const 3000000))))"#;
    let cluster = Cluster::start().await.with(&[("wide", WIDE), ("hello", HELLO)]).await;
    let config = FaasmConfig { output_bytes: 500_000, ..cluster.config() };
    let front = cluster.relay_with(config).await;
    let mut client = front.client().await;
    let (code, reason) = told(client.ask(main("wide"), b"").await);
    assert_eq!(code, FailureCode::Unknown);
    assert!(reason.contains("more than"), "{reason}");
    assert_eq!(client.call("hello", b"x").await, (0, "Hello, x".into()));
}

#[tokio::test]
async fn nobody_asks_after_calls_that_nobody_waits_for() {
    let cluster = Cluster::start().await.with(&[("gate", GATE)]).await;
    let front = cluster.relay().await;
    let mut client = front.client().await;
    let id = client.send(main("gate"), b"").await;
    cluster.gate_reached(1).await;
    client.machine.cancel(id);
    client.flush().await;
    let (code, _) = told(client.reply(id).await);
    assert_eq!(code, FailureCode::Cancelled);
    let mut before = cluster.count("EXECUTE_BATCH_STATUS");
    let quiet = async {
        loop {
            // Longer than any pause between two questions.
            tokio::time::sleep(Duration::from_millis(300)).await;
            let now = cluster.count("EXECUTE_BATCH_STATUS");
            if now == before {
                return;
            }
            before = now;
        }
    };
    tokio::time::timeout(LONG, quiet).await.expect("questions end");
    cluster.open_gate().await;
}
