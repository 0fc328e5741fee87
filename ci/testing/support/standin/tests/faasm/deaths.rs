//! What ends a worker, and how that appears to clients.

use crate::support::*;
use faasm_standin::Setup;

/// Beyond the one page of memory that functions have.
const OUTSIDE: &str = "(i32.const 65536)";

#[tokio::test]
async fn a_function_that_cannot_be_loaded_ends_the_worker() {
    let cluster = Cluster::start().await;
    cluster.kills("nowhere").await;
    let tail = "(module (memory (export \"memory\") 1) (func $f) \
                (func (export \"_start\") (return_call $f)))";
    let cluster = Cluster::start().await.with(&[("tail", tail)]).await;
    cluster.kills("tail").await;
    let name = r#"(data (i32.const 32) "nowhere\00")"#;
    let body = "(func (export \"main\") (result i32) \
                (call $await (call $chain_name (i32.const 32) (i32.const 64) (i32.const 1))))";
    let chains = module(&format!("{name} {body}"));
    let cluster = Cluster::start().await.with(&[("chains", &chains)]).await;
    cluster.kills("chains").await;
}

/// Main entries of functions with the prelude, each of which ends its worker.
pub(crate) fn deadly_calls() -> Vec<String> {
    vec![
        // A key or a buffer outside memory.
        format!("(drop (call $read_state {OUTSIDE} (i32.const 64) (i32.const 1)))"),
        format!("(drop (call $read_state (i32.const 0) {OUTSIDE} (i32.const 1)))"),
        "(drop (call $read_state (i32.const 0) (i32.const 65530) (i32.const 8)))".into(),
        format!("(call $write_state {OUTSIDE} (i32.const 64) (i32.const 1))"),
        "(call $write_state (i32.const 0) (i32.const 65530) (i32.const 8))".into(),
        format!("(call $push_state {OUTSIDE})"),
        format!("(call $pull_state {OUTSIDE} (i32.const 1))"),
        format!("(call $append {OUTSIDE} (i32.const 64) (i32.const 1))"),
        "(call $append (i32.const 0) (i32.const 65530) (i32.const 8))".into(),
        "(call $append (i32.const 0) (i32.const 64) (i32.const -1))".into(),
        format!("(call $read_appended {OUTSIDE} (i32.const 64) (i32.const 1) (i32.const 1))"),
        "(call $read_appended (i32.const 0) (i32.const 65530) (i32.const 8) (i32.const 1))".into(),
        // An empty key.
        "(call $pull_state (i32.const 1) (i32.const 1))".into(),
        // A missing key used without a size.
        "(call $push_state (i32.const 0))".into(),
        "(call $pull_state (i32.const 0) (i32.const 0))".into(),
        "(call $pull_state (i32.const 0) (i32.const -1))".into(),
        "(call $write_state (i32.const 0) (i32.const 64) (i32.const 0))".into(),
        // A value without a size, since the key is that of a list.
        "(call $append (i32.const 0) (i32.const 64) (i32.const 1)) \
         (call $write_state (i32.const 0) (i32.const 64) (i32.const 1))"
            .into(),
        "(call $append (i32.const 0) (i32.const 64) (i32.const 1)) (call $push_state (i32.const 0))"
            .into(),
        // A list longer than the buffer.
        "(call $append (i32.const 0) (i32.const 64) (i32.const 2)) \
         (call $read_appended (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 1))"
            .into(),
        // Input or output ranges that leave memory.
        "(call $write_output (i32.const 65530) (i32.const 8))".into(),
        "(drop (call $chain_name (i32.const 64) (i32.const 65530) (i32.const 8)))".into(),
        "(drop (call $chain_ptr (i32.const 1) (i32.const 65530) (i32.const 8)))".into(),
    ]
}

