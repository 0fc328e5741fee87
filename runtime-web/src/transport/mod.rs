//! Transports: how frames travel between page and relay.

mod fetch;
mod websocket;

use crate::error::FaasmError;
use faasm_bridge::session::ClientSession;
use fetch::FetchTransport;
use std::rc::Rc;
use websocket::WebSocketTransport;

/// An event of a transport.
#[derive(Debug)]
pub(crate) enum TransportEvent {
    Open,
    /// The transport has room for more.
    Sent,
    /// Bytes came that are no frame yet.
    Alive,
    Frame(Vec<u8>),
    /// A WebSocket message, which has one or more frames.
    Message(Vec<u8>),
    /// The transport has closed, for this reason.
    Closed(String),
    /// The transport has closed because a proxy buffers responses; [`Kind::Poll`] works there.
    Buffered,
}

/// The sink for events.
pub(crate) type Events = Rc<dyn Fn(TransportEvent)>;

/// The effect of closing a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseScope {
    /// Ends the connection; another one may resume the session.
    Connection,
    /// Ends the session too: the relay can forget it.
    Session,
}

/// Carries frames, in order, until it closes.
pub(crate) trait Transport {
    /// Sends what there is to send, as far as it has room; [`TransportEvent::Sent`] says when there is more. What it takes of the
    /// session counts as sent.
    fn send(&self, session: &mut ClientSession);

    /// The browser's unsent bytes, if it reports them; while they decrease, the peer is receiving.
    fn unsent(&self) -> u32;

    /// Closes without a further event. Dropping a transport ends the connection only.
    fn close(&self, ends: CloseScope);
}

/// The transports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    WebSocket,
    /// HTTP with a series of long responses.
    Fetch,
    /// HTTP with long polling.
    Poll,
}

impl Kind {
    /// The kind as a value of the option `transport`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Kind::WebSocket => "websocket",
            Kind::Fetch | Kind::Poll => "fetch",
        }
    }

    /// Starts to connect to the relay whose WebSocket is at this `ws:` or `wss:` address.
    pub(crate) fn open(self, url: &str, events: Events) -> Result<Box<dyn Transport>, FaasmError> {
        Ok(match self {
            Kind::WebSocket => Box::new(WebSocketTransport::open(url, events)?),
            Kind::Fetch => Box::new(FetchTransport::open(url, events, false)?),
            Kind::Poll => Box::new(FetchTransport::open(url, events, true)?),
        })
    }

    /// The kind to try if this one does not connect.
    pub(crate) fn other(self) -> Self {
        match self {
            Kind::WebSocket => Kind::Fetch,
            Kind::Fetch | Kind::Poll => Kind::WebSocket,
        }
    }
}
