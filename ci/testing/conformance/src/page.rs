//! A page without a browser: a session over a WebSocket, which can be resumed over another relay.

use anyhow::{Context as _, Result, bail};
use faasm_bridge::session::{ClientEvent, ClientSession};
use faasm_bridge::wire::{FailureCode, Reply, Request, RequestId};
use futures_util::{SinkExt as _, StreamExt as _};
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::outcome::{Ended, shortened};

/// A session, and its WebSocket.
pub(crate) struct Page {
    session: ClientSession,
    socket: WebSocketStream<TcpStream>,
}

impl Page {
    /// Opens a session of this user.
    pub(crate) async fn open(relay: SocketAddr, user: &str) -> Result<Self> {
        let socket = socket(relay).await?;
        let mut page = Self { session: ClientSession::new(user, None), socket };
        page.shake_hands().await?;
        Ok(page)
    }

    /// Drops its connection without closing it, and resumes the session over this relay.
    pub(crate) async fn go_on_over(&mut self, relay: SocketAddr) -> Result<()> {
        self.session.disconnected();
        self.socket = socket(relay).await?;
        self.shake_hands().await
    }

    async fn shake_hands(&mut self) -> Result<()> {
        self.session.connected()?;
        match self.event().await? {
            ClientEvent::Open { lost } if lost.is_empty() => Ok(()),
            event => bail!("a handshake ended with {event:?}"),
        }
    }

    /// Sends a request, which reaches the relay even if the connection is dropped afterwards.
    pub(crate) async fn send(&mut self, request: Request, payload: &[u8]) -> Result<RequestId> {
        let id = self.session.request(request, payload)?;
        self.flush().await?;
        Ok(id)
    }

    async fn flush(&mut self) -> Result<()> {
        while let Some(message) = self.session.transmit_message() {
            self.socket.feed(Message::binary(message)).await?;
        }
        Ok(self.socket.flush().await?)
    }

    async fn event(&mut self) -> Result<ClientEvent> {
        loop {
            self.flush().await?;
            let message =
                match self.socket.next().await.context("the relay closed the connection")?? {
                    Message::Binary(message) => message,
                    Message::Close(frame) => bail!("the relay closed the connection: {frame:?}"),
                    _ => continue,
                };
            // At most one of its frames is an event, because there is one request at a time.
            let mut event = None;
            for frame in self.session.frames_of(&message) {
                event = self.session.receive(frame?)?.or(event);
            }
            if let Some(event) = event {
                self.flush().await?;
                return Ok(event);
            }
        }
    }

    /// The end of a call, in the terms of the runtime.
    pub(crate) async fn ended(&mut self, id: RequestId) -> Result<Ended> {
        let (reply, payload) = match self.event().await? {
            ClientEvent::Reply { id: answered, reply, payload } if answered == id => {
                (reply, payload)
            }
            event => bail!("expected a reply, got {event:?}"),
        };
        let message = String::from_utf8_lossy(&payload).into_owned();
        Ok(match reply {
            Reply::Call { return_value } => {
                Ended::Returned { value: return_value, output: shortened(&payload) }
            }
            Reply::CallFailed { code } => Ended::Failed { code, message },
            Reply::Failed { code: FailureCode::Unknown, message } => {
                Ended::Failed { code: "outcome-unknown".to_owned(), message }
            }
            Reply::Failed { message, .. } => {
                Ended::Failed { code: "operation-failed".to_owned(), message }
            }
            reply => bail!("a call ended with {reply:?}"),
        })
    }
}

async fn socket(relay: SocketAddr) -> Result<WebSocketStream<TcpStream>> {
    let stream = TcpStream::connect(relay).await.context("connecting to a relay")?;
    stream.set_nodelay(true)?;
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    let opened = client_async_with_config(format!("ws://{relay}/ws"), stream, Some(config));
    Ok(opened.await.context("opening a WebSocket")?.0)
}
