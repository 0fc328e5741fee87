//! What carries a client's frames: a WebSocket, or HTTP requests.

use crate::support::LONG;
use faasm_bridge::wire::{BatchHeader, ConnectionId, FrameReader, append_frame};
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Everything that is tested over both.
pub(crate) const BOTH: [Kind; 2] = [Kind::WebSocket, Kind::Fetch];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    WebSocket,
    Fetch,
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

/// The connection broke.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) String);

pub(crate) enum Transport {
    WebSocket(Box<Socket>),
    Fetch(Fetch),
}

impl Transport {
    /// Connects; the first frame sent is the handshake.
    pub(crate) async fn open(kind: Kind, address: SocketAddr) -> Result<Self, Broken> {
        match kind {
            Kind::WebSocket => {
                let socket = open(address, &[]).await.map_err(|error| Broken(error.to_string()))?;
                Ok(Transport::WebSocket(Box::new(socket)))
            }
            Kind::Fetch => Ok(Transport::Fetch(Fetch::new(address))),
        }
    }

    /// Sends WebSocket messages, or frames over HTTP.
    pub(crate) async fn send(&mut self, frames: Vec<Vec<u8>>) -> Result<(), Broken> {
        match self {
            Transport::WebSocket(socket) => {
                for message in frames {
                    let sent = socket.send(Message::binary(message)).await;
                    sent.map_err(|error| Broken(error.to_string()))?;
                }
                Ok(())
            }
            Transport::Fetch(fetch) => fetch.send(&frames).await,
        }
    }

    /// The next WebSocket message, or frame over HTTP.
    pub(crate) async fn next(&mut self) -> Result<Vec<u8>, Broken> {
        match self {
            Transport::WebSocket(socket) => loop {
                match socket.next().await {
                    Some(Ok(Message::Binary(frame))) => return Ok(frame.to_vec()),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(Broken(error.to_string())),
                    None => return Err(Broken("it was closed".into())),
                }
            },
            Transport::Fetch(fetch) => {
                let next = fetch.arriving.recv().await;
                next.unwrap_or_else(|| Err(Broken("nothing arrives any more".into())))
            }
        }
    }
}

/// A connection over HTTP, each request over a TCP connection of its own.
pub(crate) struct Fetch {
    pub(crate) address: SocketAddr,
    pub(crate) id: Option<ConnectionId>,
    pub(crate) batches: u64,
    /// Answers to requests for frames, so far.
    pub(crate) bodies: Arc<AtomicU64>,
    arriving: mpsc::UnboundedReceiver<Result<Vec<u8>, Broken>>,
    arrived: mpsc::UnboundedSender<Result<Vec<u8>, Broken>>,
    receiving: Option<JoinHandle<()>>,
}

impl Fetch {
    fn new(address: SocketAddr) -> Self {
        let (arrived, arriving) = mpsc::unbounded_channel();
        Self {
            address,
            id: None,
            batches: 0,
            bodies: Arc::default(),
            arriving,
            arrived,
            receiving: None,
        }
    }

    async fn send(&mut self, frames: &[Vec<u8>]) -> Result<(), Broken> {
        if frames.is_empty() {
            return Ok(());
        }
        let mut batch = Vec::new();
        if let Some(connection) = self.id {
            batch.extend(BatchHeader { connection, seq: self.batches }.to_bytes());
        }
        frames.iter().for_each(|frame| append_frame(&mut batch, frame));
        if self.id.is_some() {
            taken(post(self.address, "/session/send", batch).await?, StatusCode::NO_CONTENT)?;
            self.batches += 1;
            return Ok(());
        }
        let response = taken(post(self.address, "/session", batch).await?, StatusCode::OK)?;
        let body = response.into_body().collect().await;
        let body = body.map_err(|error| Broken(error.to_string()))?.to_bytes();
        let mut frames = FrameReader::default().push(&body).unwrap().into_iter();
        let _ = self.arrived.send(Ok(frames.next().unwrap()));
        if let Some(id) = frames.next() {
            let id = ConnectionId(id.try_into().unwrap());
            self.id = Some(id);
            let (address, arrived) = (self.address, self.arrived.clone());
            let bodies = Arc::clone(&self.bodies);
            self.receiving = Some(tokio::spawn(async move {
                let Err(broken) = receive(address, id, &arrived, &bodies).await;
                let _ = arrived.send(Err(broken));
            }));
        }
        Ok(())
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        if let Some(receiving) = &self.receiving {
            receiving.abort();
        }
    }
}

async fn receive(
    address: SocketAddr,
    connection: ConnectionId,
    arrived: &mpsc::UnboundedSender<Result<Vec<u8>, Broken>>,
    bodies: &AtomicU64,
) -> Result<std::convert::Infallible, Broken> {
    let mut number = 0;
    loop {
        let header = BatchHeader { connection, seq: number }.to_bytes().to_vec();
        let response = post(address, "/session/receive", header).await?;
        let mut body = taken(response, StatusCode::OK)?.into_body();
        bodies.fetch_add(1, Ordering::Relaxed);
        let mut reader = FrameReader::default();
        while let Some(piece) = body.frame().await {
            let piece = piece.map_err(|error| Broken(error.to_string()))?;
            for frame in reader.push(&piece.into_data().unwrap()).unwrap() {
                number += 1;
                let _ = arrived.send(Ok(frame));
            }
        }
        assert!(reader.is_at_boundary(), "a body that ends in order ends between frames");
    }
}

fn taken(response: Response<Incoming>, status: StatusCode) -> Result<Response<Incoming>, Broken> {
    match response.status() {
        found if found == status => Ok(response),
        found => Err(Broken(format!("HTTP status {found}"))),
    }
}

/// One request; the answer's body may go on for long.
pub(crate) async fn post(
    address: SocketAddr,
    path: &str,
    body: Vec<u8>,
) -> Result<Response<Incoming>, Broken> {
    let broken = |error: &dyn std::fmt::Display| Broken(error.to_string());
    let stream = TcpStream::connect(address).await.map_err(|error| broken(&error))?;
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| broken(&error))?;
    tokio::spawn(connection);
    let request = Request::post(path)
        .header("host", address.to_string())
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let answered = tokio::time::timeout(LONG, sender.send_request(request)).await;
    answered.expect("an answer in time").map_err(|error| broken(&error))
}
