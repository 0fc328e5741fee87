//! The page's end of a session.

use super::SessionError;
use crate::sorted_map::SortedMap;
use crate::wire::{
    Answer, BATCHES_SINCE, ClientMessage, FRAME_PREFIX_BYTES, Frames, Hello, MAX_OWED,
    MAX_OWED_BYTES, MAX_QUEUED_BYTES, MAX_QUEUED_REQUESTS, MESSAGE_BYTES, RefusalCode, Reply,
    Request, RequestId, ServerMessage, SessionId, VERSIONS, append_frame, decode, decode_handshake,
    encode, encode_handshake, frames_of,
};
use std::collections::VecDeque;

/// First version with [`ClientMessage::Ping`].
const PINGS_SINCE: u16 = 2;

/// First version with [`ClientMessage::SameRun`].
const RUNS_SINCE: u16 = 3;

/// Where the session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No connection; requests are kept.
    Disconnected,
    /// Connected, and the handshake is under way; requests are kept.
    Greeting,
    Open,
    /// Refused; the session is over.
    Refused,
}

/// What a received frame means for the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// The handshake is done. `lost` are requests of an earlier session that the relay no longer knows: their outcome
    /// is unknown. It contains no reads: those are sent again, unless this relay's version is too old for them. Unsent
    /// requests for which the relay's version is too old are in [`ClientSession::take_refused`].
    Open { lost: Vec<RequestId> },
    /// A request ended.
    Reply { id: RequestId, reply: Reply, payload: Vec<u8> },
    /// A watched value was written by another client or a function.
    Changed { key: String },
    /// The relay will not have this session.
    Refused { code: RefusalCode, message: String },
}

/// State of a client session.
#[derive(Debug)]
pub struct ClientSession {
    user: String,
    token: Option<String>,
    phase: Phase,
    session: Option<SessionId>,
    /// How many sessions there were, one after the other.
    sessions: u64,
    /// Version negotiated by the last handshake.
    version: u16,
    last_id: u64,
    /// Requests without a reply, as frames to send again.
    open: SortedMap<RequestId, OpenRequest>,
    /// How many of them were never given to a connection, and their bytes.
    queued: Queued,
    /// Requests that were never sent, since the relay is too old for them.
    refused: Vec<RequestId>,
    outbox: VecDeque<Outgoing>,
    /// Replies that are here and not acknowledged, for that goes along with what is sent next.
    owed: Vec<RequestId>,
    owed_bytes: usize,
}

#[derive(Debug)]
struct OpenRequest {
    frame: Vec<u8>,
    /// The first call of the run that made this request.
    first: Option<RequestId>,
    /// First version of the protocol that has such a request.
    since: u16,
    /// It was given to a connection ([`ClientSession::transmit`]), so it may have been performed.
    sent: bool,
    /// Performing it twice does no harm.
    is_read: bool,
    cancelled: bool,
}

#[derive(Debug)]
enum Outgoing {
    /// An open request.
    Request(RequestId),
    /// Names the run of the request that comes next.
    Run { id: RequestId, first: RequestId },
    /// A frame that nothing else refers to.
    Frame(Vec<u8>),
}

#[derive(Debug, Default)]
struct Queued {
    requests: usize,
    bytes: usize,
}

impl Queued {
    fn add(&mut self, frame: &[u8]) {
        self.requests += 1;
        self.bytes += frame.len();
    }

    fn remove(&mut self, frame: &[u8]) {
        self.requests -= 1;
        self.bytes -= frame.len();
    }

    fn has_room(&self, frame: &[u8]) -> bool {
        self.requests < MAX_QUEUED_REQUESTS
            && self.bytes.saturating_add(frame.len()) <= MAX_QUEUED_BYTES
    }
}

