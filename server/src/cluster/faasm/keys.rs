//! Maps a user's lists to keys of the cluster's state, and reserves keys for the relay.
//!
//! In the Redis of a Faasm cluster a value and a list with the same key are one entry, and a worker crashes if a
//! function uses the wrong kind. So lists of untrusted users have separate keys, for guarded functions and pages alike
//! ([`list_key`]). Workers cannot remove a list either: a function that clears a list starts its next generation, which
//! pages follow for all users.

use super::Trusted;
use crate::store::{StateStore, StoreError};
use faasm_bridge::faasm::{MAX_LIST_ELEMENT, RESERVED, cleared_key, generation, list_key};
use faasm_bridge::wire::Request;
use std::sync::Arc;

/// Longest value of a generation, bytes.
const GENERATION_BYTES: u64 = 8;

/// Translates the keys of requests.
#[derive(Clone)]
pub struct Keys {
    trusted: Trusted,
    state: Arc<dyn StateStore>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("trusted", &self.trusted).finish_non_exhaustive()
    }
}

impl Keys {
    pub fn new(trusted: Trusted, state: Arc<dyn StateStore>) -> Self {
        Self { trusted, state }
    }

    /// Translates a request, with a payload of this many bytes, to the cluster's key.
    ///
    /// # Errors
    /// [`StoreError::Reserved`] for the relay's keys, [`StoreError::ElementTooLong`] for elements that guarded
    /// functions could not read; or the list's generation cannot be read.
    pub async fn place(
        &self,
        user: &str,
        request: Request,
        payload: usize,
    ) -> Result<Request, StoreError> {
        match &request {
            Request::ReadState { key, .. }
            | Request::WriteState { key, .. }
            | Request::ReadWhole { key, .. }
            | Request::WriteStaged { key, .. }
            | Request::AppendState { key }
            | Request::ReadAppended { key, .. }
            | Request::ClearAppended { key }
                if key.starts_with(RESERVED) =>
            {
                return Err(StoreError::Reserved { key: key.clone() });
            }
            Request::AppendState { key }
                if payload > MAX_LIST_ELEMENT && !self.trusted.has(user) =>
            {
                let (bytes, most) = (payload as u64, MAX_LIST_ELEMENT as u64);
                return Err(StoreError::ElementTooLong { key: key.clone(), bytes, most });
            }
            _ => {}
        }
        Ok(match request {
            Request::AppendState { key } => {
                Request::AppendState { key: self.list(user, key).await? }
            }
            Request::ReadAppended { key, count } => {
                Request::ReadAppended { key: self.list(user, key).await?, count }
            }
            Request::ClearAppended { key } => {
                Request::ClearAppended { key: self.list(user, key).await? }
            }
            request => request,
        })
    }

    /// The cluster's key of a list.
    ///
    /// # Errors
    /// The list's generation cannot be read.
    pub async fn list(&self, user: &str, key: String) -> Result<String, StoreError> {
        let value =
            self.state.read(user, &cleared_key(&key), 0, Some(GENERATION_BYTES)).await?.chunk.bytes;
        // An invalid value was written by a function, which thereby loses its own lists only.
        match generation(&value).unwrap_or(0) {
            0 if self.trusted.has(user) => Ok(key),
            generation => Ok(list_key(&key, generation)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Stores;
    use faasm_bridge::state::Chunk;

    fn append(key: &str) -> Request {
        Request::AppendState { key: key.into() }
    }

    async fn keys(generation: &[u8]) -> Keys {
        let state = Stores::in_memory().unwrap().state;
        for user in ["ada", "bob"] {
            if !generation.is_empty() {
                let chunks = vec![Chunk { offset: 0, bytes: generation.to_vec().into() }];
                let size = generation.len() as u64;
                state.write(user, ".faasm.cleared.l", size, chunks).await.unwrap();
            }
        }
        Keys::new(Trusted::new(vec!["ada".into()]), state)
    }

    #[tokio::test]
    async fn lists_of_users_who_are_not_trusted_are_kept_apart_from_values() {
        let keys = keys(b"").await;
        for (user, list) in [("ada", "l"), ("bob", ".faasm.list.00000000.l")] {
            assert_eq!(keys.place(user, append("l"), 1).await.unwrap(), append(list));
            let read = |key: &str| Request::ReadAppended { key: key.into(), count: 3 };
            assert_eq!(keys.place(user, read("l"), 0).await.unwrap(), read(list));
            let clear = |key: &str| Request::ClearAppended { key: key.into() };
            assert_eq!(keys.place(user, clear("l"), 0).await.unwrap(), clear(list));
            let write =
                |key: &str| Request::WriteState { key: key.into(), size: 0, chunks: vec![] };
            assert_eq!(keys.place(user, write("l"), 0).await.unwrap(), write("l"));
        }
    }

    #[tokio::test]
    async fn a_list_that_a_function_cleared_is_the_next_one() {
        let list = append(".faasm.list.0000000a.l");
        for user in ["ada", "bob"] {
            assert_eq!(keys(b"0000000a").await.place(user, append("l"), 1).await.unwrap(), list);
        }
        let broken = keys(b"nonsense").await;
        assert_eq!(broken.place("ada", append("l"), 1).await.unwrap(), append("l"));
    }

    #[tokio::test]
    async fn reserved_keys_and_long_elements_are_refused() {
        let keys = keys(b"").await;
        let read = Request::ReadState { key: ".faasm.function.f".into(), offset: 0, length: None };
        let key = || ".faasm.function.f".to_owned();
        let whole = Request::ReadWhole { key: key(), offset: 0, length: None, read: 1 };
        let staged =
            Request::WriteStaged { key: key(), size: 1, write: 1, parts: 1, chunks: vec![] };
        for request in [append(".faasm.list.00000000.l"), read, whole, staged] {
            let error = keys.place("ada", request, 1).await.unwrap_err();
            assert!(matches!(error, StoreError::Reserved { .. }), "{error}");
        }
        let most = MAX_LIST_ELEMENT;
        assert!(keys.place("bob", append("l"), most).await.is_ok());
        let error = keys.place("bob", append("l"), most + 1).await.unwrap_err();
        assert!(error.to_string().contains("16385 bytes"), "{error}");
        assert!(keys.place("ada", append("l"), most + 1).await.is_ok());
    }
}
