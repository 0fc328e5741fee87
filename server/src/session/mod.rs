//! Sessions of pages: who they are, which connection carries each one now, and what they have running.
//!
//! The protocol is `faasm_bridge::session::ServerSession`; here are the connections, the tasks and the bounds. No lock
//! is held across an await.

mod fetch;
mod handshake;
mod pass;
mod progress;
mod requests;
mod users;
mod websocket;

pub(crate) use fetch::{Ending, FetchConnection, Lasting, begin};
pub(crate) use pass::Gate;
pub(crate) use progress::Watched;
pub(crate) use websocket::{carry, websocket_config};

use crate::config::{Limits, Timings};
use faasm_bridge::session::ServerSession;
use faasm_bridge::wire::{ConnectionId, RequestId, SessionId};
use pass::Pass;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::AbortHandle;

/// Most payload bytes that requests of one session may hold while they wait and run.
const MAX_PAYLOADS: usize = 256 * 1024 * 1024;

/// Every session, by id.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    pub(crate) gate: Gate,
    by_id: Mutex<HashMap<SessionId, Arc<Session>>>,
    /// Connections over HTTP; each carries another session, or is about to end.
    fetching: Mutex<HashMap<ConnectionId, Arc<FetchConnection>>>,
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    id: SessionId,
    live: Mutex<Live>,
    /// Number of the connection that carries the session; one that finds another number here has been replaced.
    carrier: watch::Sender<u64>,
    running: Arc<Semaphore>,
    /// Payload bytes that requests hold.
    payload_bytes: AtomicUsize,
}

/// What changes as frames come and go.
#[derive(Debug)]
struct Live {
    machine: ServerSession,
    /// By the newest handshake.
    pass: Pass,
    /// Tells the connection that carries the session that there is something to send; each has its own.
    wake: Arc<Notify>,
    tasks: HashMap<RequestId, AbortHandle>,
}

impl Live {
    fn is_idle(&self) -> bool {
        !self.machine.is_connected() && self.machine.open_requests() == 0
    }
}

/// A connection's hold on its session; the session is without a connection once this is dropped.
#[derive(Debug)]
struct Carrier {
    session: Arc<Session>,
    sessions: Arc<Sessions>,
    number: u64,
    wake: Arc<Notify>,
    timings: Timings,
    /// The connection has ended, although something still holds on to it.
    has_left: AtomicBool,
}

impl Sessions {
    pub(crate) fn new(gate: Gate) -> Self {
        Self { gate, ..Self::default() }
    }

    /// Takes up a session again, or starts one; `None` when there are too many. The second value says which.
    fn enter(&self, user: &str, resume: Option<SessionId>) -> Option<(Arc<Session>, bool)> {
        let mut by_id = lock(&self.by_id);
        let known = resume.and_then(|id| by_id.get(&id));
        if let Some(session) = known.filter(|session| lock(&session.live).machine.user() == user) {
            return Some((Arc::clone(session), true));
        }
        let limits = &self.gate.limits;
        let is_theirs = |session: &Session| lock(&session.live).machine.user() == user;
        let theirs = by_id.values().filter(|session| is_theirs(session)).count();
        if theirs >= limits.sessions_per_user {
            make_room(&mut by_id, is_theirs)?;
        }
        if by_id.len() >= limits.sessions {
            make_room(&mut by_id, |_| true)?;
        }
        let mut id = [0; 16];
        getrandom::fill(&mut id).ok()?;
        let id = SessionId(id);
        let session = Arc::new(Session::new(id, user, limits));
        by_id.insert(id, Arc::clone(&session));
        Some((session, false))
    }

    /// Forgets a session that still has no connection since `number` went away; what it has running goes on.
    fn expire(&self, session: &Session, number: u64) {
        let mut by_id = lock(&self.by_id);
        let live = lock(&session.live);
        if *session.carrier.borrow() == number && !live.machine.is_connected() {
            by_id.remove(&session.id);
        }
    }
}

/// Forgets a session of this kind that nothing is lost with: its page is away, and awaits nothing.
fn make_room(
    by_id: &mut HashMap<SessionId, Arc<Session>>,
    kind: impl Fn(&Session) -> bool,
) -> Option<()> {
    let is_idle = |session: &Session| lock(&session.live).is_idle();
    let idle = by_id.iter().find(|(_, session)| kind(session) && is_idle(session));
    let idle = *idle?.0;
    by_id.remove(&idle);
    Some(())
}

impl Session {
    fn new(id: SessionId, user: &str, limits: &Arc<Limits>) -> Self {
        let live = Live {
            machine: ServerSession::new(id, user.to_owned()),
            pass: Pass::none(limits),
            wake: Arc::default(),
            tasks: HashMap::new(),
        };
        Self {
            id,
            live: Mutex::new(live),
            carrier: watch::Sender::new(0),
            running: Arc::new(Semaphore::new(
                limits.running_per_session.min(Semaphore::MAX_PERMITS),
            )),
            payload_bytes: AtomicUsize::new(0),
        }
    }
}

