//! Routes, and what every answer has in common.

mod access;
mod body;
mod fetch;
mod files;
mod message;
mod origin;
mod shared;
mod upload;
mod websocket;

use crate::auth::Operation;
use crate::config::{App, Config, Limits};
use crate::server::Visitor;
use crate::session::{Gate, Sessions};
use crate::tls::Tls;
use bytes::Bytes;
use files::Files;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use origin::{Guard, Known};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;

pub(crate) use message::read as read_message;

pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Everything a request can need.
pub(crate) struct Site {
    config: Config,
    app: App,
    sessions: Arc<Sessions>,
    /// Calls that came as messages.
    calls: message::Calls,
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
        let known = Known {
            address,
            is_tls: config.tls.is_some(),
            hosts: &config.allow_hosts,
            origins: &config.allow_origins,
        };
        let guard = Guard::new(&known, config.tokens.is_some());
        let files = config.web.as_deref().map(Files::new).transpose()?;
        let gate = Gate::new(config.tokens.clone(), config.limits.clone());
        let kept = config.timings.session_kept;
        let sessions = Arc::new(Sessions::new(gate, Arc::clone(&app.journal), kept));
        let calls = message::Calls::default();
        Ok(Self { config, app, sessions, calls, guard, files, stopping })
    }

    /// Lets what runs in sessions end, and begins nothing new.
    pub(crate) async fn drain(&self) {
        self.sessions.drain(self.config.timings.drain).await;
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.config.limits
    }

    pub(crate) fn tls(&self) -> Option<&Tls> {
        self.config.tls.as_ref()
    }

    /// Turns true when the server stops.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.clone()
    }
}

/// Answers one request.
pub(crate) async fn answer(
    site: Arc<Site>,
    visitor: Visitor,
    request: Request<Incoming>,
) -> Answer {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let origin = request.headers().get(header::ORIGIN).cloned();
    let routed = route(&site, visitor, request).await;
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
    visitor: Visitor,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let path = request.uri().path();
    if path == "/ws" {
        only(&request, &[Method::GET])?;
        site.guard.check_acting(request.headers(), visitor.peer())?;
        return websocket::upgrade(site, visitor, request);
    }
    if path == "/" && request.method() == Method::POST {
        site.guard.check_acting(request.headers(), visitor.peer())?;
        return message::answer(site, request).await;
    }
    if path == "/" && request.method() == Method::OPTIONS {
        return preflight(site, &request, "POST");
    }
    if let Some(action) = fetch::action(path) {
        if request.method() == Method::OPTIONS {
            return preflight(site, &request, "POST");
        }
        only(&request, &[Method::POST])?;
        site.guard.check_acting(request.headers(), visitor.peer())?;
        return fetch::answer(site, action, request).await;
    }
    if let Some(name) = path.strip_prefix("/f/") {
        if request.method() == Method::OPTIONS {
            return preflight(site, &request, "PUT");
        }
        only(&request, &[Method::PUT])?;
        site.guard.check_acting(request.headers(), visitor.peer())?;
        let (user, function) = upload::names(name)?;
        let operation = Operation::UploadFunction(&function);
        access::check(&site.sessions.gate, request.headers(), Some(&user), operation)?;
        return upload::receive(site, user, function, request).await;
    }
    if let Some(path) = path.strip_prefix("/files/") {
        if request.method() == Method::OPTIONS {
            return preflight(site, &request, "PUT");
        }
        only(&request, &[Method::GET, Method::PUT])?;
        let path = shared::path(path)?;
        let gate = &site.sessions.gate;
        if *request.method() == Method::PUT {
            site.guard.check_acting(request.headers(), visitor.peer())?;
            access::check(gate, request.headers(), None, Operation::UploadFile)?;
            return shared::receive(site, path, request).await;
        }
        // What functions share is not for other sites.
        site.guard.check(request.headers())?;
        access::check(gate, request.headers(), None, Operation::FetchFile)?;
        return shared::send(site, &path).await;
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
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("authorization, content-type"),
    );
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
    /// Another token would help.
    wants_a_token: bool,
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), allow: None, wants_a_token: false }
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
        if self.wants_a_token {
            let scheme = HeaderValue::from_static("Bearer");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        if matches!(self.status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
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
