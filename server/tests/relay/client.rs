//! A page, without a browser.

use crate::client_transport::{Broken, Fetch, Kind, Socket, Transport, post};
use crate::support::{LONG, USER};
use faasm_bridge::session::{ClientEvent, ClientSession};
use faasm_bridge::wire::{BatchHeader, CallEntry, ChunkHeader, Reply, Request, RequestId};
use futures_util::StreamExt;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

pub(crate) struct Client {
    pub(crate) machine: ClientSession,
    kind: Kind,
    transport: Option<Transport>,
    replies: HashMap<RequestId, (Reply, Vec<u8>)>,
    /// Values that it was told of, and nobody has asked about yet.
    changed: VecDeque<String>,
    /// Frames of the last message that nobody has taken yet.
    arrived: VecDeque<Vec<u8>>,
}

impl Client {
    pub(crate) fn new(kind: Kind) -> Self {
        Self::of(USER, None, kind)
    }

    /// Of a user, with a token.
    pub(crate) fn of(user: &str, token: Option<String>, kind: Kind) -> Self {
        let machine = ClientSession::new(user, token);
        let (replies, changed, arrived) = Default::default();
        Self { machine, kind, transport: None, replies, changed, arrived }
    }

    /// Connects again or for the first time; what it had is left open. Gives the event that ends the handshake.
    pub(crate) async fn connect(&mut self, address: SocketAddr) -> ClientEvent {
        self.try_connect(address).await.unwrap_or_else(|broken| panic!("{}", broken.0))
    }

    pub(crate) async fn try_connect(&mut self, address: SocketAddr) -> Result<ClientEvent, Broken> {
        self.transport = Some(Transport::open(self.kind, address).await?);
        self.arrived.clear();
        self.machine.connected().unwrap();
        self.try_event().await
    }

    /// From the next connection on.
    pub(crate) fn use_transport(&mut self, kind: Kind) {
        self.kind = kind;
    }

    /// Cuts the connection, without a word.
    pub(crate) fn cut(&mut self) {
        self.transport = None;
        self.machine.disconnected();
    }

    /// Ends the session, as a page does that will not come back.
    pub(crate) async fn say_goodbye(&mut self) {
        match self.transport.take().unwrap() {
            Transport::WebSocket(mut socket) => {
                let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
                socket.close(Some(frame)).await.unwrap();
                // To the end: the relay has heard it by then.
                while let Some(Ok(_)) = socket.next().await {}
            }
            Transport::Fetch(fetch) => {
                let header = BatchHeader { connection: fetch.id.unwrap(), seq: fetch.batches };
                let ended = post(fetch.address, "/session/end", header.to_bytes().to_vec()).await;
                assert_eq!(ended.unwrap().status(), 204);
            }
        }
    }

    /// Takes the connection's WebSocket away.
    pub(crate) fn take_socket(&mut self) -> Socket {
        match self.transport.take() {
            Some(Transport::WebSocket(socket)) => *socket,
            _ => panic!("there is no WebSocket"),
        }
    }

    /// The connection's HTTP side.
    pub(crate) fn fetch(&mut self) -> &mut Fetch {
        match &mut self.transport {
            Some(Transport::Fetch(fetch)) => fetch,
            _ => panic!("there is no connection over HTTP"),
        }
    }

    pub(crate) async fn flush(&mut self) {
        self.try_flush().await.unwrap_or_else(|broken| panic!("{}", broken.0));
    }

    async fn try_flush(&mut self) -> Result<(), Broken> {
        let machine = &mut self.machine;
        let sent = match self.kind {
            Kind::WebSocket => std::iter::from_fn(|| machine.transmit_message()).collect(),
            Kind::Fetch => std::iter::from_fn(|| machine.transmit()).collect(),
        };
        self.transport.as_mut().unwrap().send(sent).await
    }

    async fn event(&mut self) -> ClientEvent {
        self.try_event().await.unwrap_or_else(|broken| panic!("{}", broken.0))
    }

    pub(crate) async fn try_event(&mut self) -> Result<ClientEvent, Broken> {
        loop {
            self.try_flush().await?;
            let frame = self.frame().await?;
            if let Some(event) = self.machine.receive(&frame).unwrap() {
                // What this fails to send, the next one fails to send too.
                let _ = self.try_flush().await;
                return Ok(event);
            }
        }
    }

    async fn frame(&mut self) -> Result<Vec<u8>, Broken> {
        while self.arrived.is_empty() {
            let next = self.transport.as_mut().unwrap().next();
            let message = tokio::time::timeout(LONG, next).await.expect("an answer in time")?;
            match self.kind {
                Kind::WebSocket => {
                    let frames = self.machine.frames_of(&message);
                    self.arrived.extend(frames.map(|frame| frame.unwrap().to_vec()));
                }
                Kind::Fetch => self.arrived.push_back(message),
            }
        }
        Ok(self.arrived.pop_front().expect("there is one"))
    }

    /// The next reply, over as many connections as that takes; no request is lost on the way.
    pub(crate) async fn persist(&mut self, address: SocketAddr) -> (RequestId, Reply, Vec<u8>) {
        loop {
            if self.transport.is_some() {
                match self.try_event().await {
                    Ok(ClientEvent::Reply { id, reply, payload }) => return (id, reply, payload),
                    Ok(other) => panic!("{other:?} instead of a reply"),
                    Err(_) => self.cut(),
                }
            }
            match self.try_connect(address).await {
                Ok(event) => assert_eq!(event, ClientEvent::Open { lost: vec![] }),
                Err(_) => self.cut(),
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
        loop {
            match self.event().await {
                ClientEvent::Reply { id, reply, payload } => return (id, reply, payload),
                ClientEvent::Changed { key } => self.changed.push_back(key),
                other => panic!("{other:?} instead of a reply"),
            }
        }
    }

    /// The next value that the relay says was written.
    pub(crate) async fn next_changed(&mut self) -> String {
        while self.changed.is_empty() {
            match self.event().await {
                ClientEvent::Reply { id, reply, payload } => {
                    self.replies.insert(id, (reply, payload));
                }
                ClientEvent::Changed { key } => self.changed.push_back(key),
                other => panic!("{other:?} instead of a change"),
            }
        }
        self.changed.pop_front().expect("there is one")
    }

    /// What it was told so far. The relay has sent it, for it answers in order.
    pub(crate) async fn changed(&mut self) -> Vec<String> {
        self.read("nothing").await;
        self.changed.drain(..).collect()
    }

    pub(crate) async fn watch(&mut self, key: &str) -> Reply {
        self.ask(Request::Watch { key: key.into() }, b"").await.0
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
        let chunks = vec![ChunkHeader { offset: 0, length: size }];
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
