//! Sessions that outlive the relay: the binary is killed, or asked to end, and started again on the same data.

use crate::fixtures::*;
use crate::process::Process;
use crate::support::*;
use faasm_bridge::wire::{FailureCode, Hello, Reply, Request, decode_handshake};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;

/// Sleeps for half a second, and then greets.
const LATE: &str = r#"(module
    (import "env" "__faasm_write_output" (func $write (param i32 i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory 1)
    (data (i32.const 0) "late")
    (func (export "_start")
        (i64.store (i32.const 224) (i64.const 500000000))
        (drop (call $poll (i32.const 200) (i32.const 300) (i32.const 1) (i32.const 400)))
        (call $write (i32.const 0) (i32.const 4))))"#;

#[tokio::test]
async fn a_call_that_ran_when_the_relay_was_killed_is_unknown_and_does_not_run_again() {
    let relay = Process::start();
    relay.upload("gate", GATE).await;
    let mut page = relay.page().await;
    let call = page.send(main("gate"), b"").await;
    let mut other = relay.page().await;
    while other.read("count").await != Some(vec![1]) {}
    let relay = relay.kill();

    relay.comes_back(&mut page).await;
    let (reply, _) = page.reply(call).await;
    let Reply::Failed { code: FailureCode::Unknown, message } = reply else { panic!("{reply:?}") };
    assert!(message.contains("it may have had effects"), "{message}");
    // The session goes on.
    assert_eq!(page.write("gate", &[9]).await, Reply::Done);
    assert_eq!(page.call("gate", b"").await, (9, String::new()));
    assert_eq!(page.read("count").await, Some(vec![2]), "one run each");
    // Also over another relay.
    let relay = relay.kill();
    relay.comes_back(&mut page).await;
    assert_eq!(page.read("count").await, Some(vec![2]));
}

#[tokio::test]
async fn a_change_whose_reply_was_lost_is_answered_and_not_made_again() {
    let relay = Process::start();
    let mut page = relay.page().await;
    let list = || "l".to_owned();
    let append = page.send(Request::AppendState { key: list() }, b"once").await;
    let mut other = relay.page().await;
    let read = Request::ReadAppended { key: list(), count: 9 };
    while other.ask(read.clone(), b"").await.1.is_empty() {}
    let relay = relay.kill();
    relay.comes_back(&mut page).await;
    assert_eq!(page.reply(append).await.0, Reply::Done);
    assert_eq!(page.ask(read, b"").await, (Reply::Bytes, b"once".to_vec()));
}

#[tokio::test]
async fn what_the_relay_never_began_is_begun_by_the_next_one() {
    let relay = Process::start();
    relay.upload("hello", HELLO).await;
    let mut page = relay.page().await;
    // It gets no further than the page.
    page.cut();
    let call = page.machine.request(main("hello"), b"again").unwrap();
    let relay = relay.kill();
    relay.comes_back(&mut page).await;
    page.flush().await;
    assert_eq!(returned(page.reply(call).await), (0, "Hello, again".into()));
}

#[tokio::test]
async fn a_relay_that_is_asked_to_end_lets_calls_end_and_takes_none() {
    let mut relay = Process::start();
    relay.upload("late", LATE).await;
    relay.upload("hello", HELLO).await;
    let mut page = relay.page().await;
    let mut other = relay.page().await;
    // So that it need not be compiled.
    assert_eq!(page.call("late", b"").await.1, "late");
    let late = page.send(main("late"), b"").await;
    // A reply to a later request: the relay has taken the one before.
    page.read("k").await;
    relay.ask_to_end();
    while TcpStream::connect(relay.address).await.is_ok() {}
    let refused = other.machine.request(main("hello"), b"you").unwrap();
    page.cut();
    assert_eq!(relay.ended().await.code(), Some(0));

    let relay = relay.again();
    relay.comes_back(&mut page).await;
    assert_eq!(returned(page.reply(late).await), (0, "late".into()), "its page was away");
    relay.comes_back(&mut other).await;
    other.flush().await;
    assert_eq!(returned(other.reply(refused).await), (0, "Hello, you".into()));
}

#[tokio::test]
async fn the_files_of_a_relay_do_not_give_its_sessions() {
    let relay = Process::start();
    relay.upload("hello", HELLO).await;
    let mut page = relay.page().await;
    page.call("hello", b"").await;
    page.write("k", b"v").await;
    page.cut();
    page.machine.connected().unwrap();
    let hello: Hello = decode_handshake(&page.machine.transmit().unwrap()).unwrap();
    let id = hello.resume.unwrap().0;
    let hash = Sha256::digest(id);
    let has = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    let mut is_known = false;
    let mut paths = vec![relay.folder.path().join("data")];
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let bytes = std::fs::read(path).unwrap();
        assert!(!has(&bytes, &id), "a session's id is in a file");
        is_known |= has(&bytes, &hash);
    }
    assert!(is_known, "its hash is");
}
