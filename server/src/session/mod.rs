//! Sessions of pages: registry, attached connections, and running requests.
//!
//! The protocol is `faasm_bridge::session::ServerSession`; this module has connections, tasks and limits. The journal
//! has what must outlive the relay. No lock is held across an await.

mod admission;
mod drain;
mod elsewhere;
mod fetch;
mod handshake;
mod locks;
mod progress;
mod reads;
mod requests;
mod table;
mod transfers;
mod users;
mod watched;
mod websocket;

pub(crate) use admission::{Admission, Exceeds};
pub(crate) use fetch::{DownlinkMode, FetchConnection, FetchError, begin};
pub(crate) use progress::Watched;
pub(crate) use websocket::{serve_websocket, websocket_config};

use crate::budget::{Account, Charge, Kind};
use crate::config::{Limits, Timings};
use crate::metrics::Metrics;
use crate::store::{
    Changes, Claim, Journal, Locks, SessionKey, SessionLog, SessionNotes, StoreError,
};
use admission::SessionAuth;
use drain::Drain;
use faasm_bridge::session::{Outgoing, ServerSession};
use faasm_bridge::wire::{ConnectionId, Frame, RequestId, SessionId};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use table::Places;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Maximum payload bytes of a session's pending and running requests.
const MAX_PAYLOADS: usize = 256 * 1024 * 1024;

/// Memory of a session besides that of its requests and replies, bytes.
const SESSION_BYTES: u64 = 16 * 1024;

/// All sessions, by id.
pub(crate) struct Sessions {
    pub(crate) admission: Admission,
    journal: Journal,
    locks: Locks,
    changes: Arc<Changes>,
    metrics: Arc<Metrics>,
    drain: Drain,
    places: Arc<Places>,
    /// HTTP connections; each is attached to a different session, or about to end.
    fetching: Mutex<HashMap<ConnectionId, Arc<FetchConnection>>>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("sessions", &self.count()).finish_non_exhaustive()
    }
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    id: SessionId,
    user: String,
    /// Its name in the journal.
    key: SessionKey,
    claim: Claim,
    /// Whether the journal has the session.
    is_begun: AtomicBool,
    /// Another relay owns it: no request starts here any more.
    is_lost: AtomicBool,
    /// The table of all sessions of this relay.
    places: Weak<Places>,
    drain: Drain,
    changes: Arc<Changes>,
    metrics: Arc<Metrics>,
    /// The account of the session's user.
    account: Account,
    live: Mutex<Live>,
    /// Generation of the attached connection; a connection with another generation has been replaced.
    attachment: watch::Sender<u64>,
    /// Permits for concurrent calls.
    calls: Semaphore,
    /// Permits for other concurrent requests.
    operations: Semaphore,
    /// Payload bytes of pending and running requests.
    payload_bytes: AtomicUsize,
    renewal: locks::Renewal,
}

/// The session and user of a request.
#[derive(Clone, Copy, Debug)]
struct Whose<'a> {
    session: SessionKey,
    user: &'a str,
    account: &'a Account,
}

/// State that changes with each frame.
#[derive(Debug)]
struct Live {
    machine: ServerSession,
    /// From the latest handshake.
    auth: SessionAuth,
    /// Tells the attached connection that frames are pending; each connection has its own.
    wake: Arc<Notify>,
    tasks: HashMap<RequestId, AbortHandle>,
    /// Charge for the session and its unacknowledged replies.
    kept: Charge,
}

impl Live {
    /// Updates the charge after replies were added or acknowledged.
    fn settle(&mut self) {
        self.kept.set_anyway(SESSION_BYTES + self.machine.kept_bytes() as u64);
    }

    fn is_idle(&self) -> bool {
        !self.machine.is_connected() && self.machine.open_requests() == 0
    }
}

/// A connection's attachment to its session; dropping it detaches the session.
#[derive(Debug)]
struct Attachment {
    session: Arc<Session>,
    sessions: Arc<Sessions>,
    generation: u64,
    wake: Arc<Notify>,
    timings: Timings,
    /// The connection has ended, although this value still exists.
    is_detached: AtomicBool,
}

