//! What things are called in Redis.
//!
//! State has the keys of Faasm's workers, `USER_KEY`. Everything else begins with [`PREFIX`], which no user's name begins with.

use crate::store::{SessionKey, StoreError};
use faasm_bridge::wire::RequestId;

/// Of everything that is the relays' own. Names of users have no braces.
const PREFIX: &str = "{faasm-relay}:";

/// Where a value or list is.
///
/// # Errors
/// When the user's name has an underscore, for it could be another user's key.
pub(super) fn state_key(user: &str, key: &str) -> Result<String, StoreError> {
    if user.contains('_') {
        return Err(StoreError::UserName { user: user.to_owned() });
    }
    Ok(format!("{user}_{key}"))
}

/// User and key of a value, from where it is.
pub(super) fn user_and_key(state_key: &str) -> Option<(&str, &str)> {
    state_key.split_once('_')
}

/// The channel on which it is said that a value was written: the relay that has written it, and where the value is.
pub(super) const WRITTEN: &str = "{faasm-relay}:written";

/// A hash: content hash and original. Names have no slashes.
pub(super) fn function_key(user: &str, function: &str) -> String {
    format!("{PREFIX}function:{user}/{function}")
}

pub(super) fn file_key(path: &str) -> String {
    format!("{PREFIX}file:{path}")
}

/// There while a relay is: a string, when it was first there.
pub(super) fn relay_key(relay: &str) -> String {
    format!("{PREFIX}relay:{relay}")
}

/// The session, a hash of its user and its owner; what it began, a hash by request; what it forgot, a sorted set.
pub(super) fn session_keys(session: SessionKey) -> [String; 3] {
    let name: String = session.0.iter().map(|byte| format!("{byte:02x}")).collect();
    ["", ":begun", ":forgotten"].map(|part| format!("{PREFIX}session:{name}{part}"))
}

/// There for a while after a session has ended, a string.
pub(super) fn ended_key(session: SessionKey) -> String {
    let [session, ..] = session_keys(session);
    format!("{session}:ended")
}

/// What the key of a lock begins with.
pub(super) const LOCK: &str = "{faasm-relay}:lock:";

/// What the key begins with that says that a taker is over.
pub(super) const LOCK_OVER: &str = "{faasm-relay}:lock-over:";

/// A lock, a string; its queue, a sorted set; when each in the queue asked last, a hash.
pub(super) fn lock_keys(name: &str) -> [String; 3] {
    [
        format!("{LOCK}{name}"),
        format!("{PREFIX}lock-queue:{name}"),
        format!("{PREFIX}lock-seen:{name}"),
    ]
}

/// The names of an owner's locks, a set.
pub(super) fn locks_key(owner: &str) -> String {
    format!("{PREFIX}locks:{owner}")
}

/// A request's number with 20 digits, so that numbers sort as text: those of Lua end at 2^53.
pub(super) fn number(request: u64) -> String {
    format!("{request:020}")
}

/// The number of a request, from how it is written.
pub(super) fn request(number: &str) -> Option<RequestId> {
    number.parse().ok().map(RequestId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_users_never_meet() {
        assert_eq!(state_key("ada", "b_c").unwrap(), "ada_b_c");
        assert_eq!(user_and_key("ada_b_c"), Some(("ada", "b_c")));
        let refused = state_key("ada_b", "c").unwrap_err();
        assert!(refused.to_string().contains("`ada_b`"), "{refused}");
    }

    #[test]
    fn numbers_sort_as_text() {
        assert!(number(9) < number(10) && number(10) < number(u64::MAX));
        assert_eq!(request(&number(u64::MAX)), Some(RequestId(u64::MAX)));
        assert_eq!(request("no number"), None);
    }
}
