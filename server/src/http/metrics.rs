//! `GET /metrics`: what the relay does, in numbers.
//!
//! They are about all users, so with tokens it takes one with the right `metrics`, and without tokens only this machine and
//! the relay's own pages are answered. There is no rule by address where there are tokens: behind a proxy everybody comes from
//! this machine.

use super::{Answer, HttpContext, plain};
use crate::metrics::{CONTENT_TYPE, Census};
use hyper::StatusCode;

pub(super) fn answer(context: &HttpContext) -> Answer {
    let (sessions, connected) = context.sessions.count();
    let census = Census { sessions, connected, instances: context.app.cluster.usage() };
    plain(StatusCode::OK, CONTENT_TYPE, context.metrics.text(census, &context.config.budget))
}
