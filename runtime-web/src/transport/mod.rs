//! How frames travel between page and relay.

mod fetch;
mod websocket;

use crate::error::FaasmError;
use faasm_bridge::session::ClientSession;
use fetch::FetchTransport;
use std::rc::Rc;
use websocket::WebSocketTransport;

/// What a transport tells the connection.
#[derive(Debug)]
pub(crate) enum TransportEvent {
    Open,
    /// Bytes came that are no frame yet.
    Alive,
    Frame(Vec<u8>),
    /// A WebSocket message, of frames.
    Message(Vec<u8>),
    /// It carries nothing any more; the text says why.
    Closed(String),
    /// The same, because the network keeps the relay's answers back: [`Kind::Poll`] gets along with that.
    HeldBack,
}

/// Where events go.
pub(crate) type Events = Rc<dyn Fn(TransportEvent)>;

/// What ends when a transport is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// This connection; another one may take up the session.
    Connection,
    /// The session: the relay can forget it.
    Session,
}

/// Carries frames, in order, until it closes.
pub(crate) trait Transport {
    /// Sends what there is to send; what is sent after the transport closed is dropped.
    fn send(&self, session: &mut ClientSession);

    /// Bytes that the browser still has to send, where it says so: as long as they get fewer, somebody takes them.
    fn unsent(&self) -> u32;

    /// Closes without a further event. Dropping a transport closes the connection only.
    fn close(&self, ends: Ends);
}

/// The transports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    WebSocket,
    /// HTTP, with one long answer after the other.
    Fetch,
    /// The same with short answers.
    Poll,
}

impl Kind {
    /// As the option has it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Kind::WebSocket => "websocket",
            Kind::Fetch | Kind::Poll => "fetch",
        }
    }

    /// Begins to connect to the relay whose WebSocket is at this `ws:` or `wss:` address.
    pub(crate) fn open(self, url: &str, events: Events) -> Result<Box<dyn Transport>, FaasmError> {
        Ok(match self {
            Kind::WebSocket => Box::new(WebSocketTransport::open(url, events)?),
            Kind::Fetch => Box::new(FetchTransport::open(url, events, false)?),
            Kind::Poll => Box::new(FetchTransport::open(url, events, true)?),
        })
    }

    /// What to try where this one does not connect.
    pub(crate) fn other(self) -> Self {
        match self {
            Kind::WebSocket => Kind::Fetch,
            Kind::Fetch | Kind::Poll => Kind::WebSocket,
        }
    }
}
