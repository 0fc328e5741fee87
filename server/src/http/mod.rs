//! Routes, and properties common to all answers.

mod access;
mod answer;
mod body;
mod calls;
mod fetch;
mod files;
mod message;
mod metrics;
mod openapi;
mod origin;
mod ready;
mod route;
mod shared;
mod state;
mod upload;
mod websocket;

use crate::auth::Operation;
use crate::budget::{self, OverBudget, OverDisk};
use crate::cluster::failures::Named;
use crate::config::{App, Config, Limits};
use crate::metrics::{Measured, Metrics, Timed};
use crate::net::{Handshakes, Visitor};
use crate::session::{Admission, Sessions};
use crate::store::{Journal, StoreError};
use crate::tls::Tls;
use bytes::Bytes;
use faasm_bridge::ErrorCode;
use faasm_bridge::explain::with_link;
use fetch::Action;
use files::Files;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};
use origin::{Guard, Known};
use route::Route;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument;

pub(crate) use message::read as read_message;

/// The header in which proxies send a request's id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Private Network Access: a browser's preflight before a page of a public address accesses a private one, and the
/// answer.
const ASKS_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
const ALLOWS_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-allow-private-network");

/// Maximum length of an accepted id.
const MAX_REQUEST_ID_BYTES: usize = 64;

/// Streamed bodies are read from a store while they are sent, and may be aborted.
pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, StoreError>>;

/// State shared by all requests.
pub(crate) struct HttpContext {
    config: Config,
    app: App,
    sessions: Arc<Sessions>,
    metrics: Arc<Metrics>,
    /// Asynchronous calls by `POST /`.
    calls: Arc<calls::Calls>,
    /// Shared files that are being sent.
    sending: shared::Sending,
    guard: Guard,
    handshakes: Handshakes,
    files: Option<Files>,
    /// Counts requests without an id.
    requests: AtomicU64,
    stopping: watch::Receiver<bool>,
}

impl HttpContext {
    pub(crate) fn new(
        config: Config,
        mut app: App,
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
        let budget = config.budget.clone();
        let admission =
            Admission::new(config.tokens.clone(), config.limits.clone(), budget.clone());
        let kept = config.timings.session_kept;
        let metrics = Metrics::new(Some(&*app.cluster));
        app.cluster = Arc::new(Measured::new(app.cluster, Arc::clone(&metrics)));
        app.cluster = Arc::new(Named::new(app.cluster));
        app.state = Arc::new(Timed::new(app.state, Arc::clone(&metrics)));
        let Journal { log, state, notes } = app.journal;
        let log = Arc::new(Timed::new(log, Arc::clone(&metrics)));
        let state = Arc::new(Timed::new(state, Arc::clone(&metrics)));
        app.journal = Journal { log, state, notes };
        let journal = app.journal.clone();
        let (locks, changes) = (app.locks.clone(), Arc::clone(&app.changes));
        let sessions =
            Sessions::new(admission, journal, locks, changes, Arc::clone(&metrics), kept);
        let sessions = Arc::new(sessions);
        let calls = calls::Calls::new(config.timings.session_kept, &budget);
        let sending = shared::Sending::default();
        let handshakes = Handshakes::new(config.limits.handshakes_per_address);
        let requests = AtomicU64::new(1);
        Ok(Self {
            config,
            app,
            sessions,
            metrics,
            calls,
            sending,
            guard,
            handshakes,
            files,
            requests,
            stopping,
        })
    }

    /// Lets running requests of sessions complete, and starts no new ones.
    pub(crate) async fn drain(&self) {
        self.sessions.drain(self.config.timings.drain).await;
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.config.limits
    }

    pub(crate) fn tls(&self) -> Option<&Tls> {
        self.config.tls.as_ref()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Turns true when the server stops.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.clone()
    }
}

