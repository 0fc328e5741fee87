//! The relay's end of a session.
//!
//! It can outlive the relay's process: the driver stores what [`ServerEvent::Start`], the frame from
//! [`ServerSession::reply`] and [`ServerEvent::Forget`] contain, and passes it to [`ServerSession::restore`].

use super::SessionError;
use super::watched::{Watched, Watching};
use crate::wire::{
    Answer, BATCHES_SINCE, ClientMessage, FRAME_PREFIX_BYTES, FailureCode, Frame, Frames, Hello,
    MAX_KEPT_BYTES, MAX_OPEN_REQUESTS, MESSAGE_BYTES, RefusalCode, Reply, Request, RequestId,
    ServerMessage, SessionId, VERSIONS, WATCHES_SINCE, WireError, append_beginning, append_parts,
    decode, decode_handshake, encode, encode_shared, frames_of,
};
use bytes::Bytes;
use rangemap::RangeSet;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

/// Most frames queued for a page that sends requests and does not read.
const MAX_OUTBOX_FRAMES: usize = 2 * MAX_OPEN_REQUESTS;

/// Most ranges of acknowledged ids. Between two ranges are open requests, and ids of requests that the page cancelled
/// before it sent them.
const MAX_ACKED_RANGES: usize = 4096;

/// A payload that has fewer bytes is copied: what is shared keeps the whole frame that it came in.
pub const SHARED_BYTES: usize = MESSAGE_BYTES / 2;

/// First id of a session.
const FIRST_ID: RequestId = RequestId(1);

/// Last id of a session. The end of a range of acknowledged ids is exclusive, so the id after it must exist.
const LAST_ID: RequestId = RequestId(u64::MAX - 1);

/// What a received frame means for the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// Perform this, and [`ServerSession::reply`] whatever comes of it. Given once for each id. `first` is the first call of
    /// the run that a call belongs to: itself, where the page names no other. The payload is a part of the frame, unless it is short.
    Start { id: RequestId, first: RequestId, request: Request, payload: Bytes },
    /// Nobody waits for this request any more; reply all the same.
    Cancel { id: RequestId },
    /// The page has the replies to these requests and will never send them again: a journal can drop them.
    Forget { ids: Range<u64> },
}

/// A WebSocket message in parts: one part, unless it is a long frame, which is shared with the session that keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing(pub Vec<Bytes>);

impl Outgoing {
    /// Bytes of the message.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// The message as one part, which copies a long one.
    pub fn joined(&self) -> Bytes {
        match self.0.as_slice() {
            [only] => only.clone(),
            parts => parts.concat().into(),
        }
    }
}

/// What is left of a session that another relay carried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveredSession {
    /// Ids whose replies the page has.
    pub acked: Vec<Range<u64>>,
    /// Requests that were started.
    pub begun: Vec<(RequestId, InFlight)>,
}

/// State of a request that another relay started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InFlight {
    /// It ended: the frame from [`ServerSession::reply`].
    Replied(Vec<u8>),
    /// The relay ended before the request did.
    Unknown,
    /// The relay may be performing it now: call [`ServerSession::resolve`] once its outcome is known.
    Elsewhere,
}

/// Reads a handshake and negotiates the version.
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
    /// Requests that ended and were acknowledged; ids count up, so this is usually one range.
    acked: RangeSet<u64>,
    connected: bool,
    /// Version negotiated by the last handshake.
    version: u16,
    outbox: VecDeque<Queued>,
    /// Bytes of the replies in `open`.
    kept_bytes: usize,
    takes_requests: bool,
    /// The announced id of the next request, and the first call of its run.
    announced: Option<(RequestId, RequestId)>,
    /// Requests for locks. Their replies are valid only while the connection lasts: without one a lock may be lost.
    locks: BTreeSet<RequestId>,
    watched: Watched,
}

#[derive(Debug)]
enum Progress {
    Running,
    /// The reply, as the frame that the connection carries, and the next one if need be. The journal and the connection share it.
    Replied(Frame),
}

#[derive(Debug)]
enum Queued {
    /// The reply to this request.
    Reply(RequestId),
    /// A frame that is not kept for another connection.
    Passing(Frame),
    /// Says that this value was written.
    Changed(String, Frame),
}

impl ServerSession {
    /// A session whose handshake is done, with no connection yet.
    pub fn new(id: SessionId, user: String) -> Self {
        Self {
            id,
            user,
            open: BTreeMap::new(),
            acked: RangeSet::new(),
            connected: false,
            version: *VERSIONS.start(),
            outbox: VecDeque::new(),
            kept_bytes: 0,
            takes_requests: true,
            announced: None,
            locks: BTreeSet::new(),
            watched: Watched::default(),
        }
    }

