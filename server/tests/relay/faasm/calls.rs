//! What calls come to, on a stand-in or on a real cluster.

use super::*;
use crate::fixtures::*;
use crate::support::{enter, failed, main, returned};
use faasm_bridge::faasm::BYTES as ENCODED;
use faasm_bridge::wire::{CallEntry, Request};
use faasm_relay::cluster::failure;

/// Returns its input's first four bytes.
const FIRST: &str = r#"(module
    (import "env" "__faasm_read_input" (func $read (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "main") (result i32)
        (drop (call $read (i32.const 0) (i32.const 4)))
        (i32.load (i32.const 0))))"#;

/// Gives its input back.
const ECHO: &str = r#"(module
    (import "env" "__faasm_read_input" (func $read (param i32 i32) (result i32)))
    (import "env" "__faasm_write_output" (func $write (param i32 i32)))
    (memory (export "memory") 200)
    (func (export "_start")
        (call $write (i32.const 0) (call $read (i32.const 0) (i32.const 13000000)))))"#;

/// Exits with the number of its arguments, its name included.
const COUNT: &str = r#"(module
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (drop (call $sizes (i32.const 0) (i32.const 4)))
        (call $exit (i32.load (i32.const 0)))))"#;

#[tokio::test]
async fn text_goes_there_and_back_over_both_transports() {
    let (front, _cluster) = any_cluster(&[("hello", HELLO)]).await;
    for kind in TRANSPORTS {
        let mut client = front.client_over(kind).await;
        assert_eq!(client.call("hello", b"Ada").await, (0, "Hello, Ada".into()));
        assert_eq!(client.call("hello", "\u{0}\"\\ ü\n\u{1f600}".as_bytes()).await.0, 0);
        assert_eq!(client.call("hello", b"").await, (0, "Hello, ".into()));
    }
}

#[tokio::test]
async fn an_input_is_any_bytes() {
    let (front, _cluster) = any_cluster(&[("first", FIRST)]).await;
    let mut client = front.client().await;
    for input in [[0, 255, 128, 10], [0xff; 4], [1, 0, 0, 0]] {
        let expected = i32::from_le_bytes(input);
        assert_eq!(client.call("first", &input).await.0, expected, "{input:?}");
    }
}

#[tokio::test]
async fn large_inputs_and_outputs_pass() {
    let (front, _cluster) = any_cluster(&[("echo", ECHO)]).await;
    let mut client = front.client().await;
    let text: Vec<u8> = (0..3_000_000_u32).map(|at| b' ' + (at % 90) as u8).collect();
    let (reply, output) = client.ask(main("echo"), &text).await;
    assert_eq!(reply, Reply::Call { return_value: 0 });
    assert!(output == text, "{} bytes came back", output.len());
    // Of the same run as a large one, in the app after it.
    assert_eq!(client.call("echo", b"small").await, (0, "small".into()));
}

#[tokio::test]
async fn failures_have_codes() {
    let (front, _cluster) = any_lenient_cluster(&[("trap", TRAP)]).await;
    let mut client = front.client().await;
    let (code, reason) = failed(client.ask(main("trap"), b"").await);
    assert_eq!(code, failure::TRAP);
    assert!(reason.starts_with("trap: ") && reason.contains("unreachable"), "{reason}");
    let (code, reason) = failed(client.ask(main("nowhere"), b"").await);
    assert_eq!(code, failure::MISSING_FUNCTION);
    assert!(reason.contains("ada/nowhere") && reason.contains("upload"), "{reason}");
}

#[tokio::test]
async fn a_function_pointer_is_run_by_its_table_index() {
    let (front, _cluster) = any_cluster(&[("chain", CHAIN)]).await;
    let mut client = front.client().await;
    // Whatever it returns, Faasm reports 0.
    let inner = client.ask(enter("chain", CallEntry::Pointer(2)), b" -7\n").await;
    assert_eq!(returned(inner), (0, "inner".into()));
    let null = client.ask(enter("chain", CallEntry::Pointer(0)), b"").await;
    assert_eq!(failed(null).0, failure::BAD_ENTRY);
}

#[tokio::test]
async fn calls_chained_in_the_cluster_run_there() {
    let (front, _cluster) = any_lenient_cluster(&[("chain", CHAIN)]).await;
    assert_eq!(front.client().await.call("chain", b"").await, (42, "inner".into()));
}

