//! State as workers see it.

use crate::support::*;
use faasm_redis_server::RedisServer;
use faasm_relay::store::{RedisConfig, RedisStore, Stores};
use faasm_standin::Setup;
use std::sync::Arc;

/// Outputs this many bytes from 64 on.
fn outputs(count: u32) -> String {
    format!("(call $output (i32.const 64) (i32.const {count}))")
}

async fn with_value(body: &str, value: Option<&[u8]>) -> Cluster {
    let cluster = with_main(body).await;
    if let Some(value) = value {
        cluster.set("k", value).await;
    }
    cluster
}

#[tokio::test]
async fn a_read_returns_the_requested_size_and_zeros_for_a_missing_value() {
    let read = "(call $digit (call $read_state (i32.const 0) (i32.const 64) (i32.const 5)))";
    assert_eq!(with_value(read, Some(b"xyz")).await.call("f").await, (0, "5".into()));
    let shown = format!(
        "(drop (call $read_state (i32.const 0) (i32.const 64) (i32.const 5))) {}",
        outputs(6)
    );
    let cluster = with_value(&shown, Some(b"xyz")).await;
    assert_eq!(cluster.call("f").await.1, "xyz\0\0f");
    assert_eq!(with_value(&shown, None).await.call("f").await.1, "\0\0\0\0\0f");
}

#[tokio::test]
async fn a_read_of_length_0_gives_the_size() {
    let size = "(call $digit (call $read_state (i32.const 0) (i32.const 64) (i32.const 0)))";
    assert_eq!(with_value(size, Some(b"xyz")).await.call("f").await.1, "3");
    assert_eq!(with_value(size, None).await.call("f").await.1, "0");
    // The size of the worker's own copy, if it has one; the request creates none.
    let copy = format!(
        "(drop (call $read_state (i32.const 0) (i32.const 64) (i32.const 0)))
        (drop (call $read_state (i32.const 0) (i32.const 64) (i32.const 5))) {size}"
    );
    assert_eq!(with_value(&copy, Some(b"xyz")).await.call("f").await.1, "5");
}

#[tokio::test]
async fn a_copy_keeps_the_size_of_its_first_use() {
    let shown = format!(
        "(drop (call $read_state (i32.const 0) (i32.const 80) (i32.const 4)))
         (drop (call $read_state (i32.const 0) (i32.const 64) (i32.const 2))) {}",
        outputs(5)
    );
    assert_eq!(with_value(&shown, Some(b"wxyz")).await.call("f").await.1, "wxyze");
    let written = "(drop (call $read_state (i32.const 0) (i32.const 80) (i32.const 4)))
         (call $write_state (i32.const 0) (i32.const 64) (i32.const 2))
         (call $push_state (i32.const 0))";
    let cluster = with_value(written, Some(b"wxyz")).await;
    cluster.call("f").await;
    assert_eq!(cluster.value("k").await.as_deref(), Some(&b"abcd"[..]));
}

#[tokio::test]
async fn a_worker_pulls_a_value_once_unless_a_function_pulls_it() {
    let read = format!(
        "(drop (call $read_state (i32.const 0) (i32.const 64) (i32.const 3))) {}",
        outputs(3)
    );
    let cluster = with_value(&read, Some(b"old")).await;
    let pull = format!("(call $pull_state (i32.const 0) (i32.const 3)) {read}");
    cluster.put("pulls", &main_of(&pull)).await;
    assert_eq!(cluster.call("f").await.1, "old");
    cluster.set("k", b"new").await;
    assert_eq!(cluster.call("f").await.1, "old", "another run on the same worker");
    assert_eq!(cluster.call("pulls").await.1, "new");
    cluster.set("k", b"now").await;
    cluster.planner.revive_worker(0).await.unwrap();
    assert_eq!(cluster.call("f").await.1, "now");
}

#[tokio::test]
async fn a_push_sends_what_was_written_and_nothing_else() {
    let writes = "(call $write_state (i32.const 0) (i32.const 64) (i32.const 3))";
    let cluster = with_value(writes, None).await;
    let pushes = "(call $push_state (i32.const 0))";
    cluster.put("pushes", &main_of(pushes)).await;
    cluster.call("f").await;
    assert_eq!(cluster.value("k").await, None, "written, not pushed");
    assert_eq!(cluster.call("pushes").await, (0, String::new()));
    assert_eq!(cluster.value("k").await.as_deref(), Some(&b"abc"[..]));
    cluster.set("k", b"xyz").await;
    assert_eq!(cluster.call("pushes").await, (0, String::new()));
    assert_eq!(cluster.value("k").await.as_deref(), Some(&b"xyz"[..]), "the copy is not dirty");
}

#[tokio::test]
async fn lists_are_appended_to_and_read() {
    let appends = "(call $append (i32.const 0) (i32.const 64) (i32.const 2))
        (call $append (i32.const 0) (i32.const 66) (i32.const 1))";
    let reads = |count: u32| {
        main_of(&format!(
            "(call $read_appended (i32.const 0) (i32.const 128) (i32.const 5) (i32.const {count}))
             (call $output (i32.const 128) (i32.const 4))"
        ))
    };
    let redis = RedisServer::start().unwrap();
    let state = RedisStore::connect(&RedisConfig::new(redis.url())).await.unwrap();
    let in_memory = Stores::in_memory().unwrap();
    for stores in [in_memory.clone(), Stores { state: Arc::new(state), ..in_memory }] {
        let setup = Setup { times: times(), ..Setup::default() };
        let cluster = Cluster::start_over(setup, stores).await;
        cluster.put("appends", &main_of(appends)).await;
        cluster.put("one", &reads(1)).await;
        cluster.put("all", &reads(9)).await;
        assert_eq!(cluster.call("appends").await, (0, String::new()));
        cluster.planner.revive_worker(0).await.unwrap();
        assert_eq!(cluster.call("one").await.1, "ab\0\0");
        assert_eq!(cluster.call("all").await.1, "abc\0");
        let there = cluster.stores.state.read_appended(USER, "k", 9).await.unwrap();
        assert_eq!(there, b"abc");
        // A list is not a value.
        cluster.put("value", &main_of("(call $pull_state (i32.const 0) (i32.const 4))")).await;
        cluster.planner.revive_worker(0).await.unwrap();
        cluster.kills("value").await;
    }
}
