//! Functions that cost a compiler time and memory: refused by name, and nobody else waits for them.

use crate::process::Process;
use crate::support::LONG;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PLAIN: &str = r#"(module (memory 1) (func (export "_start")))"#;

/// So many functions of so many additions each.
pub(crate) fn large(functions: usize, additions: usize) -> String {
    let body = "(local.set 0 (i32.add (local.get 0) (i32.load (local.get 1))))".repeat(additions);
    let functions = format!("(func (param i32 i32) {body})").repeat(functions);
    format!(r#"(module (memory (export "memory") 1) (func (export "_start")) {functions})"#)
}

/// Status and body of an upload.
async fn upload(address: SocketAddr, user: &str, wat: &str) -> (u16, String) {
    let wasm = wat::parse_str(wat).unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "PUT /f/{user}/f HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        wasm.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&wasm).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn a_build_that_takes_too_long_or_too_much_is_ended_and_named() {
    let with = |setting: &str| vec!["--set".to_owned(), setting.to_owned()];
    let slow = Process::with(with("builds.time=0.3"));
    let (status, why) = upload(slow.address, "eve", &large(4000, 300)).await;
    assert_eq!(status, 422, "{why}");
    assert!(why.contains("was not compiled within") && why.contains("builds.time"), "{why}");

    let small = Process::with(with("builds.memory_bytes=268435456"));
    // One function, so that it does not depend on how many are compiled at once.
    let (status, why) = upload(small.address, "eve", &large(1, 180_000)).await;
    assert_eq!(status, 422, "{why}");
    assert!(why.contains("256 MiB") && why.contains("builds.memory_bytes"), "{why}");
    let (status, why) = upload(small.address, "eve", PLAIN).await;
    assert_eq!(status, 200, "{why}");
}

#[tokio::test]
async fn a_build_that_takes_more_memory_than_its_user_has_is_ended_and_others_are_not() {
    let bound = "budget.user_bytes=134217728".to_owned();
    let relay = Process::with(vec!["--set".to_owned(), bound]);
    let (status, why) = upload(relay.address, "eve", &large(1, 180_000)).await;
    assert_eq!(status, 429, "{why}");
    assert!(why.contains("over-budget") && why.contains("budget.user_bytes"), "{why}");
    for user in ["eve", "ada"] {
        let (status, why) = upload(relay.address, user, PLAIN).await;
        assert_eq!(status, 200, "{why}");
    }
}

/// Processes that this one started, and that have not ended.
fn children(parent: u32) -> Vec<u32> {
    let is_child = |process: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // The name before may have anything in it.
        let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect::<Vec<_>>());
        fields.is_some_and(|fields| fields[0] != "Z" && fields[1] == parent.to_string())
    };
    let processes = std::fs::read_dir("/proc").unwrap();
    let processes = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    processes.filter(is_child).collect()
}

#[tokio::test]
async fn a_relay_ends_while_a_function_is_built_and_so_does_the_build() {
    let set = |setting: &str| ["--set".to_owned(), setting.to_owned()];
    let times = ["timings.drain=0.2", "timings.grace=0.2"].map(set).concat();
    let mut relay = Process::with(times);
    let (address, module) = (relay.address, large(4000, 300));
    let wasm = wat::parse_str(module).unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = wasm.len();
    let head =
        format!("PUT /f/eve/f HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&wasm).await.unwrap();
    let build = loop {
        if let Some(build) = children(relay.id()).first() {
            break *build;
        }
        tokio::task::yield_now().await;
    };
    relay.ask_to_end();
    assert!(relay.ended().await.success());
    let begun = std::time::Instant::now();
    while std::fs::read(format!("/proc/{build}/cmdline")).is_ok_and(|line| !line.is_empty()) {
        assert!(begun.elapsed() < LONG, "the build ends");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_no_compiler_should_get_is_named() {
    let relay = Process::start();
    let loops = "loop ".repeat(5000) + &"end ".repeat(5000);
    let wat = format!(r#"(module (memory 1) (func (export "_start") {loops}))"#);
    let (status, why) = upload(relay.address, "eve", &wat).await;
    assert_eq!(status, 422, "{why}");
    assert!(why.contains("5000 nested loops"), "{why}");
}

/// However the relay ends, it leaves no compilers behind, and nothing that guards.
#[test]
fn a_child_ends_with_its_parents_end_of_the_pipe() {
    for job in [&[][..], &["--for-faasm", "--check-names"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_faasm-relay"))
            .args(["compile-child", "--memory", "2147483648"])
            .args(job)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let wasm = wat::parse_str(large(4000, 300)).unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&(wasm.len() as u64).to_le_bytes()).unwrap();
        stdin.write_all(&wasm).unwrap();
        drop(stdin);
        let mut made = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut made).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1));
        assert_eq!(made.len(), 0);
    }
}