#[tokio::test]
async fn arguments_are_carried_and_an_environment_is_refused() {
    let (front, _cluster) = any_cluster(&[("count", COUNT)]).await;
    let mut client = front.client().await;
    let with = |args: &[&str], env: &[(&str, &str)]| Request::Call {
        function: "count".into(),
        entry: CallEntry::Main,
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
    };
    assert_eq!(returned(client.ask(with(&["-a", "b=c"], &[]), b"").await).0, 3);
    let (code, reason) = told(client.ask(with(&[], &[("HOME", "/")]), b"").await);
    assert_eq!(code, FailureCode::BadRequest);
    assert!(reason.contains("`HOME`"), "{reason}");
    let (code, _) = told(client.ask(with(&["a b"], &[]), b"").await);
    assert_eq!(code, FailureCode::BadRequest);
    // As a page of 2020 asks for a call with an index, which only Faasm itself gives.
    let message = br#"{"user":"ada","function":"count","index":3}"#.to_vec();
    let (status, body) = request(front.address, "POST", "/", message).await;
    assert!(status == 400 && body.contains("index 3"), "{status} {body}");
    let message = br#"{"user":"ada","function":"count"}"#.to_vec();
    assert_eq!(request(front.address, "POST", "/", message).await.0, 500, "it returned 1");
}

#[tokio::test]
async fn an_encoded_output_arrives_as_the_bytes_it_was() {
    // A guarded function escapes what looks encoded, so that it arrives as it was written.
    let (front, _cluster) = any_cluster(&[("echo", ECHO)]).await;
    let text = format!("{ENCODED}AP+A");
    assert_eq!(front.client().await.call("echo", text.as_bytes()).await, (0, text));
    let cluster = Cluster::start().await.with(&[("echo", ECHO)]).await;
    let front = cluster.relay().await;
    let mut client = front.client().await;
    let (reply, output) = client.ask(main("echo"), format!("{ENCODED}AP+A").as_bytes()).await;
    assert_eq!((reply, output), (Reply::Call { return_value: 0 }, vec![0, 255, 128]));
}

#[tokio::test]
async fn a_page_and_a_worker_share_state() {
    let (front, _cluster) = any_lenient_cluster(&[("push", PUSH), ("pull", PULL)]).await;
    let mut client = front.client().await;
    assert_eq!(client.call("push", b"abc").await, (0, String::new()));
    assert_eq!(client.read("k").await.as_deref(), Some(&b"abc"[..]));
    assert_eq!(client.write("k", b"xyz").await, Reply::Done);
    assert_eq!(client.call("pull", b"").await, (3, "xyz".into()));
    let (code, reason) = told((client.write("k", b"four").await, vec![]));
    assert_eq!(code, FailureCode::State);
    assert!(reason.contains("has 3 bytes"), "{reason}");
}

#[tokio::test]
async fn calls_of_one_page_or_one_run_are_one_app_and_others_are_not() {
    for app_per_run in [true, false] {
        let cluster = Cluster::start().await.with(&[("hello", HELLO)]).await;
        let front = cluster.relay_with(FaasmConfig { app_per_run, ..cluster.config() }).await;
        let mut client = front.client().await;
        let first = client.machine.request(main("hello"), b"1").unwrap();
        let second = client.machine.request_of(Some(first), main("hello"), b"2").unwrap();
        let alone = client.machine.request(main("hello"), b"3").unwrap();
        client.flush().await;
        for id in [first, second, alone] {
            returned(client.reply(id).await);
        }
        let mut another_page = front.client().await;
        another_page.call("hello", b"4").await;
        let asked = cluster.planner.asked();
        let started: Vec<_> = asked.iter().filter(|asked| asked.kind == "EXECUTE_BATCH").collect();
        let app_of = |input: &str| {
            let encoded = format!("\"{input}\"");
            started.iter().find(|asked| asked.payload.contains(&encoded)).unwrap().app.unwrap()
        };
        // Base64 of the inputs.
        let [first, second, alone, page] = ["MQ==", "Mg==", "Mw==", "NA=="].map(app_of);
        assert_eq!(first, second);
        assert_eq!(first != alone, app_per_run);
        assert!(page != first && page != alone);
        assert!(started.iter().all(|asked| asked.payload.contains("\"record_exec_graph\":true")));
    }
}

#[tokio::test]
async fn a_run_with_many_calls_is_few_apps() {
    let setup = Setup { workers: vec![64], ..Setup::default() };
    let cluster = Cluster::start_with(setup).await.with(&[("hello", HELLO)]).await;
    let front = cluster.relay().await;
    let mut client = front.client().await;
    let first = client.machine.request(main("hello"), b"x").unwrap();
    let mut all = vec![first];
    for _ in 1..200 {
        all.push(client.machine.request_of(Some(first), main("hello"), b"x").unwrap());
    }
    client.flush().await;
    for id in all {
        returned(client.reply(id).await);
    }
    let asked = cluster.planner.asked();
    let started = asked.iter().filter(|asked| asked.kind == "EXECUTE_BATCH");
    let apps: std::collections::BTreeSet<i32> = started.filter_map(|asked| asked.app).collect();
    assert_eq!(apps.len(), 4, "64 calls each");
}

#[tokio::test]
async fn what_faasm_puts_in_the_place_of_an_output_keeps_the_value() {
    let cluster = Cluster::start().await;
    let cluster = cluster.with(&[("first", FIRST)]).await;
    let front = cluster.relay().await;
    let mut client = front.client().await;
    let text = "Call failed (return value=7)".to_owned();
    assert_eq!(client.call("first", &[7, 0, 0, 0]).await, (7, text));
}
