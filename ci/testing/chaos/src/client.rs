//! A page without a browser: the session and the link of a real page, over a WebSocket.

use crate::random::Random;
use anyhow::{Context as _, Result, bail};
use faasm_bridge::session::{ClientEvent, ClientSession, ReconnectTimer, Step};
use faasm_bridge::wire::{FailureCode, Reply, Request, RequestId};
use futures_util::future::{BoxFuture, pending};
use futures_util::{FutureExt, SinkExt, StreamExt};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};

/// User of the functions and state.
pub const USER: &str = "chaos";

/// Speed of the link's clock: the link waits for half a minute before it gives up a half-open connection.
const CLOCK_SPEEDUP: u32 = 25;

/// Time limit of a handshake, by the link's clock.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(50);

/// Time limit for reconnecting, by the link's clock.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// Time limit for sending a frame.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);

/// Capacity of the queue of requests that the client has not taken yet.
const QUEUE_CAPACITY: usize = 64;

type Socket = WebSocketStream<TcpStream>;

/// Outcome of a request, as far as its page knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Reply(Reply, Vec<u8>),
    /// The session was lost: the outcome is unknown.
    Lost,
}

impl Answer {
    /// Whether the request was certainly not performed.
    pub fn is_refused(&self) -> bool {
        use FailureCode::{BadRequest, Busy, State, Unauthorised, Unavailable};
        let Answer::Reply(Reply::Failed { code, .. }, _) = self else { return false };
        matches!(code, BadRequest | Busy | State | Unauthorised | Unavailable)
    }
}

struct QueuedRequest {
    request: Request,
    payload: Vec<u8>,
    cancel_after: Option<Duration>,
    answer: oneshot::Sender<Answer>,
}

/// Sends requests to a relay; clones share one page.
#[derive(Clone, Debug)]
pub struct Client {
    queue: mpsc::Sender<QueuedRequest>,
}

impl Client {
    /// A client that connects to this address and runs until the last clone is dropped.
    pub fn start(address: SocketAddr, random: Random) -> Self {
        let (queue, requests) = mpsc::channel(QUEUE_CAPACITY);
        let driver = Driver {
            address,
            random,
            began: Instant::now(),
            session: ClientSession::new(USER, None),
            reconnect: ReconnectTimer::new(RECONNECT_TIMEOUT),
            socket: None,
            opening: None,
            waiting: HashMap::new(),
            cancels: Vec::new(),
        };
        tokio::spawn(async move {
            if let Err(error) = driver.run(requests).await {
                eprintln!("a client ended: {error:#}");
            }
        });
        Self { queue }
    }

    /// The outcome of a request, however long it takes.
    pub async fn request(&self, request: Request, payload: Vec<u8>) -> Result<Answer> {
        self.request_with_cancel(request, payload, None).await
    }

    /// Like [`Client::request`], but cancels the request after a while.
    pub async fn request_with_cancel(
        &self,
        request: Request,
        payload: Vec<u8>,
        cancel_after: Option<Duration>,
    ) -> Result<Answer> {
        let (answer, answered) = oneshot::channel();
        let queued = QueuedRequest { request, payload, cancel_after, answer };
        self.queue.send(queued).await.ok().context("the client has ended")?;
        answered.await.context("the client ended before it reported the outcome")
    }
}

struct Driver {
    address: SocketAddr,
    random: Random,
    began: Instant,
    session: ClientSession,
    reconnect: ReconnectTimer,
    socket: Option<Socket>,
    opening: Option<BoxFuture<'static, Result<Socket>>>,
    waiting: HashMap<RequestId, oneshot::Sender<Answer>>,
    cancels: Vec<(Instant, RequestId)>,
}

enum Event {
    Time,
    Opened(Result<Socket>),
    Message(Option<Message>),
    Queued(Option<QueuedRequest>),
}

