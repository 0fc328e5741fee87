//! Bodies of uploads, bounded in size and time.

use super::Refusal;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::{Request, StatusCode};
use std::time::Duration;

/// Longest an upload may take to arrive.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(120);

/// What is uploaded, for messages, and how long it may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) what: &'static str,
    pub(super) bytes: usize,
}

impl Bound {
    fn too_large(self) -> Refusal {
        let what = format!("{} has at most {} bytes", self.what, self.bytes);
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, what)
    }
}

/// The whole body.
pub(super) async fn receive(request: Request<Incoming>, bound: Bound) -> Result<Vec<u8>, Refusal> {
    let body = request.into_body();
    if body.size_hint().lower() > bound.bytes as u64 {
        return Err(bound.too_large());
    }
    let arriving = Limited::new(body, bound.bytes).collect();
    match tokio::time::timeout(UPLOAD_TIMEOUT, arriving).await {
        Ok(Ok(body)) => Ok(body.to_bytes().to_vec()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(bound.too_large()),
        Ok(Err(error)) => {
            let what = format!("{} did not arrive: {error}", bound.what);
            Err(Refusal::new(StatusCode::BAD_REQUEST, what))
        }
        Err(_) => {
            let seconds = UPLOAD_TIMEOUT.as_secs();
            let what = format!("{} did not arrive in {seconds} s", bound.what);
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, what))
        }
    }
}