impl ClientSession {
    pub fn new(user: impl Into<String>, token: Option<String>) -> Self {
        Self {
            user: user.into(),
            token,
            phase: Phase::Disconnected,
            session: None,
            sessions: 0,
            version: *VERSIONS.start(),
            last_id: 0,
            open: SortedMap::new(),
            queued: Queued::default(),
            refused: Vec::new(),
            outbox: VecDeque::new(),
            owed: Vec::new(),
            owed_bytes: 0,
        }
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether a handshake has succeeded, so that there is a session to resume.
    pub fn has_begun(&self) -> bool {
        self.session.is_some()
    }

    /// Counts sessions: if the number changed, the relay no longer keeps the state of the earlier session, such as its
    /// locks.
    pub fn sessions(&self) -> u64 {
        self.sessions
    }

    /// What the last handshake settled on.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Whether a reply is awaited: to what was sent, or is about to be over the connection that is open.
    pub fn is_awaiting(&self) -> bool {
        let unsent = if self.phase == Phase::Open { 0 } else { self.queued.requests };
        self.open.len() > unsent
    }

    /// Whether the reply to this request is still to come.
    pub fn is_open(&self, id: RequestId) -> bool {
        self.open.get(&id).is_some()
    }

    /// Whether this request, whose reply is still to come, was given to a connection: only then it may have been performed.
    pub fn was_sent(&self, id: RequestId) -> bool {
        self.open.get(&id).is_some_and(|request| request.sent)
    }

    /// Requests made before the relay's version was known, for which that version is too old: they were never sent.
    pub fn take_refused(&mut self) -> Vec<RequestId> {
        std::mem::take(&mut self.refused)
    }

    /// The token for the next handshake.
    pub fn set_token(&mut self, token: Option<String>) {
        self.token = token;
    }

    /// A connection is up: the handshake is the first frame to transmit.
    ///
    /// # Errors
    /// When user or token are longer than a handshake allows.
    pub fn connected(&mut self) -> Result<(), SessionError> {
        let hello = Hello {
            versions: (*VERSIONS.start(), *VERSIONS.end()),
            user: self.user.clone(),
            token: self.token.clone(),
            resume: self.session,
        };
        self.forget_outbox();
        self.outbox.push_back(Outgoing::Frame(encode_handshake(&hello)?));
        self.phase = Phase::Greeting;
        Ok(())
    }

    /// The connection is gone; requests stay open.
    pub fn disconnected(&mut self) {
        self.forget_outbox();
        if self.phase != Phase::Refused {
            self.phase = Phase::Disconnected;
        }
    }

    /// Makes a request; it is sent as soon as the session is open.
    ///
    /// # Errors
    /// When it is longer than a frame may be, or too much waits for a connection already; then it is never sent.
    pub fn request(&mut self, request: Request, payload: &[u8]) -> Result<RequestId, SessionError> {
        self.request_of(None, request, payload)
    }

    /// As [`ClientSession::request`], for a call of a run that chained others before; `first` is the first of them.
    ///
    /// # Errors
    /// As [`ClientSession::request`].
    pub fn request_of(
        &mut self,
        first: Option<RequestId>,
        request: Request,
        payload: &[u8],
    ) -> Result<RequestId, SessionError> {
        let id = RequestId(self.last_id + 1);
        let (is_read, since) = (request.is_read(), request.since());
        if self.phase == Phase::Open && since > self.version {
            return Err(SessionError::TooNew { since });
        }
        let frame = encode(&ClientMessage::Request { id, request }, payload)?;
        if self.phase == Phase::Open {
            self.push_request(id, first);
        } else if !self.queued.has_room(&frame) {
            return Err(SessionError::QueueFull);
        }
        self.last_id = id.0;
        self.queued.add(&frame);
        let request = OpenRequest { frame, first, since, sent: false, is_read, cancelled: false };
        self.open.insert(id, request);
        Ok(id)
    }

    /// Cancels a request. An unsent request is dropped; a sent one is still answered.
    pub fn cancel(&mut self, id: RequestId) {
        let Some(request) = self.open.get_mut(&id) else { return };
        if !request.sent {
            self.remove(id);
            return;
        }
        request.cancelled = true;
        if self.phase == Phase::Open {
            self.push(&ClientMessage::Cancel { id });
        }
    }

    /// Pings the relay; returns `false` if its version does not support pings.
    pub fn ping(&mut self) -> bool {
        let can = self.phase == Phase::Open && self.version >= PINGS_SINCE;
        if can {
            self.push(&ClientMessage::Ping);
        }
        can
    }

    /// Gives up every open request, and names them.
    pub fn abandon(&mut self) -> Vec<RequestId> {
        self.queued = Queued::default();
        std::mem::take(&mut self.open).into_keys().collect()
    }

    /// Takes a frame from the relay; `None` where there is nothing for the driver to do.
    ///
    /// # Errors
    /// When the frame breaks the protocol: close the connection.
    pub fn receive(&mut self, frame: &[u8]) -> Result<Option<ClientEvent>, SessionError> {
        if self.phase == Phase::Greeting {
            return self.greeted(decode_handshake(frame)?).map(Some);
        }
        let (id, reply, payload) = match decode(frame)? {
            (ServerMessage::Reply { id, reply }, payload) => (id, reply, payload),
            (ServerMessage::Pong, _) => return Ok(None),
            (ServerMessage::Changed { key }, _) => return Ok(Some(ClientEvent::Changed { key })),
        };
        self.owed.push(id);
        self.owed_bytes += payload.len();
        // A reply that came before the last reconnect, and comes again.
        if self.remove(id).is_none() {
            return Ok(None);
        }
        Ok(Some(ClientEvent::Reply { id, reply, payload: payload.to_vec() }))
    }

    /// Whether acknowledgements wait for the next message: see [`ClientSession::acknowledge`].
    pub fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Sends the pending acknowledgements although there is no other message. The driver calls it some time after a
    /// reply, so that the relay can drop the reply.
    pub fn acknowledge(&mut self) {
        // Acknowledgements go first, so that the relay has capacity for the next request.
        for id in self.owed.drain(..).rev() {
            self.outbox.push_front(Outgoing::Frame(short(&ClientMessage::Acknowledge { id })));
        }
        self.owed_bytes = 0;
    }

    /// The next frame to send. A request counts as sent from here on.
    pub fn transmit(&mut self) -> Option<Vec<u8>> {
        let is_much = self.owed.len() >= MAX_OWED || self.owed_bytes >= MAX_OWED_BYTES;
        if self.phase == Phase::Open && (is_much || self.has_more()) {
            self.acknowledge();
        }
        self.take_next()
    }

    /// The next WebSocket message to send.
    pub fn transmit_message(&mut self) -> Option<Vec<u8>> {
        if !self.has_batches() {
            return self.transmit();
        }
        let mut message = Vec::new();
        self.transmit_batch(&mut message, MESSAGE_BYTES).then_some(message)
    }

    /// Appends the next frame to send, each after its length, and further ones while the batch has at most so many bytes.
    /// Gives whether there was any.
    pub fn transmit_batch(&mut self, batch: &mut Vec<u8>, bytes: usize) -> bool {
        let Some(first) = self.transmit() else { return false };
        append_frame(batch, &first);
        while let Some(next) = self.next_bytes()
            && batch.len() + FRAME_PREFIX_BYTES + next <= bytes
            && let Some(next) = self.take_next()
        {
            append_frame(batch, &next);
        }
        true
    }

    /// The frames of a WebSocket message, for [`ClientSession::receive`].
    pub fn frames_of<'a>(&self, message: &'a [u8]) -> Frames<'a> {
        frames_of(message, self.has_batches())
    }

    fn has_batches(&self) -> bool {
        self.phase == Phase::Open && self.version >= BATCHES_SINCE
    }

    /// The replies come again over the next connection.
    fn forget_outbox(&mut self) {
        self.outbox.clear();
        self.owed.clear();
        self.owed_bytes = 0;
    }

    fn greeted(&mut self, answer: Answer) -> Result<ClientEvent, SessionError> {
        match answer {
            Answer::Refused { code, message } => {
                self.phase = Phase::Refused;
                Ok(ClientEvent::Refused { code, message })
            }
            Answer::Welcome { version, .. } if !VERSIONS.contains(&version) => {
                Err(SessionError::Version { version })
            }
            Answer::Welcome { version, session, resumed } => {
                self.version = version;
                self.session = Some(session);
                self.sessions += u64::from(!resumed);
                self.phase = Phase::Open;
                let mut lost = if resumed { Vec::new() } else { self.forget_performed() };
                let refused = self.forget_where(|request| request.since > version && !request.sent);
                self.refused.extend(refused);
                lost.extend(self.forget_where(|request| request.since > version));
                self.send_open();
                Ok(ClientEvent::Open { lost })
            }
        }
    }

    /// What an earlier session had sent may have been performed: sending it again could do it twice.
    fn forget_performed(&mut self) -> Vec<RequestId> {
        self.forget_where(|request| request.sent && !request.is_read)
    }

    fn forget_where(&mut self, is_lost: impl Fn(&OpenRequest) -> bool) -> Vec<RequestId> {
        let lost = self.open.iter().filter(|(_, request)| is_lost(request));
        let lost: Vec<RequestId> = lost.map(|(id, _)| *id).collect();
        for id in &lost {
            self.remove(*id);
        }
        lost
    }

    /// Forgets an open request; the outbox may still name it.
    fn remove(&mut self, id: RequestId) -> Option<OpenRequest> {
        let request = self.open.remove(&id)?;
        if !request.sent {
            self.queued.remove(&request.frame);
        }
        Some(request)
    }

    /// Sends every open request, for the first time or again.
    fn send_open(&mut self) {
        let open: Vec<_> =
            self.open.iter().map(|(id, request)| (*id, request.first, request.cancelled)).collect();
        for (id, first, cancelled) in open {
            self.push_request(id, first);
            if cancelled {
                self.push(&ClientMessage::Cancel { id });
            }
        }
    }

    /// Puts a request at the end of the outbox, after the run that it belongs to; a relay too old for runs goes without.
    fn push_request(&mut self, id: RequestId, first: Option<RequestId>) {
        if let Some(first) = first.filter(|_| self.version >= RUNS_SINCE) {
            self.outbox.push_back(Outgoing::Run { id, first });
        }
        self.outbox.push_back(Outgoing::Request(id));
    }

    fn push(&mut self, message: &ClientMessage) {
        self.outbox.push_back(Outgoing::Frame(short(message)));
    }

    /// Whether anything is to be sent; what was taken back before it was sent goes from the head of the outbox.
    fn has_more(&mut self) -> bool {
        let is_gone = |outgoing: &Outgoing| match outgoing {
            Outgoing::Request(id) | Outgoing::Run { id, .. } => self.open.get(id).is_none(),
            Outgoing::Frame(_) => false,
        };
        while self.outbox.front().is_some_and(is_gone) {
            self.outbox.pop_front();
        }
        !self.outbox.is_empty()
    }

    /// The length of the frame at the head of the outbox.
    fn next_bytes(&mut self) -> Option<usize> {
        self.has_more();
        match self.outbox.front()? {
            Outgoing::Request(id) => self.open.get(id).map(|request| request.frame.len()),
            Outgoing::Run { id, first } => Some(run(*id, *first).len()),
            Outgoing::Frame(frame) => Some(frame.len()),
        }
    }

    fn take_next(&mut self) -> Option<Vec<u8>> {
        self.has_more();
        match self.outbox.pop_front()? {
            Outgoing::Frame(frame) => Some(frame),
            Outgoing::Run { id, first } => Some(run(id, first)),
            Outgoing::Request(id) => {
                let request = self.open.get_mut(&id)?;
                if !std::mem::replace(&mut request.sent, true) {
                    self.queued.remove(&request.frame);
                }
                Some(request.frame.clone())
            }
        }
    }
}

/// Says which run a request belongs to.
fn run(id: RequestId, first: RequestId) -> Vec<u8> {
    short(&ClientMessage::SameRun { id, first })
}

fn short(message: &ClientMessage) -> Vec<u8> {
    encode(message, &[]).expect("messages without a request are short")
}
