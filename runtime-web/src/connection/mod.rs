//! One session with a relay: requests go out, each reply finds who waits for it, and what carries them is replaced when it
//! breaks.

mod driver;
mod network;
mod signal;
mod waiting;

pub(crate) use waiting::{Answer, Waiting};

use crate::error::{Code, FaasmError};
use crate::global::{performance_now, spawn};
use crate::transport::{Ends, Kind, Transport};
use driver::keep;
use faasm_bridge::session::{ClientSession, ReconnectTimer, SessionError};
use faasm_bridge::sorted_map::SortedMap;
use faasm_bridge::wire::{Request, RequestId, WATCHES_SINCE};
use futures_channel::oneshot;
use network::NetworkHints;
use signal::Signal;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

/// How to reach a relay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    /// The one transport to use; `None` to find one that works.
    pub(crate) transport: Option<Kind>,
    /// How long a lost connection is tried to be replaced.
    pub(crate) reconnect: Duration,
}

impl Reach {
    /// As good as for ever, and short enough to reckon with.
    pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
}

impl Default for Reach {
    fn default() -> Self {
        Self { transport: None, reconnect: Duration::from_secs(5 * 60) }
    }
}

/// A session and what carries it.
pub(crate) struct Connection {
    url: String,
    reach: Reach,
    state: RefCell<State>,
    /// Something happened that [`Connection::step`] has to know.
    signal: Rc<Signal>,
    /// What is owed will be acknowledged before long.
    acknowledging: Cell<bool>,
    listener: RefCell<Option<Listener>>,
    /// The last number of a transfer that takes several requests.
    transfers: Cell<u64>,
}

/// Hears of each value that others have written, and of each new connection, by no key.
pub(crate) type Listener = Rc<dyn Fn(Option<&str>)>;

struct State {
    session: ClientSession,
    reconnect: ReconnectTimer,
    /// What to connect by the next time.
    kind: Kind,
    transport: Option<Box<dyn Transport>>,
    /// Counts transports; events of another one than the last are late.
    number: u64,
    /// What the transport had not sent when a sign of life was asked for.
    unsent: u32,
    /// Why there is no connection.
    reason: String,
    waiting: SortedMap<RequestId, oneshot::Sender<Answer>>,
    /// Told once how the first handshake ended.
    opened: Option<oneshot::Sender<Result<(), FaasmError>>>,
    hints: Option<NetworkHints>,
    /// Why the session ended.
    end: Option<FaasmError>,
}

impl State {
    /// Goes on without what carried the session.
    fn drop_transport(&mut self) {
        self.number += 1;
        drop_later(self.transport.take());
        self.session.disconnected();
    }
}

impl Connection {
    /// Connects and shakes hands.
    pub(crate) async fn open(
        url: String,
        user: &str,
        token: Option<String>,
        reach: Reach,
    ) -> Result<Rc<Self>, FaasmError> {
        let (opened, handshake) = oneshot::channel();
        let connection = Rc::new_cyclic(|this: &Weak<Self>| {
            let hinted = this.clone();
            let hints = NetworkHints::new(move || {
                if let Some(connection) = hinted.upgrade() {
                    connection.state.borrow_mut().reconnect.nudge(now());
                    connection.signal.raise();
                }
            });
            let state = State {
                session: ClientSession::new(user, token),
                reconnect: ReconnectTimer::new(reach.reconnect),
                kind: reach.transport.unwrap_or(Kind::WebSocket),
                transport: None,
                number: 0,
                unsent: 0,
                reason: String::new(),
                waiting: SortedMap::new(),
                opened: Some(opened),
                hints: Some(hints),
                end: None,
            };
            Self {
                url,
                reach,
                state: RefCell::new(state),
                signal: Rc::default(),
                acknowledging: Cell::new(false),
                listener: RefCell::default(),
                transfers: Cell::new(0),
            }
        });
        spawn(keep(Rc::downgrade(&connection), Rc::clone(&connection.signal)));
        handshake.await.unwrap_or_else(|_| Err(closed())).map(|()| connection)
    }

    /// Sends a request; without a connection it is sent as soon as there is one.
    ///
    /// # Errors
    /// When the session has ended, the request is longer than a frame may be, or too much waits for a connection; then
    /// nothing was sent.
    pub(crate) fn request(
        self: &Rc<Self>,
        request: Request,
        payload: &[u8],
    ) -> Result<Waiting, FaasmError> {
        self.request_of(None, request, payload)
    }