impl Sessions {
    /// No sessions yet. Sessions that an earlier relay left in the journal are kept as long as a detached session.
    pub(crate) fn new(
        admission: Admission,
        journal: Journal,
        locks: Locks,
        changes: Arc<Changes>,
        metrics: Arc<Metrics>,
        kept: Duration,
    ) -> Self {
        let left = Arc::clone(&journal.notes);
        // Outside a runtime nobody comes back anyway.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(kept).await;
                left.end_left_over();
            });
        }
        let places = Places::new(Arc::clone(&journal.notes));
        Self {
            admission,
            journal,
            locks,
            changes,
            metrics,
            drain: Drain::default(),
            places,
            fetching: Mutex::default(),
        }
    }

    /// Resumes a session, possibly one of another relay, or creates one. The second value is whether it was resumed.
    ///
    /// # Errors
    /// When the relay has no capacity, or it is unknown whether the session exists: the page has to try again.
    async fn enter(
        &self,
        user: &str,
        resume: Option<SessionId>,
    ) -> Result<(Arc<Session>, bool), TurnedAway> {
        let mut recovered = None;
        if let Some(id) = resume {
            let known = self.known(user, id);
            if let Some(session) = known {
                if !session.is_lost() && self.journal.log.holds(session.key).await? {
                    return Ok((session, true));
                }
                session.lose();
                self.places.forget(&mut self.places.lock(), &session);
            }
            recovered =
                self.journal.log.take_up(id.into(), user).await?.map(|recovered| (id, recovered));
        }
        if let Some((id, recovered)) = recovered {
            let elsewhere = elsewhere::ids(&recovered);
            let machine = ServerSession::restore(id, user.to_owned(), recovered);
            let session = self.session(machine);
            // It was recovered from the journal.
            session.is_begun.store(true, Ordering::SeqCst);
            let (session, is_resumed) = self.place(session).ok_or(TurnedAway::Full)?;
            elsewhere::watch(&session, &self.journal.log, elsewhere);
            // Its runs may hold some from another relay.
            locks::keep(&session, &self.locks);
            return Ok((session, is_resumed));
        }
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|_| TurnedAway::Full)?;
        let machine = ServerSession::new(SessionId(id), user.to_owned());
        let session = self.session(machine);
        let unplaced = Unplaced { notes: &*self.journal.notes, key: session.key };
        // A journal that fails now may work by the time that something has to be in it.
        if let Err(error) = session.begin(&*self.journal.log).await {
            tracing::warn!(%error, "a session begins outside the journal");
        }
        let (session, _) = self.place(session).ok_or(TurnedAway::Full)?;
        std::mem::forget(unplaced);
        Ok((session, false))
    }

    fn session(&self, machine: ServerSession) -> Session {
        let (changes, metrics) = (Arc::clone(&self.changes), Arc::clone(&self.metrics));
        let account = self.admission.account(machine.user());
        let (places, drain) = (Arc::downgrade(&self.places), self.drain.clone());
        Session::new(machine, places, drain, changes, metrics, account, &self.admission.limits)
    }

    fn known(&self, user: &str, id: SessionId) -> Option<Arc<Session>> {
        let table = self.places.lock();
        table.get(id).filter(|session| session.user == user).map(Arc::clone)
    }

    /// Registers the session; if another connection of the same page was faster, returns the session that this one
    /// registered.
    fn place(&self, session: Session) -> Option<(Arc<Session>, bool)> {
        let mut table = self.places.lock();
        if let Some(session) = table.get(session.id) {
            return Some((Arc::clone(session), true));
        }
        let limits = &self.admission.limits;
        if table.of_user(&session.user) >= limits.sessions_per_user {
            self.places.make_room(&mut table, Some(&session.user))?;
        }
        if table.len() >= limits.sessions {
            self.places.make_room(&mut table, None)?;
        }
        let session = Arc::new(session);
        table.insert(Arc::clone(&session));
        Some((session, true))
    }

    /// Number of sessions, and of those with a connection.
    pub(crate) fn count(&self) -> (usize, usize) {
        let table = self.places.lock();
        (table.len(), table.connected())
    }
}

/// Why a page gets no session now.
#[derive(Debug)]
enum TurnedAway {
    /// A limit on sessions is reached.
    Full,
    /// The journal failed, so it is unknown whether the session exists.
    Unsure(StoreError),
}

impl From<StoreError> for TurnedAway {
    fn from(error: StoreError) -> Self {
        TurnedAway::Unsure(error)
    }
}

