//! Client of the upload server: for functions and shared files, and for state values if the cluster keeps state in
//! memory.
//!
//! The server has limits. It reads and writes values as a whole, so a partial access costs as much as a full one, and
//! two relays that concurrently write parts of one value can overwrite each other's change; one relay serialises its
//! writes. An empty value does not exist, a key is one path segment, and there are no lists. A cluster that keeps its
//! state in Redis has none of these limits.

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

/// Time limit for uploading a function: the server compiles it before it responds.
const FUNCTION_TIME: Duration = Duration::from_secs(120);

/// Time limit of a health check.
const PING_TIME: Duration = Duration::from_secs(2);

/// Time limit for a value or a file.
const TRANSFER_TIME: Duration = Duration::from_secs(30);

/// Size limit of plain-text responses, bytes.
const SHORT_ANSWER: usize = 64 * 1024;

/// Longest key, bytes: it becomes a path segment.
const MAX_KEY: usize = 1024;

/// Header with the path of a shared file.
const FILE_PATH: HeaderName = HeaderName::from_static("filepath");

/// The server's response if the path is a folder.
const FOLDER: &str = "IS_DIR";

/// Number of locks that serialise writers of values.
const TURNS: usize = 256;

/// Client of an upload server.
pub struct Upload {
    peer: Peer,
    /// Locks of values, by hash of their names: they make read-modify-write atomic.
    turns: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("endpoint", self.peer.endpoint()).finish_non_exhaustive()
    }
}

impl Upload {
    /// A client with at most this many connections.
    pub fn new(endpoint: Endpoint, connections: usize) -> Self {
        let turns = (0..TURNS).map(|_| Mutex::default()).collect();
        let hasher = RandomState::new();
        Self { peer: Peer::new(endpoint, connections), turns, hasher }
    }

    /// These stores with the cluster's shared files; and with the cluster's state if it is in its workers' memory,
    /// which only this server can access from outside. Everything else stays in the relay's stores.
    pub fn with_cluster_state(self: &Arc<Self>, stores: Stores, has_state: bool) -> Stores {
        let files: Arc<dyn FileStore> = Arc::clone(self) as _;
        if !has_state {
            return Stores { files, ..stores };
        }
        let state: Arc<dyn StateStore> = Arc::clone(self) as _;
        let journal = NonAtomicJournal::of(stores.journal, Arc::clone(&state));
        Stores { state, files, journal, ..stores }
    }

    /// Checks whether the server responds.
    ///
    /// # Errors
    /// The unexpected response, or why there was none.
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

    /// Uploads a function.
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
                let advice = "start it, or correct cluster.upload; `faasm-relay doctor` checks whether it responds";
                let what = format!("the upload server is unreachable: {why}; {advice}");
                return Err(ClusterError::Unavailable(what));
            }
            Err(error) => {
                // The server's compiler aborts the process if it cannot compile a module.
                let is_there = self.ping(PING_TIME).await.is_ok();
                let advice = if is_there {
                    "see its log; upload the function again"
                } else {
                    "the server no longer responds, so the function may have crashed it: restart it, and check its log before you upload this function again"
                };
                return Err(ClusterError::Unavailable(format!(
                    "the upload server did not respond to the upload of {user}/{function}, which was not stored: {error}; {advice}"
                )));
            }
        };
        if answer.status == StatusCode::OK {
            return Ok(());
        }
        let said = answer.shown();
        Err(ClusterError::Unavailable(format!(
            "the upload server rejected {user}/{function}: {said}; see its log"
        )))
    }

    fn turn(&self, user: &str, key: &str) -> &Mutex<()> {
        let hash = self.hasher.hash_one((user, key));
        &self.turns[usize::try_from(hash % TURNS as u64).unwrap_or(0)]
    }

    /// The value, if it exists.
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

/// The body of a response; `None` if the server reports that the value or file does not exist.
fn found(answer: Answer) -> Result<Option<Vec<u8>>, String> {
    match answer.status {
        StatusCode::OK => Ok(Some(answer.body)),
        // For a missing key the server reports an exception, with status 500.
        StatusCode::INTERNAL_SERVER_ERROR => Ok(None),
        _ => Err(answer.shown()),
    }
}

/// Path of a value. The server splits paths at slashes and does not decode them.
fn state_path(user: &str, key: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.~".contains(&byte);
    let fits = !key.is_empty() && key.len() <= MAX_KEY && key.bytes().all(is_plain);
    if !fits || key.bytes().all(|byte| byte == b'.') {
        let shown: String = key.chars().take(40).collect();
        return Err(format!(
            "key `{shown}` cannot be a path segment: with state in the cluster's memory a key has 1 to {MAX_KEY} characters of A-Z a-z 0-9 _ - . and ~; with state in Redis any text is allowed"
        ));
    }
    Ok(format!("/s/{user}/{key}"))
}

/// The requested part of a value.
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
                // For the server an empty value does not exist.
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
                "`{key}`: a cluster that keeps state in memory does not give access to lists; keep the cluster's state in Redis"
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
                    format!("{path} is empty, and the server does not accept empty files"),
                ));
            }
            let header = file_header(path).map_err(|why| failed(ACTION, why))?;
            self.put(ACTION, "/file".to_owned(), Some(header), bytes).await
        })
    }
}

/// The header with a file's path.
fn file_header(path: &str) -> Result<(HeaderName, HeaderValue), String> {
    let value = HeaderValue::from_str(path)
        .map_err(|_| format!("path `{path}` cannot be sent in a header, as the server requires"))?;
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
