//! The lenient engine, which no real cluster has.

use crate::support::*;

#[tokio::test]
async fn lenient_workers_behave_like_pages_and_never_end() {
    let cluster = Cluster::start_with(lenient()).await;
    let seven =
        module(r#"(func (export "main") (result i32) (call $digit (i32.const 1)) (i32.const 7))"#);
    let flag = importing(
        r#""env" "__faasm_conf_flag" (func $f (param i32) (result i32))"#,
        "(drop (call $f (i32.const 0)))",
    );
    let outside = main_of("(call $push_state (i32.const 65536))");
    let cluster = cluster.with(&[("seven", &seven), ("flag", &flag), ("outside", &outside)]).await;
    assert_eq!(cluster.call("seven").await, (7, "1".into()));
    assert_eq!(cluster.call("flag").await, (0, String::new()));
    assert_eq!(cluster.call("nowhere").await, (1, "Error trying to claim executor".into()));
    let (value, text) = cluster.call("outside").await;
    assert!(value == 1 && text.contains("65536"), "{text}");
    assert!(cluster.planner.worker_answers(0));
    let answer = http(&cluster.upload.url(), "PUT", "/f/ada/g", b"no wasm").await;
    assert_eq!(answer.unwrap().0, 500);
    assert!(cluster.upload.is_alive());
}

#[tokio::test]
async fn lenient_chained_calls_bypass_the_planner() {
    let chains = module(
        r#"(func (export "main") (result i32)
            (drop (call $await (call $chain_ptr (i32.const 1) (i32.const 64) (i32.const 1))))
            (i32.const 0))
        (table 2 funcref) (elem (i32.const 1) $callee)
        (func $callee (result i32) (i32.const 5))"#,
    );
    let cluster = Cluster::start_with(lenient()).await.with(&[("f", &chains)]).await;
    let (app, _) = cluster.send("f").await;
    assert_eq!(cluster.results(app).await.len(), 1);
}