/// Imports that end a worker, and calls of them.
pub(crate) const DEADLY_IMPORTS: &[(&str, &str)] = &[
    (r#""env" "__faasm_host_interface_test" (func $f (param i32))"#, "(call $f (i32.const 7))"),
    (
        r#""env" "__cxa_throw" (func $f (param i32 i32 i32))"#,
        "(call $f (i32.const 0) (i32.const 0) (i32.const 0))",
    ),
    (
        r#""env" "__cxa_allocate_exception" (func $f (param i32) (result i32))"#,
        "(drop (call $f (i32.const 8)))",
    ),
    (
        r#""env" "syscall" (func $f (param i32 i32) (result i32))"#,
        "(drop (call $f (i32.const 39) (i32.const 0)))",
    ),
    (
        r#""env" "shm_open" (func $f (param i32 i32 i32) (result i32))"#,
        "(drop (call $f (i32.const 0) (i32.const 0) (i32.const 0)))",
    ),
];

#[tokio::test]
async fn host_calls_that_throw_outside_wamr_end_the_worker() {
    for body in deadly_calls() {
        let cluster = with_main(&body).await;
        cluster.kills("f").await;
    }
    for (import, body) in DEADLY_IMPORTS {
        let cluster = Cluster::start().await.with(&[("f", &importing(import, body))]).await;
        cluster.kills("f").await;
    }
}

#[tokio::test]
async fn an_input_that_leaves_the_buffer_in_memory_ends_the_worker() {
    let cluster = with_main(
        "(drop (call $read_input (i32.const 65532) (i32.const 4)))
         (call $output (i32.const 65532) (i32.const 4))
         (drop (call $read_input (i32.const 65533) (i32.const 4)))",
    )
    .await;
    let app = new_id();
    let (id, _) = cluster.send_of(app, "f", 0, b"abc").await;
    assert_eq!(cluster.result((app, id)).await, (0, "abc\0".into()), "three bytes fit");
    cluster.send_of(new_id(), "f", 0, b"abcd").await;
    until("it ends", async || (!cluster.planner.worker_answers(0)).then_some(())).await;
}

#[tokio::test]
async fn a_value_that_is_longer_than_the_buffer_ends_the_worker() {
    for body in [
        "(drop (call $read_state (i32.const 0) (i32.const 64) (i32.const 2)))",
        "(call $pull_state (i32.const 0) (i32.const 2))",
    ] {
        let cluster = with_main(body).await;
        cluster.set("k", b"xyz").await;
        cluster.kills("f").await;
    }
}

#[tokio::test]
async fn a_key_of_the_other_kind_ends_the_worker() {
    for body in [
        "(drop (call $read_state (i32.const 0) (i32.const 64) (i32.const 0)))",
        "(drop (call $read_state (i32.const 0) (i32.const 64) (i32.const 4)))",
        "(call $pull_state (i32.const 0) (i32.const 4))",
    ] {
        let cluster = with_main(body).await;
        cluster.stores.state.append(USER, "k", b"x".to_vec()).await.unwrap();
        cluster.kills("f").await;
    }
    for body in [
        "(call $append (i32.const 0) (i32.const 64) (i32.const 1))",
        "(call $read_appended (i32.const 0) (i32.const 64) (i32.const 4) (i32.const 1))",
    ] {
        let cluster = with_main(body).await;
        cluster.set("k", b"x").await;
        cluster.kills("f").await;
    }
}

#[tokio::test]
async fn a_dying_worker_stays_listed_for_a_while_and_its_call_stays_in_flight() {
    let cluster = Cluster::start().await;
    let registered = async || {
        let hosts = cluster.hosts().await;
        let time = hosts.first()?["registerTs"]["epochMs"].as_str()?.parse::<u64>().ok();
        assert_eq!(hosts[0]["ip"], "127.77.0.1");
        time
    };
    let app = cluster.kills("nowhere").await;
    // Meanwhile the worker sends heartbeats, and its port is open.
    let first = registered().await.expect("listed");
    assert!(cluster.worker_listens(0).await);
    until("a heartbeat", async || registered().await.filter(|time| *time > first)).await;
    until("its port closes", async || (!cluster.worker_listens(0).await).then_some(())).await;
    let last = registered().await.expect("still listed");
    assert_eq!(registered().await, Some(last), "no further heartbeat");
    until("the worker is dropped", async || registered().await.is_none().then_some(())).await;
    assert!(cluster.in_flight(app).await);
    assert_eq!(cluster.status(app).await, (500, "App not registered in results".into()));
}

#[tokio::test]
async fn a_worker_that_is_killed_is_gone_at_once_and_comes_back_under_its_address() {
    let setup = Setup { workers: vec![4, 4], times: times(), ..Setup::default() };
    let cluster = Cluster::start_with(setup).await.with(&[("f", &main_of(""))]).await;
    let addresses = [0, 1].map(|number| cluster.planner.worker_address(number).unwrap());
    assert_eq!(addresses.map(|address| address.port()), [cluster.planner.worker_port(); 2]);
    assert_ne!(addresses[0].ip(), addresses[1].ip());
    assert!(cluster.worker_listens(0).await && cluster.worker_listens(1).await);
    cluster.planner.kill_worker(0);
    until("its port closes", async || (!cluster.worker_listens(0).await).then_some(())).await;
    assert!(cluster.worker_listens(1).await);
    assert_eq!(cluster.hosts().await.len(), 2, "listed until its last heartbeat is too old");
    until("the worker is dropped", async || (cluster.hosts().await.len() == 1).then_some(())).await;
    cluster.planner.revive_worker(0).await.unwrap();
    assert!(cluster.worker_listens(0).await && cluster.planner.worker_answers(0));
    assert_eq!(cluster.hosts().await.len(), 2);
    assert_eq!(cluster.call("f").await, (0, String::new()));
}

#[tokio::test]
async fn a_worker_that_hangs_listens_and_is_dropped() {
    let cluster = Cluster::start().await;
    cluster.planner.hang_worker(0);
    assert_eq!(cluster.hosts().await.len(), 1);
    until("the worker is dropped", async || cluster.hosts().await.is_empty().then_some(())).await;
    assert!(cluster.worker_listens(0).await);
}
