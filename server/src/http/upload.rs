//! `PUT /f/USER/FUNCTION`: uploads an original; `GET`: the hash of the current one.

use super::body::{self, Arrived, Bound};
use super::{Answer, HttpContext, Refusal, plain};
use crate::cluster::{ClusterError, MAX_FUNCTION_BYTES};
use crate::store::StoreError;
use faasm_bridge::explain::with_link;
use faasm_bridge::wire::is_valid_name;
use hyper::body::Incoming;
use hyper::{Request, StatusCode};

/// Parses user and function after `/f/`.
pub(super) fn names(path: &str) -> Result<(String, String), Refusal> {
    match path.split_once('/') {
        Some((user, function)) if is_valid_name(user) && is_valid_name(function) => {
            Ok((user.to_owned(), function.to_owned()))
        }
        _ => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "functions are uploaded to /f/USER/FUNCTION; names have A-Z a-z 0-9 _ - and ., and do not start with a dot",
        )),
    }
}

pub(super) async fn receive(
    context: &HttpContext,
    user: String,
    function: String,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let bound = Bound { what: "a function", bytes: MAX_FUNCTION_BYTES };
    let account = context.config.budget.user(&user);
    let body = body::receive(request, bound, &context.config.limits, &account).await?;
    // The charge lasts until the function is compiled and stored.
    let Arrived { bytes: wasm, charge: _charge } = body;
    let uploaded = context.app.cluster.upload(user.clone(), function.clone(), wasm).await;
    let uploaded = uploaded.map_err(|error| {
        let code = error.code();
        let (status, message) = match error {
            ClusterError::NotAFunction(why) => {
                (StatusCode::UNPROCESSABLE_ENTITY, format!("the function was rejected: {why}"))
            }
            ClusterError::OverBudget(over) => return over.into(),
            ClusterError::Store(StoreError::OverDisk(over)) => return over.into(),
            ClusterError::Busy(why) => (StatusCode::TOO_MANY_REQUESTS, why),
            error => {
                tracing::error!(%error, user, function, "upload failed");
                (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
        };
        Refusal::new(status, with_link(message, code.as_str()))
    })?;
    tracing::info!(user, function, bytes = uploaded.bytes, "function uploaded");
    let body = serde_json::json!({
        "user": user,
        "function": function,
        "integrity": uploaded.integrity,
        "bytes": uploaded.bytes,
        "guarded": uploaded.is_guarded,
        "warnings": uploaded.warnings,
    });
    Ok(plain(StatusCode::OK, "application/json", body.to_string()))
}

/// The hash of the cluster's function, for pages to compare with that of their artefacts' original.
pub(super) async fn version(
    context: &HttpContext,
    user: String,
    function: String,
) -> Result<Answer, Refusal> {
    let found = context.app.cluster.integrity(user.clone(), function.clone()).await;
    let found = found.map_err(|error| {
        tracing::error!(%error, user, function, "version of a function");
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    })?;
    let integrity = found.ok_or_else(|| Refusal::not_found(&format!("/f/{user}/{function}")))?;
    let body = serde_json::json!({ "user": user, "function": function, "integrity": integrity });
    Ok(plain(StatusCode::OK, "application/json", body.to_string()))
}
