//! The upload server: functions and shared files go through it, and state values where the cluster keeps state in memory.
//!
//! What it cannot do shows here. A value is read and written as a whole, so a part of it costs as much as all of it, and
//! two relays that write parts of one value at the same time can undo each other's; one relay does one after the other. An empty
//! value is no value, a key is one name of a path, and there are no lists. A cluster that keeps its state in Redis has none of
//! these limits.

use super::NonAtomicJournal;
use super::http::{Answer, Ask, AskError, Endpoint, Peer};
use crate::cluster::ClusterError;
use crate::store::{
    FileStore, MAX_FILE_BYTES, StateRead, StateStore, StoreError, Stores, is_valid_path,
};
use bytes::Bytes;
use faasm_bridge::state::{Chunk, MAX_VALUE_BYTES, StateError};
use futures_util::future::BoxFuture;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// For a function: the server compiles it before it answers.
const FUNCTION_TIME: Duration = Duration::from_secs(120);

/// For an answer to whether it is there.
const PING_TIME: Duration = Duration::from_secs(2);

/// For a value or a file.
const TRANSFER_TIME: Duration = Duration::from_secs(30);

/// Longest answer that is only a text, bytes.
const SHORT_ANSWER: usize = 64 * 1024;

/// Longest key that is taken, bytes: it is a part of a path.
const MAX_KEY: usize = 1024;

/// Names a shared file.
const FILE_PATH: HeaderName = HeaderName::from_static("filepath");

/// What it says of a file that is a folder.
const FOLDER: &str = "IS_DIR";

/// Values whose writers wait for each other.
const TURNS: usize = 256;

/// An upload server.
pub struct Upload {
    peer: Peer,
    /// Of values, by a hash of their names: reading and writing again is one step.
    turns: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("endpoint", self.peer.endpoint()).finish_non_exhaustive()
    }
}

impl Upload {
    /// With at most so many connections.
    pub fn new(endpoint: Endpoint, connections: usize) -> Self {
        let turns = (0..TURNS).map(|_| Mutex::default()).collect();
        let hasher = RandomState::new();
        Self { peer: Peer::new(endpoint, connections), turns, hasher }
    }

    /// These stores, with the cluster's files in the place of theirs; and its state, where the cluster keeps that in its
    /// workers' memory, which only this server reaches from outside. What else there is stays the relay's own.
    pub fn with_cluster_state(self: &Arc<Self>, stores: Stores, has_state: bool) -> Stores {
        let files: Arc<dyn FileStore> = Arc::clone(self) as _;
        if !has_state {
            return Stores { files, ..stores };
        }
        let state: Arc<dyn StateStore> = Arc::clone(self) as _;
        let journal = NonAtomicJournal::of(stores.journal, Arc::clone(&state));
        Stores { state, files, journal, ..stores }
    }

    /// Whether it is there.
    ///
    /// # Errors
    /// What it said, or why it said nothing.
    pub async fn ping(&self, time: Duration) -> Result<(), String> {
        let ask = Ask {
            method: Method::GET,
            path: "/ping".to_owned(),
            header: None,
            body: Bytes::new(),
            time,
            most: SHORT_ANSWER,
        };
        let answer = self.peer.ask(ask).await.map_err(|error| error.to_string())?;
        if answer.says(StatusCode::OK, "PONG") { Ok(()) } else { Err(answer.shown()) }
    }

    /// Hands a function over, as the toolchain made it.
    pub(super) async fn put_function(
        &self,
        user: &str,
        function: &str,
        wasm: Vec<u8>,
    ) -> Result<(), ClusterError> {
        let ask = Ask {
            method: Method::PUT,
            path: format!("/f/{user}/{function}"),
            header: None,
            body: wasm.into(),
            time: FUNCTION_TIME,
            most: SHORT_ANSWER,
        };
        let answer = match self.peer.ask(ask).await {
            Ok(answer) => answer,
            Err(AskError::NotSent(why)) => {
                let advice = "start it, or correct cluster.upload; `faasm-relay doctor` looks whether it answers";
                let what = format!("the upload server is not there: {why}; {advice}");
                return Err(ClusterError::Unavailable(what));
            }
            Err(error) => {
                // Its compiler takes the process with it where it cannot compile a module.
                let is_there = self.ping(PING_TIME).await.is_ok();
                let advice = if is_there {
                    "its log says more; upload the function again"
                } else {
                    "it does not answer any more, so the function may have ended it: start it again, and look at its log before you upload this function again"
                };
                return Err(ClusterError::Unavailable(format!(
                    "the upload server gave no answer to {user}/{function}, which was not stored: {error}; {advice}"
                )));
            }
        };
        if answer.status == StatusCode::OK {
            return Ok(());
        }
        let said = answer.shown();
        Err(ClusterError::Unavailable(format!(
            "the upload server did not take {user}/{function}: it said {said}; its log says more"
        )))
    }

