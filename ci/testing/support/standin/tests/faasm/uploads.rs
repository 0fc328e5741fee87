//! The upload server.

use crate::support::*;

#[tokio::test]
async fn a_module_that_wamr_cannot_compile_ends_the_upload_server() {
    let cluster = Cluster::start().await;
    let url = cluster.upload.url();
    let good = wat::parse_str(main_of("(call $digit (i32.const 1))")).unwrap();
    let answer = http(&url, "PUT", "/f/ada/f", &good).await;
    assert_eq!(answer, Some((200, "Function upload complete\n".into())));
    assert_eq!(cluster.call("f").await, (0, "1".into()));
    let tail = r#"(module (memory (export "memory") 1) (func $f)
        (func (export "_start") (return_call $f)))"#;
    let hidden = r#"(module (memory 1) (func (export "_start")))"#;
    let imported = r#"(module
        (import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))
        (import "env" "memory" (memory 1)) (func (export "_start")))"#;
    for wat in [tail, hidden, imported] {
        let wasm = wat::parse_str(wat).unwrap();
        assert_eq!(http(&url, "PUT", "/f/ada/g", &wasm).await, None, "{wat}");
        until("it ends", async || (!cluster.upload.is_alive()).then_some(())).await;
        assert_eq!(http(&url, "GET", "/ping", b"").await, None);
        cluster.upload.restart().await.unwrap();
        assert_eq!(http(&url, "GET", "/ping", b"").await, Some((200, "PONG".into())));
        let stored = cluster.stores.functions.get(USER, "g").await.unwrap();
        assert_eq!(stored, None);
    }
}