    /// The same for a call of a run whose first call was `first`.
    ///
    /// # Errors
    /// As [`Connection::request`].
    pub(crate) fn request_of(
        self: &Rc<Self>,
        first: Option<RequestId>,
        request: Request,
        payload: &[u8],
    ) -> Result<Waiting, FaasmError> {
        let (sender, receiver) = oneshot::channel();
        let id = {
            let state = &mut *self.state.borrow_mut();
            if let Some(end) = &state.end {
                return Err(end.clone());
            }
            let was_awaiting = state.session.is_awaiting();
            let id = state.session.request_of(first, request, payload).map_err(|error| {
                let code = match error {
                    SessionError::QueueFull => Code::QueueFull,
                    SessionError::TooNew { .. } => Code::OperationFailed,
                    _ => Code::TooLarge,
                };
                FaasmError::new(code, error.to_string())
            })?;
            state.waiting.insert(id, sender);
            if !was_awaiting {
                self.signal.raise();
            }
            id
        };
        self.flush();
        Ok(Waiting { id: Some(id), connection: Rc::downgrade(self), receiver })
    }

    /// Another number means that the relay has forgotten what it kept for this page before.
    pub(crate) fn sessions(&self) -> u64 {
        self.state.borrow().session.sessions()
    }

    /// From the next connection on this one hears.
    pub(crate) fn listen(&self, listener: Listener) {
        *self.listener.borrow_mut() = Some(listener);
    }

    fn tell(&self, key: Option<&str>) {
        let listener = self.listener.borrow().clone();
        if let Some(listener) = listener {
            listener(key);
        }
    }

    /// Whether the relay tells of values that are written, as far as is known.
    pub(crate) fn has_watches(&self) -> bool {
        self.speaks(WATCHES_SINCE)
    }

    /// Whether the relay speaks this version of the protocol, as far as is known.
    pub(crate) fn speaks(&self, version: u16) -> bool {
        self.state.borrow().session.version() >= version
    }

    /// A number for a transfer that takes several requests.
    pub(crate) fn next_transfer(&self) -> u64 {
        self.transfers.set(self.transfers.get() + 1);
        self.transfers.get()
    }

    /// The token to connect with from here on.
    pub(crate) fn set_token(&self, token: String) {
        self.state.borrow_mut().session.set_token(Some(token));
    }

    /// Ends the session; whoever waits gets an error.
    pub(crate) fn close(&self) {
        self.end(closed());
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
            transport.send(&mut state.session);
        }
    }

    /// Ends the session and tells everybody who waits.
    fn end(&self, error: FaasmError) {
        let (waiting, opened) = {
            let state = &mut *self.state.borrow_mut();
            if let Some(transport) = &state.transport {
                transport.close(Ends::Session);
            }
            state.drop_transport();
            state.hints = None;
            let waiting = std::mem::take(&mut state.waiting);
            let session = &state.session;
            let waiting: Vec<_> = waiting
                .into_iter()
                .map(|(id, sender)| (ended(&error, session.was_sent(id)), sender))
                .collect();
            state.session.abandon();
            state.end.get_or_insert_with(|| error.clone());
            (waiting, state.opened.take())
        };
        for (error, sender) in waiting {
            let _ = sender.send(Err(error));
        }
        if let Some(opened) = opened {
            let _ = opened.send(Err(error));
        }
        self.signal.raise();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(transport) = self.state.get_mut().transport.take() {
            transport.close(Ends::Session);
            drop_later(Some(transport));
        }
        self.signal.raise();
    }
}

/// This may run inside one of the transport's own closures, which must not free itself.
fn drop_later(transport: Option<Box<dyn Transport>>) {
    spawn(async move { drop(transport) });
}

/// Since the page began.
fn now() -> Duration {
    Duration::from_secs_f64(performance_now() / 1000.0)
}

fn closed() -> FaasmError {
    FaasmError::new(Code::Closed, "the runtime was closed")
}

/// What a request comes to when the session ends.
fn ended(end: &FaasmError, was_sent: bool) -> FaasmError {
    let happened = match was_sent {
        true => "what the relay was asked for may or may not have happened",
        false => "the relay was not asked, and nothing has happened",
    };
    FaasmError { message: format!("{} ({happened})", end.message), ..end.clone() }
}
