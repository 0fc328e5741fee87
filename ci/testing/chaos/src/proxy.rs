//! A proxy that simulates a network that breaks. It forwards TCP connections to one of several relays, parses WebSocket
//! frames far enough to find their ends, and injects faults into each connection according to its number and the seed.
//!
//! It does only what networks do: it never changes bytes, because TCP detects that, and a truncated frame is the last
//! of its connection.

use crate::random::Random;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Faults of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It closes between two frames.
    Cut,
    /// It closes in the middle of a frame.
    Truncate,
    /// A frame is delivered twice.
    Duplicate,
    /// Nothing is delivered for a while, and then everything.
    Delay,
    /// From here on everything that one side sends is lost silently.
    HalfOpen,
}

const FAULTS: [Fault; 5] =
    [Fault::Cut, Fault::Truncate, Fault::Duplicate, Fault::Delay, Fault::HalfOpen];

/// Maximum delay.
const MAX_DELAY: Duration = Duration::from_millis(400);

/// Maximum number of frames in one direction before the next fault.
const MAX_FRAMES: u64 = 120;

/// Maximum length of a frame that is parsed as a frame.
const MAX_FRAME_BYTES: usize = 1 << 20;

/// Number of faults of each kind.
pub type Counts = BTreeMap<Fault, u64>;

#[derive(Debug)]
struct World {
    seed: u64,
    targets: Vec<SocketAddr>,
    is_calm: AtomicBool,
    connections: AtomicU64,
    counts: Mutex<Counts>,
}

impl World {
    fn count(&self, fault: Fault) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(fault).or_default() += 1;
    }

    fn is_calm(&self) -> bool {
        self.is_calm.load(Ordering::Relaxed)
    }
}

/// The network. Dropping this value ends it.
#[derive(Debug)]
pub struct Proxy {
    pub address: SocketAddr,
    world: Arc<World>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub async fn start(targets: Vec<SocketAddr>, seed: u64) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let world = Arc::new(World {
            seed,
            targets,
            is_calm: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            counts: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&world)));
        Ok(Self { address, world, accepting })
    }

    /// Injects no further faults; broken connections stay broken.
    pub fn calm(&self) {
        self.world.is_calm.store(true, Ordering::Relaxed);
    }

    pub fn counts(&self) -> Counts {
        self.world.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn connections(&self) -> u64 {
        self.world.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, world: Arc<World>) {
    while let Ok((page, _)) = listener.accept().await {
        let number = world.connections.fetch_add(1, Ordering::Relaxed);
        let world = Arc::clone(&world);
        // Errors are expected: either side may close the connection.
        tokio::spawn(async move { drop(pass(page, number, &world).await) });
    }
}

async fn pass(page: TcpStream, number: u64, world: &World) -> std::io::Result<()> {
    page.set_nodelay(true)?;
    let which = Random::of(&[world.seed, number, 2]).below(world.targets.len() as u64);
    let target = world.targets.get(which as usize).ok_or(std::io::ErrorKind::NotFound)?;
    let relay = TcpStream::connect(target).await?;
    relay.set_nodelay(true)?;
    let (page_read, page_write) = page.into_split();
    let (relay_read, relay_write) = relay.into_split();
    let up = Way { world, random: Random::of(&[world.seed, number, 0]), frames: Frames::default() };
    let down =
        Way { world, random: Random::of(&[world.seed, number, 1]), frames: Frames::default() };
    tokio::select! {
        ended = up.copy(page_read, relay_write) => ended,
        ended = down.copy(relay_read, page_write) => ended,
    }
}

/// One direction of a connection.
struct Way<'a> {
    world: &'a World,
    random: Random,
    frames: Frames,
}

impl Way<'_> {
    async fn copy(
        mut self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
    ) -> std::io::Result<()> {
        let mut piece = vec![0; 64 * 1024];
        let mut left = 1 + self.random.below(MAX_FRAMES);
        loop {
            let length = from.read(&mut piece).await?;
            if length == 0 {
                return Ok(());
            }
            self.frames.push(&piece[..length]);
            while let Some(frame) = self.frames.next() {
                left -= 1;
                if left > 0 || self.world.is_calm() {
                    left = left.max(1);
                    to.write_all(&frame).await?;
                    continue;
                }
                left = 1 + self.random.below(MAX_FRAMES);
                let fault = FAULTS[self.random.below(FAULTS.len() as u64) as usize];
                self.world.count(fault);
                match fault {
                    Fault::Cut => return Ok(()),
                    Fault::Truncate => {
                        let length = self.random.below(frame.len() as u64) as usize;
                        to.write_all(&frame[..length]).await?;
                        to.flush().await?;
                        return Ok(());
                    }
                    Fault::Duplicate => {
                        to.write_all(&frame).await?;
                        to.write_all(&frame).await?;
                    }
                    Fault::Delay => {
                        let delay = self.random.within(Duration::ZERO, MAX_DELAY);
                        tokio::time::sleep(delay).await;
                        to.write_all(&frame).await?;
                    }
                    Fault::HalfOpen => loop {
                        // Read and discarded, so that the sender does not notice.
                        if from.read(&mut piece).await? == 0 {
                            return Ok(());
                        }
                    },
                }
            }
        }
    }
}

/// Finds the ends of frames: first of the HTTP head, then of WebSocket frames.
#[derive(Debug, Default)]
struct Frames {
    bytes: Vec<u8>,
    is_past_head: bool,
}

impl Frames {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        let length = match self.is_past_head {
            true => frame_length(&self.bytes)?,
            false => self.bytes.windows(4).position(|end| end == b"\r\n\r\n")? + 4,
        };
        // Longer frames pass unparsed.
        let length = if length > MAX_FRAME_BYTES { self.bytes.len() } else { length };
        if length == 0 || self.bytes.len() < length {
            return None;
        }
        self.is_past_head = true;
        Some(self.bytes.drain(..length).collect())
    }
}

/// Length of the first frame (RFC 6455, section 5.2).
fn frame_length(bytes: &[u8]) -> Option<usize> {
    let second = *bytes.get(1)?;
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    Some(match second & 0x7f {
        126 => {
            let length = bytes.get(2..4)?.try_into().ok()?;
            4 + mask + usize::from(u16::from_be_bytes(length))
        }
        127 => {
            let length = bytes.get(2..10)?.try_into().ok()?;
            let length = usize::try_from(u64::from_be_bytes(length)).ok()?;
            length.saturating_add(10 + mask)
        }
        length => 2 + mask + usize::from(length),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_end_where_they_end_however_they_come() {
        let short = [&[0x82, 0x83, 1, 2, 3, 4][..], b"abc"].concat();
        let long = [&[0x82, 126, 1, 0][..], &[7; 256]].concat();
        let head = b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
        let all = [head.clone(), short.clone(), long.clone(), short.clone()];
        let bytes = all.concat();
        for piece in [1, 2, 7, bytes.len()] {
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(piece) {
                frames.push(piece);
                found.extend(std::iter::from_fn(|| frames.next()));
            }
            assert_eq!(found, all, "{piece}");
        }
    }
}
