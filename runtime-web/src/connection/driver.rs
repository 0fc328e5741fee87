//! Keeps a session connected: connects, pings, reconnects, and dispatches frames.

use super::signal::Signal;
use super::{Connection, now};
use crate::error::{Code, FaasmError};
use crate::global::{sleep, spawn};
use crate::transport::{Kind, TransportEvent};
use faasm_bridge::session::{ClientEvent, Phase, Step};
use faasm_bridge::wire::{RefusalCode, RequestId};
use futures_util::future::{Either, select};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::time::Duration;

/// The time limit for opening a connection, and again for its handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// The same for a WebSocket if `fetch` can be tried next.
const WEBSOCKET_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum delay of an acknowledgement, in milliseconds.
const ACKNOWLEDGE_DELAY: f64 = 1000.0;

/// Extra time after a timer before a connection counts as lost, in milliseconds.
const GRACE_PERIOD: f64 = 50.0;

/// Keeps a session connected until it ends or its `Connection` is dropped.
pub(super) async fn drive(connection: Weak<Connection>, signal: Rc<Signal>) {
    loop {
        let step = connection.upgrade().and_then(|connection| connection.step());
        match step {
            None => return,
            Some(None) => signal.raised().await,
            Some(Some(until)) => {
                let milliseconds = until.saturating_sub(now()).as_secs_f64() * 1000.0;
                let (event, timer) = (pin!(signal.raised()), pin!(sleep(milliseconds)));
                if let Either::Right(_) = select(event, timer).await {
                    // Lets events that arrived while the thread was busy be handled first.
                    sleep(GRACE_PERIOD).await;
                }
            }
        }
    }
}

impl Connection {
    /// Performs the steps that are due. Returns the time of the next one, if any; `None` once the session has ended.
    fn step(self: &Rc<Self>) -> Option<Option<Duration>> {
        loop {
            let step = {
                let state = &mut *self.state.borrow_mut();
                if state.end.is_some() {
                    return None;
                }
                state.reconnect.step(now(), state.session.is_awaiting())
            };
            match step {
                Step::Wait(until) => return Some(until),
                Step::Connect => self.connect(),
                Step::Ping => self.ping(),
                Step::Drop if self.is_sending() => self.state.borrow_mut().reconnect.heard(now()),
                Step::Drop => self.on_lost("it does not answer"),
                Step::GiveUp => {
                    let error = self.lost_error();
                    self.end(error);
                }
            }
        }
    }

    fn connect(self: &Rc<Self>) {
        let (kind, number) = {
            let state = &mut *self.state.borrow_mut();
            state.number += 1;
            state.reconnect.connecting(now(), self.timeout(state.kind));
            (state.kind, state.number)
        };
        let weak = Rc::downgrade(self);
        let events = Rc::new(move |event| {
            if let Some(connection) = weak.upgrade() {
                connection.on_event(number, event);
            }
        });
        match kind.open(&self.url, events) {
            Ok(transport) => self.state.borrow_mut().transport = Some(transport),
            Err(error) => self.end(error),
        }
    }

    fn timeout(&self, kind: Kind) -> Duration {
        match kind {
            Kind::WebSocket if self.reach.transport.is_none() => WEBSOCKET_TIMEOUT,
            _ => CONNECT_TIMEOUT,
        }
    }

    fn ping(&self) {
        {
            let state = &mut *self.state.borrow_mut();
            state.unsent = state.transport.as_ref().map_or(0, |transport| transport.unsent());
            if !state.session.ping() {
                // A relay of protocol version 1 has no ping, so its silence means nothing.
                state.reconnect.heard(now());
            }
        }
        self.flush();
    }

    /// Whether the transport has sent bytes since the ping, which may be queued behind others.
    fn is_sending(&self) -> bool {
        let state = &mut *self.state.borrow_mut();
        let unsent = state.transport.as_ref().map_or(0, |transport| transport.unsent());
        state.session.phase() == Phase::Open
            && std::mem::replace(&mut state.unsent, unsent) > unsent
    }

    fn on_event(self: &Rc<Self>, number: u64, event: TransportEvent) {
        if self.state.borrow().number != number {
            return;
        }
        match event {
            TransportEvent::Open => {
                let connected = {
                    let state = &mut *self.state.borrow_mut();
                    // The handshake has its own time limit.
                    state.reconnect.connecting(now(), self.timeout(state.kind));
                    state.session.connected()
                };
                if let Err(error) = connected {
                    self.end(FaasmError::new(Code::BadOptions, error.to_string()));
                }
            }
            // What waits goes below.
            TransportEvent::Sent => {}
            TransportEvent::Alive => self.state.borrow_mut().reconnect.heard(now()),
            TransportEvent::Frame(frame) => self.on_frame(&frame),
            TransportEvent::Message(message) => self.on_message(number, &message),
            TransportEvent::Closed(reason) => self.on_lost(&reason),
            TransportEvent::Buffered => self.switch_to_polling(),
        }
        self.flush();
        self.arm_acknowledgement();
    }

