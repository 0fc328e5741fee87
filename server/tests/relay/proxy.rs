//! A network that breaks: a TCP proxy that a test tells what to do. `ci/testing/browser` uses it too.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Pass,
    /// New ones that ask for a WebSocket end at once.
    RefuseWebSockets,
    /// New ones that ask for a WebSocket get no answer.
    SwallowWebSockets,
    /// WebSockets end at once, and answers over HTTP get through only when they are complete.
    HoldBack,
    /// Nothing gets through any more, and nobody is told.
    Freeze,
}

/// Passes bytes on to a relay; it ends with this value.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    world: Arc<World>,
    accepting: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct World {
    target: Mutex<SocketAddr>,
    mode: watch::Sender<Mode>,
    /// How many of the next connections end at once.
    refusals: Mutex<u32>,
    /// Whether a frozen connection has swallowed something.
    has_swallowed: watch::Sender<bool>,
    /// Counts cuts: connections of an earlier number are over.
    cuts: watch::Sender<u64>,
}

impl Proxy {
    pub(crate) async fn start(target: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let world = Arc::new(World {
            target: Mutex::new(target),
            mode: watch::Sender::new(Mode::Pass),
            refusals: Mutex::new(0),
            has_swallowed: watch::Sender::new(false),
            cuts: watch::Sender::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&world)));
        Ok(Self { address, world, accepting })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.world.mode.send_replace(mode);
    }

    /// Completes when a frozen connection has swallowed something; it stays frozen.
    pub(crate) async fn swallowed(&self) {
        let mut has_swallowed = self.world.has_swallowed.subscribe();
        // The sender lives as long as the proxy.
        let _ = has_swallowed.wait_for(|swallowed| *swallowed).await;
    }

    /// Ends every connection, wherever it is in what it carries.
    pub(crate) fn cut(&self) {
        self.world.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// The same, and so many of the next ones as soon as they come.
    pub(crate) fn cut_and_refuse(&self, next: u32) {
        *lock(&self.world.refusals) = next;
        self.cut();
    }

    /// Where connections lead from here on.
    pub(crate) fn set_target(&self, target: SocketAddr) {
        *lock(&self.world.target) = target;
    }
}

/// Whether an answer over HTTP is at its end, where it comes in chunks; other ones are short.
fn is_complete(answer: &[u8]) -> bool {
    let head = String::from_utf8_lossy(&answer[..answer.len().min(1024)]).to_ascii_lowercase();
    !head.contains("transfer-encoding: chunked") || answer.ends_with(b"\r\n0\r\n\r\n")
}

impl World {
    fn refuses(&self) -> bool {
        let mut refusals = lock(&self.refusals);
        let refuses = *refusals > 0;
        *refusals = refusals.saturating_sub(1);
        refuses
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds the lock")
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, world: Arc<World>) {
    while let Ok((page, _)) = listener.accept().await {
        let world = Arc::clone(&world);
        let mut cuts = world.cuts.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                _ = cuts.changed() => {}
                // Either side ending is no concern of the other tests' connections.
                _ = pass(page, &world) => {}
            }
        });
    }
}

async fn pass(mut page: TcpStream, world: &World) -> std::io::Result<()> {
    let mode = *world.mode.borrow();
    if world.refuses() {
        return Ok(());
    }
    page.set_nodelay(true)?;
    let mut head = vec![0; 16 * 1024];
    let length = page.read(&mut head).await?;
    head.truncate(length);
    let is_websocket =
        String::from_utf8_lossy(&head).to_ascii_lowercase().contains("upgrade: websocket");
    match mode {
        Mode::RefuseWebSockets | Mode::HoldBack if is_websocket => return Ok(()),
        Mode::SwallowWebSockets if is_websocket => std::future::pending().await,
        _ => {}
    }
    let target = *lock(&world.target);
    let mut relay = TcpStream::connect(target).await?;
    relay.set_nodelay(true)?;
    relay.write_all(&head).await?;
    let (page_read, page_write) = page.into_split();
    let (relay_read, relay_write) = relay.into_split();
    tokio::select! {
        ended = copy(page_read, relay_write, world, false) => ended,
        ended = copy(relay_read, page_write, world, mode == Mode::HoldBack) => ended,
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    world: &World,
    holds_back: bool,
) -> std::io::Result<()> {
    let mut mode = world.mode.subscribe();
    let mut piece = vec![0; 16 * 1024];
    let mut held = Vec::new();
    loop {
        let length = from.read(&mut piece).await?;
        if length == 0 {
            return Ok(());
        }
        if *mode.borrow_and_update() == Mode::Freeze {
            world.has_swallowed.send_replace(true);
            // What was under way is gone, whatever comes then.
            std::future::pending().await
        }
        held.extend_from_slice(&piece[..length]);
        if !holds_back || is_complete(&held) {
            to.write_all(&held).await?;
            held.clear();
        }
    }
}
