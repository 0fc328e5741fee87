//! HTTP client for one server of a cluster: a bounded connection pool; every request has a deadline, every response a
//! size limit, and every error says whether the server can have seen the request.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// Time limit for connecting.
const CONNECT_TIME: Duration = Duration::from_secs(2);

/// How long an idle connection is kept. Shorter than on servers: if a server closes a connection while a batch is being
/// written to it, the call's outcome is unknown.
const IDLE_TIME: Duration = Duration::from_secs(5);

/// Address of a server: `http://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Uri);

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{text}` {why}; give it as http://HOST:PORT");
        let uri: Uri = text.parse().map_err(|error| wrong(&format!("is no URL ({error})")))?;
        let scheme = uri.scheme_str().ok_or_else(|| wrong("has no scheme"))?;
        if scheme != "http" {
            return Err(wrong("is not plain HTTP, and Faasm supports only that"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("has a user, which Faasm does not support"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("has a path"));
        }
        Ok(Self(uri))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_string().trim_end_matches('/'))
    }
}

impl Endpoint {
    /// URL of a path on the server.
    fn at(&self, path: &str) -> Result<Uri, AskError> {
        let address = format!("{self}{path}");
        address.parse().map_err(|error| AskError::NotSent(format!("{address}: {error}")))
    }
}

/// Why a request has no response.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum AskError {
    /// The server cannot have seen the request.
    #[error("{0}")]
    NotSent(String),
    /// The server may have seen the request.
    #[error("{0}")]
    Lost(String),
    /// The response exceeds its size limit.
    #[error("the response has more than {0} bytes")]
    TooLong(usize),
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) header: Option<(HeaderName, HeaderValue)>,
    pub(super) body: Bytes,
    /// Time limit from waiting for a connection to the last byte of the response.
    pub(super) time: Duration,
    /// Size limit of the response, bytes.
    pub(super) most: usize,
}

/// A response of any status.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The start of the body, for messages.
    pub(super) fn shown(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let start: String = text.trim().chars().take(200).collect();
        format!("{} `{start}`", self.status.as_u16())
    }

    /// Whether the response has this status and, ignoring surrounding blanks, this text.
    pub(super) fn says(&self, status: StatusCode, text: &str) -> bool {
        self.status == status && self.body.trim_ascii() == text.as_bytes()
    }
}

/// A server and its connection pool.
pub(super) struct Peer {
    endpoint: Endpoint,
    client: Client<HttpConnector, Full<Bytes>>,
    /// Permits for concurrent requests; each uses one connection.
    room: Semaphore,
}

impl Peer {
    pub(super) fn new(endpoint: Endpoint, connections: usize) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIME));
        // The client itself resends a request over another connection if the pooled one turns out to be closed before
        // any byte was written; no other request is sent twice.
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(connections)
            .build(connector);
        let room = Semaphore::new(connections.min(Semaphore::MAX_PERMITS));
        Self { endpoint, client, room }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) async fn ask(&self, ask: Ask) -> Result<Answer, AskError> {
        let Ask { method, path, header, body, time, most } = ask;
        let until = Instant::now() + time;
        let to = &self.endpoint;
        let seconds = time.as_secs_f64();
        let late = |what: &str| format!("{to}: {what} within {seconds} s");
        let _permit = match timeout_at(until, self.room.acquire()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) | Err(_) => return Err(AskError::NotSent(late("no connection is free"))),
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = to.at(&path)?;
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(header);
        let asking = timeout_at(until, self.client.request(request)).await;
        let answer = asking.map_err(|_| AskError::Lost(late("no answer")))?.map_err(|error| {
            let why = format!("{to}: {}", whole(&error));
            if error.is_connect() { AskError::NotSent(why) } else { AskError::Lost(why) }
        })?;
        let status = answer.status();
        let reading = read(answer.into_body(), most);
        let read = timeout_at(until, reading).await;
        let body = read.map_err(|_| AskError::Lost(late("no complete response")))??;
        Ok(Answer { status, body })
    }
}

async fn read(mut incoming: hyper::body::Incoming, most: usize) -> Result<Vec<u8>, AskError> {
    let mut body = Vec::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| AskError::Lost(whole(&error)))?;
        let Ok(bytes) = frame.into_data() else { continue };
        if body.len() + bytes.len() > most {
            return Err(AskError::TooLong(most));
        }
        body.extend_from_slice(&bytes);
    }
    Ok(body)
}

/// An error with its causes.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_and_nothing_else() {
        for good in ["http://127.0.0.1:8080", "http://planner:8080/", "http://[::1]:1"] {
            let endpoint: Endpoint = good.parse().unwrap();
            assert_eq!(endpoint.to_string(), good.trim_end_matches('/'));
        }
        for bad in
            ["", "planner:8080", "https://p:1", "http://p:1/x", "http://p:1/?q", "http://a@p"]
        {
            let why = bad.parse::<Endpoint>().unwrap_err();
            assert!(why.contains("http://HOST:PORT"), "{why}");
        }
    }
}