    /// Arms a timer that acknowledges replies if no other frame does so first.
    fn arm_acknowledgement(self: &Rc<Self>) {
        if !self.state.borrow().session.owes() || self.acknowledging.replace(true) {
            return;
        }
        let weak = Rc::downgrade(self);
        spawn(async move {
            sleep(ACKNOWLEDGE_DELAY).await;
            if let Some(connection) = weak.upgrade() {
                connection.acknowledging.set(false);
                connection.state.borrow_mut().session.acknowledge();
                connection.flush();
            }
        });
    }

    fn on_message(&self, number: u64, message: &[u8]) {
        let frames = self.state.borrow().session.frames_of(message);
        for frame in frames {
            // Any frame may have closed the connection.
            if self.state.borrow().number != number {
                return;
            }
            match frame {
                Ok(frame) => self.on_frame(frame),
                Err(error) => self.on_lost(&error.to_string()),
            }
        }
    }

    fn on_frame(&self, frame: &[u8]) {
        let received = {
            let state = &mut *self.state.borrow_mut();
            if state.session.phase() == Phase::Open {
                state.reconnect.carried(now());
            }
            state.session.receive(frame)
        };
        match received {
            Ok(None) => {}
            Ok(Some(ClientEvent::Open { lost })) => {
                self.on_open(&lost);
                self.notify(None);
            }
            Ok(Some(ClientEvent::Changed { key })) => self.notify(Some(&key)),
            Ok(Some(ClientEvent::Refused { code, message })) => {
                // After a relay restart all pages reconnect at once.
                let has_begun = self.state.borrow().session.has_begun();
                if code == RefusalCode::Busy && has_begun {
                    return self.on_lost(&message);
                }
                let message = format!("the relay refuses the session: {message}");
                self.end(FaasmError::new(Code::Refused, message));
            }
            Ok(Some(ClientEvent::Reply { id, reply, payload })) => {
                let waiting = self.state.borrow_mut().waiting.remove(&id);
                if let Some(waiting) = waiting {
                    let _ = waiting.send(Ok((reply, payload)));
                }
            }
            Err(error) => self.on_lost(&error.to_string()),
        }
    }

    fn on_open(&self, lost: &[RequestId]) {
        let state = &mut *self.state.borrow_mut();
        state.reconnect.opened(now());
        if let Some(opened) = state.opened.take() {
            // The receiver is gone if the page gave up connecting.
            let _ = opened.send(Ok(()));
        }
        for waiting in lost.iter().filter_map(|id| state.waiting.remove(id)) {
            let message = "the relay lost this session, perhaps in a restart; the request may or may not have been performed";
            let _ = waiting.send(Err(FaasmError::new(Code::OutcomeUnknown, message)));
        }
        let refused = state.session.take_refused();
        for waiting in refused.iter().filter_map(|id| state.waiting.remove(id)) {
            let message = format!(
                "this relay's protocol version, {}, lacks this request; it was not sent: upgrade the relay to the runtime's version",
                state.session.version()
            );
            let _ = waiting.send(Err(FaasmError::new(Code::OperationFailed, message)));
        }
        self.signal.raise();
    }

    /// Resumes the session at once: the relay itself works.
    fn switch_to_polling(&self) {
        let state = &mut *self.state.borrow_mut();
        state.drop_transport();
        state.kind = Kind::Poll;
        state.reconnect.retry(now());
        self.signal.raise();
    }

    /// Drops the transport: schedules a reconnection, or ends a session that was never opened.
    fn on_lost(&self, reason: &str) {
        let failed = {
            let state = &mut *self.state.borrow_mut();
            if state.end.is_some() {
                return;
            }
            let was_open = state.session.phase() == Phase::Open;
            state.drop_transport();
            state.reason = match state.reason.as_str() {
                first if !first.is_empty() && !state.session.has_begun() => {
                    format!("{first}, then {reason}")
                }
                _ => reason.to_owned(),
            };
            let is_choosing = self.reach.transport.is_none();
            let tried = state.kind;
            if is_choosing && !was_open {
                state.kind = tried.other();
            }
            if state.session.has_begun() {
                state.reconnect.lost(now(), js_sys::Math::random());
                false
            } else {
                state.reconnect.retry(now());
                !is_choosing || tried == Kind::Fetch
            }
        };
        if failed {
            let message = format!(
                "cannot reach a relay at {} ({}): is it running, and does it allow this page's origin?",
                self.url,
                self.state.borrow().reason,
            );
            self.end(FaasmError::new(Code::CannotConnect, message));
        }
        self.signal.raise();
    }

    fn lost_error(&self) -> FaasmError {
        let message = format!(
            "the connection to the relay was lost ({}) and not restored within {} ms: connect again",
            self.state.borrow().reason,
            self.reach.reconnect.as_millis() as u64,
        );
        FaasmError::new(Code::ConnectionLost, message)
    }
}
