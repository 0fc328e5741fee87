//! How many bytes the relay allocates to take a call's 64 MiB input, to give a call's 64 MiB output, and to take and give a state
//! value of 64 MiB: relay and page in one process, where an allocator counts for all threads but the page's. Prints, as JSON, what was
//! allocated for each byte that was carried. A block that grows counts with its whole new size, as if it were copied.
//!
//! `allocations redis` keeps everything in a Redis of its own, `allocations redb` in a database file.

use faasm_bridge::session::{ClientEvent, ClientSession};
use faasm_bridge::wire::{CallEntry, ChunkHeader, Reply, Request, TRANSFER_BYTES};
use faasm_redis_server::RedisServer;
use faasm_relay::cluster::embedded::EmbeddedConfig;
use faasm_relay::store::{RedisConfig, Stores};
use faasm_relay::{App, Config};
use futures_util::{SinkExt as _, StreamExt as _};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::VecDeque;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

const BYTES: usize = 64 * 1024 * 1024;

/// Has memory for its input; answers nothing.
const TAKES: &str = r#"(module
  (import "env" "__faasm_read_input" (func $read (param i32 i32) (result i32)))
  (memory (export "memory") 1030)
  (func (export "_start") (drop (call $read (i32.const 0) (i32.const 67108864)))))"#;

/// Answers zeros.
const GIVES: &str = r#"(module
  (import "env" "__faasm_write_output" (func $write (param i32 i32)))
  (memory (export "memory") 1030)
  (func (export "_start") (call $write (i32.const 0) (i32.const 67108864))))"#;

thread_local! {
    static IS_PAGE: Cell<bool> = const { Cell::new(false) };
}

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

/// The system's, which counts.
struct Counting;

fn count(bytes: usize) {
    // A thread that ends has no such value any more; it is none of the page.
    if !IS_PAGE.try_with(Cell::get).unwrap_or(false) {
        ALLOCATED.fetch_add(bytes, Ordering::Relaxed);
    }
}

// SAFETY: everything is the system allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let relay = runtime::Builder::new_multi_thread().enable_all().build()?;
    let folder = tempfile::tempdir()?;
    let (stores, _redis) = match std::env::args().nth(1).as_deref() {
        Some("redis") => {
            let redis = RedisServer::start()?;
            let config = RedisConfig::new(redis.url());
            (relay.block_on(Stores::redis(&config))?, Some(redis))
        }
        Some("redb") => (Stores::open(&folder.path().join("relay.redb"))?, None),
        _ => return Err("say where it keeps everything: redb or redis".into()),
    };
    let app = {
        // The runtime's, for what the cluster starts.
        let _entered = relay.enter();
        App::embedded(EmbeddedConfig::default(), stores)?
    };
    let address = relay.block_on(async {
        for (name, wat) in [("takes", TAKES), ("gives", GIVES)] {
            app.cluster.upload("ada".into(), name.into(), wat::parse_str(wat)?).await?;
        }
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(faasm_relay::serve(listener, Config::default(), app, std::future::pending()));
        Ok::<_, Box<dyn Error>>(address)
    })?;
    IS_PAGE.set(true);
    let page = runtime::Builder::new_current_thread().enable_all().build()?;
    let figures = page.block_on(async {
        let mut figures = serde_json::Map::new();
        // The first round is for what stays: compiled functions, caches.
        for _ in 0..2 {
            for what in ["call in", "call out", "state in", "state out"] {
                // A connection keeps the buffer of its longest message for the next one.
                let mut page = Page::open(address).await?;
                let before = ALLOCATED.load(Ordering::Relaxed);
                page.carry(what).await?;
                // What the store does behind the reply is the reply's.
                settle().await;
                let allocated = ALLOCATED.load(Ordering::Relaxed) - before;
                figures.insert(what.to_owned(), (allocated as f64 / BYTES as f64).into());
            }
        }
        Ok::<_, Box<dyn Error>>(figures)
    })?;
    println!("{}", serde_json::Value::from(figures));
    Ok(())
}

/// Completes when nothing was allocated for a while.
async fn settle() {
    let mut last = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = ALLOCATED.load(Ordering::Relaxed);
        if now - last < 64 * 1024 {
            return;
        }
        last = now;
    }
}

/// A session.
struct Page {
    socket: WebSocketStream<TcpStream>,
    session: ClientSession,
    events: VecDeque<ClientEvent>,
    payload: Vec<u8>,
}

impl Page {
    async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let url = format!("ws://{address}/ws");
        let (socket, _) = client_async_with_config(url, stream, Some(config)).await?;
        let mut session = ClientSession::new("ada", None);
        session.connected()?;
        let (events, payload) = (VecDeque::new(), vec![7; BYTES]);
        let mut page = Self { socket, session, events, payload };
        match page.next().await? {
            ClientEvent::Open { .. } => Ok(page),
            event => Err(format!("a handshake ended with {event:?}").into()),
        }
    }

    async fn carry(&mut self, what: &str) -> Result<()> {
        let call = |function: &str| Request::Call {
            function: function.to_owned(),
            entry: CallEntry::Main,
            args: Vec::new(),
            env: Vec::new(),
        };
        let slices = (0..BYTES as u64).step_by(TRANSFER_BYTES as usize);
        let key = || "value".to_owned();
        match what {
            "call in" => drop(self.ask(call("takes"), 0..BYTES).await?),
            "call out" => drop(self.ask(call("gives"), 0..0).await?),
            "state in" => {
                for offset in slices {
                    let chunks = vec![ChunkHeader { offset, length: TRANSFER_BYTES }];
                    let request = Request::WriteState { key: key(), size: BYTES as u64, chunks };
                    let range = offset as usize..(offset + TRANSFER_BYTES) as usize;
                    self.ask(request, range).await?;
                }
            }
            _ => {
                for offset in slices {
                    let length = Some(TRANSFER_BYTES);
                    let request = Request::ReadState { key: key(), offset, length };
                    self.ask(request, 0..0).await?;
                }
            }
        }
        Ok(())
    }

    async fn ask(&mut self, request: Request, payload: std::ops::Range<usize>) -> Result<Vec<u8>> {
        let expected = match &request {
            Request::Call { function, .. } if function == "gives" => BYTES,
            Request::ReadState { .. } => TRANSFER_BYTES as usize,
            _ => 0,
        };
        self.session.request(request, &self.payload[payload])?;
        match self.next().await? {
            ClientEvent::Reply { reply: Reply::Failed { message, .. }, .. } => Err(message.into()),
            ClientEvent::Reply { payload, .. } if payload.len() == expected => Ok(payload),
            event => Err(format!("an answer is {event:?}").into()),
        }
    }

    async fn next(&mut self) -> Result<ClientEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            while let Some(message) = self.session.transmit_message() {
                self.socket.send(Message::binary(message)).await?;
            }
            let message = self.socket.next().await.ok_or("the relay hung up")??;
            if let Message::Binary(message) = message {
                for frame in self.session.frames_of(&message) {
                    self.events.extend(self.session.receive(frame?)?);
                }
            }
        }
    }
}
