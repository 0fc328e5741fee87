//! How frames travel between page and relay.

mod websocket;

pub(crate) use websocket::WebSocketTransport;

use std::rc::Rc;

/// What a transport tells the connection.
#[derive(Debug)]
pub(crate) enum TransportEvent {
    Open,
    Frame(Vec<u8>),
    /// It carries nothing any more; the text says why.
    Closed(String),
}

/// Where events go.
pub(crate) type Events = Rc<dyn Fn(TransportEvent)>;

/// Carries frames, in order, until it closes.
pub(crate) trait Transport {
    /// Sends a frame; one that is sent after the transport closed is dropped.
    fn send(&self, frame: &[u8]);

    /// Closes without a further event.
    fn close(&self);
}
