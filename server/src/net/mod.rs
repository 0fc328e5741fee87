//! Accepts a bounded number of connections until shutdown, then drains them.

mod addresses;
mod paced;

use crate::config::{App, Config};
use crate::http::{HttpContext, answer};
use crate::metrics::Present;
pub(crate) use addresses::Handshakes;
use addresses::{Addresses, Seat};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use paced::Paced;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Smallest header buffer that hyper supports.
const MIN_HEADER_BYTES: usize = 8 * 1024;

/// Pause after `accept` failed, for example because file descriptors were exhausted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection's peer and its permits.
#[derive(Clone, Debug)]
pub(crate) struct Visitor(Arc<Place>);

#[derive(Debug)]
struct Place {
    peer: SocketAddr,
    _permit: OwnedSemaphorePermit,
    _seat: Seat,
    _counted: Present,
}

impl Visitor {
    /// The peer's address; behind a proxy, the proxy's.
    pub(crate) fn peer(&self) -> IpAddr {
        self.0.peer.ip()
    }
}

/// Serves until `shutdown` completes, then until running calls have ended or [`crate::Timings::drain`] is over, and
/// then until connections have ended or [`crate::Timings::grace`] is over.
///
/// # Errors
/// The listener's address, or the folder of static files, cannot be read.
pub async fn serve(
    listener: TcpListener,
    config: Config,
    app: App,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let grace = config.timings.grace;
    // `acquire_many` counts in 32 bits.
    let all = u32::try_from(config.limits.connections).unwrap_or(u32::MAX);
    let room = Arc::new(Semaphore::new((all as usize).min(Semaphore::MAX_PERMITS)));
    let (stop, stopping) = watch::channel(false);
    let tls = config.tls.clone();
    let context = Arc::new(HttpContext::new(config, app, listener.local_addr()?, stopping)?);
    let renewing = async {
        match &tls {
            Some(tls) => tls.keep_fresh().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = accept(&listener, &context, &room) => {}
        () = renewing => {}
        () = shutdown => {}
    }
    drop(listener);
    context.drain().await;
    stop.send_replace(true);
    if tokio::time::timeout(grace, room.acquire_many(all)).await.is_err() {
        tracing::warn!("connections are still open after {} s", grace.as_secs());
    }
    Ok(())
}

async fn accept(listener: &TcpListener, context: &Arc<HttpContext>, room: &Arc<Semaphore>) {
    let addresses = Arc::new(Addresses::new(context.limits().connections_per_address));
    loop {
        let Ok(permit) = Arc::clone(room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let Some(seat) = addresses.take(peer.ip()) else {
                    tracing::debug!(%peer, "closed: too many connections from this address");
                    continue;
                };
                let counted = context.metrics().connection();
                let place = Place { peer, _permit: permit, _seat: seat, _counted: counted };
                let visitor = Visitor(Arc::new(place));
                let context = Arc::clone(context);
                tokio::spawn(async move {
                    if let Err(error) = welcome(stream, context, visitor).await {
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

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Performs the TLS handshake if there is a certificate.
async fn welcome(
    stream: TcpStream,
    context: Arc<HttpContext>,
    visitor: Visitor,
) -> Result<(), Failed> {
    let _ = stream.set_nodelay(true);
    let stream = Paced::new(stream, context.limits().write_pause);
    let Some(acceptor) = context.tls().map(|tls| tls.acceptor()) else {
        return Ok(converse(stream, context, visitor).await?);
    };
    let mut stop = context.stopping();
    let time_limit = context.limits().header_time;
    let stream = tokio::select! {
        shaken = tokio::time::timeout(time_limit, acceptor.accept(stream)) => shaken??,
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
    };
    Ok(converse(stream, context, visitor).await?)
}

/// Serves the requests of one connection; an upgraded WebSocket keeps the connection's permits.
async fn converse<S>(stream: S, context: Arc<HttpContext>, visitor: Visitor) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut stop = context.stopping();
    let limits = context.limits().clone();
    let service = service_fn(move |request| {
        let (context, visitor) = (Arc::clone(&context), visitor.clone());
        async move { Ok::<_, std::convert::Infallible>(answer(context, visitor, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_buf_size(limits.header_bytes.max(MIN_HEADER_BYTES))
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