    fn turn(&self, user: &str, key: &str) -> &Mutex<()> {
        let hash = self.hasher.hash_one((user, key));
        &self.turns[usize::try_from(hash % TURNS as u64).unwrap_or(0)]
    }

    /// The value, if it is there.
    async fn value(&self, user: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        const ACTION: &str = "read state from the upload server";
        let path = state_path(user, key).map_err(|why| failed(ACTION, why))?;
        let most = usize::try_from(MAX_VALUE_BYTES).unwrap_or(usize::MAX);
        let answer = self.get(path, None, most).await.map_err(|why| failed(ACTION, why))?;
        found(answer).map_err(|why| failed(ACTION, why))
    }

    async fn get(
        &self,
        path: String,
        header: Option<(HeaderName, HeaderValue)>,
        most: usize,
    ) -> Result<Answer, String> {
        let (method, body) = (Method::GET, Bytes::new());
        let ask = Ask { method, path, header, body, time: TRANSFER_TIME, most };
        self.peer.ask(ask).await.map_err(|error| error.to_string())
    }

    async fn put(
        &self,
        action: &'static str,
        path: String,
        header: Option<(HeaderName, HeaderValue)>,
        body: Vec<u8>,
    ) -> Result<(), StoreError> {
        let (method, body) = (Method::PUT, body.into());
        let ask = Ask { method, path, header, body, time: TRANSFER_TIME, most: SHORT_ANSWER };
        let answer = self.peer.ask(ask).await.map_err(|error| match error {
            AskError::NotSent(reason) => StoreError::Backend { action, reason },
            error => StoreError::Uncertain { action, reason: error.to_string() },
        })?;
        match answer.status {
            StatusCode::OK => Ok(()),
            StatusCode::BAD_REQUEST => Err(failed(action, answer.shown())),
            _ => Err(StoreError::Uncertain { action, reason: answer.shown() }),
        }
    }
}

fn failed(action: &'static str, reason: impl Into<String>) -> StoreError {
    StoreError::Backend { action, reason: reason.into() }
}

/// What an answer has; nothing where the server says that.
fn found(answer: Answer) -> Result<Option<Vec<u8>>, String> {
    match answer.status {
        StatusCode::OK => Ok(Some(answer.body)),
        // A key that nobody has is an exception there, with a text of its own.
        StatusCode::INTERNAL_SERVER_ERROR => Ok(None),
        _ => Err(answer.shown()),
    }
}

/// Where a value is. The server splits paths at slashes and does not decode them.
fn state_path(user: &str, key: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.~".contains(&byte);
    let fits = !key.is_empty() && key.len() <= MAX_KEY && key.bytes().all(is_plain);
    if !fits || key.bytes().all(|byte| byte == b'.') {
        let shown: String = key.chars().take(40).collect();
        return Err(format!(
            "key `{shown}` cannot be part of a path: with state in the cluster's memory a key has 1 to {MAX_KEY} of A-Z a-z 0-9 _ - . and ~; with state in Redis it is any text"
        ));
    }
    Ok(format!("/s/{user}/{key}"))
}

/// The part of a value that is asked for.
fn part(value: Bytes, offset: u64, length: Option<u64>) -> StateRead {
    let size = value.len() as u64;
    let start = offset.min(size);
    let end = length.map_or(size, |length| start.saturating_add(length).min(size));
    let at = |place: u64| usize::try_from(place).unwrap_or(value.len());
    // A part would keep all of it.
    let bytes = match (at(start), at(end)) {
        (0, end) if end == value.len() => value,
        (start, end) => Bytes::copy_from_slice(&value[start..end]),
    };
    StateRead { size: Some(size), chunk: Chunk { offset, bytes } }
}

