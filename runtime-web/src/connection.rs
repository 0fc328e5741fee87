//! One session with a relay: requests go out, each reply finds who waits for it.

use crate::error::{Code, FaasmError};
use crate::global::sleep;
use crate::transport::{Transport, TransportEvent, WebSocketTransport};
use faasm_bridge::session::{ClientEvent, ClientSession};
use faasm_bridge::wire::{Reply, Request, RequestId};
use futures_channel::oneshot;
use futures_util::future::{Either, select};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::{Rc, Weak};

/// How long a handshake may take, milliseconds.
const CONNECT_TIMEOUT: f64 = 15_000.0;

/// How a request ended: the relay's reply and its payload, or why there is none.
pub(crate) type Answer = Result<(Reply, Vec<u8>), FaasmError>;

/// Where a reply will arrive. Dropping it tells the relay that nobody waits any more.
pub(crate) struct Waiting {
    id: Option<RequestId>,
    connection: Weak<Connection>,
    receiver: oneshot::Receiver<Answer>,
}

impl Waiting {
    /// Waits for the reply.
    pub(crate) async fn answer(mut self) -> Answer {
        let answer = (&mut self.receiver).await;
        self.id = None;
        answer.unwrap_or_else(|_| Err(closed("the connection was closed")))
    }

    /// A reply that is already here.
    pub(crate) fn resolved(receiver: oneshot::Receiver<Answer>) -> Self {
        Self { id: None, connection: Weak::new(), receiver }
    }

    /// The reply, if it is here.
    pub(crate) fn try_answer(&mut self) -> Option<Answer> {
        let answer = self.receiver.try_recv().ok().flatten()?;
        self.id = None;
        Some(answer)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let (Some(id), Some(connection)) = (self.id, self.connection.upgrade()) {
            connection.cancel(id);
        }
    }
}

/// A session and what carries it.
pub(crate) struct Connection {
    url: String,
    state: RefCell<State>,
}

struct State {
    session: ClientSession,
    transport: Option<Box<dyn Transport>>,
    waiting: BTreeMap<RequestId, oneshot::Sender<Answer>>,
    /// Told once how the handshake ended.
    opened: Option<oneshot::Sender<Result<(), FaasmError>>>,
    /// Why the connection ended.
    end: Option<FaasmError>,
}

impl Connection {
    /// Connects and shakes hands.
    pub(crate) async fn open(
        url: String,
        user: &str,
        token: Option<String>,
    ) -> Result<Rc<Self>, FaasmError> {
        let (opened, handshake) = oneshot::channel();
        let connection = Rc::new(Self {
            url,
            state: RefCell::new(State {
                session: ClientSession::new(user, token),
                transport: None,
                waiting: BTreeMap::new(),
                opened: Some(opened),
                end: None,
            }),
        });
        let weak = Rc::downgrade(&connection);
        let events = Rc::new(move |event| {
            if let Some(connection) = weak.upgrade() {
                connection.on_event(event);
            }
        });
        let transport = WebSocketTransport::open(&connection.url, events)?;
        connection.state.borrow_mut().transport = Some(Box::new(transport));
        match select(handshake, pin!(sleep(CONNECT_TIMEOUT))).await {
            Either::Left((Ok(result), _)) => result.map(|()| connection),
            Either::Left((Err(_), _)) => Err(closed("the connection was closed")),
            Either::Right(_) => {
                let message = format!(
                    "the relay at {} did not answer within {} s: is it a faasm-relay?",
                    connection.url,
                    CONNECT_TIMEOUT / 1000.0
                );
                Err(FaasmError::new(Code::CannotConnect, message))
            }
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When the connection has ended, or the request is longer than a frame may be; then nothing was sent.
    pub(crate) fn request(
        self: &Rc<Self>,
        request: Request,
        payload: &[u8],
    ) -> Result<Waiting, FaasmError> {
        let (sender, receiver) = oneshot::channel();
        let id = {
            let state = &mut *self.state.borrow_mut();
            if let Some(end) = &state.end {
                return Err(end.clone());
            }
            let id = state
                .session
                .request(request, payload)
                .map_err(|error| FaasmError::new(Code::Fault("too-large"), error.to_string()))?;
            state.waiting.insert(id, sender);
            id
        };
        self.flush();
        Ok(Waiting { id: Some(id), connection: Rc::downgrade(self), receiver })
    }

    /// Ends the session; whoever waits gets an error.
    pub(crate) fn close(&self) {
        self.end(closed("the runtime was closed"));
    }

    fn cancel(&self, id: RequestId) {
        {
            let mut state = self.state.borrow_mut();
            state.waiting.remove(&id);
            state.session.cancel(id);
        }
        self.flush();
    }

    fn flush(&self) {
        let state = &mut *self.state.borrow_mut();
        if let Some(transport) = &state.transport {
            while let Some(frame) = state.session.transmit() {
                transport.send(&frame);
            }
        }
    }

    fn on_event(&self, event: TransportEvent) {
        match event {
            TransportEvent::Open => {
                let connected = self.state.borrow_mut().session.connected();
                if let Err(error) = connected {
                    self.end(FaasmError::new(Code::BadOptions, error.to_string()));
                }
            }
            TransportEvent::Frame(frame) => self.on_frame(&frame),
            TransportEvent::Closed(reason) => {
                let opening = self.state.borrow().opened.is_some();
                self.end(if opening {
                    let message = format!(
                        "cannot reach a relay at {} ({reason}): is it running, and does it allow this page's origin?",
                        self.url
                    );
                    FaasmError::new(Code::CannotConnect, message)
                } else {
                    closed(&reason)
                });
            }
        }
        self.flush();
    }

    fn on_frame(&self, frame: &[u8]) {
        let received = self.state.borrow_mut().session.receive(frame);
        match received {
            Ok(None) => {}
            Ok(Some(ClientEvent::Open { .. })) => {
                if let Some(opened) = self.state.borrow_mut().opened.take() {
                    // Nobody listens where the page gave up connecting.
                    let _ = opened.send(Ok(()));
                }
            }
            Ok(Some(ClientEvent::Refused { message, .. })) => {
                let message = format!("the relay refuses the session: {message}");
                self.end(FaasmError::new(Code::Refused, message));
            }
            Ok(Some(ClientEvent::Reply { id, reply, payload })) => {
                let waiting = self.state.borrow_mut().waiting.remove(&id);
                if let Some(waiting) = waiting {
                    let _ = waiting.send(Ok((reply, payload)));
                }
            }
            Err(error) => self.end(closed(&error.to_string())),
        }
    }

    /// Drops the transport and tells everybody who waits.
    fn end(&self, error: FaasmError) {
        let (transport, waiting, opened) = {
            let state = &mut *self.state.borrow_mut();
            state.session.disconnected();
            state.session.abandon();
            state.end.get_or_insert_with(|| error.clone());
            (state.transport.take(), std::mem::take(&mut state.waiting), state.opened.take())
        };
        if let Some(transport) = transport {
            transport.close();
            // This may run inside one of the transport's own closures, which must not free itself.
            wasm_bindgen_futures::spawn_local(async move { drop(transport) });
        }
        for sender in waiting.into_values() {
            let _ = sender.send(Err(error.clone()));
        }
        if let Some(opened) = opened {
            let _ = opened.send(Err(error));
        }
    }
}

fn closed(reason: &str) -> FaasmError {
    FaasmError::new(
        Code::ConnectionLost,
        format!(
            "the connection to the relay was lost ({reason}); what it was doing may or may not have happened: connect again"
        ),
    )
}