/// A session that exists only in the journal, until it is registered; ends it if the handshake is dropped.
struct Unplaced<'a> {
    notes: &'a dyn SessionNotes,
    key: SessionKey,
}

impl Drop for Unplaced<'_> {
    fn drop(&mut self) {
        self.notes.end(self.key);
    }
}

impl Session {
    fn new(
        machine: ServerSession,
        places: Weak<Places>,
        drain: Drain,
        changes: Arc<Changes>,
        metrics: Arc<Metrics>,
        account: Account,
        limits: &Arc<Limits>,
    ) -> Self {
        let (id, user) = (machine.id(), machine.user().to_owned());
        let running = limits.running_per_session.min(Semaphore::MAX_PERMITS);
        let (auth, wake, tasks) = (SessionAuth::none(limits), Arc::default(), HashMap::new());
        let kept = account.nothing(Kind::Reply);
        let mut live = Live { machine, auth, wake, tasks, kept };
        live.settle();
        Self {
            id,
            user,
            key: id.into(),
            claim: Claim::new(),
            is_begun: AtomicBool::new(false),
            is_lost: AtomicBool::new(false),
            places,
            drain,
            changes,
            metrics,
            account,
            live: Mutex::new(live),
            attachment: watch::Sender::new(0),
            calls: Semaphore::new(running),
            operations: Semaphore::new(running),
            payload_bytes: AtomicUsize::new(0),
            renewal: locks::Renewal::default(),
        }
    }

    /// Its name in the log. The id itself is secret: with it the session can be taken over.
    fn shown(&self) -> String {
        let SessionKey([a, b, c, d, ..]) = self.key;
        format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
    }

    fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::SeqCst)
    }

    /// Another relay owns the session: closes the attached connection, so that the page reconnects and gets its replies
    /// there. Running requests continue.
    fn lose(&self) {
        if !self.is_lost.swap(true, Ordering::SeqCst) {
            tracing::info!(session = %self.shown(), "another relay owns the session");
            // The generation stays the same; watchers of it also check `is_lost`.
            self.attachment.send_modify(|_| {});
        }
    }

    /// Drops a request that has not started: the page sends it again.
    fn unstart(&self, id: RequestId) {
        let mut live = lock(&self.live);
        live.tasks.remove(&id);
        live.machine.unstart(id);
        live.wake.notify_one();
        drop(live);
        if let Some(places) = self.places.upgrade() {
            places.check_idle(self);
        }
    }

    /// Makes sure that the journal has the session. Requests that find it missing do so side by side: where the journal does
    /// not answer, none waits for the others.
    async fn begin(&self, log: &dyn SessionLog) -> Result<(), StoreError> {
        if !self.is_begun.load(Ordering::SeqCst) {
            log.begin(self.key, &self.user).await?;
            self.is_begun.store(true, Ordering::SeqCst);
        }
        Ok(())
    }
}

impl Attachment {
    /// Attaches this connection to the session, with the rights and the protocol version of its own handshake, and
    /// closes the connection attached before. `None` if the session was dropped or lost since its lookup, which then
    /// has to be repeated.
    fn attach(
        session: Arc<Session>,
        sessions: Arc<Sessions>,
        auth: SessionAuth,
        timings: Timings,
    ) -> Option<Self> {
        let wake = Arc::new(Notify::new());
        // Dropping a session takes the same lock, so it either sees the session attached, or precedes this check.
        let mut table = sessions.places.lock();
        if !table.has(&session) || session.is_lost() {
            return None;
        }
        table.attached(&session);
        let mut live = lock(&session.live);
        let version = auth.version();
        live.auth = auth;
        watched::check(&session, &mut live);
        live.machine.connected(version);
        drop(table);
        if session.drain.has_begun() {
            live.machine.stop_accepting();
        }
        live.wake = Arc::clone(&wake);
        // The outbox may already have frames.
        wake.notify_one();
        session.attachment.send_modify(|generation| *generation += 1);
        session.renewal.connected();
        let generation = *session.attachment.borrow();
        drop(live);
        let is_detached = AtomicBool::new(false);
        Some(Self { session, sessions, generation, wake, timings, is_detached })
    }

