//! A server that can crash: its address stays the same, and everything else ends at once, as in a process that aborts.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// A request with its whole body.
pub(crate) type FullRequest = Request<Bytes>;

/// Answers a request; `None` closes the connection.
pub(crate) type Handler =
    Arc<dyn Fn(FullRequest) -> BoxFuture<'static, Option<Response<Full<Bytes>>>> + Send + Sync>;

/// A server, running or not.
pub(crate) struct Server {
    address: SocketAddr,
    handler: Handler,
    running: Mutex<Option<JoinHandle<()>>>,
}

impl Server {
    /// Listens on this address; port 0 chooses a free port.
    pub(crate) async fn start(address: SocketAddr, handler: Handler) -> Result<Self> {
        let listener =
            TcpListener::bind(address).await.context("binding a port for the stand-in")?;
        let address = listener.local_addr()?;
        let server = Self { address, handler, running: Mutex::default() };
        server.run(listener);
        Ok(server)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    fn run(&self, listener: TcpListener) {
        let serving = tokio::spawn(serve(listener, Arc::clone(&self.handler)));
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(serving);
    }

    pub(crate) fn die(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = &*running {
            running.abort();
        }
    }

    /// Stops the server; returns whether it was running.
    pub(crate) fn is_alive(&self) -> bool {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().is_some_and(|running| !running.is_finished())
    }

    /// Listens on its previous address.
    pub(crate) async fn restart(&self) -> Result<()> {
        self.die();
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(running) = running {
            // Frees the port.
            let _ = running.await;
        }
        let listener =
            TcpListener::bind(self.address).await.context("binding the stand-in's port again")?;
        self.run(listener);
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.die();
    }
}

/// Serves until it is aborted, which ends every connection too.
async fn serve(listener: TcpListener, handler: Handler) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        while connections.try_join_next().is_some() {}
        let handler = Arc::clone(&handler);
        connections.spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&handler), request));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    handler: Handler,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let answer = handler(Request::from_parts(head, body)).await;
    answer.ok_or_else(|| std::io::Error::other("a fault closes this connection"))
}