    /// A session that another relay served. A request that was started there and did not end may have been performed in
    /// part: its outcome is unknown, and it is not started again. Requests that `recovered` does not contain were never
    /// started; the page sends them again.
    pub fn restore(id: SessionId, user: String, recovered: RecoveredSession) -> Self {
        let mut session = Self::new(id, user);
        session.acked.extend(recovered.acked.into_iter().filter(|ids| !ids.is_empty()));
        for (id, begun) in recovered.begun {
            if id > LAST_ID || session.acked.contains(&id.0) || session.open.contains_key(&id) {
                continue;
            }
            session.open.insert(id, Progress::Running);
            session.resolve(id, begun);
        }
        session
    }

    /// Sets the outcome of a request that another relay started, unless it has a reply already. The limit for kept
    /// bytes does not apply to these frames: the other relay has applied it.
    pub fn resolve(&mut self, id: RequestId, begun: InFlight) {
        let frame = match begun {
            InFlight::Replied(frame) => frame,
            InFlight::Unknown => {
                let message =
                    "the relay ended while performing the request: it may have had effects";
                let message = message.to_owned();
                reply_frame(id, Reply::Failed { code: FailureCode::Unknown, message }, &[])
            }
            InFlight::Elsewhere => return,
        };
        let Some(progress @ Progress::Running) = self.open.get_mut(&id) else { return };
        self.kept_bytes = self.kept_bytes.saturating_add(frame.len());
        *progress = Progress::Replied(frame.into());
        if self.connected {
            self.outbox.push_back(Queued::Reply(id));
        }
    }

    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The user whose functions and state this session uses.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Whether the session has a connection now.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Bytes of the replies that are kept until they are acknowledged.
    pub fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// Requests that are running or whose reply is not acknowledged.
    pub fn open_requests(&self) -> usize {
        self.open.len()
    }

    /// Number of ranges of acknowledged ids.
    #[cfg(test)]
    pub(super) fn acked_ranges(&self) -> usize {
        self.acked.len()
    }

    /// Number of frames in the outbox.
    #[cfg(test)]
    pub(super) fn waiting_frames(&self) -> usize {
        self.outbox.len()
    }

    /// A connection was opened and its handshake answered with this version: unacknowledged replies are sent again.
    pub fn connected(&mut self, version: u16) {
        self.connected = true;
        self.version = version;
        self.announced = None;
        self.outbox.clear();
        self.forget_locks();
        let replied =
            self.open.iter().filter(|(_, progress)| matches!(progress, Progress::Replied(_)));
        self.outbox.extend(replied.map(|(id, _)| Queued::Reply(*id)));
        for key in self.watched.notify_again() {
            self.notify(&key);
        }
    }

    /// Starts to notify the page when the value is [`changed`](Self::changed).
    pub fn watch(&mut self, key: &str) -> Watching {
        self.watched.begin(key)
    }

    /// Stops notifying the page of changes of this value.
    pub fn unwatch(&mut self, key: &str) {
        self.watched.end(key);
        self.outbox.retain(|next| !matches!(next, Queued::Changed(changed, _) if changed == key));
    }

    /// Keys of the watched values.
    pub fn watched(&self) -> impl Iterator<Item = &str> {
        self.watched.keys()
    }

    /// Another client or a function has written a value. If the page watches the value, it is notified: once, however
    /// often the value changes before the notification is sent.
    pub fn changed(&mut self, key: &str) {
        if self.watched.changed(key) && self.connected {
            self.notify(key);
        }
    }

    fn notify(&mut self, key: &str) {
        if self.version < WATCHES_SINCE {
            return;
        }
        // Watched keys are short enough for a frame.
        if let Ok(frame) = encode(&ServerMessage::Changed { key: key.to_owned() }, &[]) {
            self.outbox.push_back(Queued::Changed(key.to_owned(), frame.into()));
        }
    }

    /// The connection is lost; requests continue.
    pub fn disconnected(&mut self) {
        self.connected = false;
        self.outbox.clear();
        self.forget_locks();
    }

    /// Drops the replies to requests for locks: a page that has not received them sends the requests again.
    fn forget_locks(&mut self) {
        for id in std::mem::take(&mut self.locks) {
            match self.open.get(&id) {
                Some(Progress::Replied(frame)) => {
                    self.kept_bytes -= frame.len();
                    self.open.remove(&id);
                }
                Some(Progress::Running) => {
                    self.locks.insert(id);
                }
                None => {}
            }
        }
    }

