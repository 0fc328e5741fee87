//! Values that a page watches: it is notified when others write them.

use super::{Live, Session, lock};
use crate::store::Hears;
use faasm_bridge::session::Watching;
use faasm_bridge::wire::{FailureCode, MAX_WATCHED, MAX_WATCHED_BYTES, Reply, Request};
use std::sync::{Arc, Weak};

/// The reply to a request that is answered at once; `None` for other requests. The caller has checked the page's
/// rights.
pub(super) fn answer(session: &Arc<Session>, live: &mut Live, request: &Request) -> Option<Reply> {
    match request {
        Request::Watch { key } => Some(begin(session, live, key)),
        Request::Unwatch { key } => {
            end(session, live, key);
            Some(Reply::Done)
        }
        _ => None,
    }
}

fn begin(session: &Arc<Session>, live: &mut Live, key: &str) -> Reply {
    match live.machine.watch(key) {
        Watching::GoesOn => Reply::Done,
        Watching::Begins => {
            let hears: Weak<dyn Hears> = Arc::downgrade(session) as _;
            session.changes.listen(live.machine.user(), key, session.claim, hears);
            Reply::Missing
        }
        Watching::TooMany => {
            let message = format!(
                "a session watches at most {MAX_WATCHED} values, whose keys have {MAX_WATCHED_BYTES} bytes together: stop watching another one first"
            );
            Reply::Failed { code: FailureCode::BadRequest, message }
        }
    }
}

fn end(session: &Session, live: &mut Live, key: &str) {
    live.machine.unwatch(key);
    session.changes.leave(live.machine.user(), key, session.claim);
}

/// Called when the token was renewed or has expired: stops watching if it does not grant that any more.
pub(super) fn check(session: &Session, live: &mut Live) {
    if !live.auth.may(&Request::Watch { key: String::new() }) {
        let keys: Vec<String> = live.machine.watched().map(str::to_owned).collect();
        keys.iter().for_each(|key| end(session, live, key));
    }
}

impl Hears for Session {
    fn changed(&self, key: &str) {
        let mut live = lock(&self.live);
        // Rights are those of the current token.
        if live.auth.may(&Request::Watch { key: key.to_owned() }) {
            live.machine.changed(key);
            live.wake.notify_one();
        } else {
            end(self, &mut live, key);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let live = lock(&self.live);
        for key in live.machine.watched() {
            self.changes.leave(live.machine.user(), key, self.claim);
        }
    }
}