impl StateStore for Upload {
    fn read<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        offset: u64,
        length: Option<u64>,
    ) -> BoxFuture<'a, Result<StateRead, StoreError>> {
        Box::pin(async move {
            Ok(match self.value(user, key).await? {
                Some(value) => part(value.into(), offset, length),
                None => StateRead { size: None, chunk: Chunk { offset, bytes: Vec::new().into() } },
            })
        })
    }

    fn write<'a>(
        &'a self,
        user: &'a str,
        key: &'a str,
        size: u64,
        chunks: Vec<Chunk>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            const ACTION: &str = "write state to the upload server";
            if size > MAX_VALUE_BYTES {
                return Err(StateError::TooLarge { key: key.to_owned(), size }.into());
            }
            let path = state_path(user, key).map_err(|why| failed(ACTION, why))?;
            let _turn = self.turn(user, key).lock().await;
            let mut value = self.value(user, key).await?.unwrap_or_default();
            let have = value.len() as u64;
            if have == 0 {
                value.resize(usize::try_from(size).unwrap_or(usize::MAX), 0);
            } else if have != size {
                return Err(
                    StateError::SizeMismatch { key: key.to_owned(), have, asked: size }.into()
                );
            }
            for chunk in chunks {
                let (start, end) =
                    (chunk.offset, chunk.offset.saturating_add(chunk.bytes.len() as u64));
                let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
                let place = range.and_then(|(start, end)| value.get_mut(start..end));
                let place = place.ok_or_else(|| StateError::OutOfRange {
                    key: key.to_owned(),
                    start,
                    end,
                    size,
                })?;
                place.copy_from_slice(&chunk.bytes);
            }
            if value.is_empty() {
                // To the server it is none.
                return Err(StoreError::EmptyValue { key: key.to_owned() });
            }
            self.put(ACTION, path, None, value).await
        })
    }

    fn append<'a>(
        &'a self,
        _user: &'a str,
        key: &'a str,
        _element: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        no_lists("append to a list", key)
    }

    fn read_appended<'a>(
        &'a self,
        _user: &'a str,
        key: &'a str,
        _count: u32,
    ) -> BoxFuture<'a, Result<Vec<u8>, StoreError>> {
        no_lists("read a list", key)
    }

    fn clear_appended<'a>(
        &'a self,
        _user: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        no_lists("clear a list", key)
    }
}

fn no_lists<'a, T: Send + 'a>(
    action: &'static str,
    key: &'a str,
) -> BoxFuture<'a, Result<T, StoreError>> {
    Box::pin(async move {
        Err(failed(
            action,
            format!(
                "`{key}`: from outside, a cluster that keeps state in memory has no lists; keep the cluster's state in Redis"
            ),
        ))
    })
}

impl FileStore for Upload {
    fn read_file<'a>(
        &'a self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        Box::pin(async move {
            const ACTION: &str = "read a shared file from the upload server";
            if !is_valid_path(path) {
                return Ok(None);
            }
            let header = file_header(path).map_err(|why| failed(ACTION, why))?;
            let answer = self.get("/file".to_owned(), Some(header), MAX_FILE_BYTES).await;
            let answer = answer.map_err(|why| failed(ACTION, why))?;
            if answer.says(StatusCode::OK, FOLDER) {
                return Ok(None);
            }
            found(answer).map_err(|why| failed(ACTION, why))
        })
    }

    fn write_file<'a>(
        &'a self,
        path: &'a str,
        bytes: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            const ACTION: &str = "store a shared file on the upload server";
            if bytes.is_empty() {
                return Err(failed(
                    ACTION,
                    format!("{path} is empty, and the server takes no empty files"),
                ));
            }
            let header = file_header(path).map_err(|why| failed(ACTION, why))?;
            self.put(ACTION, "/file".to_owned(), Some(header), bytes).await
        })
    }
}

/// The header that names a file.
fn file_header(path: &str) -> Result<(HeaderName, HeaderValue), String> {
    let value = HeaderValue::from_str(path).map_err(|_| {
        format!("path `{path}` cannot be in a header, which is how the server takes it")
    })?;
    Ok((FILE_PATH, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_name_of_a_path() {
        assert_eq!(state_path("ada", "a.b-c_d~").unwrap(), "/s/ada/a.b-c_d~");
        for bad in ["", "a/b", "a b", "a%20", "a?b", "ü", ".", "..", &"x".repeat(MAX_KEY + 1)] {
            assert!(state_path("ada", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parts_end_where_the_value_does() {
        let read = |offset, length| part(Bytes::from_static(b"abcdef"), offset, length).chunk.bytes;
        assert_eq!(read(0, None), b"abcdef"[..]);
        assert_eq!(read(2, Some(3)), b"cde"[..]);
        assert_eq!(read(4, Some(u64::MAX)), b"ef"[..]);
        assert_eq!(read(6, None), b""[..]);
        assert_eq!(read(u64::MAX, Some(1)), b""[..]);
    }
}
