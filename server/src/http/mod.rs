//! Routes, and what every answer has in common.

mod body;
mod fetch;
mod files;
mod origin;
mod shared;
mod upload;
mod websocket;

use crate::config::{App, Config};
use crate::session::Sessions;
use bytes::Bytes;
use files::Files;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use origin::Guard;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, watch};

pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Keeps a connection's place among those the server has room for.
pub(crate) type Place = Arc<OwnedSemaphorePermit>;

/// Everything a request can need.
pub(crate) struct Site {
    config: Config,
    app: App,
    sessions: Arc<Sessions>,
    guard: Guard,
    files: Option<Files>,
    stopping: watch::Receiver<bool>,
}

impl Site {
    pub(crate) fn new(
        config: Config,
        app: App,
        address: SocketAddr,
        stopping: watch::Receiver<bool>,
    ) -> io::Result<Self> {
        let guard = Guard::new(address, &config.allow_hosts, &config.allow_origins);
        let files = config.web.as_deref().map(Files::new).transpose()?;
        let kept = config.timings.session_kept;
        let sessions = Arc::new(Sessions::new(Arc::clone(&app.journal), kept));
        Ok(Self { config, app, sessions, guard, files, stopping })
    }

    /// Lets what runs in sessions end, and begins nothing new.
    pub(crate) async fn drain(&self) {
        self.sessions.drain(self.config.timings.drain).await;
    }

    /// Turns true when the server stops.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.clone()
    }
}

/// Answers one request.
pub(crate) async fn answer(site: Arc<Site>, place: Place, request: Request<Incoming>) -> Answer {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let origin = request.headers().get(header::ORIGIN).cloned();
    let routed = route(&site, place, request).await;
    let mut answer = routed.unwrap_or_else(Refusal::into_answer);
    let headers = answer.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(origin) = origin.filter(|origin| site.guard.is_allowed_elsewhere(origin)) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
    tracing::debug!(%method, path, status = answer.status().as_u16(), "request");
    answer
}

async fn route(
    site: &Arc<Site>,
    place: Place,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let path = request.uri().path();
    if path == "/ws" {
        only(&request, &[Method::GET])?;
        site.guard.check(request.headers())?;
        return websocket::upgrade(site, place, request);
    }
    if let Some(action) = fetch::action(path) {
        if request.method() == Method::OPTIONS {
            return preflight(site, &request, "POST");
        }
        only(&request, &[Method::POST])?;
        site.guard.check(request.headers())?;
        return fetch::answer(site, action, request).await;
    }
    if let Some(name) = path.strip_prefix("/f/") {
        if request.method() == Method::OPTIONS {
            return preflight(site, &request, "PUT");
        }
        only(&request, &[Method::PUT])?;
        site.guard.check(request.headers())?;
        let (user, function) = upload::names(name)?;
        return upload::receive(site, user, function, request).await;
    }
    if let Some(path) = path.strip_prefix("/files/") {
        if request.method() == Method::OPTIONS {
            return preflight(site, &request, "PUT");
        }
        only(&request, &[Method::GET, Method::PUT])?;
        // Reading too: what functions share is not for other sites.
        site.guard.check(request.headers())?;
        let path = shared::path(path)?;
        return match *request.method() {
            Method::PUT => shared::receive(site, path, request).await,
            _ => shared::send(site, &path).await,
        };
    }
    only(&request, &[Method::GET, Method::HEAD])?;
    match (path, &site.files) {
        ("/healthz", _) => Ok(plain(StatusCode::OK, "text/plain", "ok\n")),
        (_, Some(files)) => files.answer(&request).await,
        (_, None) => Err(Refusal::not_found(path)),
    }
}

/// What a browser asks before a page of an allowed site sends something.
fn preflight(
    site: &Site,
    request: &Request<Incoming>,
    method: &'static str,
) -> Result<Answer, Refusal> {
    site.guard.check(request.headers())?;
    let mut answer = plain(StatusCode::NO_CONTENT, "text/plain", "");
    let headers = answer.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(method));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
    Ok(answer)
}

fn only(request: &Request<Incoming>, methods: &[Method]) -> Result<(), Refusal> {
    if methods.contains(request.method()) {
        return Ok(());
    }
    let allowed: Vec<&str> = methods.iter().map(Method::as_str).collect();
    let allowed = allowed.join(", ");
    let what = format!("{} takes {allowed}, not {}", request.uri().path(), request.method());
    Err(Refusal { allow: Some(allowed), ..Refusal::new(StatusCode::METHOD_NOT_ALLOWED, what) })
}

/// An answer that says what was wrong with a request.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    message: String,
    /// For the `Allow` header.
    allow: Option<String>,
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), allow: None }
    }

    fn not_found(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is nothing at {path}"))
    }

    fn into_answer(self) -> Answer {
        let body = serde_json::json!({ "error": self.message }).to_string();
        let mut answer = plain(self.status, "application/json", body);
        let allow = self.allow.as_deref().map(HeaderValue::from_str);
        if let Some(Ok(allow)) = allow {
            answer.headers_mut().insert(header::ALLOW, allow);
        }
        if self.status == StatusCode::PAYLOAD_TOO_LARGE {
            // The rest of the body is not read.
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

fn plain(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
