//! Tokens of HTTP requests: `Authorization: Bearer`.

use super::Refusal;
use crate::auth::{Denied, Grant, Operation};
use crate::session::Admission;
use faasm_bridge::ErrorCode;
use faasm_bridge::explain::with_link;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap};

/// Checks that the request's token allows an operation, and, if given, for this user.
pub(super) fn check(
    admission: &Admission,
    headers: &HeaderMap,
    user: Option<&str>,
    operation: Operation<'_>,
) -> Result<(), Refusal> {
    let checked = admission.grant(token(headers)?).and_then(|grant| {
        user.map_or(Ok(()), |user| grant.check_user(user))?;
        grant.check(operation)
    });
    checked.map_err(|denied| {
        tracing::info!(?operation, reason = %denied, "request refused");
        Refusal::from(denied)
    })
}

/// What the request's token allows, for its own user.
pub(super) fn grant(admission: &Admission, headers: &HeaderMap) -> Result<Grant, Refusal> {
    admission.grant(token(headers)?).map_err(|denied| {
        tracing::info!(reason = %denied, "request refused");
        Refusal::from(denied)
    })
}

fn token(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    // The scheme is case-insensitive (RFC 9110).
    let token = text
        .and_then(|text| text.split_once(' '))
        .and_then(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()));
    token.map(Some).ok_or_else(|| {
        Denied::Invalid("send it as a single header `Authorization: Bearer TOKEN`".to_owned())
            .into()
    })
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        let wants_a_token = denied.wants_a_token();
        let status = if wants_a_token { StatusCode::UNAUTHORIZED } else { StatusCode::FORBIDDEN };
        let message = with_link(denied, ErrorCode::Refused.as_str());
        Refusal { wants_a_token, ..Refusal::new(status, message) }
    }
}