    /// The session, if this connection is still attached.
    fn live(&self) -> Option<MutexGuard<'_, Live>> {
        let live = lock(&self.session.live);
        let carries = *self.session.attachment.borrow() == self.generation;
        (carries && !self.is_detached.load(Ordering::Relaxed)).then_some(live)
    }

    /// The next frame for the page, of a session that this connection carries.
    fn transmit(&self, live: &mut Live) -> Option<Frame> {
        let frame = live.machine.transmit_shared()?;
        self.session.metrics.sent(frame.len());
        Some(frame)
    }

    /// The same as a WebSocket message, with what else there is to send.
    fn transmit_message(&self, live: &mut Live) -> Option<Outgoing> {
        let message = live.machine.transmit_message()?;
        self.session.metrics.sent(message.bytes());
        Some(message)
    }

    /// Detaches the connection; the session is kept for the page to resume. If the page said that it will not, its
    /// running requests are cancelled too.
    fn leave(&self, comes_back: bool) {
        let (places, session) = (&self.sessions.places, &self.session);
        let mut table = places.lock();
        let Some(mut live) = self.live() else { return };
        self.is_detached.store(true, Ordering::Relaxed);
        live.machine.disconnected();
        if !comes_back {
            live.tasks.drain().for_each(|(_, task)| task.abort());
        }
        drop(live);
        if comes_back && !session.is_lost() {
            let due = Instant::now().checked_add(self.timings.session_kept);
            places.left(&mut table, session, due);
        } else {
            places.forget(&mut table, session);
        }
    }

    /// Whether the relay is draining and no request of this session runs.
    fn is_drained(&self) -> bool {
        self.session.drain.has_begun() && self.live().is_none_or(|live| live.tasks.is_empty())
    }

    /// Completes when the page has to reconnect with a fresh token.
    async fn token_expires(&self) {
        let auth = lock(&self.session.live).auth.clone();
        auth.expires().await;
    }

    /// Completes when the session is attached to another connection, here or at another relay.
    async fn replaced(&self) {
        let mut attachment = self.session.attachment.subscribe();
        let is_over = |generation: &u64| *generation != self.generation || self.session.is_lost();
        // `self` owns the session, and thereby the sender.
        let _ = attachment.wait_for(is_over).await;
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.leave(true);
    }
}

