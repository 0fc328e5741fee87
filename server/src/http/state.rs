//! `GET`, `HEAD` and `PUT /s/USER/KEY`: state values as a whole, as Faasm's endpoint of 2020 has them.
//!
//! A page pulls and pushes the parts it needs over its session; this is for programs that fill a value before functions run,
//! and look at it afterwards.

use super::body::{self, Arrived, Bound};
use super::files::decode;
use super::{Answer, HttpContext, Refusal, plain};
use crate::store::{StateStore, StoreError};
use bytes::Bytes;
use faasm_bridge::state::{Chunk, StateError};
use faasm_bridge::wire::{MAX_KEY_BYTES, MAX_PAYLOAD_BYTES, is_valid_name};
use futures_util::stream::{Stream, unfold};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::sync::Arc;

/// Most bytes written at once: a write is one transaction, all of it or nothing, so all of it has to be here first.
const MAX_WRITE_BYTES: usize = MAX_PAYLOAD_BYTES;

/// Most bytes read at once for an answer: what each slow reader holds.
const PIECE_BYTES: u64 = 256 * 1024;

const BYTES: &str = "application/octet-stream";

/// Whose value a path names, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) user: String,
    key: String,
}

/// User and key of what follows `/s/`. Keys are any text, so theirs is percent-encoded; a `/` need not be.
pub(super) fn name(path: &str) -> Result<Name, Refusal> {
    let named = path.split_once('/').and_then(|(user, key)| {
        let key = decode(key).filter(|key| !key.is_empty() && key.len() <= MAX_KEY_BYTES)?;
        is_valid_name(user).then(|| Name { user: user.to_owned(), key })
    });
    named.ok_or_else(|| {
        let what = format!(
            "state values are at /s/USER/KEY; a user has A-Z a-z 0-9 _ - and ., and does not begin with a dot, a key has 1 to {MAX_KEY_BYTES} bytes of percent-encoded UTF-8"
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
    let chunks = vec![Chunk { offset: 0, bytes }];
    context.app.state.write(&user, &key, size, chunks).await.map_err(refusal)?;
    tracing::debug!(user, key, bytes = size, "state written");
    let body = serde_json::json!({ "user": user, "key": key, "bytes": size });
    Ok(plain(StatusCode::OK, "application/json", body.to_string()))
}

/// The whole value, or only how long it is.
pub(super) async fn send(
    context: &HttpContext,
    name: Name,
    method: &Method,
) -> Result<Answer, Refusal> {
    context.app.check_key(&name.key).map_err(refusal)?;
    let state = Arc::clone(&context.app.state);
    let wants_bytes = *method != Method::HEAD;
    let wanted = if wants_bytes { PIECE_BYTES } else { 0 };
    let read = state.read(&name.user, &name.key, 0, Some(wanted)).await.map_err(refusal)?;
    let Some(size) = read.size else {
        let Name { user, key } = name;
        let what = format!("user `{user}` has no state `{key}`: write it first");
        return Err(Refusal::new(StatusCode::NOT_FOUND, what));
    };
    let mut answer = if wants_bytes {
        let pieces = pieces(state, name, size, read.chunk.bytes);
        Response::new(StreamBody::new(pieces).boxed_unsync())
    } else {
        plain(StatusCode::OK, BYTES, "")
    };
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(BYTES));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

/// A value of this size, which is its size for ever, from its first piece on. Each piece is read when the one before it was
/// taken, so that a slow reader holds one piece of memory.
fn pieces(
    state: Arc<dyn StateStore>,
    name: Name,
    size: u64,
    first: Vec<u8>,
) -> impl Stream<Item = Result<Frame<Bytes>, StoreError>> + Send + 'static {
    let at = (state, name, 0, Some(first));
    unfold(at, move |(state, name, offset, ready)| async move {
        let piece = match ready {
            Some(first) => first,
            None if offset >= size => return None,
            None => match state.read(&name.user, &name.key, offset, Some(PIECE_BYTES)).await {
                Ok(read) => read.chunk.bytes,
                Err(error) => {
                    tracing::error!(%error, "a state value breaks off");
                    return Some((Err(error), (state, name, size, None)));
                }
            },
        };
        let next = match piece.len() as u64 {
            // A value that ended early would be asked for without end.
            0 => size,
            length => offset + length,
        };
        Some((Ok(Frame::data(piece.into())), (state, name, next, None)))
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
