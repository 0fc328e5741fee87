//! What functions do in the embedded cluster, as a page sees it.

use crate::fixtures::*;
use crate::support::*;
use faasm_bridge::wire::{CallEntry, FailureCode, Reply, Request};
use faasm_relay::Config;
use faasm_relay::cluster::embedded::EmbeddedConfig;
use faasm_relay::cluster::failure;
use std::time::Duration;

#[tokio::test]
async fn input_becomes_output() {
    let relay = Relay::start().await.with(&[("hello", HELLO)]).await;
    let mut client = relay.client().await;
    assert_eq!(client.call("hello", b"Ada").await, (0, "Hello, Ada".into()));
    assert_eq!(client.call("hello", b"").await, (0, "Hello, ".into()));
}

#[tokio::test]
async fn chained_pointers_nest_and_hand_outputs_back() {
    let relay = Relay::start().await.with(&[("chain", CHAIN)]).await;
    assert_eq!(relay.call("chain", b"").await, (42, "inner".into()));
}

#[tokio::test]
async fn a_page_can_enter_by_pointer() {
    let relay = Relay::start().await.with(&[("chain", CHAIN)]).await;
    let mut client = relay.client().await;
    let number = client.ask(enter("chain", CallEntry::Pointer(2)), b" -7\n").await;
    assert_eq!(returned(number), (-7, "inner".into()));
    let nothing = client.ask(enter("chain", CallEntry::Pointer(4)), b"").await;
    assert_eq!(returned(nothing), (0, String::new()));
    for (index, input, reason) in [
        (0, &b""[..], "pointer 0 is null"),
        (10, b"", "outside the table, which has 10 entries"),
        (3, b"", "signature"),
        (2, b"many", "decimal number as input, not `many`"),
    ] {
        let (code, output) =
            failed(client.ask(enter("chain", CallEntry::Pointer(index)), input).await);
        assert_eq!(code, failure::BAD_ENTRY);
        assert!(output.contains(reason), "{output}");
    }
}

#[tokio::test]
async fn chaining_has_a_bottom() {
    let relay = Relay::start().await.with(&[("deep", DEEP)]).await;
    let (value, output) = relay.call("deep", b"").await;
    assert_eq!(value, 1);
    assert!(output.contains("chained more than 64 deep"), "{output}");
}

#[tokio::test]
async fn state_goes_from_function_to_page_to_function() {
    let relay = Relay::start().await.with(&[("push", PUSH), ("pull", PULL)]).await;
    let mut client = relay.client().await;
    assert_eq!(client.call("pull", b"").await, (0, String::new()));
    assert_eq!(client.call("push", b"abc").await, (0, String::new()));
    assert_eq!(client.read("k").await.as_deref(), Some(&b"abc"[..]));
    assert_eq!(client.write("k", b"xyz").await, Reply::Done);
    assert_eq!(client.call("pull", b"").await, (3, "xyz".into()));
    let other_size = client.write("k", b"four").await;
    assert!(matches!(other_size, Reply::Failed { code: FailureCode::State, .. }), "{other_size:?}");
    let (code, reason) = failed(client.ask(main("push"), b"four").await);
    assert_eq!(code, "state");
    assert!(reason.contains("has 3 bytes"), "{reason}");
}

#[tokio::test]
async fn a_trap_says_what_and_where() {
    let relay = Relay::start().await.with(&[("trap", TRAP)]).await;
    let (code, reason) = relay.fail("trap", b"").await;
    assert_eq!(code, failure::TRAP);
    assert_eq!(
        reason,
        "trap: wasm `unreachable` instruction executed (in boom, called by function 1)"
    );
}

#[tokio::test]
async fn exit_ends_a_call_also_in_a_constructor() {
    let relay = Relay::start().await.with(&[("early", EXIT_EARLY)]).await;
    assert_eq!(relay.call("early", b"").await, (3, String::new()));
}

#[tokio::test]
async fn a_missing_function_is_a_failed_call_that_says_what_to_do() {
    let relay = Relay::start().await;
    let reason = "function ada/none does not exist: upload it with faasm-asyncify upload";
    assert_eq!(relay.fail("none", b"").await, (failure::MISSING_FUNCTION.into(), reason.into()));
}

#[tokio::test]
async fn a_loop_times_out_and_others_run_meanwhile() {
    let embedded = EmbeddedConfig { call_timeout: Duration::from_secs(2), ..Default::default() };
    let relay = Relay::start_with(Config::default(), embedded).await;
    let relay = relay.with(&[("loop", LOOP), ("hello", HELLO)]).await;
    let mut client = relay.client().await;
    // The test's runtime has one thread: without yields nothing else would ever run.
    let endless = client.send(main("loop"), b"").await;
    let brief = client.send(main("hello"), b"you").await;
    let (first, reply, output) = client.next_reply().await;
    assert_eq!((first, returned((reply, output))), (brief, (0, "Hello, you".into())));
    let timed_out = failed(client.reply(endless).await);
    assert_eq!(timed_out, (failure::TIMEOUT.into(), "timed out after 2 s".into()));
}

