//! `GET /metrics`: metrics of the relay.
//!
//! Metrics cover all users. If the relay has tokens, the request needs one with the right `metrics`; otherwise only
//! requests of this machine and of the relay's own pages are answered. With tokens the address does not matter: behind
//! a proxy all requests come from this machine.

use super::{Answer, HttpContext, plain};
use crate::metrics::{CONTENT_TYPE, Census};
use hyper::StatusCode;

pub(super) fn answer(context: &HttpContext) -> Answer {
    let (sessions, connected) = context.sessions.count();
    let census = Census { sessions, connected, instances: context.app.cluster.usage() };
    plain(StatusCode::OK, CONTENT_TYPE, context.metrics.text(census, &context.config.budget))
}
