//! A relay on a free port, and both kinds of client.

use faasm_bridge::session::{ClientEvent, ClientSession};
use faasm_bridge::wire::{CallEntry, Reply, Request, RequestId};
use faasm_relay::cluster::Cluster;
use faasm_relay::cluster::embedded::{Embedded, EmbeddedConfig};
use faasm_relay::store::Stores;
use faasm_relay::{App, Config};
use futures_util::{SinkExt, StreamExt};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

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

    pub(crate) async fn start_with(config: Config, embedded: EmbeddedConfig) -> Self {
        let stores = Stores::in_memory().unwrap();
        let cluster = Embedded::new(embedded, stores.clone()).unwrap();
        let (state, files) = (stores.state.clone(), stores.files.clone());
        let app = App { cluster: Arc::new(cluster.clone()), state, files };
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
        let mut client = Client {
            machine: ClientSession::new(USER, None),
            socket: None,
            replies: HashMap::new(),
        };
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
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let host = format!("Host: {}\r\n", self.address);
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
}

pub(crate) type Socket = WebSocketStream<TcpStream>;

/// Opens a WebSocket, with these further headers.
pub(crate) async fn open(
    address: SocketAddr,
    headers: &[(&'static str, &str)],
) -> Result<Socket, Error> {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;
    let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let stream = TcpStream::connect(address).await.unwrap();
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    let opened = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
    opened.await.map(|(socket, _)| socket)
}

/// A page.
pub(crate) struct Client {
    pub(crate) machine: ClientSession,
    pub(crate) socket: Option<Socket>,
    replies: HashMap<RequestId, (Reply, Vec<u8>)>,
}

impl Client {
    /// Connects again or for the first time; what it had is left open. Gives the event that ends the handshake.
    pub(crate) async fn connect(&mut self, address: SocketAddr) -> ClientEvent {
        self.machine.connected().unwrap();
        self.socket = Some(open(address, &[]).await.unwrap());
        self.event().await
    }

    /// Cuts the connection, without a word.
    pub(crate) fn cut(&mut self) {
        self.socket = None;
        self.machine.disconnected();
    }

    pub(crate) async fn flush(&mut self) {
        let socket = self.socket.as_mut().unwrap();
        while let Some(frame) = self.machine.transmit() {
            socket.send(Message::binary(frame)).await.unwrap();
        }
    }

    async fn event(&mut self) -> ClientEvent {
        loop {
            self.flush().await;
            let next = self.socket.as_mut().unwrap().next();
            let message = tokio::time::timeout(LONG, next).await.expect("an answer in time");
            if let Message::Binary(frame) = message.unwrap().unwrap()
                && let Some(event) = self.machine.receive(&frame).unwrap()
            {
                self.flush().await;
                return event;
            }
        }
    }

    pub(crate) async fn send(&mut self, request: Request, payload: &[u8]) -> RequestId {
        let id = self.machine.request(request, payload).unwrap();
        self.flush().await;
        id
    }

    /// The next reply, whatever it answers.
    pub(crate) async fn next_reply(&mut self) -> (RequestId, Reply, Vec<u8>) {
        match self.event().await {
            ClientEvent::Reply { id, reply, payload } => (id, reply, payload),
            other => panic!("{other:?} instead of a reply"),
        }
    }

    pub(crate) async fn reply(&mut self, id: RequestId) -> (Reply, Vec<u8>) {
        loop {
            if let Some(reply) = self.replies.remove(&id) {
                return reply;
            }
            let (id, reply, payload) = self.next_reply().await;
            self.replies.insert(id, (reply, payload));
        }
    }

    pub(crate) async fn ask(&mut self, request: Request, payload: &[u8]) -> (Reply, Vec<u8>) {
        let id = self.send(request, payload).await;
        self.reply(id).await
    }

    pub(crate) async fn call(&mut self, function: &str, input: &[u8]) -> (i32, String) {
        returned(self.ask(main(function), input).await)
    }

    /// The global value of a key.
    pub(crate) async fn read(&mut self, key: &str) -> Option<Vec<u8>> {
        let request = Request::ReadState { key: key.into(), offset: 0, length: None };
        match self.ask(request, b"").await {
            (Reply::State { size, offset: 0 }, bytes) => size.map(|_| bytes),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn write(&mut self, key: &str, bytes: &[u8]) -> Reply {
        let size = bytes.len() as u64;
        let chunks = vec![faasm_bridge::wire::ChunkHeader { offset: 0, length: size }];
        self.ask(Request::WriteState { key: key.into(), size, chunks }, bytes).await.0
    }
}

pub(crate) fn main(function: &str) -> Request {
    enter(function, CallEntry::Main)
}

pub(crate) fn enter(function: &str, entry: CallEntry) -> Request {
    Request::Call { function: function.into(), entry, args: vec![], env: vec![] }
}

/// Code and reason of a call that failed.
pub(crate) fn failed((reply, reason): (Reply, Vec<u8>)) -> (String, String) {
    match reply {
        Reply::CallFailed { code } => (code, String::from_utf8(reason).unwrap()),
        other => panic!("{other:?} instead of a failure"),
    }
}

/// Return value and output of a call.
pub(crate) fn returned((reply, output): (Reply, Vec<u8>)) -> (i32, String) {
    match reply {
        Reply::Call { return_value } => (return_value, String::from_utf8(output).unwrap()),
        other => panic!("{other:?} instead of a result"),
    }
}
