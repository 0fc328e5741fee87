//! Locks across the cluster that a run holds. The relay renews them as long as it has a connection of this page.

use super::{take_done, unexpected};
use crate::connection::Connection;
use crate::error::FaasmError;
use crate::global::{get_random_values, spawn};
use faasm_bridge::guest::Completion;
use faasm_bridge::wire::{FailureCode, Reply, Request};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// What one run holds.
#[derive(Default)]
pub(super) struct Locks {
    /// What the relay knows the run by, among those of the session; chosen with the first lock.
    run: Cell<Option<u64>>,
    held: RefCell<Vec<Held>>,
}

struct Held {
    key: String,
    /// The connection's session that took it.
    session: u64,
}

impl Locks {
    fn run(&self) -> u64 {
        self.run.get().unwrap_or_else(|| {
            let mut bytes = [0; 8];
            get_random_values(&mut bytes);
            let run = u64::from_le_bytes(bytes);
            self.run.set(Some(run));
            run
        })
    }

    /// Waits for a lock. Dropped meanwhile, it takes back what it asked for.
    pub(super) async fn take(
        &self,
        connection: &Rc<Connection>,
        key: String,
    ) -> Result<Completion, FaasmError> {
        let run = self.run();
        let request = Request::LockState { key: key.clone(), run };
        let waiting = connection.request(request, &[])?;
        let mut asked = Asked { connection, key: &key, run, is_held: false };
        take_done(waiting.answer().await)?;
        asked.is_held = true;
        drop(asked);
        // A request that was made again in another session was answered by that one.
        let session = connection.sessions();
        self.held.borrow_mut().push(Held { key, session });
        Ok(Completion::Done)
    }

    pub(super) async fn release(
        &self,
        connection: &Rc<Connection>,
        key: &str,
    ) -> Result<Completion, FaasmError> {
        let request = Request::UnlockState { key: key.to_owned(), run: self.run() };
        let answer = connection.request(request, &[])?.answer().await;
        let completion = match answer {
            Err(_) if self.has_lost(connection, key) => Completion::Missing,
            Err(error) => return Err(error),
            Ok(answer) => Self::released(answer)?,
        };
        self.held.borrow_mut().retain(|held| held.key != key);
        Ok(completion)
    }

    fn released(answer: (Reply, Vec<u8>)) -> Result<Completion, FaasmError> {
        Ok(match answer {
            (Reply::Done, _) => Completion::Done,
            (Reply::Failed { code: FailureCode::LockLost, .. }, _) => Completion::Missing,
            // It stays among those that are held, and is released with them.
            (reply, _) => return Err(unexpected(reply)),
        })
    }

    /// Whether it is known here that the lock of this key was lost: the relay has forgotten the session that took it.
    pub(super) fn has_lost(&self, connection: &Connection, key: &str) -> bool {
        let held = self.held.borrow();
        held.iter().any(|held| held.key == key && held.session != connection.sessions())
    }

    /// Releases everything; nobody waits for that.
    pub(super) fn end(&self, connection: &Rc<Connection>) {
        for Held { key, .. } in self.held.take() {
            release_later(connection, key, self.run());
        }
    }
}

/// A lock that was asked for, and may be held without that being known here.
struct Asked<'a> {
    connection: &'a Rc<Connection>,
    key: &'a str,
    run: u64,
    is_held: bool,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if !self.is_held {
            release_later(self.connection, self.key.to_owned(), self.run);
        }
    }
}

/// Without a connection, or a session, it is free after its lease anyway.
fn release_later(connection: &Rc<Connection>, key: String, run: u64) {
    if let Ok(waiting) = connection.request(Request::UnlockState { key, run }, &[]) {
        spawn(async move {
            let _ = waiting.answer().await;
        });
    }
}
