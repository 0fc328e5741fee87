//! `PUT /f/USER/FUNCTION`: a function as the toolchain made it.

use super::{Answer, Refusal, Site, plain};
use crate::cluster::{ClusterError, MAX_FUNCTION_BYTES};
use faasm_bridge::wire::is_valid_name;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::{Request, StatusCode};
use std::time::Duration;

/// Longest an upload may take to arrive.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(120);

/// User and function of what follows `/f/`.
pub(super) fn names(path: &str) -> Result<(String, String), Refusal> {
    match path.split_once('/') {
        Some((user, function)) if is_valid_name(user) && is_valid_name(function) => {
            Ok((user.to_owned(), function.to_owned()))
        }
        _ => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "functions are uploaded to /f/USER/FUNCTION; names have A-Z a-z 0-9 _ - and ., and do not begin with a dot",
        )),
    }
}

pub(super) async fn receive(
    site: &Site,
    user: String,
    function: String,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let body = request.into_body();
    if body.size_hint().lower() > MAX_FUNCTION_BYTES as u64 {
        return Err(too_large());
    }
    let arriving = Limited::new(body, MAX_FUNCTION_BYTES).collect();
    let wasm = match tokio::time::timeout(UPLOAD_TIMEOUT, arriving).await {
        Ok(Ok(body)) => body.to_bytes().to_vec(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
        Ok(Err(error)) => {
            let what = format!("the function did not arrive: {error}");
            return Err(Refusal::new(StatusCode::BAD_REQUEST, what));
        }
        Err(_) => {
            let what = format!("the function did not arrive in {} s", UPLOAD_TIMEOUT.as_secs());
            return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, what));
        }
    };
    let uploaded = site.app.cluster.upload(user.clone(), function.clone(), wasm).await;
    let uploaded = uploaded.map_err(|error| match error {
        ClusterError::NotAFunction(why) => {
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, format!("not a function: {why}"))
        }
        error => {
            tracing::error!(%error, user, function, "upload failed");
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
        }
    })?;
    tracing::info!(user, function, bytes = uploaded.bytes, "function uploaded");
    let body = serde_json::json!({
        "user": user,
        "function": function,
        "integrity": uploaded.integrity,
        "bytes": uploaded.bytes,
    });
    Ok(plain(StatusCode::OK, "application/json", body.to_string()))
}

fn too_large() -> Refusal {
    let what =
        format!("a function has at most {MAX_FUNCTION_BYTES} bytes; strip debug information");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, what)
}
