//! Names of keys in Redis.
//!
//! State has the keys of Faasm's workers, `USER_KEY`. All other keys begin with [`PREFIX`], with which no user's name
//! begins.

use crate::store::{SessionKey, StoreError};
use faasm_bridge::wire::RequestId;

/// Prefix of the relays' own keys. User names have no braces.
const PREFIX: &str = "{faasm-relay}:";

/// Key of a value or list.
///
/// # Errors
/// When the user's name has an underscore: the key could be another user's.
pub(super) fn state_key(user: &str, key: &str) -> Result<String, StoreError> {
    if user.contains('_') {
        return Err(StoreError::UserName { user: user.to_owned() });
    }
    Ok(format!("{user}_{key}"))
}

/// User and key of a value, the inverse of the key's construction.
pub(super) fn user_and_key(state_key: &str) -> Option<(&str, &str)> {
    state_key.split_once('_')
}

/// Channel on which writes of values are announced: the relay that wrote, and the value's key.
pub(super) const WRITTEN: &str = "{faasm-relay}:written";

/// A hash: content hash and original. Names have no slashes.
pub(super) fn function_key(user: &str, function: &str) -> String {
    format!("{PREFIX}function:{user}/{function}")
}

pub(super) fn file_key(path: &str) -> String {
    format!("{PREFIX}file:{path}")
}

/// Exists while a relay is alive: a string, the time of its start.
pub(super) fn relay_key(relay: &str) -> String {
    format!("{PREFIX}relay:{relay}")
}

/// The session, a hash of its user and its owner; its entries, a hash by request; its acknowledged ranges, a sorted
/// set.
pub(super) fn session_keys(session: SessionKey) -> [String; 3] {
    let name: String = session.0.iter().map(|byte| format!("{byte:02x}")).collect();
    ["", ":begun", ":forgotten"].map(|part| format!("{PREFIX}session:{name}{part}"))
}

/// Tombstone of an ended session, a string that expires.
pub(super) fn ended_key(session: SessionKey) -> String {
    let [session, ..] = session_keys(session);
    format!("{session}:ended")
}

/// Prefix of lock keys.
pub(super) const LOCK: &str = "{faasm-relay}:lock:";

/// Prefix of the tombstones of takers.
pub(super) const LOCK_OVER: &str = "{faasm-relay}:lock-over:";

/// A lock, a string; its queue, a sorted set; the last poll of each waiting taker, a hash.
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

/// A request's number with 20 digits, so that numbers sort as text: Lua's numbers are exact only up to 2^53.
pub(super) fn number(request: u64) -> String {
    format!("{request:020}")
}

/// Parses a request's number.
pub(super) fn request(number: &str) -> Option<RequestId> {
    number.parse().ok().map(RequestId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_different_users_differ() {
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
