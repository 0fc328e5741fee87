//! A stand-in, a client of its planner, and functions for the tests.

use faasm_relay::cluster::Cluster as _;
use faasm_relay::cluster::embedded::{Embedded, EmbeddedConfig};
use faasm_relay::store::Stores;
use faasm_standin::{Engine, Planner, Setup, Times, Upload};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) const USER: &str = "ada";

/// Time limit, far above the time that any wait takes.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A tenth of the real durations, and less where no test observes them.
pub(crate) fn times() -> Times {
    Times {
        blocked: Duration::from_millis(400),
        dying: Duration::from_millis(600),
        ..Times::tenth()
    }
}

/// Prelude of the functions of these tests: imports, a memory with `k` at 0 and `abcdefgh` at 64, and ways to output a
/// digit.
const PRELUDE: &str = r#"
    (import "env" "__faasm_read_input" (func $read_input (param i32 i32) (result i32)))
    (import "env" "__faasm_write_output" (func $write_output (param i32 i32)))
    (import "env" "__faasm_chain_name" (func $chain_name (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_chain_ptr" (func $chain_ptr (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
    (import "env" "__faasm_await_call_output" (func $await_output (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_read_state" (func $read_state (param i32 i32 i32) (result i32)))
    (import "env" "__faasm_write_state" (func $write_state (param i32 i32 i32)))
    (import "env" "__faasm_push_state" (func $push_state (param i32)))
    (import "env" "__faasm_pull_state" (func $pull_state (param i32 i32)))
    (import "env" "__faasm_append_state" (func $append (param i32 i32 i32)))
    (import "env" "__faasm_read_appended_state" (func $read_appended (param i32 i32 i32 i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "k\00\00\00")
    (data (i32.const 64) "abcdefgh")
    (func $output (param i32 i32) (call $write_output (local.get 0) (local.get 1)))
    (func $digit (param i32)
        (i32.store8 (i32.const 1000) (i32.add (i32.const 48) (local.get 0)))
        (call $output (i32.const 1000) (i32.const 1)))
"#;

/// A function with the prelude and this body of its main entry.
pub(crate) fn main_of(body: &str) -> String {
    module(&format!("(func (export \"main\") (result i32) {body} (i32.const 0))"))
}

pub(crate) fn module(rest: &str) -> String {
    format!("(module {PRELUDE} {rest})")
}

/// A function that imports one host call, with this body of its main entry.
pub(crate) fn importing(import: &str, body: &str) -> String {
    format!(
        r#"(module (import {import}) (memory (export "memory") 1) (data (i32.const 0) "k\00")
            (func (export "_start") {body}))"#
    )
}

pub(crate) struct Cluster {
    pub(crate) planner: Arc<Planner>,
    pub(crate) upload: Upload,
    pub(crate) stores: Stores,
    embedded: Arc<Embedded>,
}

static NEXT: AtomicI32 = AtomicI32::new(1000);

pub(crate) fn new_id() -> i32 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::start_with(Setup { times: times(), ..Setup::default() }).await
    }

    pub(crate) async fn start_with(setup: Setup) -> Self {
        Self::start_over(setup, Stores::in_memory().unwrap()).await
    }

    pub(crate) async fn start_over(setup: Setup, stores: Stores) -> Self {
        let embedded = Embedded::new(EmbeddedConfig::default(), stores.clone()).unwrap();
        let embedded = Arc::new(embedded);
        let engine = setup.as_;
        let planner = Planner::start(setup, embedded.clone()).await.unwrap();
        let (state, files) = (stores.state.clone(), stores.files.clone());
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let upload = Upload::start_as(engine, address, embedded.clone(), state, files).await;
        Self { planner, upload: upload.unwrap(), stores, embedded }
    }

    /// Stores functions directly, bypassing the upload server.
    pub(crate) async fn with(self, functions: &[(&str, &str)]) -> Self {
        for (name, wat) in functions {
            self.put(name, wat).await;
        }
        self
    }

    pub(crate) async fn put(&self, name: &str, wat: &str) {
        self.put_wasm(name, wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}\n{wat}")))
            .await;
    }

    pub(crate) async fn put_wasm(&self, name: &str, wasm: Vec<u8>) {
        self.embedded.upload(USER.into(), name.into(), wasm).await.unwrap();
    }

    /// The planner's answer; `None` if the connection closes.
    pub(crate) async fn ask(&self, kind: &str, payload: Value) -> Option<(u16, String)> {
        let body = json!({"http_type": kind, "payload": payload.to_string()}).to_string();
        http(&self.planner.url(), "POST", "/", body.as_bytes()).await
    }

    pub(crate) async fn say(&self, kind: &str) -> Value {
        let body = json!({ "http_type": kind }).to_string();
        let answer = http(&self.planner.url(), "POST", "/", body.as_bytes()).await;
        serde_json::from_str(&answer.expect("an answer").1).unwrap()
    }

    /// Starts a call in this app; returns its id and the planner's answer.
    pub(crate) async fn send_of(
        &self,
        app: i32,
        function: &str,
        pointer: i32,
        input: &[u8],
    ) -> (i32, Option<(u16, String)>) {
        use base64::Engine as _;
        let id = new_id();
        let input = base64::engine::general_purpose::STANDARD.encode(input);
        let message = json!({
            "id": id, "appId": app, "user": USER, "function": function, "funcPtr": pointer,
            "input_data": input,
        });
        let batch =
            json!({"appId": app, "user": USER, "function": function, "messages": [message]});
        (id, self.ask("EXECUTE_BATCH", batch).await)
    }

    /// Starts a call; returns its app and id.
    pub(crate) async fn send(&self, function: &str) -> (i32, i32) {
        let app = new_id();
        let (id, answer) = self.send_of(app, function, 0, b"").await;
        assert_eq!(answer, Some((200, json!({ "appId": app }).to_string())));
        (app, id)
    }

    /// Status and body of the planner's report on an app.
    pub(crate) async fn status(&self, app: i32) -> (u16, String) {
        let answer = self.ask("EXECUTE_BATCH_STATUS", json!({ "appId": app })).await;
        answer.expect("an answer")
    }

    /// All results of an app, once it has finished.
    pub(crate) async fn results(&self, app: i32) -> Vec<Value> {
        let finished = async || {
            let (status, body) = self.status(app).await;
            let answer: Value = serde_json::from_str(&body).unwrap_or_default();
            (status == 200 && answer["finished"] == true).then_some(answer)
        };
        let answer = until("the app ends", finished).await;
        answer["messageResults"].as_array().cloned().unwrap_or_default()
    }

    /// Return value and output of one message.
    pub(crate) async fn result(&self, (app, id): (i32, i32)) -> (i64, String) {
        let results = self.results(app).await;
        let message = results.iter().find(|message| message["id"] == id).unwrap();
        let value = message["returnValue"].as_i64().unwrap_or(0);
        (value, message["output_data"].as_str().unwrap_or("").to_owned())
    }

    /// Calls a function in an app of its own.
    pub(crate) async fn call(&self, function: &str) -> (i64, String) {
        let sent = self.send(function).await;
        self.result(sent).await
    }

    /// Calls a function that must trap.
    pub(crate) async fn traps(&self, function: &str) {
        let (app, id) = self.send(function).await;
        let text =
            format!("Task {id} threw exception. What: Error executing WASM function with WAMR");
        assert_eq!(self.result((app, id)).await, (1, text), "{function}");
    }

    /// Calls a function that must end its worker; the call stays in flight.
    pub(crate) async fn kills(&self, function: &str) -> i32 {
        let (app, _) = self.send(function).await;
        until(function, async || (!self.planner.worker_answers(0)).then_some(())).await;
        assert_eq!(self.status(app).await.0, 500, "{function}");
        assert!(self.in_flight(app).await, "{function}");
        app
    }

    pub(crate) async fn in_flight(&self, app: i32) -> bool {
        let apps = self.say("GET_IN_FLIGHT_APPS").await;
        apps["apps"].as_array().is_some_and(|apps| apps.iter().any(|known| known["appId"] == app))
    }

    pub(crate) async fn hosts(&self) -> Vec<Value> {
        self.say("GET_AVAILABLE_HOSTS").await["hosts"].as_array().cloned().unwrap_or_default()
    }

    /// Whether the port of a worker is open.
    pub(crate) async fn worker_listens(&self, number: usize) -> bool {
        TcpStream::connect(self.planner.worker_address(number).unwrap()).await.is_ok()
    }

    pub(crate) async fn value(&self, key: &str) -> Option<Vec<u8>> {
        let read = self.stores.state.read(USER, key, 0, None).await.unwrap();
        read.size.map(|_| read.chunk.bytes.into())
    }

    pub(crate) async fn set(&self, key: &str, bytes: &[u8]) {
        let chunks = vec![faasm_bridge::state::Chunk { offset: 0, bytes: bytes.to_vec().into() }];
        self.stores.state.write(USER, key, bytes.len() as u64, chunks).await.unwrap();
    }
}

/// A stand-in with one function.
pub(crate) async fn with_main(body: &str) -> Cluster {
    Cluster::start().await.with(&[("f", &main_of(body))]).await
}

pub(crate) fn lenient() -> Setup {
    Setup { as_: Engine::Lenient, times: times(), ..Setup::default() }
}

/// Polls until `ask` returns a value.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, asking).await.unwrap_or_else(|_| panic!("never: {what}"))
}

/// Status and body; `None` if the connection closes or cannot be made.
pub(crate) async fn http(
    url: &str,
    method: &str,
    path: &str,
    body: &[u8],
) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.ok()?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: standin\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(body).await.ok()?;
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    tokio::time::timeout(LONG, reading).await.expect("an end").ok()?;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
