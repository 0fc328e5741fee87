//! A relay on a free port, and its clients.

pub(crate) use crate::client::{Client, enter, failed, main, returned};
pub(crate) use crate::client_transport::{BOTH, Kind, Socket, open};

use faasm_bridge::session::ClientEvent;
use faasm_relay::cluster::Cluster;
use faasm_relay::cluster::embedded::{Embedded, EmbeddedConfig};
use faasm_relay::store::Stores;
use faasm_relay::{App, Config};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longest anything may take; reaching it is a failure.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// Name of the user in every test.
pub(crate) const USER: &str = "ada";

/// A running relay.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) ended: JoinHandle<std::io::Result<()>>,
    pub(crate) cluster: Embedded,
    pub(crate) stores: Stores,
}

impl Relay {
    pub(crate) async fn start() -> Self {
        Self::start_with(Config::default(), EmbeddedConfig::default()).await
    }

    /// A relay that is reached by other ports than its own.
    pub(crate) async fn start_behind_proxy() -> Self {
        let config = Config { allow_hosts: vec!["127.0.0.1".into()], ..Config::default() };
        Self::start_with(config, EmbeddedConfig::default()).await
    }

    pub(crate) async fn start_with(config: Config, embedded: EmbeddedConfig) -> Self {
        Self::start_over(config, embedded, Stores::in_memory().unwrap()).await
    }

    pub(crate) async fn start_over(
        config: Config,
        embedded: EmbeddedConfig,
        stores: Stores,
    ) -> Self {
        let stores = stores.for_app();
        let cluster = Embedded::new(embedded, stores.clone()).unwrap();
        let Stores { state, files, journal, locks, changes, .. } = stores.clone();
        let running = Arc::new(cluster.clone());
        let app = App { cluster: running, state, files, journal, locks, changes, keys: None };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopping) = oneshot::channel();
        let shutdown = async { drop(stopping.await) };
        let ended = tokio::spawn(faasm_relay::serve(listener, config, app, shutdown));
        Self { address, stop, ended, cluster, stores }
    }

    /// Puts functions into the cluster, past HTTP.
    pub(crate) async fn with(self, functions: &[(&str, &str)]) -> Self {
        for (name, wat) in functions {
            let wasm = wat::parse_str(wat).unwrap();
            self.cluster.upload(USER.into(), (*name).into(), wasm).await.unwrap();
        }
        self
    }

    pub(crate) async fn client(&self) -> Client {
        self.client_over(Kind::WebSocket).await
    }

    pub(crate) async fn client_over(&self, kind: Kind) -> Client {
        let mut client = Client::new(kind);
        assert_eq!(client.connect(self.address).await, ClientEvent::Open { lost: vec![] });
        client
    }

    /// Runs a function to its end.
    pub(crate) async fn call(&self, function: &str, input: &[u8]) -> (i32, String) {
        self.client().await.call(function, input).await
    }

    /// Runs a function until it fails.
    pub(crate) async fn fail(&self, function: &str, input: &[u8]) -> (String, String) {
        failed(self.client().await.ask(main(function), input).await)
    }

    /// A request as bytes, an answer as status, head and body.
    pub(crate) async fn http(&self, head: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        http(self.address, head, body).await
    }
}

/// The same of a relay at this address.
pub(crate) async fn http(address: SocketAddr, head: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let host = format!("Host: {address}\r\n");
    let host = if head.contains("Host:") { "" } else { &host };
    let (request_line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let headers: String = headers.lines().map(|line| format!("{}\r\n", line.trim())).collect();
    let length = body.len();
    let length = if headers.contains("Content-Length") {
        String::new()
    } else {
        format!("Content-Length: {length}\r\n")
    };
    let close = if headers.contains("Connection:") { "" } else { "Connection: close\r\n" };
    let request = format!("{request_line} HTTP/1.1\r\n{host}{headers}{length}{close}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await;
    read.unwrap().unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head, answer[end + 4..].to_vec())
}
