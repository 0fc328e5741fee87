//! Locks of several relays. Each operation is one Redis script, correct however often and late Redis receives it.
//!
//! | key | type | value |
//! |---|---|---|
//! | `{faasm-relay}:lock:USER/KEY` | string | the taker, as `OWNER:RUN:ATTEMPT;`; it expires with its lease |
//! | `{faasm-relay}:lock-queue:USER/KEY` | sorted set | waiting takers, in the order of arrival |
//! | `{faasm-relay}:lock-seen:USER/KEY` | hash | by taker: time of its last poll, by the clock of Redis |
//! | `{faasm-relay}:locks:OWNER` | set | names of locks that the owner's runs took, `USER/KEY` |
//! | `{faasm-relay}:lock-over:TAKER` | string | tombstone, for some time after a taker has released its lock or withdrawn |
//!
//! The tombstone is for requests that a broken connection delivers late: without it, a delayed request could take the
//! lock after its release, and it would never be released.

use super::keys::{LOCK, LOCK_OVER, lock_keys, locks_key, number, session_keys};
use super::link::{Question, Repeat};
use super::notes::Note;
use super::presence::milliseconds;
use super::state::unexpected;
use super::{RedisStore, script};
use crate::store::locks::QUEUE_PATIENCE;
use crate::store::{
    Asked, HeldLock, Holder, IdempotencyRecord, LockStore, MAX_LOCK_WAITERS, MAX_LOCKS_OF_OWNER,
    Owner, StoreError, Taker,
};
use futures_util::future::BoxFuture;
use redis::{Script, ScriptInvocation};
use std::sync::LazyLock;
use std::time::Duration;

static LOCK_SCRIPT: LazyLock<Script> = script!("lock.lua");
static RELEASE: LazyLock<Script> = script!("release.lua");
static UNLOCK: LazyLock<Script> = script!("forgotten.lua", "unlock.lua");
static RENEW: LazyLock<Script> = script!("renew.lua");

/// Time limit for Redis to answer requests for locks, and renewals.
const SHORT: Duration = Duration::from_secs(3);

/// Expiry of a taker's tombstone: longer than any earlier request can be in flight.
const OVER: Duration = Duration::from_secs(600);

/// Prefix of all takers of an owner.
pub(super) fn owner_text(owner: Owner) -> String {
    let hex: String = owner.0.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex}:")
}

/// Prefix of all takers of a run.
fn holder_text(Holder { owner, run }: Holder) -> String {
    format!("{}{}:", owner_text(owner), number(run))
}

pub(super) fn taker_text(Taker { holder, attempt }: Taker) -> String {
    format!("{}{};", holder_text(holder), number(attempt))
}

/// The inverse of [`taker_text`].
fn taker(text: &str) -> Option<Taker> {
    let mut parts = text.strip_suffix(';')?.split(':');
    let hex = parts.next().filter(|hex| hex.len() == 64)?;
    let mut owner = [0; 32];
    for (byte, digits) in owner.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    let (run, attempt) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(Taker { holder: Holder { owner: Owner(owner), run }, attempt })
}

/// A lock's name; user names have no slash.
fn lock_name(user: &str, key: &str) -> String {
    format!("{user}/{key}")
}

/// A script whose keys are a lock, its queue, the times of polls, the tombstone of a taker, and its owner's locks.
fn on_lock<'a>(script: &'a Script, name: &str, taker: Taker) -> ScriptInvocation<'a> {
    let mut invocation = script.prepare_invoke();
    for key in lock_keys(name) {
        invocation.key(key);
    }
    invocation.key(format!("{LOCK_OVER}{}", taker_text(taker)));
    invocation.key(locks_key(&owner_text(taker.holder.owner)));
    invocation
}

/// The request by which a taker releases its lock, or leaves the queue.
pub(super) fn release(user: &str, key: &str, taker: Taker) -> ScriptInvocation<'static> {
    let name = lock_name(user, key);
    let mut invocation = on_lock(&RELEASE, &name, taker);
    invocation.arg(taker_text(taker)).arg(name).arg(milliseconds(OVER));
    invocation
}

