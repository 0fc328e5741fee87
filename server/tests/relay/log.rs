//! The log: each line says which request it belongs to, also those of calls that a call chained.

use crate::support::*;
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
