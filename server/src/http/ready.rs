//! `GET /readyz`: whether this relay should receive requests. `/healthz` only shows that the process answers.

use super::{Answer, HttpContext, Refusal, plain};
use hyper::StatusCode;
use std::time::Duration;

/// Time limit for the store.
const TIME_LIMIT: Duration = Duration::from_secs(2);

/// An invalid user name, whose value is read as a probe.
const NOBODY: &str = ".";

pub(super) async fn answer(context: &HttpContext) -> Result<Answer, Refusal> {
    let not_ready =
        |why: String| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}"));
    if context.sessions.is_draining() {
        return Err(not_ready("the relay stops; use another relay".to_owned()));
    }
    let asked = context.app.state.read(NOBODY, "ready", 0, Some(0));
    match tokio::time::timeout(TIME_LIMIT, asked).await {
        Ok(Ok(_)) => Ok(plain(StatusCode::OK, "text/plain", "ready\n")),
        Ok(Err(error)) => Err(not_ready(error.to_string())),
        Err(_) => {
            let seconds = TIME_LIMIT.as_secs();
            Err(not_ready(format!(
                "the store did not answer for {seconds} s: look at its disk, or at Redis"
            )))
        }
    }
}
