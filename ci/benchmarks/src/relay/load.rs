//! Load on a server: so many connections, each of which sends its next message when the last one was answered.

use anyhow::{Context as _, Result, bail};
use faasm_bridge::session::{ClientEvent, ClientSession};
use faasm_bridge::wire::{CallEntry, Reply, Request};
use futures_util::{SinkExt as _, StreamExt as _};
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Slowest answer that is told apart, nanoseconds.
const SLOWEST: u64 = 60_000_000_000;

/// The message to send, and the expected answer.
#[derive(Clone, Debug)]
pub(crate) enum Talk {
    /// A message of so many bytes, and its echo.
    Echo(usize),
    /// A call of this function, and its return value 0.
    Call { user: String, function: String },
}

/// The measured answers.
pub(crate) struct Answers {
    pub(crate) seconds: f64,
    /// Of each answer, in nanoseconds.
    pub(crate) times: Histogram<u64>,
}

impl Answers {
    pub(crate) fn per_second(&self) -> f64 {
        self.times.len() as f64 / self.seconds
    }

    /// In microseconds.
    pub(crate) fn quantile(&self, quantile: f64) -> f64 {
        self.times.value_at_quantile(quantile) as f64 / 1000.0
    }
}

/// Sends messages over this many connections for a while.
pub(crate) async fn load(
    url: &str,
    talk: &Talk,
    connections: usize,
    lasting: Duration,
) -> Result<Answers> {
    let mut lines = Vec::new();
    for _ in 0..connections {
        lines.push(Line::open(url, talk).await?);
    }
    let began = Instant::now();
    let until = began + lasting;
    let talking = lines.into_iter().map(|line| tokio::spawn(line.talk_until(until)));
    let mut times = histogram()?;
    for talking in talking.collect::<Vec<_>>() {
        times.add(talking.await.context("a connection")??).context("adding up")?;
    }
    Ok(Answers { seconds: began.elapsed().as_secs_f64(), times })
}

pub(crate) fn histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, SLOWEST, 3).context("a histogram")
}

pub(crate) type Socket = WebSocketStream<TcpStream>;

/// A WebSocket to `ws://HOST:PORT/PATH`.
pub(crate) async fn connect(url: &str) -> Result<Socket> {
    let host = url.strip_prefix("ws://").and_then(|rest| rest.split('/').next());
    let stream = TcpStream::connect(host.context("a WebSocket's address")?).await;
    let stream = stream.with_context(|| format!("connecting to {url}"))?;
    stream.set_nodelay(true)?;
    let (socket, _) = client_async(url, stream).await.with_context(|| format!("opening {url}"))?;
    Ok(socket)
}

/// A session whose handshake is done, and what carries it.
pub(crate) async fn open_session(url: &str, user: &str) -> Result<(Socket, ClientSession)> {
    let mut socket = connect(url).await?;
    let mut session = ClientSession::new(user, None);
    session.connected()?;
    loop {
        while let Some(frame) = session.transmit() {
            socket.send(Message::binary(frame)).await?;
        }
        let message = socket.next().await.context("the relay hung up")??;
        if let Message::Binary(frame) = message {
            match session.receive(&frame)? {
                Some(ClientEvent::Open { .. }) => return Ok((socket, session)),
                Some(ClientEvent::Refused { message, .. }) => bail!("refused: {message}"),
                _ => {}
            }
        }
    }
}

/// One connection.
struct Line {
    socket: Socket,
    talk: Talk,
    session: Option<ClientSession>,
}

impl Line {
    async fn open(url: &str, talk: &Talk) -> Result<Line> {
        let talk = talk.clone();
        match &talk {
            Talk::Echo(_) => Ok(Line { socket: connect(url).await?, talk, session: None }),
            Talk::Call { user, .. } => {
                let (socket, session) = open_session(url, user).await?;
                Ok(Line { socket, talk, session: Some(session) })
            }
        }
    }

    async fn talk_until(mut self, until: Instant) -> Result<Histogram<u64>> {
        let mut times = histogram()?;
        while Instant::now() < until {
            let began = Instant::now();
            match (&self.talk, &mut self.session) {
                (Talk::Call { function, .. }, Some(session)) => {
                    call(&mut self.socket, session, function).await?;
                }
                (Talk::Echo(bytes), _) => echo(&mut self.socket, *bytes).await?,
                (Talk::Call { .. }, None) => bail!("a call without a session"),
            }
            times.saturating_record(began.elapsed().as_nanos() as u64);
        }
        // Ends the session, too.
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        self.socket.close(Some(frame)).await?;
        Ok(times)
    }
}

async fn echo(socket: &mut Socket, bytes: usize) -> Result<()> {
    socket.send(Message::binary(vec![7; bytes])).await?;
    loop {
        match socket.next().await.context("the server hung up")?? {
            Message::Binary(back) if back.len() == bytes => return Ok(()),
            Message::Binary(back) => bail!("the echo has {} bytes instead of {bytes}", back.len()),
            _ => {}
        }
    }
}

/// Makes a call and waits for its reply, which the next call acknowledges.
async fn call(socket: &mut Socket, session: &mut ClientSession, function: &str) -> Result<()> {
    let request = Request::Call {
        function: function.to_owned(),
        entry: CallEntry::Main,
        args: Vec::new(),
        env: Vec::new(),
    };
    session.request(request, &[])?;
    loop {
        while let Some(message) = session.transmit_message() {
            socket.send(Message::binary(message)).await?;
        }
        let message = socket.next().await.context("the relay hung up")??;
        let Message::Binary(message) = message else { continue };
        for frame in session.frames_of(&message) {
            match session.receive(frame?)? {
                Some(ClientEvent::Reply { reply: Reply::Call { return_value: 0 }, .. }) => {
                    return Ok(());
                }
                Some(event) => bail!("a call ended with {event:?}"),
                None => {}
            }
        }
    }
}
