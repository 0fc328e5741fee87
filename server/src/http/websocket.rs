//! `GET /ws`: upgrades HTTP to a WebSocket that carries a session.

use super::{Answer, HttpContext, Refusal, Visitor, plain};
use crate::session::{Watched, serve_websocket, websocket_config};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, StatusCode, Version};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Version of the WebSocket protocol (RFC 6455).
pub(super) const WEBSOCKET_VERSION: &str = "13";

/// Answers the upgrade and spawns a task for the WebSocket. `Origin` and `Host` have been checked.
pub(super) fn upgrade(
    context: &Arc<HttpContext>,
    visitor: Visitor,
    mut request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let headers = request.headers();
    if request.version() < Version::HTTP_11 {
        // RFC 6455, 4.2.1. HTTP/1.0 has no upgrade, and no status that requests one (RFC 9110, 7.8).
        let what = "a WebSocket starts with an HTTP/1.1 request: configure the proxy in front to use it (nginx: proxy_http_version 1.1)";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, what));
    }
    if !has_token(headers, header::CONNECTION, "upgrade")
        || !has_token(headers, header::UPGRADE, "websocket")
    {
        return Err(Refusal::new(
            StatusCode::UPGRADE_REQUIRED,
            "/ws accepts WebSocket upgrades only",
        ));
    }
    if !has_token(headers, header::SEC_WEBSOCKET_VERSION, WEBSOCKET_VERSION) {
        let what = format!("the WebSocket version must be {WEBSOCKET_VERSION}");
        return Err(Refusal::new(StatusCode::UPGRADE_REQUIRED, what));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    let Some(accept) = key.map(|key| derive_accept_key(key.as_bytes())) else {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is missing"));
    };
    let accept = HeaderValue::try_from(accept)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))?;

    let upgrading = hyper::upgrade::on(&mut request);
    let context = Arc::clone(context);
    tokio::spawn(async move {
        let upgraded = match upgrading.await {
            Ok(upgraded) => Watched::new(TokioIo::new(upgraded)),
            Err(error) => return tracing::debug!(%error, "upgrade failed"),
        };
        let config = Some(websocket_config(context.config.limits.frame_bytes));
        let socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, config).await;
        let (app, sessions) = (context.app.clone(), Arc::clone(&context.sessions));
        serve_websocket(socket, app, sessions, context.config.timings.clone(), context.stopping())
            .await;
        drop(visitor);
    });

    let mut answer = plain(StatusCode::SWITCHING_PROTOCOLS, "text/plain", "");
    let headers = answer.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(answer)
}

/// Whether a comma-separated header contains this token.
fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let values = headers.get_all(name);
    values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|found| found.trim().eq_ignore_ascii_case(token))
}
