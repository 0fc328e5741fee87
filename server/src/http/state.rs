//! `GET`, `HEAD` and `PUT /s/USER/KEY`: whole state values, in the format of Faasm's endpoint of 2020.
//!
//! A page pulls and pushes the parts that it needs over its session; this interface is for programs that initialise
//! values before functions run, and read them afterwards.

use super::answer::{charged, streamed};
use super::body::{self, Arrived, Bound};
use super::files::decode;
use super::{Answer, HttpContext, Refusal, plain};
use crate::budget::{Account, Kind};
use crate::store::{StateStore, StoreError};
use bytes::Bytes;
use faasm_bridge::state::{Chunk, StateError};
use faasm_bridge::wire::{MAX_KEY_BYTES, MAX_PAYLOAD_BYTES, TRANSFER_BYTES, is_valid_name};
use futures_util::stream::{Stream, unfold};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::sync::Arc;

/// Maximum size of a write: it is one transaction, so it is buffered as a whole first.
const MAX_WRITE_BYTES: usize = MAX_PAYLOAD_BYTES;

/// Maximum size of a value that is sent as a snapshot, as in a session's reply.
const AT_ONCE_BYTES: u64 = TRANSFER_BYTES;

/// Maximum piece of a longer value: the memory that a slow reader holds.
const PIECE_BYTES: u64 = 256 * 1024;

const BYTES: &str = "application/octet-stream";

/// User and key of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) user: String,
    key: String,
}

/// Parses the path after `/s/`. Keys are any text, and percent-encoded; `/` need not be.
pub(super) fn name(path: &str) -> Result<Name, Refusal> {
    let named = path.split_once('/').and_then(|(user, key)| {
        let key = decode(key).filter(|key| !key.is_empty() && key.len() <= MAX_KEY_BYTES)?;
        is_valid_name(user).then(|| Name { user: user.to_owned(), key })
    });
    named.ok_or_else(|| {
        let what = format!(
            "state values are at /s/USER/KEY; a user has A-Z a-z 0-9 _ - and ., and does not start with a dot, a key has 1 to {MAX_KEY_BYTES} bytes of percent-encoded UTF-8"
        );
        Refusal::new(StatusCode::BAD_REQUEST, what)
    })
}

/// Writes the whole value.
pub(super) async fn receive(
    context: &HttpContext,
    name: Name,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let bound = Bound { what: "a state value written over HTTP", bytes: MAX_WRITE_BYTES };
    context.app.check_key(&name.key).map_err(refusal)?;
    let Name { user, key } = name;
    let account = context.config.budget.user(&user);
    let body = body::receive(request, bound, &context.config.limits, &account).await?;
    let Arrived { bytes, charge: _charge } = body;
    let size = bytes.len() as u64;
    let chunks = vec![Chunk { offset: 0, bytes: bytes.into() }];
    context.app.state.write(&user, &key, size, chunks).await.map_err(refusal)?;
    tracing::debug!(user, key, bytes = size, "state written");
    let body = serde_json::json!({ "user": user, "key": key, "bytes": size });
    Ok(plain(StatusCode::OK, "application/json", body.to_string()))
}

/// Sends the whole value, or only its size.
pub(super) async fn send(
    context: &HttpContext,
    name: Name,
    method: &Method,
) -> Result<Answer, Refusal> {
    context.app.check_key(&name.key).map_err(refusal)?;
    let account = context.config.budget.user(&name.user);
    let wants_bytes = *method != Method::HEAD;
    let mut answer = value(&context.app.state, name, wants_bytes, &account).await?;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(BYTES));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

/// A value of up to [`AT_ONCE_BYTES`] is a snapshot, charged to its user until it is sent; a longer one is sent in
/// pieces.
async fn value(
    state: &Arc<dyn StateStore>,
    name: Name,
    wants_bytes: bool,
    account: &Account,
) -> Result<Answer, Refusal> {
    let wanted = if wants_bytes { PIECE_BYTES } else { 0 };
    let read = state.read(&name.user, &name.key, 0, Some(wanted)).await.map_err(refusal)?;
    let Some(size) = read.size else {
        let Name { user, key } = name;
        let what = format!("user `{user}` has no state `{key}`: write it first");
        return Err(Refusal::new(StatusCode::NOT_FOUND, what));
    };
    if wants_bytes && size <= AT_ONCE_BYTES {
        let charge = account.charge(Kind::Answer, size as usize)?;
        let mut bytes = read.chunk.bytes;
        if size > PIECE_BYTES {
            // Read again from the start: the first piece read above may be older.
            let read = state.read(&name.user, &name.key, 0, Some(size)).await.map_err(refusal)?;
            bytes = read.chunk.bytes;
        }
        return Ok(streamed(StatusCode::OK, BYTES, charged(bytes, charge)));
    }
    let mut answer = if wants_bytes {
        let pieces = pieces(Arc::clone(state), name, size, read.chunk.bytes);
        Response::new(StreamBody::new(pieces).boxed_unsync())
    } else {
        plain(StatusCode::OK, BYTES, "")
    };
    answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    Ok(answer)
}

