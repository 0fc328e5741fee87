//! Workers that die: no batch is sent meanwhile, and calls on them do not wait for ever. Functions that are uploaded again.

use super::scripted::{Beat, HEARTBEAT, Port, Scripted, now};
use super::*;
use crate::fixtures::{HELLO, TICK};
use crate::support::{main, returned};

const A: &str = "127.77.1.1";
const B: &str = "127.77.1.2";

fn config(planner: &Scripted, worker_port: u16) -> FaasmConfig {
    FaasmConfig {
        heartbeat: HEARTBEAT,
        hosts_fresh: Duration::from_millis(25),
        worker_port,
        only_stored: false,
        ..FaasmConfig::of(planner.url.parse().unwrap())
    }
}

async fn front(config: FaasmConfig) -> Front {
    Front::start(config, None, Stores::in_memory().unwrap(), false).await
}

async fn is_done(client: &mut Client, id: faasm_bridge::wire::RequestId) {
    assert_eq!(returned(client.reply(id).await), (0, "done".into()));
}

/// The value of a metric without labels.
async fn metric(front: &Front, name: &str) -> String {
    let (_, text) = request(front.address, "GET", "/metrics", vec![]).await;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_call_waits_while_a_heartbeat_is_late_and_goes_on_when_the_worker_is_dropped() {
    for ahead in [0, 100_000, -100_000] {
        let planner = Scripted::start(&[A, B]).await;
        planner.script().ahead = ahead;
        let config = FaasmConfig { hosts_fresh: Duration::ZERO, ..config(&planner, 0) };
        let front = front(config).await;
        let mut client = front.client().await;
        let id = client.send(main("f"), b"").await;
        is_done(&mut client, id).await;
        let late = now() - i64::try_from((2 * HEARTBEAT).as_millis()).unwrap();
        planner.script().workers.insert(B.into(), Beat::Last(late));
        let ids = [client.send(main("f"), b"").await, client.send(main("f"), b"").await];
        planner.until_asked(4).await;
        assert_eq!(planner.script().count("EXECUTE_BATCH"), 1, "{ahead}");
        planner.script().workers.remove(B);
        for id in ids {
            is_done(&mut client, id).await;
        }
        assert_eq!(planner.script().count("EXECUTE_BATCH"), 3, "each of them once");
        // The other one was queued behind it.
        let held = metric(&front, "faasm_relay_cluster_calls_held_total").await;
        assert!(held == "1" || (ahead < 0 && held == "2"), "{held}");
    }
}

#[tokio::test]
async fn a_call_that_waits_too_long_for_a_dying_worker_is_unavailable_and_says_which_one() {
    let planner = Scripted::start(&[A]).await;
    planner.script().workers.insert(B.into(), Beat::Last(now() - 60_000));
    let front = front(FaasmConfig { queue_time: SHORT, ..config(&planner, 0) }).await;
    let mut client = front.client().await;
    let (code, reason) = told(client.ask(main("f"), b"").await);
    assert_eq!(code, FailureCode::Unavailable);
    assert!(reason.contains("worker 127.77.1.2") && reason.contains("heartbeat"), "{reason}");
    assert_eq!(planner.script().count("EXECUTE_BATCH"), 0);
}

#[tokio::test]
async fn a_call_waits_while_a_port_that_answered_is_closed() {
    let mut port = Port::open(&format!("{B}:0")).await;
    let planner = Scripted::start(&[A, B]).await;
    let front = front(config(&planner, port.address.port())).await;
    let mut client = front.client().await;
    // That of the other worker never answers, which says nothing.
    let id = client.send(main("f"), b"").await;
    is_done(&mut client, id).await;
    port.until_tried(1).await;
    for round in 0..2 {
        // It has heartbeats all the time, as one has that ended just after its last.
        port.close().await;
        let beat = now();
        planner.script().workers.insert(B.into(), Beat::Last(beat));
        let before = planner.script().count("EXECUTE_BATCH");
        // The time between two connections to one port.
        tokio::time::sleep(Duration::from_millis(201)).await;
        planner.script().workers.insert(B.into(), Beat::Last(now()));
        let id = client.send(main("f"), b"").await;
        planner.until_asked(4).await;
        assert_eq!(planner.script().count("EXECUTE_BATCH"), before, "round {round}");
        // Its process is started again, under the same address.
        port = Port::open(&port.address.to_string()).await;
        planner.script().workers.insert(B.into(), Beat::Alive);
        is_done(&mut client, id).await;
        port.until_tried(1).await;
    }
}

#[tokio::test]
async fn a_call_on_a_worker_that_is_gone_is_unknown_within_seconds_and_others_go_on() {
    let planner = Scripted::start(&[A, B]).await;
    let front = front(FaasmConfig { app_per_run: true, ..config(&planner, 0) }).await;
    let mut client = front.client().await;
    planner.script().next = (B.into(), false);
    let lost = client.send(main("f"), b"").await;
    planner.until(|script| script.in_flight.len() == 1).await;
    planner.script().next = (A.into(), false);
    let kept = client.send(main("f"), b"").await;
    planner.until(|script| script.in_flight.len() == 2).await;
    planner.script().workers.remove(B);
    let began = std::time::Instant::now();
    let (code, reason) = told(client.reply(lost).await);
    assert_eq!(code, FailureCode::Unknown);
    assert!(reason.contains("worker 127.77.1.2 is gone"), "{reason}");
    // Two questions of one second each, far from the longest that a call may take.
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
    assert_eq!(metric(&front, "faasm_relay_cluster_calls_lost_total").await, "1");
    // The other one is asked for again, and has not been given up.
    let asked = planner.script().count("GET_IN_FLIGHT_APPS");
    planner.until(|script| script.count("GET_IN_FLIGHT_APPS") > asked + 1).await;
    let app = planner.script().in_flight[1].0;
    planner.script().end(app);
    is_done(&mut client, kept).await;
}

#[tokio::test]
async fn an_app_with_a_call_that_is_lost_takes_no_further_calls() {
    let planner = Scripted::start(&[A, B]).await;
    let front = front(config(&planner, 0)).await;
    let mut client = front.client().await;
    planner.script().next = (B.into(), false);
    let lost = client.send(main("f"), b"").await;
    planner.until(|script| script.in_flight.len() == 1).await;
    planner.script().workers.remove(B);
    let (code, _) = told(client.reply(lost).await);
    assert_eq!(code, FailureCode::Unknown);
    planner.script().next = (A.into(), false);
    let next = client.send(main("f"), b"").await;
    planner.until(|script| script.in_flight.len() == 2).await;
    let [old, new] = [0, 1].map(|number| planner.script().in_flight[number].0);
    assert_ne!(old, new, "the old one is in flight for ever");
    planner.script().end(new);
    is_done(&mut client, next).await;
}

#[tokio::test]
async fn no_app_is_used_further_once_a_worker_has_left() {
    let planner = Scripted::start(&[A, B]).await;
    let config = FaasmConfig { hosts_fresh: Duration::ZERO, ..config(&planner, 0) };
    let front = front(config).await;
    let mut client = front.client().await;
    planner.script().next = (B.into(), false);
    let lost = client.send(main("f"), b"").await;
    planner.until(|script| script.in_flight.len() == 1).await;
    // A call that waits since B may have died, and starts when it is dropped, before anybody knows what ran there.
    planner.script().workers.insert(B.into(), Beat::Last(now() - 10_000));
    planner.script().next = (A.into(), true);
    let next = client.send(main("f"), b"").await;
    planner.until_asked(2).await;
    planner.script().workers.remove(B);
    is_done(&mut client, next).await;
    assert_eq!(planner.script().in_flight.len(), 1, "its app is another one, and has ended");
    assert_eq!(told(client.reply(lost).await).0, FailureCode::Unknown);
}

/// What the relay says is there under a name.
async fn integrity(front: &Front) -> String {
    let (status, body) = request(front.address, "GET", &format!("/f/{USER}/f"), vec![]).await;
    assert_eq!(status, 200, "{body}");
    body
}

#[tokio::test]
async fn a_function_that_is_uploaded_again_is_flushed_when_nothing_runs() {
    let upload = Cluster::start().await;
    let planner = Scripted::start(&[A]).await;
    let stores = Stores::in_memory().unwrap();
    let config = FaasmConfig { app_per_run: true, ..config(&planner, 0) };
    let front = Front::start(config, Some(&upload.upload.url()), stores, true).await;
    let mut client = front.client().await;
    let [one, two] = [TICK, HELLO].map(|wat| wat::parse_str(wat).unwrap());
    let path = format!("/f/{USER}/f");
    assert_eq!(put(front.address, &path, one.clone()).await.0, 200);
    planner.script().next = (A.into(), false);
    let id = client.send(main("f"), b"").await;
    planner.until(|script| script.in_flight.len() == 1).await;
    assert_eq!(put(front.address, &path, one.clone()).await.0, 200, "the same again");
    assert_eq!(put(front.address, &path, two.clone()).await.0, 200);
    let [one, two] = [one, two].map(|wasm| faasm_relay::integrity(&wasm));
    // Calls are not kept waiting by an attempt for which the cluster is too busy.
    planner.script().next = (A.into(), true);
    let other = client.send(main("g"), b"").await;
    is_done(&mut client, other).await;
    assert_eq!(planner.script().count("FLUSH_EXECUTORS"), 0, "a call runs");
    assert!(integrity(&front).await.contains(&one), "workers may run it still");
    let app = planner.script().in_flight[0].0;
    planner.script().end(app);
    is_done(&mut client, id).await;
    planner.until(|script| script.count("FLUSH_EXECUTORS") == 1).await;
    let flushed = async {
        while !integrity(&front).await.contains(&two) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, flushed).await.expect("it is what workers run");
    assert_eq!(planner.script().count("FLUSH_EXECUTORS"), 1, "once for all");
    assert_eq!(metric(&front, "faasm_relay_cluster_flushes_total").await, "1");
}

#[tokio::test]
async fn a_cluster_goes_on_when_a_worker_ends_and_its_port_is_closed() {
    let times = Times::tenth();
    let setup = Setup { workers: vec![4, 4], times, ..Setup::default() };
    let cluster = Cluster::start_with(setup).await.with(&[("hello", HELLO)]).await;
    let config = FaasmConfig {
        // Only the port tells.
        heartbeat: LONG,
        hosts_fresh: Duration::ZERO,
        worker_port: cluster.planner.worker_port(),
        ..cluster.config()
    };
    let front = cluster.relay_with(config).await;
    let mut client = front.client().await;
    // The first call finds the port, a later one goes by it.
    for _ in 0..3 {
        assert_eq!(client.call("hello", b"x").await, (0, "Hello, x".into()));
    }
    // It has just given a sign of life, and is listed for half a second.
    cluster.planner.kill_worker(0);
    while cluster.planner.worker_answers(0) {
        tokio::task::yield_now().await;
    }
    // The time between two connections to one port.
    tokio::time::sleep(Duration::from_millis(201)).await;
    let before = cluster.count("EXECUTE_BATCH");
    assert_eq!(client.call("hello", b"x").await, (0, "Hello, x".into()));
    assert_eq!(cluster.count("EXECUTE_BATCH"), before + 1);
    assert!(cluster.planner.is_alive());
}
