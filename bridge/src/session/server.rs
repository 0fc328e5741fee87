//! The relay's end of a session.

use super::SessionError;
use crate::wire::{
    Answer, ClientMessage, FailureCode, Hello, MAX_KEPT_BYTES, MAX_OPEN_REQUESTS, RefusalCode,
    Reply, Request, RequestId, ServerMessage, SessionId, VERSIONS, decode, decode_handshake,
    encode,
};
use rangemap::RangeSet;
use std::collections::{BTreeMap, VecDeque};

/// Most frames that wait for a page that sends and does not read.
const MAX_OUTBOX_FRAMES: usize = 2 * MAX_OPEN_REQUESTS;

/// What a received frame means for the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// Perform this, and [`ServerSession::reply`] whatever comes of it. Given once for each id.
    Start { id: RequestId, request: Request, payload: Vec<u8> },
    /// Nobody waits for this request any more; reply all the same.
    Cancel { id: RequestId },
}

/// Reads a handshake and settles the version.
///
/// # Errors
/// The answer to send before closing the connection.
pub fn greet(frame: &[u8]) -> Result<(Hello, u16), Answer> {
    let refuse = |code, message: String| Answer::Refused { code, message };
    let hello: Hello = decode_handshake(frame)
        .map_err(|error| refuse(RefusalCode::Malformed, error.to_string()))?;
    if let Some(problem) = hello.problem() {
        return Err(refuse(RefusalCode::Malformed, problem));
    }
    let (oldest, newest) = hello.versions;
    let version = newest.min(*VERSIONS.end());
    if version < oldest || version < *VERSIONS.start() {
        let message = format!(
            "the page speaks protocol versions {oldest} to {newest}, this relay {} to {}: serve the page a runtime of the relay's version",
            VERSIONS.start(),
            VERSIONS.end(),
        );
        return Err(refuse(RefusalCode::Version, message));
    }
    Ok((hello, version))
}

/// State of a server session.
#[derive(Debug)]
pub struct ServerSession {
    id: SessionId,
    user: String,
    open: BTreeMap<RequestId, Progress>,
    /// Requests that ended and were acknowledged; ids count up, so this stays one range.
    forgotten: RangeSet<u64>,
    connected: bool,
    outbox: VecDeque<Outgoing>,
    /// Bytes of the replies in `open`.
    kept_bytes: usize,
}

#[derive(Debug)]
enum Progress {
    Running,
    /// The reply, as the frame that the connection carries, and the next one if need be.
    Replied(Vec<u8>),
}

#[derive(Debug)]
enum Outgoing {
    /// The reply to this request.
    Reply(RequestId),
    /// A frame that is not kept for another connection.
    Passing(Vec<u8>),
}

impl ServerSession {
    /// A session whose handshake is done, with no connection yet.
    pub fn new(id: SessionId, user: String) -> Self {
        Self {
            id,
            user,
            open: BTreeMap::new(),
            forgotten: RangeSet::new(),
            connected: false,
            outbox: VecDeque::new(),
            kept_bytes: 0,
        }
    }

    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Whose functions and state this session uses.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Whether a connection carries the session now.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Requests that are running, or whose reply is not acknowledged.
    pub fn open_requests(&self) -> usize {
        self.open.len()
    }

    /// A connection is up and its handshake answered: unacknowledged replies are sent again.
    pub fn connected(&mut self) {
        self.connected = true;
        self.outbox.clear();
        let replied =
            self.open.iter().filter(|(_, progress)| matches!(progress, Progress::Replied(_)));
        self.outbox.extend(replied.map(|(id, _)| Outgoing::Reply(*id)));
    }

    /// The connection is gone; requests go on.
    pub fn disconnected(&mut self) {
        self.connected = false;
        self.outbox.clear();
    }

