//! A large state value: how fast it is pulled, and what a small change sends.

use super::load::{Socket, open_session};
use super::nginx::Nginx;
use super::{USER, figures, relay};
use crate::figure::Figure;
use crate::stats::least;
use anyhow::{Context as _, Result, bail, ensure};
use faasm_bridge::session::{ClientEvent, ClientSession};
use faasm_bridge::state::{Chunk, LocalTier};
use faasm_bridge::wire::{ChunkHeader, Reply, Request, TRANSFER_BYTES};
use futures_util::{SinkExt as _, StreamExt as _};
use std::collections::{HashMap, VecDeque};
use std::time::Instant;
use tokio_tungstenite::tungstenite::Message;

const VALUE_BYTES: usize = 64 * 1024 * 1024;
const CHANGED: std::ops::Range<usize> = 4096 * 1000..4096 * 1001;

/// Most that a WebSocket client adds to a message: its head and mask.
const WEBSOCKET_HEAD: usize = 14;

const KEY: &str = "value";

pub(crate) async fn measure(rounds: u32) -> Result<Vec<Figure>> {
    let value: Vec<u8> = (0..VALUE_BYTES)
        .map(|at| (at as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3])
        .collect();
    let (_relay, url) = relay(8).await?;
    let nginx = Nginx::start(&value).await?;
    let mut page = Page::open(&url).await?;
    let mut tier = LocalTier::new();
    tier.write(KEY, VALUE_BYTES as u64, 0, &value)?;
    page.push(&mut tier).await.context("the first push")?;
    let (mut pulls, mut fetches) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        eprintln!("state, {round} of {rounds}");
        let began = Instant::now();
        let pulled = page.pull().await?;
        let pull = began.elapsed().as_secs_f64();
        ensure!(pulled == value, "the pulled value differs from the pushed one");
        let mut stream = nginx.connect().await?;
        let began = Instant::now();
        let fetched = nginx.fetch(&mut stream, VALUE_BYTES).await?;
        let fetch = began.elapsed().as_secs_f64();
        ensure!(fetched == value, "nginx's response differs from the file");
        if round > 0 {
            pulls.push(pull);
            fetches.push(fetch);
        }
    }
    let ratio = least(fetches.into_iter()) / least(pulls.into_iter());

    tier.write(KEY, VALUE_BYTES as u64, CHANGED.start as u64, &[1; CHANGED.end - CHANGED.start])?;
    let sent = page.push(&mut tier).await.context("the small push")?;
    Ok(vec![figures::pull(ratio), figures::push(sent as f64)])
}

/// A session.
struct Page {
    socket: Socket,
    session: ClientSession,
    /// Unprocessed events of the last message.
    events: VecDeque<ClientEvent>,
}

impl Page {
    async fn open(url: &str) -> Result<Page> {
        let (socket, session) = open_session(url, USER).await?;
        Ok(Page { socket, session, events: VecDeque::new() })
    }

    /// Reads the whole value, in parts that are all asked for at once.
    async fn pull(&mut self) -> Result<Vec<u8>> {
        let mut asked = HashMap::new();
        for offset in (0..VALUE_BYTES as u64).step_by(TRANSFER_BYTES as usize) {
            let length = Some(TRANSFER_BYTES.min(VALUE_BYTES as u64 - offset));
            let request = Request::ReadState { key: KEY.to_owned(), offset, length };
            asked.insert(self.session.request(request, &[])?, offset);
        }
        let mut value = vec![0; VALUE_BYTES];
        while !asked.is_empty() {
            let ClientEvent::Reply { id, reply: Reply::State { .. }, payload } =
                self.next().await?
            else {
                bail!("a read was not answered");
            };
            let offset = asked.remove(&id).context("an answer to nothing")? as usize;
            value[offset..offset + payload.len()].copy_from_slice(&payload);
        }
        Ok(value)
    }

    /// Pushes what has changed; gives the bytes sent.
    async fn push(&mut self, tier: &mut LocalTier) -> Result<usize> {
        let (size, chunks) = tier.take_dirty_ranges(KEY).context("nothing to push")?;
        let mut sent = 0;
        for Chunk { offset, bytes } in chunks {
            for (part, bytes) in bytes.chunks(TRANSFER_BYTES as usize).enumerate() {
                let offset = offset + part as u64 * TRANSFER_BYTES;
                let chunks = vec![ChunkHeader { offset, length: bytes.len() as u64 }];
                let request = Request::WriteState { key: KEY.to_owned(), size, chunks };
                self.session.request(request, bytes)?;
                sent += self.transmit().await?;
                match self.next().await? {
                    ClientEvent::Reply { reply: Reply::Done, .. } => {}
                    event => bail!("a push ended with {event:?}"),
                }
            }
        }
        Ok(sent)
    }

    async fn transmit(&mut self) -> Result<usize> {
        let mut sent = 0;
        while let Some(message) = self.session.transmit_message() {
            sent += message.len() + WEBSOCKET_HEAD;
            self.socket.feed(Message::binary(message)).await?;
        }
        self.socket.flush().await?;
        Ok(sent)
    }

    async fn next(&mut self) -> Result<ClientEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            self.transmit().await?;
            let message = self.socket.next().await.context("the relay hung up")??;
            let Message::Binary(message) = message else { continue };
            for frame in self.session.frames_of(&message) {
                self.events.extend(self.session.receive(frame?)?);
            }
        }
    }
}
