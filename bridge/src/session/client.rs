//! The page's end of a session.

use super::SessionError;
use crate::wire::{
    Answer, ClientMessage, Hello, RefusalCode, Reply, Request, RequestId, ServerMessage, SessionId,
    VERSIONS, WireError, decode, decode_handshake, encode, encode_handshake,
};
use std::collections::{BTreeMap, VecDeque};

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
    /// The handshake is done. `lost` are requests of a former session that the relay does not know any more: nobody can
    /// tell whether they were performed.
    Open { lost: Vec<RequestId> },
    /// A request ended.
    Reply { id: RequestId, reply: Reply, payload: Vec<u8> },
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
    last_id: u64,
    /// Requests without a reply, as frames to send again; `sent` tells whether any connection has carried it.
    open: BTreeMap<RequestId, OpenRequest>,
    outbox: VecDeque<Vec<u8>>,
}

#[derive(Debug)]
struct OpenRequest {
    frame: Vec<u8>,
    sent: bool,
}

impl ClientSession {
    pub fn new(user: impl Into<String>, token: Option<String>) -> Self {
        Self {
            user: user.into(),
            token,
            phase: Phase::Disconnected,
            session: None,
            last_id: 0,
            open: BTreeMap::new(),
            outbox: VecDeque::new(),
        }
    }

    pub fn phase(&self) -> Phase {
        self.phase
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
        self.outbox.clear();
        self.outbox.push_back(encode_handshake(&hello)?);
        self.phase = Phase::Greeting;
        Ok(())
    }

    /// The connection is gone; requests stay open.
    pub fn disconnected(&mut self) {
        self.outbox.clear();
        if self.phase != Phase::Refused {
            self.phase = Phase::Disconnected;
        }
    }

    /// Makes a request; it is sent as soon as the session is open.
    ///
    /// # Errors
    /// When it is longer than a frame may be; then nothing was sent.
    pub fn request(&mut self, request: Request, payload: &[u8]) -> Result<RequestId, WireError> {
        let id = RequestId(self.last_id + 1);
        let frame = encode(&ClientMessage::Request { id, request }, payload)?;
        self.last_id = id.0;
        let sent = self.phase == Phase::Open;
        if sent {
            self.outbox.push_back(frame.clone());
        }
        self.open.insert(id, OpenRequest { frame, sent });
        Ok(id)
    }

    /// Says that nobody waits for a request any more. A reply comes all the same.
    pub fn cancel(&mut self, id: RequestId) {
        if self.phase == Phase::Open && self.open.contains_key(&id) {
            self.push(&ClientMessage::Cancel { id });
        }
    }

    /// Gives up every open request, and names them.
    pub fn abandon(&mut self) -> Vec<RequestId> {
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
        let (ServerMessage::Reply { id, reply }, payload) = decode(frame)?;
        self.push(&ClientMessage::Acknowledge { id });
        // A reply that came before the last reconnect, and comes again.
        if self.open.remove(&id).is_none() {
            return Ok(None);
        }
        Ok(Some(ClientEvent::Reply { id, reply, payload: payload.to_vec() }))
    }

    /// The next frame to send.
    pub fn transmit(&mut self) -> Option<Vec<u8>> {
        self.outbox.pop_front()
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
            Answer::Welcome { session, resumed, .. } => {
                self.session = Some(session);
                self.phase = Phase::Open;
                let mut lost = Vec::new();
                if !resumed {
                    // What an earlier session had sent may have been performed: sending it again could do it twice.
                    lost = self.open.iter().filter(|(_, r)| r.sent).map(|(id, _)| *id).collect();
                    lost.iter().for_each(|id| drop(self.open.remove(id)));
                }
                for request in self.open.values_mut() {
                    request.sent = true;
                    self.outbox.push_back(request.frame.clone());
                }
                Ok(ClientEvent::Open { lost })
            }
        }
    }

    fn push(&mut self, message: &ClientMessage) {
        let frame = encode(message, &[]).expect("acknowledgements and cancellations are short");
        self.outbox.push_back(frame);
    }
}
