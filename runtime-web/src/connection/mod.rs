//! A session with a relay: sends requests, delivers replies to their waiters, and reconnects when the transport breaks.

mod driver;
mod network;
mod signal;
mod waiting;

pub(crate) use waiting::{Answer, Waiting};

use crate::error::{Code, FaasmError};
use crate::global::{performance_now, spawn};
use crate::transport::{CloseScope, Kind, Transport};
use driver::drive;
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
    /// The transport to use; `None` to try them in turn.
    pub(crate) transport: Option<Kind>,
    /// The time limit for restoring a lost connection.
    pub(crate) reconnect: Duration,
}

impl Reach {
    /// Effectively unlimited, and short enough not to overflow.
    pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
}

impl Default for Reach {
    fn default() -> Self {
        Self { transport: None, reconnect: Duration::from_secs(5 * 60) }
    }
}

/// A session and its transport.
pub(crate) struct Connection {
    url: String,
    reach: Reach,
    state: RefCell<State>,
    /// Wakes the driver for the next [`Connection::step`].
    signal: Rc<Signal>,
    /// An acknowledgement timer is armed.
    acknowledging: Cell<bool>,
    listener: RefCell<Option<Listener>>,
    /// The last number given to a transfer of several requests.
    transfers: Cell<u64>,
}

/// Called with the key of each watched value that another client wrote, and with `None` after each reconnection.
pub(crate) type Listener = Rc<dyn Fn(Option<&str>)>;

struct State {
    session: ClientSession,
    reconnect: ReconnectTimer,
    /// The transport of the next connection attempt.
    kind: Kind,
    transport: Option<Box<dyn Transport>>,
    /// The generation of the transport; events of earlier ones are ignored.
    number: u64,
    /// The transport's unsent bytes at the time of the ping.
    unsent: u32,
    /// Why the last connection failed.
    reason: String,
    waiting: SortedMap<RequestId, oneshot::Sender<Answer>>,
    /// Resolved once, with the result of the first handshake.
    opened: Option<oneshot::Sender<Result<(), FaasmError>>>,
    hints: Option<NetworkHints>,
    /// Why the session ended.
    end: Option<FaasmError>,
}

impl State {
    /// Drops the transport, and keeps the session.
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
        spawn(drive(Rc::downgrade(&connection), Rc::clone(&connection.signal)));
        handshake.await.unwrap_or_else(|_| Err(closed())).map(|()| connection)
    }

    /// Sends a request, or queues it until the session is connected.
    ///
    /// # Errors
    /// If the session has ended, the request is too large, or the queue is full; then the request was not sent.
    pub(crate) fn request(
        self: &Rc<Self>,
        request: Request,
        payload: &[u8],
    ) -> Result<Waiting, FaasmError> {
        self.request_of(None, request, payload)
    }

    /// Like [`Connection::request`], for a call in the call tree whose first call was `first`.
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

    /// The number of sessions so far; it grows when the relay has lost the session of this page.
    pub(crate) fn sessions(&self) -> u64 {
        self.state.borrow().session.sessions()
    }

    /// Sets the listener; it takes effect with the next connection.
    pub(crate) fn listen(&self, listener: Listener) {
        *self.listener.borrow_mut() = Some(listener);
    }

    fn notify(&self, key: Option<&str>) {
        let listener = self.listener.borrow().clone();
        if let Some(listener) = listener {
            listener(key);
        }
    }

    /// Whether the relay notifies of writes to watched values, as far as is known.
    pub(crate) fn has_watches(&self) -> bool {
        self.speaks(WATCHES_SINCE)
    }

    /// Whether the relay speaks this version of the protocol, as far as is known.
    pub(crate) fn speaks(&self, version: u16) -> bool {
        self.state.borrow().session.version() >= version
    }

    /// A number for a transfer of several requests.
    pub(crate) fn next_transfer(&self) -> u64 {
        self.transfers.set(self.transfers.get() + 1);
        self.transfers.get()
    }

    /// Sets the token for later connections.
    pub(crate) fn set_token(&self, token: String) {
        self.state.borrow_mut().session.set_token(Some(token));
    }

    /// Closes the session; waiters get an error.
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

    /// Closes the session, and fails all waiting requests.
    fn end(&self, error: FaasmError) {
        let (waiting, opened) = {
            let state = &mut *self.state.borrow_mut();
            if let Some(transport) = &state.transport {
                transport.close(CloseScope::Session);
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
            transport.close(CloseScope::Session);
            drop_later(Some(transport));
        }
        self.signal.raise();
    }
}

/// Deferred: this may run inside a closure of the transport, which must not free itself.
fn drop_later(transport: Option<Box<dyn Transport>>) {
    spawn(async move { drop(transport) });
}

/// The time since the page was opened.
fn now() -> Duration {
    Duration::from_secs_f64(performance_now() / 1000.0)
}

fn closed() -> FaasmError {
    FaasmError::new(Code::Closed, "the runtime was closed")
}

/// The error of a request that was pending when the session ended.
fn ended(end: &FaasmError, was_sent: bool) -> FaasmError {
    let outcome = match was_sent {
        true => "the request may or may not have been performed",
        false => "the request was not sent",
    };
    FaasmError { message: format!("{} ({outcome})", end.message), ..end.clone() }
}