impl RedisStore {
    async fn try_ask(
        &self,
        user: &str,
        key: &str,
        taker: Taker,
        lease: Duration,
    ) -> Result<Asked, StoreError> {
        const ACTION: &str = "take a lock";
        let name = lock_name(user, key);
        let mut invocation = on_lock(&LOCK_SCRIPT, &name, taker);
        invocation
            .arg(taker_text(taker))
            .arg(holder_text(taker.holder))
            .arg(milliseconds(lease))
            .arg(milliseconds(QUEUE_PATIENCE))
            .arg(MAX_LOCK_WAITERS)
            .arg(MAX_LOCKS_OF_OWNER)
            .arg(name);
        let question = Question::Script(invocation);
        // The script is idempotent; a taker without an answer withdraws.
        let (ended, before): (String, u64) =
            self.link().ask_for(SHORT, ACTION, Repeat::Reads, 0, question).await?;
        let key = key.to_owned();
        match ended.as_str() {
            "held" => Ok(Asked::Held),
            "waits" => Ok(Asked::Waits { before: usize::try_from(before).unwrap_or(usize::MAX) }),
            "deadlock" => Err(StoreError::Deadlock { key }),
            "over" => Err(StoreError::LockLost { key }),
            "many" => Err(StoreError::LocksFull {
                key,
                reason: "the session, or the user in the cluster, holds too many other locks",
            }),
            "full" => Err(StoreError::LocksFull { key, reason: "too many runs wait for it" }),
            other => Err(unexpected(ACTION, other)),
        }
    }

    /// Releases the lock held by a run of the record's session.
    pub(super) async fn try_unlock(
        &self,
        mark: IdempotencyRecord,
        user: &str,
        key: &str,
        run: u64,
    ) -> Result<(), StoreError> {
        const ACTION: &str = "release a lock";
        let owner = Owner::from(mark.session);
        let name = lock_name(user, key);
        let [lock, ..] = lock_keys(&name);
        let mut invocation = UNLOCK.key(lock);
        invocation.key(locks_key(&owner_text(owner)));
        for key in session_keys(mark.session) {
            invocation.key(key);
        }
        invocation
            .arg(holder_text(Holder { owner, run }))
            .arg(name)
            .arg(number(mark.request.0))
            .arg(super::journal::replied(&mark.reply.into()))
            .arg(LOCK_OVER)
            .arg(milliseconds(OVER));
        let question = Question::Script(invocation);
        let ended: String = self.link().ask(ACTION, Repeat::Marked, 0, question).await?;
        match ended.as_str() {
            "done" => Ok(()),
            "lost" => Err(StoreError::LockLost { key: key.to_owned() }),
            "gone" => Err(StoreError::SessionLost { reason: "Redis has deleted it" }),
            other => Err(unexpected(ACTION, other)),
        }
    }
}

impl LockStore for RedisStore {
    fn ask<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        taker: Taker,
        lease: Duration,
    ) -> BoxFuture<'a, Result<Asked, StoreError>> {
        Box::pin(self.try_ask(user, key, taker, lease))
    }

    fn release<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        taker: Taker,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            const ACTION: &str = "release a lock";
            let question = Question::Script(release(user, key, taker));
            let ended: String = self.link().ask(ACTION, Repeat::Marked, 0, question).await?;
            match ended.as_str() {
                "done" => Ok(true),
                "lost" => Ok(false),
                other => Err(unexpected(ACTION, other)),
            }
        })
    }

    fn withdraw(&self, user: &str, key: &str, taker: Taker) {
        self.note(Note::Withdraw { user: user.to_owned(), key: key.to_owned(), taker });
    }

    fn renew(
        &self,
        owner: Owner,
        lease: Duration,
    ) -> BoxFuture<'_, Result<Vec<HeldLock>, StoreError>> {
        Box::pin(async move {
            let begins = owner_text(owner);
            let mut invocation = RENEW.key(locks_key(&begins));
            invocation.arg(begins).arg(LOCK).arg(milliseconds(lease));
            let question = Question::Script(invocation);
            // Over the connection on which no long transfer can delay it.
            let presence = &self.inner.presence;
            let found: Vec<String> =
                presence.ask_for(SHORT, "renew locks", Repeat::Reads, 0, question).await?;
            let held = found.chunks(2).filter_map(|pair| {
                let [name, text] = pair else { return None };
                let (user, key) = name.split_once('/')?;
                Some(HeldLock { user: user.to_owned(), key: key.to_owned(), taker: taker(text)? })
            });
            Ok(held.collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taker_text_round_trips() {
        let holder = Holder { owner: Owner(std::array::from_fn(|at| at as u8 * 7)), run: 12 };
        let given = Taker { holder, attempt: u64::MAX };
        assert_eq!(taker(&taker_text(given)), Some(given));
        assert!(taker_text(given).starts_with(&holder_text(holder)));
        for bad in ["", ";", "00:1:2;", "x:1:2", "zz"] {
            assert_eq!(taker(bad), None, "{bad}");
        }
    }
}
