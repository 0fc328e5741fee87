//! The cluster-wide locks of a run. The relay renews their leases while the page's session is connected.

use super::{expect_done, reply_error};
use crate::connection::Connection;
use crate::error::FaasmError;
use crate::global::{get_random_values, spawn};
use faasm_bridge::guest::Completion;
use faasm_bridge::wire::{FailureCode, Reply, Request};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// The locks that a run holds.
#[derive(Default)]
pub(super) struct Locks {
    /// The run's id at the relay, unique in the session; chosen with the first lock.
    run: Cell<Option<u64>>,
    held: RefCell<Vec<Held>>,
}

struct Held {
    key: String,
    /// The session that acquired the lock.
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

    /// Acquires a lock. Dropping the future withdraws the request.
    pub(super) async fn take(
        &self,
        connection: &Rc<Connection>,
        key: String,
    ) -> Result<Completion, FaasmError> {
        let run = self.run();
        let request = Request::LockState { key: key.clone(), run };
        let waiting = connection.request(request, &[])?;
        let mut request = LockRequest { connection, key: &key, run, is_held: false };
        expect_done(waiting.answer().await)?;
        request.is_held = true;
        drop(request);
        // If the request was repeated in a new session, that one acquired the lock.
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
            // The lock stays in `held`, and `end` releases it.
            (reply, _) => return Err(reply_error(reply)),
        })
    }

    /// Whether the lock is known to be lost: the relay has lost the session that acquired it.
    pub(super) fn has_lost(&self, connection: &Connection, key: &str) -> bool {
        let held = self.held.borrow();
        held.iter().any(|held| held.key == key && held.session != connection.sessions())
    }

    /// Releases all locks in the background.
    pub(super) fn end(&self, connection: &Rc<Connection>) {
        for Held { key, .. } in self.held.take() {
            release_later(connection, key, self.run());
        }
    }
}

/// A requested lock, which the relay may have granted already.
struct LockRequest<'a> {
    connection: &'a Rc<Connection>,
    key: &'a str,
    run: u64,
    is_held: bool,
}

impl Drop for LockRequest<'_> {
    fn drop(&mut self) {
        if !self.is_held {
            release_later(self.connection, self.key.to_owned(), self.run);
        }
    }
}

/// If this fails, the lock expires with its lease.
fn release_later(connection: &Rc<Connection>, key: String, run: u64) {
    if let Ok(waiting) = connection.request(Request::UnlockState { key, run }, &[]) {
        spawn(async move {
            let _ = waiting.answer().await;
        });
    }
}