    /// Takes a frame from the page; `None` where there is nothing for the driver to do. A long payload stays where it is.
    ///
    /// # Errors
    /// When the frame breaks the protocol: close the connection.
    pub fn receive_shared(&mut self, frame: &Bytes) -> Result<Option<ServerEvent>, SessionError> {
        let (message, payload) = decode(frame)?;
        match message {
            ClientMessage::Request { id, request } => {
                let payload = match payload.len() {
                    ..SHARED_BYTES => Bytes::copy_from_slice(payload),
                    _ => frame.slice_ref(payload),
                };
                self.requested(id, request, payload)
            }
            ClientMessage::Acknowledge { id } => {
                let Some(Progress::Replied(frame)) = self.open.get(&id) else { return Ok(None) };
                self.kept_bytes -= frame.len();
                self.open.remove(&id);
                self.locks.remove(&id);
                Ok(Some(ServerEvent::Forget { ids: self.forget(id) }))
            }
            ClientMessage::Cancel { id } => {
                let running = matches!(self.open.get(&id), Some(Progress::Running));
                Ok(running.then_some(ServerEvent::Cancel { id }))
            }
            ClientMessage::Ping => {
                self.push(encode(&ServerMessage::Pong, &[])?)?;
                Ok(None)
            }
            ClientMessage::SameRun { id, first } => {
                self.announced = Some((id, first));
                Ok(None)
            }
        }
    }

    /// The same of a frame that is somebody else's, which is copied.
    ///
    /// # Errors
    /// As [`ServerSession::receive_shared`].
    pub fn receive(&mut self, frame: &[u8]) -> Result<Option<ServerEvent>, SessionError> {
        self.receive_shared(&Bytes::copy_from_slice(frame))
    }

    /// Gives the whole range of forgotten ids that this one is in now.
    fn forget(&mut self, id: RequestId) -> Range<u64> {
        let ids = id.0..id.0 + 1;
        self.acked.insert(ids.clone());
        if self.acked.len() > MAX_ACKED_RANGES {
            // Pages send ids in order, so ids from long ago that were not sent never will be.
            let gap = self.acked.gaps(&(0..id.0)).find(|gap| {
                let ids = RequestId(gap.start)..RequestId(gap.end);
                gap.start > 0 && self.open.range(ids).next().is_none()
            });
            self.acked.extend(gap);
        }
        self.acked.get(&id.0).cloned().unwrap_or(ids)
    }

    /// Ignores new requests from now on; the page sends them again to the next relay.
    pub fn stop_accepting(&mut self) {
        self.takes_requests = false;
    }

    /// Removes a request that was returned to be started, and was not started.
    pub fn unstart(&mut self, id: RequestId) {
        if let Some(Progress::Running) = self.open.get(&id) {
            self.open.remove(&id);
            self.locks.remove(&id);
        }
    }

    fn requested(
        &mut self,
        id: RequestId,
        request: Request,
        payload: Bytes,
    ) -> Result<Option<ServerEvent>, SessionError> {
        let announced = self.announced.take().filter(|(announced, _)| *announced == id);
        // A known request: it is running, its reply is in this connection's outbox, or the page has acknowledged it.
        if self.open.contains_key(&id) || self.acked.contains(&id.0) {
            return Ok(None);
        }
        if !self.takes_requests {
            return Ok(None);
        }
        if id < FIRST_ID || id > LAST_ID {
            // Not recorded: the range of acknowledged ids could not include an id beyond the last.
            let message = format!(
                "the id of a request must be from {} to {}, and is {}: count up from the first",
                FIRST_ID.0, LAST_ID.0, id.0
            );
            let reply = Reply::Failed { code: FailureCode::BadRequest, message };
            self.push(reply_frame(id, reply, &[]))?;
            return Ok(None);
        }
        if self.open.len() >= MAX_OPEN_REQUESTS {
            // Not recorded: the page may send the same id again once there is capacity.
            let message = format!("more than {MAX_OPEN_REQUESTS} requests are open");
            let reply = Reply::Failed { code: FailureCode::Busy, message };
            self.push(reply_frame(id, reply, &[]))?;
            return Ok(None);
        }
        self.open.insert(id, Progress::Running);
        if let Some(message) = request.problem(&payload) {
            self.reply(id, Reply::Failed { code: FailureCode::BadRequest, message }, &[]);
            return Ok(None);
        }
        if let Request::LockState { .. } = request {
            self.locks.insert(id);
        }
        let first = announced.map_or(id, |(_, first)| first);
        Ok(Some(ServerEvent::Start { id, first, request, payload }))
    }

