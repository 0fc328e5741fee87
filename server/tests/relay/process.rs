//! The relay's own process: killed, asked to end, and started again.

use crate::support::*;
use faasm_bridge::session::ClientEvent;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How often a relay is started until it listens.
const ATTEMPTS: usize = 5;

/// A relay's process, and its data for the next one.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) folder: Arc<tempfile::TempDir>,
    /// Further arguments, for one the Redis that it keeps everything in.
    arguments: Vec<String>,
}

impl Process {
    pub(crate) fn start() -> Self {
        Self::with(Vec::new())
    }

    /// With further arguments.
    pub(crate) fn with(arguments: Vec<String>) -> Self {
        Self::begin(arguments)
    }

    /// One of several that share a Redis.
    pub(crate) fn over(redis: String) -> Self {
        Self::over_with(redis, &[])
    }

    /// The same, with further arguments.
    pub(crate) fn over_with(redis: String, further: &[&str]) -> Self {
        let mut arguments = vec!["--redis".to_owned(), redis];
        arguments.extend(further.iter().map(|argument| (*argument).to_owned()));
        Self::begin(arguments)
    }

    /// On a port that it gets again.
    fn begin(arguments: Vec<String>) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        // Another test program may take the port in between.
        let started = (0..ATTEMPTS).find_map(|_| {
            let port = faasm_redis_server::lasting_port().unwrap();
            Self::start_in(Arc::clone(&folder), port, arguments.clone())
        });
        started.expect("a relay that listens")
    }

    /// None where it does not listen.
    fn start_in(folder: Arc<tempfile::TempDir>, port: u16, arguments: Vec<String>) -> Option<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_faasm-relay"))
            .args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--data"])
            .arg(folder.path().join("data"))
            .arg("--web")
            .arg(folder.path())
            .args(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Some(address) = line.trim_end().strip_prefix("listening on http://") else {
            child.wait().unwrap();
            return None;
        };
        let address = address.strip_suffix('/').unwrap().parse().unwrap();
        Some(Self { child, address, folder, arguments })
    }

    pub(crate) fn again(self) -> Self {
        let (folder, port) = (Arc::clone(&self.folder), self.address.port());
        Self::start_in(folder, port, self.arguments.clone()).expect("it listens again")
    }

    pub(crate) fn kill(mut self) -> Self {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.again()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn ask_to_end(&self) {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(asked.success());
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let begun = std::time::Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < LONG, "it ends");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn upload(&self, name: &str, wat: &str) {
        let wasm = wat::parse_str(wat).unwrap();
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let (address, length) = (self.address, wasm.len());
        let head = format!(
            "PUT /f/{USER}/{name} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&wasm).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// Kills it, and starts no other.
    pub(crate) fn die(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) async fn page(&self) -> Client {
        self.page_over(Kind::WebSocket).await
    }

    pub(crate) async fn page_over(&self, kind: Kind) -> Client {
        let mut page = Client::new(kind);
        assert_eq!(page.connect(self.address).await, ClientEvent::Open { lost: vec![] });
        page
    }

    pub(crate) async fn comes_back(&self, page: &mut Client) {
        page.cut();
        assert_eq!(page.connect(self.address).await, ClientEvent::Open { lost: vec![] });
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
