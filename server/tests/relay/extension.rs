//! What a program that embeds the cluster does itself for a call.

use crate::support::USER;
use faasm_bridge::guest::{CallResult, GuestMemoryExt as _, Target};
use faasm_relay::cluster::embedded::{
    Answer, Embedded, EmbeddedConfig, Extension, Import, Refusal,
};
use faasm_relay::cluster::{Call, Cluster as _, Outcome, failure};
use faasm_relay::store::Stores;
use futures_util::future::BoxFuture;
use std::sync::{Arc, Mutex};

/// Chains `callee` with input `in`, awaits it, and outputs what it gave; pulls state first.
const CALLER: &str = r#"(module
    (import "env" "__faasm_chain_name" (func $chain (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_chain_ptr" (func $pointer (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_await_call_output" (func $await (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_write_output" (func $write (param i32 i32)))
    (import "env" "__faasm_pull_state" (func $pull (param i32 i32)))
    (import "env" "__faasm_conf_flag" (func $flag (param i32) (result i32)))
    (import "env" "unheard_of" (func $unheard (param i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 16) "callee\00in")
    (func (export "main") (result i32)
        (call $pull (i32.const 16) (i32.const 4))
        (drop (call $pointer (i32.const 0) (i32.const 16) (i32.const 6)))
        (drop (call $await
            (call $chain (i32.const 16) (i32.const 23) (i32.const 2)) (i32.const 0) (i32.const 4)))
        (call $write (i32.load (i32.const 0)) (i32.load (i32.const 4)))
        (i32.add (call $unheard (i32.const 100)) (call $flag (i32.const 64))))
    (func (export "malloc") (param i32) (result i32) (i32.const 1024)))"#;

const CALLEE: &str = r#"(module
    (import "env" "__faasm_write_output" (func $write (param i32 i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "old")
    (func (export "main") (result i32) (call $write (i32.const 0) (i32.const 3)) (i32.const 3)))"#;

/// What the extension does.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Way {
    /// Answers, and takes chained calls over.
    #[default]
    Answers,
    LeavesAll,
    RefusesCalls,
    RefusesHostCalls,
    WaitsWhereItCannot,
}

#[derive(Default)]
struct Recorder {
    way: Way,
    chained: Mutex<Vec<(Target, Vec<u8>)>>,
}

impl Extension for Recorder {
    fn chain(
        &self,
        target: &Target,
        input: &[u8],
    ) -> Result<Option<BoxFuture<'static, CallResult>>, Refusal> {
        self.chained.lock().unwrap().push((target.clone(), input.to_vec()));
        match self.way {
            Way::LeavesAll => Ok(None),
            Way::RefusesCalls => Err(Refusal::new("no-room", "there is no room")),
            _ => Ok(Some(Box::pin(async {
                tokio::task::yield_now().await;
                CallResult { return_value: 5, output: b"elsewhere".to_vec() }
            }))),
        }
    }

    fn host_call<'a>(&'a self, call: Import<'a>) -> Result<Answer<'a>, Refusal> {
        if self.way == Way::LeavesAll {
            return Ok(Answer::Cluster);
        }
        match (call.module, call.name) {
            ("env", "__faasm_pull_state") => {
                assert!(call.may_wait && !call.has_result);
                let key = call.memory.read_string(call.argument(0)).unwrap();
                assert_eq!((key.as_str(), call.argument(1)), ("callee", 4));
                if self.way == Way::RefusesHostCalls {
                    return Err(Refusal::new("no-state", "there is no state"));
                }
                Ok(Answer::Wait(Box::pin(async move {
                    tokio::task::yield_now().await;
                    call.memory.write_u32(64, 1000).unwrap();
                    Ok(0)
                })))
            }
            ("env", "__faasm_conf_flag") if self.way == Way::WaitsWhereItCannot => {
                assert!(!call.may_wait);
                Ok(Answer::Wait(Box::pin(async { Ok(0) })))
            }
            ("env", "__faasm_conf_flag") => {
                Ok(Answer::Value(call.memory.read_u32(call.argument(0)).unwrap() as i32))
            }
            ("env", "unheard_of") if call.has_result => Ok(Answer::Value(call.argument(0) as i32)),
            _ => Ok(Answer::Cluster),
        }
    }
}

async fn cluster() -> Embedded {
    let cluster = Embedded::new(EmbeddedConfig::default(), Stores::in_memory().unwrap()).unwrap();
    for (name, wat) in [("caller", CALLER), ("callee", CALLEE)] {
        let wasm = wat::parse_str(wat).unwrap();
        cluster.upload(USER.into(), name.into(), wasm).await.unwrap();
    }
    cluster
}

async fn run(way: Way) -> (Outcome, Vec<(Target, Vec<u8>)>) {
    let recorder = Arc::new(Recorder { way, ..Recorder::default() });
    let call = Call::new(USER, "caller", vec![]);
    let outcome = cluster().await.call_with(call, recorder.clone()).await.unwrap();
    let chained = recorder.chained.lock().unwrap().clone();
    (outcome, chained)
}

fn failed(outcome: Outcome) -> (&'static str, String) {
    match outcome {
        Outcome::Failed { code, message } => (code, message),
        Outcome::Returned(result) => panic!("it returned {result:?}"),
    }
}

#[tokio::test]
async fn an_extension_answers_host_calls_and_takes_chained_calls_over() {
    let (outcome, chained) = run(Way::Answers).await;
    let expected = CallResult { return_value: 1100, output: b"elsewhere".to_vec() };
    assert_eq!(outcome, Outcome::Returned(expected));
    let expected = [
        (Target::Pointer(0), b"callee".to_vec()),
        (Target::Function("callee".into()), b"in".to_vec()),
    ];
    assert_eq!(chained, expected);
}

#[tokio::test]
async fn what_an_extension_leaves_is_the_clusters() {
    let (outcome, chained) = run(Way::LeavesAll).await;
    let (code, message) = failed(outcome);
    assert_eq!((code, chained.len()), ("unknown-import", 2), "{message}");
}

#[tokio::test]
async fn an_extension_ends_a_run_with_its_own_code() {
    let (outcome, _) = run(Way::RefusesHostCalls).await;
    let (code, message) = failed(outcome);
    assert_eq!(code, "no-state");
    assert!(message.starts_with("there is no state (in "), "{message}");
    let (outcome, chained) = run(Way::RefusesCalls).await;
    assert_eq!(failed(outcome).0, "no-room");
    assert_eq!(chained.len(), 1, "it ends at the first of them");
}

#[tokio::test]
async fn an_extension_that_waits_where_nothing_can_ends_the_run() {
    let (code, message) = failed(run(Way::WaitsWhereItCannot).await.0);
    assert_eq!(code, failure::TRAP);
    assert!(message.contains("`env.__faasm_conf_flag`, which cannot suspend"), "{message}");
}

#[tokio::test]
async fn a_loaded_function_is_the_one_that_was_loaded() {
    let cluster = cluster().await;
    let loaded = cluster.load(USER, "callee").await.unwrap().unwrap();
    let newer = wat::parse_str(CALLEE.replace("old", "new")).unwrap();
    cluster.upload(USER.into(), "callee".into(), newer).await.unwrap();
    let call = Call::new(USER, "callee", vec![]);
    let extension = Arc::new(Recorder { way: Way::LeavesAll, ..Recorder::default() });
    let old = cluster.call_loaded(&loaded, call.clone(), extension).await.unwrap();
    assert_eq!(old.into_result().output, b"old");
    assert_eq!(cluster.call(call).await.unwrap().into_result().output, b"new");
    assert!(cluster.load(USER, "nowhere").await.unwrap().is_none());
}
