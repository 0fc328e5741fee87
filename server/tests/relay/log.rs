//! The log: each line says which request it belongs to, also those of calls that a call chained.

use crate::support::*;
use faasm_relay::store::Stores;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use tracing_subscriber::fmt::MakeWriter;

/// Chains a function that prints `printed`, and waits for it.
const PRINTS: &str = r#"(module
    (import "env" "__faasm_chain_ptr" (func $chain (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 100) "printed\0a")
    (table 2 funcref)
    (elem (i32.const 1) $print)
    (func $print (result i32)
        (i32.store (i32.const 8) (i32.const 100))
        (i32.store (i32.const 12) (i32.const 8))
        (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 16)))
    (func (export "main") (result i32)
        (call $await (call $chain (i32.const 1) (i32.const 0) (i32.const 0)))))"#;

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Log;

    fn make_writer(&self) -> Log {
        self.clone()
    }
}

impl Log {
    /// Takes what this thread logs, where the whole relay runs.
    fn here() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false);
        (log, tracing::subscriber::set_default(subscriber.finish()))
    }

    /// The lines with this text.
    fn lines(&self, text: &str) -> Vec<String> {
        let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn what_a_chained_call_prints_names_the_request_of_its_page() {
    let (log, _guard) = Log::here();
    let relay = Relay::start().await.with(&[("prints", PRINTS)]).await;
    let mut page = relay.client().await;
    page.call("prints", b"").await;
    page.call("prints", b"").await;
    let lines = log.lines("printed");
    let span = |line: &str| {
        let rest = line.split_once("session{session=").unwrap().1;
        let (session, rest) = rest.split_once(" request=").unwrap();
        (session.to_owned(), rest.split_once('}').unwrap().0.to_owned())
    };
    let [first, second] = lines.as_slice() else { panic!("{lines:?}") };
    let ((session, first), (same, second)) = (span(first), span(second));
    assert_eq!(session, same, "one session");
    assert!(
        session.len() == 8 && session.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{session}"
    );
    assert_ne!(first, second, "two requests");
}

#[tokio::test]
async fn requests_over_http_are_named_as_a_proxy_does() {
    let (log, _guard) = Log::here();
    let relay = Relay::start().await.with(&[("prints", PRINTS)]).await;
    let message = br#"{"user": "ada", "function": "prints"}"#;
    for (header, expected) in [
        ("X-Request-Id: 7f-a_b.c", "http{request=7f-a_b.c}"),
        ("X-Request-Id: forged} line", "http{request=#1}"),
        ("Accept: */*", "http{request=#2}"),
    ] {
        let before = log.lines("printed").len();
        assert_eq!(relay.http(&format!("POST /\n{header}"), message).await.0, 200);
        let lines = log.lines("printed");
        assert_eq!(lines.len(), before + 1);
        assert!(lines[before].contains(expected), "{}", lines[before]);
    }
}

/// Chains what it is asked to, and looks at no result: `main` as often as its input has bytes.
const HEEDLESS: &str = r#"(module
    (import "env" "__faasm_read_input" (func $input (param i32 i32) (result i32)))
    (import "env" "__faasm_chain_name" (func $name (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_chain_ptr" (func $pointer (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
    (import "env" "mystery" (func $mystery))
    (memory (export "memory") 1)
    (data (i32.const 0) "nowhere\00")
    (data (i32.const 16) "no\0aWARN name\00")
    (table 2 funcref)
    (elem (i32.const 1) $calls_a_mystery)
    (func $calls_a_mystery (call $mystery))
    (func (export "main") (result i32) (local $left i32)
        (local.set $left (call $input (i32.const 0) (i32.const 0)))
        (drop (call $await (call $pointer (i32.const 1) (i32.const 0) (i32.const 0))))
        (drop (call $await (call $name (i32.const 16) (i32.const 0) (i32.const 0))))
        (loop $again
            (drop (call $await (call $name (i32.const 0) (i32.const 0) (i32.const 0))))
            (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (i32.const 0)))"#;

#[tokio::test]
async fn chained_calls_that_fail_are_named_so_many_of_them() {
    let (log, _guard) = Log::here();
    let relay = Relay::start().await.with(&[("heedless", HEEDLESS)]).await;
    assert_eq!(relay.call("heedless", b"x").await, (0, String::new()));
    let failed = "a chained call failed";
    let [pointer, name, missing] = &log.lines(failed)[..] else { panic!("{:?}", log.lines("")) };
    for (line, parts) in [
        (pointer, ["callee=heedless (function pointer 1)", "unknown-import", "env.mystery"]),
        (name, ["callee=no\\nWARN name", "missing-function", "cannot name a function"]),
        (missing, ["callee=nowhere", "missing-function", "function ada/nowhere does not exist"]),
    ] {
        for part in [" WARN ", "user=ada", "function=heedless", "docs/errors/"].iter().chain(&parts)
        {
            assert!(line.contains(part), "{line}");
        }
    }
    assert_eq!(log.lines("more chained calls failed").len(), 0);
    relay.call("heedless", &[0; 34]).await;
    assert_eq!(log.lines(failed).len(), 3 + 16);
    let [rest] = &log.lines("more chained calls failed")[..] else { panic!("one line") };
    assert!(rest.contains("user=ada") && rest.contains("more=20"), "{rest}");
}

#[tokio::test]
async fn a_call_from_outside_that_fails_is_named() {
    let (log, _guard) = Log::here();
    let relay = Relay::start().await;
    let mut page = relay.client().await;
    for _ in 0..20 {
        page.ask(main("nowhere"), b"").await;
    }
    let lines = log.lines("a call failed");
    assert_eq!(lines.len(), 16, "the rest is counted");
    for part in [
        " WARN ",
        "user=ada",
        "function=nowhere",
        "missing-function",
        "does not exist",
        "docs/errors/missing-function.md",
    ] {
        assert!(lines[0].contains(part), "{}", lines[0]);
    }
}

/// Prints what is at 100, LENGTH bytes, as often as its input has bytes.
const FORGES: &str = r#"(module
    (import "env" "__faasm_read_input" (func $input (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\64\00\00\00LENGTH")
    (data (i32.const 100) "BYTES")
    (func (export "_start") (local $left i32)
        (local.set $left (call $input (i32.const 0) (i32.const 0)))
        (loop $again
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
            (br_if $again (i32.gt_s (local.tee $left (i32.sub (local.get $left) (i32.const 1))) (i32.const 0))))))"#;

#[tokio::test]
async fn what_a_function_prints_forges_no_line_of_the_log() {
    let (log, _guard) = Log::here();
    let text = FORGES
        .replace("LENGTH", "\\3f\\00\\00\\00")
        .replace("BYTES", "first\\0a2026-01-01T00:00:00Z ERROR relay: forged\\0a\\1b[31mred\\0d\\00 \\c3\\a9\\e2\\80\\ae");
    let relay = Relay::start().await.with(&[("forges", &text)]).await;
    relay.call("forges", b"").await;
    let lines = log.lines("function=forges");
    for (line, part) in
        lines.iter().zip(["first", "2026-01-01T00:00:00Z ERROR", "\\u{1b}[31mred\\r\\0 é"])
    {
        let (head, text) = line.split_once("guest: ").unwrap();
        assert!(head.contains(" INFO ") && text.contains(part), "{line}");
    }
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(log.lines("forged").len(), 1);
    assert_eq!(log.lines("\u{1b}").len() + log.lines("\u{202e}").len(), 0);
}

#[tokio::test]
async fn what_a_user_s_functions_print_is_logged_up_to_a_bound() {
    let (log, _guard) = Log::here();
    // A page of zeros, which is longer in the log.
    let text = FORGES.replace("LENGTH", "\\00\\10\\00\\00").replace("BYTES", "x");
    let relay = Relay::start().await.with(&[("prints", &text)]).await;
    for _ in 0..2 {
        relay.call("prints", &[0; 2000]).await;
    }
    let logged: usize = log.lines("function=prints").iter().map(String::len).sum();
    assert!((100_000..600_000).contains(&logged), "{logged} bytes");
    assert_eq!(log.lines("prints more than").len(), 1);
}

#[test]
fn a_journal_without_its_database_is_told() {
    let (log, _guard) = Log::here();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.redb");
    drop(Stores::open(&path).unwrap());
    drop(Stores::open(&path).unwrap());
    assert_eq!(log.lines("").len(), 0, "{:?}", log.lines(""));
    std::fs::write(&path, b"").unwrap();
    drop(Stores::open(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    drop(Stores::open(&path).unwrap());
    let lines = log.lines("restore the database");
    assert_eq!(lines.len(), 2);
    assert!(lines[0].contains(" WARN ") && lines[0].contains("relay.journal"), "{}", lines[0]);
}