    /// Ends a request. A second reply to the same id is dropped; a reply for which there is no capacity becomes an
    /// error.
    ///
    /// Gives the frame that is kept until the page acknowledges it: the same bytes, not a copy.
    pub fn reply_shared(&mut self, id: RequestId, reply: Reply, payload: Bytes) -> Option<Frame> {
        let Some(progress @ Progress::Running) = self.open.get_mut(&id) else { return None };
        let mut frame = reply_in_parts(id, reply, payload);
        if self.kept_bytes.saturating_add(frame.len()) > MAX_KEPT_BYTES {
            let message = format!(
                "it ended, but more than {MAX_KEPT_BYTES} bytes of results wait for the page"
            );
            let failed = Reply::Failed { code: FailureCode::Unknown, message };
            frame = reply_in_parts(id, failed, Bytes::new());
        }
        self.kept_bytes += frame.len();
        *progress = Progress::Replied(frame.clone());
        if self.connected {
            self.outbox.push_back(Queued::Reply(id));
        }
        Some(frame)
    }

    /// The same with a payload that is somebody else's, which is copied.
    pub fn reply(&mut self, id: RequestId, reply: Reply, payload: &[u8]) -> Option<Frame> {
        self.reply_shared(id, reply, Bytes::copy_from_slice(payload))
    }

    /// Queues a frame for this connection only.
    fn push(&mut self, frame: Vec<u8>) -> Result<(), SessionError> {
        if self.outbox.len() >= MAX_OUTBOX_FRAMES {
            return Err(SessionError::NotReading);
        }
        self.outbox.push_back(Queued::Passing(frame.into()));
        Ok(())
    }

    /// The next frame to send.
    pub fn transmit_shared(&mut self) -> Option<Frame> {
        let frame = self.next()?.clone();
        self.sent();
        Some(frame)
    }

    /// The same in one piece.
    pub fn transmit(&mut self) -> Option<Bytes> {
        self.transmit_shared().map(|frame| frame.to_bytes())
    }

    /// The next WebSocket message to send.
    pub fn transmit_message(&mut self) -> Option<Outgoing> {
        let Frame { envelope, payload } = self.transmit_shared()?;
        if self.version < BATCHES_SINCE {
            return Some(Outgoing(vec![envelope, payload]));
        }
        let mut message = Vec::with_capacity(
            MESSAGE_BYTES.min(FRAME_PREFIX_BYTES + envelope.len() + payload.len()),
        );
        if FRAME_PREFIX_BYTES + envelope.len() + payload.len() > MESSAGE_BYTES {
            append_beginning(&mut message, &[], envelope.len() + payload.len());
            if envelope.len() > MESSAGE_BYTES / 2 {
                return Some(Outgoing(vec![message.into(), envelope, payload]));
            }
            message.extend_from_slice(&envelope);
            return Some(Outgoing(vec![message.into(), payload]));
        }
        append_parts(&mut message, &[&envelope, &payload]);
        while let Some(next) = self.next()
            && message.len() + FRAME_PREFIX_BYTES + next.len() <= MESSAGE_BYTES
        {
            append_parts(&mut message, &[&next.envelope, &next.payload]);
            self.sent();
        }
        Some(Outgoing(vec![message.into()]))
    }

    /// The frames of a WebSocket message, for [`ServerSession::receive`].
    pub fn frames_of<'a>(&self, message: &'a [u8]) -> Frames<'a> {
        frames_of(message, self.version >= BATCHES_SINCE)
    }

    /// The frame at the head of the outbox was sent.
    fn sent(&mut self) {
        if let Some(Queued::Changed(key, _)) = self.outbox.pop_front() {
            self.watched.notified(&key);
        }
    }

    /// The frame at the head of the outbox, without what nobody waits for any more since it was put there.
    fn next(&mut self) -> Option<&Frame> {
        let is_gone = |queued: &Queued| match queued {
            Queued::Passing(_) => false,
            Queued::Changed(key, _) => !self.watched.is_changed(key),
            Queued::Reply(id) => !matches!(self.open.get(id), Some(Progress::Replied(_))),
        };
        while self.outbox.front().is_some_and(is_gone) {
            self.outbox.pop_front();
        }
        match self.outbox.front()? {
            Queued::Passing(frame) | Queued::Changed(_, frame) => Some(frame),
            Queued::Reply(id) => match self.open.get(id)? {
                Progress::Replied(frame) => Some(frame),
                Progress::Running => None,
            },
        }
    }
}

/// A reply as a frame; a reply that is too long becomes an error reply.
pub fn reply_frame(id: RequestId, reply: Reply, payload: &[u8]) -> Vec<u8> {
    reply_in_parts(id, reply, Bytes::copy_from_slice(payload)).to_bytes().into()
}

/// The same, with the payload as it is.
fn reply_in_parts(id: RequestId, reply: Reply, payload: Bytes) -> Frame {
    let failed = |error: WireError| {
        let message = format!("the result cannot be sent: {error}");
        let reply = Reply::Failed { code: FailureCode::BadRequest, message };
        encode(&ServerMessage::Reply { id, reply }, &[]).expect("an error message is short").into()
    };
    encode_shared(&ServerMessage::Reply { id, reply }, payload).unwrap_or_else(failed)
}
