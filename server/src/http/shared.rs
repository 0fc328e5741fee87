//! `PUT`, `GET` and `HEAD /files/PATH`: the files that functions of all users can read.

use super::body::{self, Bound};
use super::files::decode;
use super::{Answer, Refusal, Site, plain};
use crate::store::{StoreError, is_valid_path};
use hyper::body::Incoming;
use hyper::{Request, StatusCode};

/// The path that what follows `/files/` names.
pub(super) fn path(encoded: &str) -> Result<String, Refusal> {
    decode(encoded).filter(|path| is_valid_path(path)).ok_or_else(|| {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "shared files are at /files/PATH; a path has names with / between them, none of them . or ..",
        )
    })
}

pub(super) async fn receive(
    site: &Site,
    path: String,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let limits = &site.config.limits;
    let bound = Bound { what: "a shared file", bytes: limits.file_bytes };
    let file = body::receive(request, bound, limits).await?;
    let bytes = file.len();
    site.app.files.write_file(&path, file).await.map_err(unavailable)?;
    tracing::info!(path, bytes, "shared file stored");
    let body = serde_json::json!({ "path": path, "bytes": bytes });
    Ok(plain(StatusCode::OK, "application/json", body.to_string()))
}

pub(super) async fn send(site: &Site, path: &str) -> Result<Answer, Refusal> {
    match site.app.files.read_file(path).await.map_err(unavailable)? {
        Some(bytes) => Ok(plain(StatusCode::OK, "application/octet-stream", bytes)),
        None => Err(Refusal::not_found(&format!("/files/{path}"))),
    }
}

fn unavailable(error: StoreError) -> Refusal {
    tracing::error!(%error, "shared file");
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}
