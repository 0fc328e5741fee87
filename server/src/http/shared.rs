//! `PUT`, `GET` and `HEAD /files/PATH`: the files that functions of all users can read.

use super::answer::streamed;
use super::body::{self, Arrived, Bound};
use super::files::decode;
use super::{Answer, HttpContext, Refusal, plain};
use crate::budget::{Charge, Kind};
use crate::store::{StoreError, is_valid_path};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::Semaphore;

/// Files that are read concurrently to be sent.
const READ_AT_ONCE: usize = 2;

/// The path encoded after `/files/`.
pub(super) fn path(encoded: &str) -> Result<String, Refusal> {
    decode(encoded).filter(|path| is_valid_path(path)).ok_or_else(|| {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "shared files are at /files/PATH; a path has names separated by /, none of them . or ..",
        )
    })
}

pub(super) async fn receive(
    context: &HttpContext,
    path: String,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let limits = &context.config.limits;
    let bound = Bound { what: "a shared file", bytes: limits.file_bytes };
    let anybody = context.config.budget.anybody();
    let body = body::receive(request, bound, limits, &anybody).await?;
    let Arrived { bytes: file, charge: _charge } = body;
    let bytes = file.len();
    context.app.files.write_file(&path, file).await.map_err(unavailable)?;
    tracing::info!(path, bytes, "shared file stored");
    let body = serde_json::json!({ "path": path, "bytes": bytes });
    Ok(plain(StatusCode::OK, "application/json", body.to_string()))
}

/// Shared files that are being sent: all readers of a file share one copy.
#[derive(Debug)]
pub(super) struct Sending {
    /// Permits for reading a file: each reading holds a copy that may turn out to be a duplicate.
    reading: Semaphore,
    by_path: Mutex<HashMap<String, Weak<Copy>>>,
}

/// A file, charged to no user: it may be any user's.
#[derive(Debug)]
struct Copy {
    bytes: Vec<u8>,
    _charge: Charge,
}

/// A reader's reference to the copy.
struct Reader(Arc<Copy>);

impl AsRef<[u8]> for Reader {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl Default for Sending {
    fn default() -> Self {
        Self { reading: Semaphore::new(READ_AT_ONCE), by_path: Mutex::default() }
    }
}

impl Sending {
    /// The copy to send: one that is already being sent, if it equals the file just read.
    fn share(&self, path: &str, read: Copy) -> Bytes {
        let mut by_path = self.by_path.lock().unwrap_or_else(PoisonError::into_inner);
        by_path.retain(|_, copy| copy.strong_count() > 0);
        let sent = by_path.get(path).and_then(Weak::upgrade);
        let copy = match sent.filter(|sent| sent.bytes == read.bytes) {
            Some(sent) => sent,
            None => {
                let new = Arc::new(read);
                by_path.insert(path.to_owned(), Arc::downgrade(&new));
                new
            }
        };
        Bytes::from_owner(Reader(copy))
    }
}

pub(super) async fn send(context: &HttpContext, path: &str) -> Result<Answer, Refusal> {
    // The semaphore is never closed.
    let _reading = context.sending.reading.acquire().await;
    let missing = || Refusal::not_found(&format!("/files/{path}"));
    let most =
        context.app.files.file_bytes(path).await.map_err(unavailable)?.ok_or_else(missing)?;
    let mut charge = context.config.budget.nobody().nothing(Kind::Answer);
    charge.grow(most)?;
    let read = context.app.files.read_file(path).await.map_err(unavailable)?;
    let bytes = read.ok_or_else(missing)?;
    charge.set_anyway(bytes.len() as u64);
    let bytes = context.sending.share(path, Copy { bytes, _charge: charge });
    Ok(streamed(StatusCode::OK, "application/octet-stream", bytes))
}

fn unavailable(error: StoreError) -> Refusal {
    if let StoreError::OverDisk(over) = error {
        return over.into();
    }
    tracing::error!(%error, "shared file");
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}