/// Answers one request.
pub(crate) async fn answer(
    context: Arc<HttpContext>,
    visitor: Visitor,
    request: Request<Incoming>,
) -> Answer {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let origin = request.headers().get(header::ORIGIN).cloned();
    let span = tracing::info_span!("http", request = %correlation(&context, request.headers()));
    let routed = route(&context, visitor, request).instrument(span.clone()).await;
    let _entered = span.enter();
    let mut answer = routed.unwrap_or_else(Refusal::into_answer);
    let headers = answer.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(origin) = origin.filter(|origin| context.guard.is_allowed_elsewhere(origin)) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
    tracing::debug!(%method, path, status = answer.status().as_u16(), "request");
    answer
}

/// The name of a request in the log: the id given by a proxy, or else a number.
fn correlation(context: &HttpContext, headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    // The id is logged unescaped.
    let is_plain = |id: &&str| {
        let mut bytes = id.bytes();
        (1..=MAX_REQUEST_ID_BYTES).contains(&id.len())
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    match given.filter(is_plain) {
        Some(id) => id.to_owned(),
        None => format!("#{}", context.requests.fetch_add(1, Ordering::Relaxed)),
    }
}

async fn route(
    context: &Arc<HttpContext>,
    visitor: Visitor,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    check_head(&request, context.limits())?;
    // A copy, because handlers consume the request while the route borrows the path.
    let path = request.uri().path().to_owned();
    let route = Route::of(&path);
    let method = request.method().clone();
    if let (&Method::OPTIONS, Some(allowed)) = (&method, route.preflight()) {
        return preflight(context, &request, allowed);
    }
    only(&path, &method, route)?;
    let admission = &context.sessions.admission;
    let headers = request.headers();
    let acting = || context.guard.check_acting(headers, visitor.peer());
    let is_put = method == Method::PUT;
    match route {
        Route::WebSocket => {
            acting()?;
            admit(context, visitor.peer())?;
            websocket::upgrade(context, visitor, request)
        }
        Route::Root if method == Method::POST => {
            acting()?;
            message::answer(context, request).await
        }
        Route::Session(action) => {
            acting()?;
            if let Action::Begin = action {
                admit(context, visitor.peer())?;
            }
            fetch::answer(context, action, request).await
        }
        Route::Function(name) if !is_put => {
            let (user, function) = upload::names(name)?;
            // Other sites must not learn which version a user runs.
            context.guard.check(headers)?;
            let operation = Operation::FetchFunction(&function);
            access::check(admission, headers, Some(&user), operation)?;
            upload::version(context, user, function).await
        }
        Route::Function(name) => {
            acting()?;
            let (user, function) = upload::names(name)?;
            access::check(admission, headers, Some(&user), Operation::UploadFunction(&function))?;
            upload::receive(context, user, function, request).await
        }
        Route::State(name) => {
            // Other sites must not read a user's state, and programs on other machines need the same rights to read as
            // to write.
            acting()?;
            let name = state::name(name)?;
            let operation = if is_put { Operation::StoreState } else { Operation::FetchState };
            access::check(admission, headers, Some(&name.user), operation)?;
            if is_put {
                return state::receive(context, name, request).await;
            }
            state::send(context, name, &method).await
        }
        Route::File(path) if is_put => {
            acting()?;
            let path = shared::path(path)?;
            access::check(admission, headers, None, Operation::UploadFile)?;
            shared::receive(context, path, request).await
        }
        Route::File(path) => {
            let path = shared::path(path)?;
            // Other sites must not read shared files.
            context.guard.check(headers)?;
            access::check(admission, headers, None, Operation::FetchFile)?;
            shared::send(context, &path).await
        }
        Route::Metrics => {
            acting()?;
            access::check(admission, headers, None, Operation::FetchMetrics)?;
            Ok(metrics::answer(context))
        }
        Route::Health => Ok(plain(StatusCode::OK, "text/plain", "ok\n")),
        Route::Ready => ready::answer(context).await,
        Route::OpenApi => Ok(openapi::answer()),
        Route::Root | Route::Web => match &context.files {
            Some(files) => files.answer(&request).await,
            None => Err(Refusal::not_found(&path)),
        },
    }
}

/// Counts a handshake of this address against its rate limit.
fn admit(context: &HttpContext, peer: IpAddr) -> Result<(), Refusal> {
    context.handshakes.count(peer, Instant::now()).map_err(|wait| {
        let limit = context.limits().handshakes_per_address;
        let what = format!(
            "this address starts or resumes more than {limit} sessions a second (limits.handshakes_per_address): wait and connect again"
        );
        let retry_after = Some(wait.as_secs() + 1);
        Refusal { retry_after, ..Refusal::new(StatusCode::TOO_MANY_REQUESTS, what) }
    })
}

/// Checks the `Host` header, and the length of the request's head: hyper's limit is that of a buffer, which a head that
/// arrives at once may exceed.
fn check_head(request: &Request<Incoming>, limits: &Limits) -> Result<(), Refusal> {
    let headers = request.headers();
    if request.version() >= Version::HTTP_11 && !headers.contains_key(header::HOST) {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "the request has no `Host`"));
    }
    // Blanks and line ends in their usual number.
    const START_BYTES: usize = "  HTTP/1.1\r\n\r\n".len();
    const LINE_BYTES: usize = ": \r\n".len();
    let lines = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + LINE_BYTES);
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let bytes = START_BYTES + request.method().as_str().len() + target + lines.sum::<usize>();
    if bytes > limits.header_bytes {
        let what = format!(
            "the request's head has {bytes} bytes; this relay takes at most {}",
            limits.header_bytes
        );
        return Err(Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, what));
    }
    Ok(())
}