/// Locks a mutex. A poisoned one is usable: no code panics in the middle of a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod race_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{Bounds, Budget};
    use crate::store::Stores;
    use futures_util::FutureExt;

    fn sessions(limits: Limits) -> Sessions {
        let stores = Stores::in_memory().unwrap();
        let (admission, kept) =
            (Admission::new(None, limits, Budget::new(Bounds::NONE)), Duration::MAX);
        let Stores { journal, locks, changes, .. } = stores;
        Sessions::new(admission, journal, locks, changes, Metrics::new(None), kept)
    }

    fn enter(
        sessions: &Sessions,
        user: &str,
        resume: Option<SessionId>,
    ) -> Option<(Arc<Session>, bool)> {
        // A journal in memory does nothing, and so never waits.
        sessions.enter(user, resume).now_or_never().unwrap().ok()
    }

    fn attach(session: &Arc<Session>, sessions: &Arc<Sessions>) -> Option<Attachment> {
        let auth = SessionAuth::none(&sessions.admission.limits);
        Attachment::attach(Arc::clone(session), Arc::clone(sessions), auth, Timings::default())
    }

    #[test]
    fn a_session_is_resumed_only_by_its_user() {
        let sessions = sessions(Limits::default());
        let (session, resumed) = enter(&sessions, "ada", None).unwrap();
        assert!(!resumed);
        let id = lock(&session.live).machine.id();
        assert!(enter(&sessions, "ada", Some(id)).unwrap().1);
        assert!(!enter(&sessions, "bob", Some(id)).unwrap().1);
        assert!(!enter(&sessions, "ada", Some(SessionId([0; 16]))).unwrap().1);
    }

    #[test]
    fn the_number_of_sessions_is_bounded_and_idle_ones_are_evicted() {
        let limits = Limits { sessions: 4, ..Limits::default() };
        let sessions = Arc::new(sessions(limits));
        let new = || enter(&sessions, "ada", None).map(|(session, _)| session);
        let carry = |session| attach(&session, &sessions).unwrap();
        let attachments: Vec<Attachment> = (0..4).map(|_| carry(new().unwrap())).collect();
        assert!(new().is_none(), "all are connected");
        attachments[2].leave(true);
        let id = attachments[2].session.id;
        carry(new().unwrap());
        assert!(!enter(&sessions, "ada", Some(id)).is_some_and(|(_, resumed)| resumed));
        assert_eq!(sessions.count().0, 4);
    }

    #[test]
    fn a_user_with_many_sessions_evicts_only_their_own() {
        let limits = Limits { sessions: 8, sessions_per_user: 2, ..Limits::default() };
        let sessions = Arc::new(sessions(limits));
        let carry = |user| {
            let (session, _) = enter(&sessions, user, None)?;
            attach(&session, &sessions)
        };
        let bob = carry("bob").unwrap();
        bob.leave(true);
        let [first, _second] = [carry("ada").unwrap(), carry("ada").unwrap()];
        assert!(carry("ada").is_none(), "bob's idle session is no room for ada");
        first.leave(true);
        assert!(carry("ada").is_some(), "her own is");
        assert!(enter(&sessions, "bob", Some(bob.session.id)).unwrap().1);
    }

    #[test]
    fn a_detached_session_expires_and_an_attached_one_does_not() {
        let kept = Timings::default().session_kept;
        let sessions = Arc::new(sessions(Limits::default()));
        let forget = |after| sessions.places.forget_due(Instant::now() + after);
        let (session, _) = enter(&sessions, "ada", None).unwrap();
        let first = attach(&session, &sessions).unwrap();
        let second = attach(&session, &sessions).unwrap();
        assert!(first.live().is_none() && first.replaced().now_or_never().is_some());
        drop(first);
        assert_eq!(forget(2 * kept), None, "a connection carries it");
        assert_eq!(sessions.count(), (1, 1));
        drop(second);
        assert_eq!(sessions.count(), (1, 0));
        assert!(forget(kept / 2).is_some());
        // The page resumes it in time.
        let third = attach(&session, &sessions).unwrap();
        assert_eq!((forget(2 * kept), sessions.count()), (None, (1, 1)));
        drop(third);
        assert_eq!((forget(kept), sessions.count()), (None, (0, 0)));
    }

    fn visit(sessions: &Arc<Sessions>, session_kept: Duration) {
        let (session, _) = enter(sessions, "ada", None).unwrap();
        let timings = Timings { session_kept, ..Timings::default() };
        let auth = SessionAuth::none(&sessions.admission.limits);
        drop(Attachment::attach(session, Arc::clone(sessions), auth, timings));
    }

    #[test]
    fn each_session_expires_at_its_own_time() {
        let sessions = Arc::new(sessions(Limits::default()));
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let start = Instant::now();
        for kept in [hours(100), hours(10), hours(10), Duration::MAX] {
            visit(&sessions, kept);
        }
        for (after, there) in [(9, 4), (11, 2), (99, 2), (101, 1), (1000, 1)] {
            sessions.places.forget_due(start + hours(after));
            assert_eq!(sessions.count().0, there, "after {after} hours");
        }
    }

    #[tokio::test]
    async fn the_expiry_task_wakes_for_an_earlier_deadline() {
        let sessions = Arc::new(sessions(Limits::default()));
        visit(&sessions, Duration::from_secs(3600));
        tokio::task::yield_now().await;
        visit(&sessions, Duration::ZERO);
        let forgotten = async {
            while sessions.count().0 > 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), forgotten).await.expect("it is woken");
    }

    #[tokio::test]
    async fn a_session_with_an_open_request_is_not_evicted() {
        let limits = Limits { sessions_per_user: 2, ..Limits::default() };
        let sessions = Arc::new(sessions(limits));
        let carry = || {
            let (session, _) = enter(&sessions, "ada", None)?;
            attach(&session, &sessions)
        };
        let [first, _second] = [carry().unwrap(), carry().unwrap()];
        let id = RequestId(1);
        let read = faasm_bridge::wire::Request::ReadFile { path: "f".into() };
        let message = faasm_bridge::wire::ClientMessage::Request { id, request: read };
        let frame = faasm_bridge::wire::encode(&message, &[]).unwrap();
        assert!(lock(&first.session.live).machine.receive(&frame).unwrap().is_some());
        first.leave(true);
        assert!(carry().is_none(), "its request would be lost");
        first.session.unstart(id);
        let third = carry();
        assert!(third.is_some());
        assert_eq!(sessions.count(), (2, 2));
    }
}
