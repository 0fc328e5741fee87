//! The upload server.

use crate::lock;
use crate::reply::Reply;
use crate::server::{FullRequest, Handler, Server};
use crate::setup::Engine;
use crate::wamr;
use anyhow::Result;
use bytes::Bytes;
use faasm_bridge::state::Chunk;
use faasm_relay::cluster::Cluster;
use faasm_relay::store::{FileStore, StateStore};
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Response};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Weak};

/// A server for functions, state values and shared files.
pub struct Upload {
    server: Arc<Server>,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("url", &self.url()).finish()
    }
}

struct Inner {
    engine: Engine,
    cluster: Arc<dyn Cluster>,
    state: Arc<dyn StateStore>,
    files: Arc<dyn FileStore>,
    /// The server around this, once it runs.
    server: Mutex<Weak<Server>>,
}

impl Upload {
    /// Starts an upload server that uploads functions to this cluster, and serves its state and files.
    ///
    /// # Errors
    /// When its address cannot be bound.
    pub async fn start(
        address: SocketAddr,
        cluster: Arc<dyn Cluster>,
        state: Arc<dyn StateStore>,
        files: Arc<dyn FileStore>,
    ) -> Result<Self> {
        Self::start_as(Engine::default(), address, cluster, state, files).await
    }

    /// Like [`Upload::start`], as another engine; [`Engine::Lenient`] answers 500 if a function cannot be compiled.
    ///
    /// # Errors
    /// When its address cannot be bound.
    pub async fn start_as(
        engine: Engine,
        address: SocketAddr,
        cluster: Arc<dyn Cluster>,
        state: Arc<dyn StateStore>,
        files: Arc<dyn FileStore>,
    ) -> Result<Self> {
        let inner = Arc::new(Inner { engine, cluster, state, files, server: Mutex::default() });
        let behind = Arc::clone(&inner);
        let handler: Handler = Arc::new(move |request| {
            let inner = Arc::clone(&behind);
            Box::pin(async move { inner.answer(request).await.map(permissive) })
        });
        let server = Arc::new(Server::start(address, handler).await?);
        *lock(&inner.server) = Arc::downgrade(&server);
        Ok(Self { server })
    }

    /// `http://HOST:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Ends the server as an abort of its process would.
    pub fn abort(&self) {
        self.server.die();
    }

    pub fn is_alive(&self) -> bool {
        self.server.is_alive()
    }

    /// Restarts the server under its address.
    ///
    /// # Errors
    /// When its address cannot be bound.
    pub async fn restart(&self) -> Result<()> {
        self.server.restart().await
    }
}

fn permissive(reply: Reply) -> Response<Full<Bytes>> {
    let mut response = reply.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    let methods = HeaderValue::from_static("GET,POST,PUT,OPTIONS");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    response
}

/// The answer for a value or file that is empty or missing.
fn empty() -> Reply {
    Reply::new(500, "Empty response")
}

impl Inner {
    /// `None` if the request ends the server.
    async fn answer(&self, request: FullRequest) -> Option<Reply> {
        let path = request.uri().path().to_owned();
        let is_put = request.method() == Method::PUT;
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let file = request.headers().get("FilePath").and_then(|path| path.to_str().ok());
        let file = file.map(str::to_owned);
        let body = request.into_body();
        let reply = match (is_put, parts.as_slice(), file) {
            (false, ["ping"], _) => Reply::new(200, "PONG"),
            (true, ["f", user, function, ..], _) => {
                // The upload server compiles the module at once.
                if self.engine == Engine::Faasm029Wamr && wamr::refuses(&body).is_some() {
                    if let Some(server) = lock(&self.server).upgrade() {
                        server.die();
                    }
                    return None;
                }
                let (user, function) = ((*user).to_owned(), (*function).to_owned());
                match self.cluster.upload(user, function, body.to_vec()).await {
                    Ok(_) => Reply::new(200, "Function upload complete\n"),
                    Err(error) => Reply::new(500, error.to_string()),
                }
            }
            (false, ["s", user, key, ..], _) => match self.state.read(user, key, 0, None).await {
                Ok(read) if read.size.unwrap_or(0) > 0 => Reply::new(200, read.chunk.bytes),
                Ok(_) => empty(),
                Err(error) => Reply::new(500, error.to_string()),
            },
            (true, ["s", user, key, ..], _) => {
                let size = body.len() as u64;
                let chunks = vec![Chunk { offset: 0, bytes: body.to_vec().into() }];
                if size == 0 {
                    return Some(Reply::new(200, ""));
                }
                match self.state.write(user, key, size, chunks).await {
                    Ok(()) => Reply::new(200, ""),
                    Err(error) => Reply::new(500, error.to_string()),
                }
            }
            (false, ["file"], Some(path)) => match self.files.read_file(&path).await {
                Ok(Some(bytes)) if !bytes.is_empty() => Reply::new(200, bytes),
                Ok(_) => empty(),
                Err(error) => Reply::new(500, error.to_string()),
            },
            (true, ["file"], Some(path)) => {
                match self.files.write_file(&path, body.to_vec()).await {
                    Ok(()) => Reply::new(200, ""),
                    Err(error) => Reply::new(500, error.to_string()),
                }
            }
            (_, ["file"], None) => {
                Reply::new(400, "Bad request, expected file path header FilePath")
            }
            (false, ..) => Reply::new(400, format!("Unrecognised GET request to {path}")),
            (true, ..) => Reply::new(400, format!("Unrecognised PUT request to {path}")),
        };
        Some(reply)
    }
}