impl Carrier {
    /// Makes this connection the one that carries the session; the one that did is told to close.
    fn attach(session: Arc<Session>, sessions: Arc<Sessions>, timings: Timings) -> Self {
        let wake = Arc::new(Notify::new());
        let mut live = lock(&session.live);
        live.machine.connected();
        live.wake = Arc::clone(&wake);
        // Something may be in the outbox already.
        wake.notify_one();
        session.carrier.send_modify(|number| *number += 1);
        let number = *session.carrier.borrow();
        drop(live);
        Self { session, sessions, number, wake, timings, has_left: AtomicBool::new(false) }
    }

    /// The session, while this connection carries it.
    fn live(&self) -> Option<MutexGuard<'_, Live>> {
        let live = lock(&self.session.live);
        let carries = *self.session.carrier.borrow() == self.number;
        (carries && !self.has_left.load(Ordering::Relaxed)).then_some(live)
    }

    /// Ends the connection's hold; the session is kept for the page to come back. Where it said that it will not, nobody
    /// waits for what is running either.
    fn leave(&self, comes_back: bool) {
        let Some(mut live) = self.live() else { return };
        self.has_left.store(true, Ordering::Relaxed);
        live.machine.disconnected();
        if !comes_back {
            live.tasks.drain().for_each(|(_, task)| task.abort());
        }
        drop(live);
        let (sessions, session) = (Arc::clone(&self.sessions), Arc::clone(&self.session));
        let (number, kept) = (self.number, self.timings.session_kept);
        if !comes_back {
            return sessions.expire(&session, number);
        }
        // Outside a runtime everything ends anyway.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(kept).await;
                sessions.expire(&session, number);
            });
        }
    }

    /// Completes when the page should come back with a fresh token.
    async fn token_expires(&self) {
        let pass = lock(&self.session.live).pass.clone();
        pass.expires().await;
    }

    /// Completes when another connection carries the session.
    async fn replaced(&self) {
        let mut carrier = self.session.carrier.subscribe();
        // The sender lives as long as the session, which `self` holds.
        let _ = carrier.wait_for(|number| *number != self.number).await;
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.leave(true);
    }
}

/// Locks; nothing panics while it holds one of these locks half-way through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_taken_up_only_by_its_user() {
        let sessions = Sessions::default();
        let (session, resumed) = sessions.enter("ada", None).unwrap();
        assert!(!resumed);
        let id = lock(&session.live).machine.id();
        assert!(sessions.enter("ada", Some(id)).unwrap().1);
        assert!(!sessions.enter("bob", Some(id)).unwrap().1);
        assert!(!sessions.enter("ada", Some(SessionId([0; 16]))).unwrap().1);
    }

    #[test]
    fn the_number_of_sessions_is_bounded_and_idle_ones_make_room() {
        let limits = Limits { sessions: 4, ..Limits::default() };
        let sessions = Arc::new(Sessions::new(Gate::new(None, limits)));
        let enter = || sessions.enter("ada", None).map(|(session, _)| session);
        let carry = |session| Carrier::attach(session, Arc::clone(&sessions), Timings::default());
        let carriers: Vec<Carrier> = (0..4).map(|_| carry(enter().unwrap())).collect();
        assert!(enter().is_none(), "all are connected");
        carriers[2].leave(true);
        let id = carriers[2].session.id;
        carry(enter().unwrap());
        assert!(!sessions.enter("ada", Some(id)).is_some_and(|(_, resumed)| resumed));
        assert_eq!(lock(&sessions.by_id).len(), 4);
    }

    #[test]
    fn a_user_who_has_many_sessions_leaves_room_for_others() {
        let limits = Limits { sessions: 8, sessions_per_user: 2, ..Limits::default() };
        let sessions = Arc::new(Sessions::new(Gate::new(None, limits)));
        let carry = |user| {
            let (session, _) = sessions.enter(user, None)?;
            Some(Carrier::attach(session, Arc::clone(&sessions), Timings::default()))
        };
        let bob = carry("bob").unwrap();
        bob.leave(true);
        let [first, _second] = [carry("ada").unwrap(), carry("ada").unwrap()];
        assert!(carry("ada").is_none(), "bob's idle session is no room for ada");
        first.leave(true);
        assert!(carry("ada").is_some(), "her own is");
        assert!(sessions.enter("bob", Some(bob.session.id)).unwrap().1);
    }

    #[tokio::test]
    async fn a_session_without_a_connection_is_forgotten_and_a_connected_one_is_not() {
        let timings = Timings { session_kept: std::time::Duration::ZERO, ..Timings::default() };
        let sessions = Arc::new(Sessions::default());
        let (session, _) = sessions.enter("ada", None).unwrap();
        let attach =
            || Carrier::attach(Arc::clone(&session), Arc::clone(&sessions), timings.clone());
        let first = attach();
        let second = attach();
        first.replaced().await;
        assert!(first.live().is_none());
        let first_number = first.number;
        drop(first);
        sessions.expire(&session, first_number);
        sessions.expire(&session, second.number);
        assert_eq!(lock(&sessions.by_id).len(), 1, "a connection carries it");
        drop(second);
        while !lock(&sessions.by_id).is_empty() {
            tokio::task::yield_now().await;
        }
    }
}