/// Answers a preflight of a browser for a page of an allowed site.
fn preflight(
    context: &HttpContext,
    request: &Request<Incoming>,
    method: &'static str,
) -> Result<Answer, Refusal> {
    context.guard.check(request.headers())?;
    let mut answer = plain(StatusCode::NO_CONTENT, "text/plain", "");
    let headers = answer.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(method));
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("authorization, content-type"),
    );
    // A page of a public address and a relay at a private one: the page's origin decides.
    let origin = request.headers().get(header::ORIGIN);
    if request.headers().contains_key(ASKS_PRIVATE_NETWORK)
        && origin.is_some_and(|origin| context.guard.is_allowed_elsewhere(origin))
    {
        headers.insert(ALLOWS_PRIVATE_NETWORK, HeaderValue::from_static("true"));
    }
    Ok(answer)
}

fn only(path: &str, method: &Method, route: Route<'_>) -> Result<(), Refusal> {
    let methods = route.methods();
    if methods.contains(method) {
        return Ok(());
    }
    let allowed: Vec<&str> = methods.iter().map(Method::as_str).collect();
    let allowed = allowed.join(", ");
    let what = format!("{path} takes {allowed}, not {method}");
    Err(Refusal { allow: Some(allowed), ..Refusal::new(StatusCode::METHOD_NOT_ALLOWED, what) })
}

/// An error response that states what was wrong with a request.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    message: String,
    /// For the `Allow` header.
    allow: Option<String>,
    /// Whether another token would help.
    wants_a_token: bool,
    /// Seconds after which the request may be repeated.
    retry_after: Option<u64>,
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { status, message, allow: None, wants_a_token: false, retry_after: None }
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
        let headers = answer.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        match self.status {
            StatusCode::UPGRADE_REQUIRED => {
                let version = HeaderValue::from_static(websocket::WEBSOCKET_VERSION);
                headers.insert(header::SEC_WEBSOCKET_VERSION, version);
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            }
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            }
            _ => {}
        }
        if is_cut_short(self.status) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

/// Whether the rest of the request's body is left unread after this response.
fn is_cut_short(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    )
}

impl From<OverBudget> for Refusal {
    fn from(over: OverBudget) -> Self {
        let status = match over.bound {
            budget::Bound::User => StatusCode::TOO_MANY_REQUESTS,
            budget::Bound::Relay => StatusCode::SERVICE_UNAVAILABLE,
        };
        let code = ErrorCode::OverBudget.as_str();
        Self::new(status, with_link(format!("{code}: {over}"), code))
    }
}

impl From<OverDisk> for Refusal {
    fn from(over: OverDisk) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, format!("over-budget: {over}"))
    }
}

fn plain(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer =
        Response::new(Full::new(body.into()).map_err(|never| match never {}).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
