//! The sessions of a relay: by id, idle ones in the order in which they became idle, detached ones by expiry. Each step
//! takes time logarithmic in the number of sessions.
//!
//! Lock order: the table before a session.

use super::{Session, lock};
use crate::store::SessionNotes;
use faasm_bridge::wire::SessionId;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use tokio::sync::Notify;
use tokio::time::Instant;

/// The sessions, and the single task that removes expired ones.
pub(super) struct Places {
    table: Mutex<Table>,
    notes: Arc<dyn SessionNotes>,
    /// Told when a session is to be forgotten before all others, and at the end.
    sooner: Arc<Notify>,
}

/// The state of [`Places`], under its lock.
#[derive(Debug, Default)]
pub(super) struct Table {
    by_id: HashMap<SessionId, Entry>,
    users: HashMap<String, OfUser>,
    idle: BTreeMap<u64, SessionId>,
    due: BTreeMap<(Instant, u64), SessionId>,
    connected: usize,
    /// Sequence number of entries in `idle` and `due`.
    last: u64,
}

#[derive(Debug)]
struct Entry {
    session: Arc<Session>,
    is_connected: bool,
    /// Its key in [`Table::idle`].
    idle: Option<u64>,
    /// Its key in [`Table::due`].
    due: Option<(Instant, u64)>,
}

#[derive(Debug, Default)]
struct OfUser {
    sessions: usize,
    idle: BTreeMap<u64, SessionId>,
}

impl Places {
    /// No sessions. Within a runtime, a task forgets them in time for as long as this is there.
    pub(super) fn new(notes: Arc<dyn SessionNotes>) -> Arc<Self> {
        let places =
            Arc::new(Self { table: Mutex::default(), notes, sooner: Arc::new(Notify::new()) });
        // Outside a runtime there is no time either.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(forget_in_time(Arc::downgrade(&places), Arc::clone(&places.sooner)));
        }
        places
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    /// Detaches the session, which expires at `due` unless its page resumes it.
    pub(super) fn left(&self, table: &mut Table, session: &Session, due: Option<Instant>) {
        if table.left(session, due) {
            self.sooner.notify_one();
        }
    }

    /// Removes a session and ends it in the journal, unless another relay owns it.
    pub(super) fn forget(&self, table: &mut Table, session: &Session) {
        if table.remove(session) && !session.is_lost() {
            self.notes.end(session.key);
        }
    }

    /// Evicts an idle session, of this user or of any.
    pub(super) fn make_room(&self, table: &mut Table, user: Option<&str>) -> Option<()> {
        let idle = Arc::clone(table.first_idle(user)?);
        table.remove(&idle);
        self.notes.end(idle.key);
        Some(())
    }

    /// Called after a request that had not started was dropped from the session, which may be idle now.
    pub(super) fn check_idle(&self, session: &Session) {
        let mut table = self.lock();
        if lock(&session.live).is_idle() {
            table.is_idle(session);
        }
    }

    /// Removes expired sessions; returns the time of the next expiry.
    pub(super) fn forget_due(&self, now: Instant) -> Option<Instant> {
        let mut table = self.lock();
        loop {
            let (&(due, _), id) = table.due.first_key_value()?;
            if due > now {
                return Some(due);
            }
            let session = Arc::clone(&table.by_id.get(id)?.session);
            self.forget(&mut table, &session);
        }
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        self.sooner.notify_one();
    }
}

async fn forget_in_time(places: Weak<Places>, sooner: Arc<Notify>) {
    loop {
        let Some(next) = places.upgrade().map(|places| places.forget_due(Instant::now())) else {
            return;
        };
        let due = async {
            match next {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = sooner.notified() => {}
        }
    }
}

impl Table {
    pub(super) fn get(&self, id: SessionId) -> Option<&Arc<Session>> {
        self.by_id.get(&id).map(|entry| &entry.session)
    }

    /// Whether this session, not just one with the same id, is in the table.
    pub(super) fn has(&self, session: &Session) -> bool {
        self.get(session.id).is_some_and(|found| std::ptr::eq(&**found, session))
    }

    pub(super) fn sessions(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.by_id.values().map(|entry| &entry.session)
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn connected(&self) -> usize {
        self.connected
    }

    pub(super) fn of_user(&self, user: &str) -> usize {
        self.users.get(user).map_or(0, |theirs| theirs.sessions)
    }

    /// Adds a detached session.
    pub(super) fn insert(&mut self, session: Arc<Session>) {
        self.users.entry(session.user.clone()).or_default().sessions += 1;
        let is_idle = lock(&session.live).is_idle();
        let entry =
            Entry { session: Arc::clone(&session), is_connected: false, idle: None, due: None };
        self.by_id.insert(session.id, entry);
        if is_idle {
            self.is_idle(&session);
        }
    }

    /// Marks the session as attached.
    pub(super) fn attached(&mut self, session: &Session) {
        self.clear(session.id);
        if let Some(entry) = self.by_id.get_mut(&session.id) {
            entry.is_connected = true;
            self.connected += 1;
        }
    }

    /// Whether it is now the first to expire.
    fn left(&mut self, session: &Session, due: Option<Instant>) -> bool {
        if !self.has(session) {
            return false;
        }
        self.clear(session.id);
        let number = self.number();
        let Some(entry) = self.by_id.get_mut(&session.id) else { return false };
        entry.due = due.map(|due| (due, number));
        if let Some(due) = entry.due {
            self.due.insert(due, session.id);
        }
        let is_first =
            self.due.first_key_value().is_some_and(|(first, _)| Some(*first) == entry.due);
        if lock(&session.live).is_idle() {
            self.is_idle(session);
        }
        is_first
    }

    /// Whether the session was in the table.
    pub(super) fn remove(&mut self, session: &Session) -> bool {
        if !self.has(session) {
            return false;
        }
        self.clear(session.id);
        self.by_id.remove(&session.id);
        if let Some(theirs) = self.users.get_mut(&session.user) {
            theirs.sessions -= 1;
            if theirs.sessions == 0 {
                self.users.remove(&session.user);
            }
        }
        true
    }

    /// The session that has been idle for longest: it is detached and has no open requests, so evicting it loses
    /// nothing.
    fn first_idle(&self, user: Option<&str>) -> Option<&Arc<Session>> {
        let idle = match user {
            Some(user) => &self.users.get(user)?.idle,
            None => &self.idle,
        };
        idle.first_key_value().and_then(|(_, id)| self.get(*id))
    }

    fn is_idle(&mut self, session: &Session) {
        // The table may have another session of this id: this one was lost, and its page came back.
        if !self.has(session) {
            return;
        }
        let number = self.number();
        let Some(entry) = self.by_id.get_mut(&session.id) else { return };
        if entry.is_connected || entry.idle.is_some() {
            return;
        }
        entry.idle = Some(number);
        self.idle.insert(number, session.id);
        if let Some(theirs) = self.users.get_mut(&session.user) {
            theirs.idle.insert(number, session.id);
        }
    }

    /// Removes the session from the counts and queues of attached, idle and expiring ones.
    fn clear(&mut self, id: SessionId) {
        let Some(entry) = self.by_id.get_mut(&id) else { return };
        if std::mem::take(&mut entry.is_connected) {
            self.connected -= 1;
        }
        if let Some(due) = entry.due.take() {
            self.due.remove(&due);
        }
        if let Some(number) = entry.idle.take() {
            self.idle.remove(&number);
            if let Some(theirs) = self.users.get_mut(&entry.session.user) {
                theirs.idle.remove(&number);
            }
        }
    }

    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}