    /// Takes a frame from the page; `None` where there is nothing for the driver to do.
    ///
    /// # Errors
    /// When the frame breaks the protocol: close the connection.
    pub fn receive(&mut self, frame: &[u8]) -> Result<Option<ServerEvent>, SessionError> {
        let (message, payload) = decode(frame)?;
        match message {
            ClientMessage::Request { id, request } => self.requested(id, request, payload),
            ClientMessage::Acknowledge { id } => {
                if let Some(Progress::Replied(frame)) = self.open.get(&id) {
                    self.kept_bytes -= frame.len();
                    self.open.remove(&id);
                    self.forgotten.insert(id.0..id.0.saturating_add(1));
                }
                Ok(None)
            }
            ClientMessage::Cancel { id } => {
                let running = matches!(self.open.get(&id), Some(Progress::Running));
                Ok(running.then_some(ServerEvent::Cancel { id }))
            }
            ClientMessage::Ping => {
                self.push(encode(&ServerMessage::Pong, &[])?)?;
                Ok(None)
            }
        }
    }

    fn requested(
        &mut self,
        id: RequestId,
        request: Request,
        payload: &[u8],
    ) -> Result<Option<ServerEvent>, SessionError> {
        // Known: it runs, or this connection carries its reply, or that has arrived.
        if self.open.contains_key(&id) || self.forgotten.contains(&id.0) {
            return Ok(None);
        }
        if self.open.len() >= MAX_OPEN_REQUESTS {
            // Not remembered: the same id may come again when there is room.
            let message = format!("more than {MAX_OPEN_REQUESTS} requests are open");
            let reply = Reply::Failed { code: FailureCode::Busy, message };
            self.push(frame_of(id, reply, &[]))?;
            return Ok(None);
        }
        self.open.insert(id, Progress::Running);
        if let Some(message) = request.problem(payload) {
            self.reply(id, Reply::Failed { code: FailureCode::BadRequest, message }, &[]);
            return Ok(None);
        }
        Ok(Some(ServerEvent::Start { id, request, payload: payload.to_vec() }))
    }

    /// Ends a request. A second reply to the same id is dropped; one that there is no room to keep becomes an error.
    pub fn reply(&mut self, id: RequestId, reply: Reply, payload: &[u8]) {
        if let Some(progress @ Progress::Running) = self.open.get_mut(&id) {
            let mut frame = frame_of(id, reply, payload);
            if self.kept_bytes.saturating_add(frame.len()) > MAX_KEPT_BYTES {
                let message = format!(
                    "it ended, but more than {MAX_KEPT_BYTES} bytes of results wait for the page"
                );
                frame = frame_of(id, Reply::Failed { code: FailureCode::Unknown, message }, &[]);
            }
            self.kept_bytes += frame.len();
            *progress = Progress::Replied(frame);
            if self.connected {
                self.outbox.push_back(Outgoing::Reply(id));
            }
        }
    }

    /// Sends a frame over this connection only.
    fn push(&mut self, frame: Vec<u8>) -> Result<(), SessionError> {
        if self.outbox.len() >= MAX_OUTBOX_FRAMES {
            return Err(SessionError::NotReading);
        }
        self.outbox.push_back(Outgoing::Passing(frame));
        Ok(())
    }

    /// The next frame to send.
    pub fn transmit(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.outbox.pop_front()? {
                Outgoing::Passing(frame) => return Some(frame),
                Outgoing::Reply(id) => {
                    if let Some(Progress::Replied(frame)) = self.open.get(&id) {
                        return Some(frame.clone());
                    }
                }
            }
        }
    }
}

/// A reply as a frame; one too long to send becomes the error that says so.
fn frame_of(id: RequestId, reply: Reply, payload: &[u8]) -> Vec<u8> {
    encode(&ServerMessage::Reply { id, reply }, payload).unwrap_or_else(|error| {
        let message = format!("the result cannot be sent: {error}");
        let reply = Reply::Failed { code: FailureCode::BadRequest, message };
        encode(&ServerMessage::Reply { id, reply }, &[]).expect("an error message is short")
    })
}