#[tokio::test]
async fn memory_is_limited() {
    let embedded = EmbeddedConfig { max_memory: 32 * 1024 * 1024, ..Default::default() };
    let relay = Relay::start_with(Config::default(), embedded).await;
    let relay = relay.with(&[("grow", GROW)]).await;
    assert_eq!(relay.call("grow", b"").await, (-1, String::new()));
    let (status, _, reason) = relay.http("PUT /f/ada/large", &wat::parse_str(LARGE).unwrap()).await;
    let reason = String::from_utf8(reason).unwrap();
    assert_eq!(status, 422, "{reason}");
    assert!(reason.contains("memory") && reason.contains("guests.memory_bytes"), "{reason}");
    let relay = Relay::start().await.with(&[("grow", GROW)]).await;
    assert_eq!(relay.call("grow", b"").await.0, 1, "within the limit it grows from 1 page");
}

#[tokio::test]
async fn what_nobody_provides_traps_by_name_and_only_when_called() {
    let relay = Relay::start().await.with(&[("foreign", FOREIGN)]).await;
    assert_eq!(relay.call("foreign", b"").await, (0, String::new()));
    let (code, reason) = relay.fail("foreign", b"1").await;
    assert_eq!(code, "unknown-import");
    assert!(reason.contains("env.mystery") && reason.contains("(in function "), "{reason}");
}

/// Would leave a mark in the state before it comes to what it cannot do.
const NEEDS_A_CLUSTER: &str = r#"(module
    (import "env" "__faasm_append_state" (func $append (param i32 i32 i32)))
    (import "env" "MPI_Init" (func $mpi (param i32 i32) (result i32)))
    (import "env" "__faasm_chain_py" (func $py (param i32 i32 i32) (result i32)))
    (memory 1)
    (data (i32.const 0) "mark\00")
    (func (export "_start") (call $append (i32.const 0) (i32.const 0) (i32.const 4))))"#;

#[tokio::test]
async fn what_only_a_faasm_cluster_has_is_named_before_the_run() {
    let relay = Relay::start().await.with(&[("mpi", NEEDS_A_CLUSTER)]).await;
    let (code, reason) = relay.fail("mpi", b"").await;
    assert_eq!(code, failure::CLUSTER_ONLY);
    for part in [
        "ada/mpi was not run",
        "env.MPI_Init for MPI",
        "env.__faasm_chain_py for",
        "cluster.planner",
    ] {
        assert!(reason.contains(part), "{reason}");
    }
    let mut client = relay.client().await;
    let mark = Request::ReadAppended { key: "mark".into(), count: 1 };
    assert_eq!(client.ask(mark, b"").await, (Reply::Bytes, vec![]), "nothing of it ran");
}

#[tokio::test]
async fn a_page_learns_whether_the_cluster_has_its_version_of_a_function() {
    let relay = Relay::start().await.with(&[("hello", HELLO)]).await;
    let mut client = relay.client().await;
    let cluster = faasm_relay::integrity(&wat::parse_str(HELLO).unwrap());
    let compare = |function: &str, versions: &[&str]| Request::Compare {
        function: function.into(),
        integrities: versions.iter().map(|version| (*version).to_owned()).collect(),
    };
    let same = client.ask(compare("hello", &["sha256-another", &cluster]), b"").await;
    assert_eq!(same, (Reply::Done, vec![]));
    let other = client.ask(compare("hello", &["sha256-another"]), b"").await;
    assert_eq!(other, (Reply::Bytes, cluster.into_bytes()));
    let missing = client.ask(compare("nobody", &["sha256-another"]), b"").await;
    assert_eq!(missing, (Reply::Missing, vec![]));
    let (reply, _) = client.ask(compare("hello", &["x"; 9]), b"").await;
    assert!(matches!(reply, Reply::Failed { code: FailureCode::BadRequest, .. }), "{reply:?}");
}

#[tokio::test]
async fn an_output_too_long_to_send_is_an_error_and_not_a_broken_session() {
    const WIDE: &str = r#"(module
        (import "env" "__faasm_write_output" (func $write (param i32 i32)))
        (memory 1025)
        (func (export "_start") (call $write (i32.const 0) (i32.const 0x4000001))))"#;
    let relay = Relay::start().await.with(&[("wide", WIDE), ("hello", HELLO)]).await;
    let mut client = relay.client().await;
    let (code, reason) = failed(client.ask(main("wide"), b"").await);
    assert_eq!(code, failure::TOO_LARGE, "{reason}");
    assert_eq!(client.call("hello", b"x").await, (0, "Hello, x".into()));
}
