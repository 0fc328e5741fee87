//! `GET /openapi.json`: the HTTP interface, as OpenAPI 3.1. `cargo xtask api` checks the relay against it.

use super::{Answer, plain};
use hyper::StatusCode;

/// Written by hand; a test in `route.rs` compares its paths and methods with the routes.
pub(super) const DOCUMENT: &str = include_str!("openapi.json");

pub(super) fn answer() -> Answer {
    plain(StatusCode::OK, "application/json", DOCUMENT)
}
