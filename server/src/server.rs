//! Accepts connections, bounded in number, until told to stop; then lets them end.

use crate::config::{App, Config};
use crate::http::{Site, answer};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Most connections at once, WebSockets included. More of them wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;

/// Longest a request's headers may take to arrive.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);

/// Most bytes of a request's headers.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// Pause after `accept` failed, for one for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` completes, then until what runs has ended or [`crate::Timings::drain`] is over, and then until
/// connections have ended or [`crate::Timings::grace`] is over.
///
/// # Errors
/// When the listener's address, or the folder of static files, cannot be read.
pub async fn serve(
    listener: TcpListener,
    config: Config,
    app: App,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let grace = config.timings.grace;
    let (stop, stopping) = watch::channel(false);
    let site = Arc::new(Site::new(config, app, listener.local_addr()?, stopping)?);
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    tokio::select! {
        () = accept(&listener, &site, &room) => {}
        () = shutdown => {}
    }
    drop(listener);
    site.drain().await;
    stop.send_replace(true);
    let all = u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX);
    if tokio::time::timeout(grace, room.acquire_many(all)).await.is_err() {
        tracing::warn!("connections are still open after {} s", grace.as_secs());
    }
    Ok(())
}

async fn accept(listener: &TcpListener, site: &Arc<Site>, room: &Arc<Semaphore>) {
    loop {
        let Ok(permit) = Arc::clone(room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let site = Arc::clone(site);
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, site, permit).await {
                        tracing::debug!(%peer, %error, "connection failed");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers the requests of one connection; one that becomes a WebSocket keeps its place.
async fn converse(
    stream: TcpStream,
    site: Arc<Site>,
    permit: OwnedSemaphorePermit,
) -> hyper::Result<()> {
    let _ = stream.set_nodelay(true);
    let permit = Arc::new(permit);
    let mut stop = site.stopping();
    let service = service_fn(move |request| {
        let (site, permit) = (Arc::clone(&site), Arc::clone(&permit));
        async move { Ok::<_, std::convert::Infallible>(answer(site, permit, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        _ = stop.wait_for(|stop| *stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}