impl Driver {
    async fn run(mut self, mut requests: mpsc::Receiver<QueuedRequest>) -> Result<()> {
        loop {
            let until = match self.reconnect.step(self.now(), self.session.is_awaiting()) {
                Step::Connect => {
                    self.reconnect.connecting(self.now(), HANDSHAKE_TIMEOUT);
                    self.opening = Some(open(self.address).boxed());
                    continue;
                }
                Step::Ping => {
                    self.session.ping();
                    // It is sent below, when the link says how long to wait for its answer.
                    continue;
                }
                Step::Drop => {
                    self.lose();
                    continue;
                }
                Step::GiveUp => bail!("could not reconnect within the time limit"),
                Step::Wait(until) => until.map(|until| self.began + until / CLOCK_SPEEDUP),
            };
            if !self.flush().await {
                self.lose();
                continue;
            }
            let due = self.cancels.iter().map(|(due, _)| *due).chain(until).min();
            let event = tokio::select! {
                () = at(due) => Event::Time,
                opened = opened(&mut self.opening) => Event::Opened(opened),
                message = message(&mut self.socket) => Event::Message(message),
                queued = requests.recv() => Event::Queued(queued),
            };
            match event {
                Event::Time => self.cancel(),
                Event::Opened(opened) => {
                    self.opening = None;
                    match opened {
                        Ok(socket) => {
                            self.socket = Some(socket);
                            self.session.connected()?;
                        }
                        Err(_) => self.lose(),
                    }
                }
                Event::Message(Some(Message::Binary(message))) => {
                    self.reconnect.carried(self.now());
                    if self.receive(&message).is_err() {
                        self.lose();
                    }
                }
                Event::Message(Some(Message::Ping(_) | Message::Pong(_))) => {
                    self.reconnect.heard(self.now());
                }
                Event::Message(_) => self.lose(),
                Event::Queued(Some(queued)) => {
                    let id = self.session.request(queued.request, &queued.payload)?;
                    self.waiting.insert(id, queued.answer);
                    if let Some(after) = queued.cancel_after {
                        self.cancels.push((Instant::now() + after, id));
                    }
                }
                Event::Queued(None) => return self.leave().await,
            }
        }
    }

    /// The link's clock.
    fn now(&self) -> Duration {
        self.began.elapsed() * CLOCK_SPEEDUP
    }

    fn lose(&mut self) {
        self.socket = None;
        self.opening = None;
        self.session.disconnected();
        let random = self.random.fraction();
        self.reconnect.lost(self.now(), random);
    }

    /// Whether all pending frames were sent.
    async fn flush(&mut self) -> bool {
        let Some(socket) = &mut self.socket else { return true };
        while let Some(message) = self.session.transmit_message() {
            let sent = tokio::time::timeout(SEND_TIMEOUT, socket.send(Message::binary(message)));
            if !matches!(sent.await, Ok(Ok(()))) {
                return false;
            }
        }
        true
    }

    fn cancel(&mut self) {
        let now = Instant::now();
        let session = &mut self.session;
        let waiting = &mut self.waiting;
        self.cancels.retain(|(due, id)| {
            if *due > now {
                return true;
            }
            session.cancel(*id);
            // A cancelled request that was never sent gets no reply.
            if !session.is_open(*id)
                && let Some(sender) = waiting.remove(id)
            {
                let message = "cancelled before it was sent".to_owned();
                let reply = Reply::Failed { code: FailureCode::Busy, message };
                let _ = sender.send(Answer::Reply(reply, Vec::new()));
            }
            false
        });
    }

    fn receive(&mut self, message: &[u8]) -> Result<()> {
        for frame in self.session.frames_of(message) {
            match self.session.receive(frame?)? {
                // This client watches no state.
                None | Some(ClientEvent::Changed { .. }) => {}
                Some(ClientEvent::Open { lost }) => {
                    self.reconnect.opened(self.now());
                    for id in lost {
                        self.answer(id, Answer::Lost);
                    }
                }
                Some(ClientEvent::Reply { id, reply, payload }) => {
                    self.answer(id, Answer::Reply(reply, payload));
                }
                // The relay is stopping or at its limit: retry, as pages do.
                Some(ClientEvent::Refused { message, .. }) => bail!("refused: {message}"),
            }
        }
        Ok(())
    }

    fn answer(&mut self, id: RequestId, answer: Answer) {
        if let Some(waiting) = self.waiting.remove(&id) {
            let _ = waiting.send(answer);
        }
    }

    async fn leave(self) -> Result<()> {
        if let Some(mut socket) = self.socket {
            let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
            let _ = tokio::time::timeout(SEND_TIMEOUT, socket.close(Some(frame))).await;
        }
        Ok(())
    }
}

async fn open(address: SocketAddr) -> Result<Socket> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    let url = format!("ws://{address}/ws");
    let opened = tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await?;
    Ok(opened.0)
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => pending().await,
    }
}

async fn opened(opening: &mut Option<BoxFuture<'static, Result<Socket>>>) -> Result<Socket> {
    match opening {
        Some(opening) => opening.await,
        None => pending().await,
    }
}

async fn message(socket: &mut Option<Socket>) -> Option<Message> {
    match socket {
        Some(socket) => socket.next().await?.ok(),
        None => pending().await,
    }
}
