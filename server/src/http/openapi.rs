//! `GET /openapi.json`: what can be asked for over HTTP, as OpenAPI 3.1. `cargo xtask api` holds the relay to it.

use super::{Answer, plain};
use hyper::StatusCode;

/// Written by hand; a test in `route.rs` compares its paths and methods with the routes.
pub(super) const DOCUMENT: &str = include_str!("openapi.json");

pub(super) fn answer() -> Answer {
    plain(StatusCode::OK, "application/json", DOCUMENT)
}