/// A value in pieces; its size never changes. Each piece is read after the client has accepted the one before, so that
/// a slow reader holds the memory of one piece.
fn pieces(
    state: Arc<dyn StateStore>,
    name: Name,
    size: u64,
    first: Bytes,
) -> impl Stream<Item = Result<Frame<Bytes>, StoreError>> + Send + 'static {
    let at = (state, name, 0, Some(first));
    unfold(at, move |(state, name, offset, ready)| async move {
        let piece = match ready {
            Some(first) => first,
            None if offset >= size => return None,
            None => match state.read(&name.user, &name.key, offset, Some(PIECE_BYTES)).await {
                Ok(read) => read.chunk.bytes,
                Err(error) => {
                    tracing::error!(%error, "sending a state value is aborted");
                    return Some((Err(error), (state, name, size, None)));
                }
            },
        };
        let next = match piece.len() as u64 {
            // Ends the loop if the value is shorter than its size.
            0 => size,
            length => offset + length,
        };
        Some((Ok(Frame::data(piece)), (state, name, next, None)))
    })
}

fn refusal(error: StoreError) -> Refusal {
    let status = match &error {
        StoreError::State(StateError::SizeMismatch { .. }) => StatusCode::CONFLICT,
        StoreError::State(StateError::TooLarge { .. }) | StoreError::ValueTooLong { .. } => {
            StatusCode::PAYLOAD_TOO_LARGE
        }
        StoreError::OtherKind { .. } => StatusCode::CONFLICT,
        StoreError::OverDisk(over) => return over.clone().into(),
        StoreError::EmptyValue { .. }
        | StoreError::UserName { .. }
        | StoreError::Reserved { .. } => StatusCode::BAD_REQUEST,
        StoreError::State(_)
        | StoreError::SessionLost { .. }
        | StoreError::ElementTooLong { .. }
        | StoreError::ListFull { .. }
        | StoreError::Deadlock { .. }
        | StoreError::LockLost { .. }
        | StoreError::LocksFull { .. }
        | StoreError::NoLocks { .. }
        | StoreError::Backend { .. }
        | StoreError::Uncertain { .. } => {
            tracing::error!(%error, "state over HTTP");
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    Refusal::new(status, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{Bounds, Budget};
    use crate::store::Stores;

    #[tokio::test]
    async fn a_value_of_several_pieces_is_sent_as_a_snapshot_and_charged_meanwhile() {
        let state = Stores::in_memory().unwrap().state;
        let size = 2 * PIECE_BYTES + 7;
        let write = async |byte: u8| {
            let chunk = Chunk { offset: 0, bytes: vec![byte; size as usize].into() };
            state.write("ada", "k", size, vec![chunk]).await.unwrap();
        };
        write(1).await;
        let budget = Budget::new(Bounds { relay: u64::MAX, user: 3 * size / 2 });
        let account = budget.user("ada");
        let name = || Name { user: "ada".into(), key: "k".into() };
        let answer = value(&state, name(), true, &account).await.unwrap();
        assert_eq!(answer.headers()[header::CONTENT_LENGTH], size.to_string());
        let second = value(&state, name(), true, &account).await.unwrap_err();
        assert_eq!(second.status, StatusCode::TOO_MANY_REQUESTS);
        write(2).await;
        let sent = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(sent.len() as u64 == size && sent.iter().all(|byte| *byte == 1));
        drop(sent);
        assert_eq!(budget.used(), 0);
        let answer = value(&state, name(), true, &account).await.unwrap();
        let sent = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(sent.iter().all(|byte| *byte == 2));
    }

    #[test]
    fn a_key_is_any_text_and_a_user_is_a_name() {
        let named = |path| name(path).ok().map(|Name { user, key }| (user, key));
        let expected = |key: &str| Some(("ada".to_owned(), key.to_owned()));
        assert_eq!(named("ada/k"), expected("k"));
        assert_eq!(named("ada/a/b%2Fc%20%c3%bc"), expected("a/b/c ü"));
        assert_eq!(named("ada/../k"), expected("../k"));
        for bad in ["", "ada", "ada/", "/k", ".ada/k", "a%20b/k", "ada/%ff", "ada/%4"] {
            assert_eq!(named(bad), None, "{bad}");
        }
    }
}
