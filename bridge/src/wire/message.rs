//! The messages. A change here changes the protocol: `wire/tests.rs` holds the approved hash of this file.

use super::limits::*;
use serde::{Deserialize, Serialize};

/// Chosen by the client, counting up from 1 within a session. *Every* request has one, so that the relay recognises a
/// request that is sent again after a reconnect, and does not perform it twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// A random number chosen by the relay, and a secret: its holder can resume the session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionId(pub [u8; 16]);

impl std::fmt::Debug for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A secret: show only enough to tell sessions apart.
        write!(f, "SessionId({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

/// First frame of the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Oldest and newest version the client speaks.
    pub versions: (u16, u16),
    /// The user whose functions and state this session uses.
    pub user: String,
    /// Proof that the page may act for the user; browsers cannot set WebSocket headers, so the token is sent here.
    pub token: Option<String>,
    /// The session to resume.
    pub resume: Option<SessionId>,
}

/// First frame of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    Welcome {
        /// The version of the protocol used from here on.
        version: u16,
        session: SessionId,
        /// Whether this is the session named by [`Hello::resume`], with all its requests.
        resumed: bool,
    },
    Refused {
        code: RefusalCode,
        message: String,
    },
}

/// Why a handshake is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefusalCode {
    /// The peers have no version in common.
    Version,
    /// The frame is not a handshake, or the handshake exceeds a limit.
    Malformed,
    /// The token does not allow to act for this user.
    Unauthorised,
    /// The relay has no capacity now.
    Busy,
}

/// From page to relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientMessage {
    Request {
        id: RequestId,
        request: Request,
    },
    /// The reply arrived; the relay can forget the request.
    Acknowledge {
        id: RequestId,
    },
    /// The page no longer waits for the reply; the relay sends one nevertheless.
    Cancel {
        id: RequestId,
    },
    /// Heartbeat: pages do not see a WebSocket's own pings. Answered by [`ServerMessage::Pong`] at once. Since version
    /// 2.
    Ping,
    /// The next request is the call with this id; it belongs to the run whose first chained call is `first`. Since
    /// version 3.
    SameRun {
        id: RequestId,
        first: RequestId,
    },
}

/// A request of a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Runs a function in the cluster; payload: its input. Answered by [`Reply::Call`] or
    /// [`Reply::CallFailed`].
    Call { function: String, entry: CallEntry, args: Vec<String>, env: Vec<(String, String)> },
    /// Reads bytes of a state value, to its end if `length` is `None`, but at most [`TRANSFER_BYTES`]. Answered by
    /// [`Reply::State`].
    ReadState { key: String, offset: u64, length: Option<u64> },
    /// Writes chunks of a state value, all or none; payload: the concatenated bytes. Answered by [`Reply::Done`] once
    /// they are durable.
    WriteState { key: String, size: u64, chunks: Vec<ChunkHeader> },
    /// Appends the payload to a list of the global tier. Answered by [`Reply::Done`] once it is durable.
    AppendState { key: String },
    /// Reads the first elements of a list, concatenated. Answered by [`Reply::Bytes`].
    ReadAppended { key: String, count: u32 },
    /// Empties a list. Answered by [`Reply::Done`].
    ClearAppended { key: String },
    /// Reads a shared file of the cluster. Answered by [`Reply::Bytes`] or [`Reply::Missing`].
    ReadFile { path: String },
    /// Compares these versions of a function, given by the content hashes in manifests, with the cluster's. Answered by
    /// [`Reply::Done`] if the cluster has one of them, by [`Reply::Missing`] if it has no such function, or else by
    /// [`Reply::Bytes`] with the hash of its version. Since version 3.
    Compare { function: String, integrities: Vec<String> },
    /// Takes the lock of a key for a run of this session, as soon as it is free; the number identifies the run within
    /// the session. Answered by [`Reply::Done`] once it is held. Performed again if the connection broke before the
    /// page received the reply. Since version 4.
    LockState { key: String, run: u64 },
    /// Releases the lock. Answered by [`Reply::Done`], or by [`FailureCode::LockLost`] if the run does not hold it.
    /// Since version 4.
    UnlockState { key: String, run: u64 },
    /// Subscribes to [`ServerMessage::Changed`] for writes of a state value by others, until [`Request::Unwatch`] or
    /// the end of the session. Answered by [`Reply::Done`] if the session is subscribed already, and by
    /// [`Reply::Missing`] if the subscription begins now, so that earlier changes were not notified. Since version 4.
    Watch { key: String },
    /// Ends the subscription. Answered by [`Reply::Done`]. Since version 4.
    Unwatch { key: String },
    /// Reads bytes of a state value from one snapshot, to its end if `length` is `None`. Answered by [`Reply::State`]
    /// with the first bytes, at most [`TRANSFER_BYTES`]; the relay keeps the others for [`Request::ReadOn`], under a
    /// number that identifies the read within the session. Since version 5.
    ReadWhole { key: String, offset: u64, length: Option<u64>, read: u64 },
    /// Continues a [`Request::ReadWhole`] from `offset`. Answered by [`Reply::State`], or by [`Reply::Missing`] if the
    /// relay no longer keeps the snapshot: start over. Since version 5.
    ReadOn { read: u64, offset: u64 },
    /// Stages one part of a write, which changes nothing yet; payload: the chunks' bytes. The number identifies the
    /// write within the session. Answered by [`Reply::Done`]. Since version 5.
    Stage { write: u64, part: u32, chunks: Vec<ChunkHeader> },
    /// Writes the chunks of all `parts` staged parts and then these, all or none; payload: the bytes of these. Answered
    /// by [`Reply::Done`] once they are durable, or by [`Reply::Missing`] if the relay does not have every part:
    /// nothing was written, and all parts must be sent again. Since version 5.
    WriteStaged { key: String, size: u64, write: u64, parts: u32, chunks: Vec<ChunkHeader> },
}

/// Where a called function is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallEntry {
    Main,
    /// An entry of its table, by index.
    Pointer(u32),
    /// Its main entry; `__faasm_get_idx` returns this index.
    Index(u32),
}

/// Position and length of a chunk whose bytes are in the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkHeader {
    pub offset: u64,
    pub length: u64,
}

/// From relay to page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerMessage {
    Reply {
        id: RequestId,
        reply: Reply,
    },
    /// Answers [`ClientMessage::Ping`]. Since version 2.
    Pong,
    /// A watched value was written, once or more, since the last such notification. Since version 4.
    Changed {
        key: String,
    },
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The call ran; payload: its output.
    Call {
        return_value: i32,
    },
    /// Size of the value, if it exists; payload: its bytes from `offset`.
    State {
        size: Option<u64>,
        offset: u64,
    },
    Done,
    /// The request was not performed, or its outcome is unknown.
    Failed {
        code: FailureCode,
        message: String,
    },
    /// Payload: the requested bytes.
    Bytes,
    /// The value, file or function does not exist; see the request.
    Missing,
    /// The call did not complete: a trap, a missing function, a timeout. The code is stable, as in
    /// `guest::Fault::code`; payload: the reason. A function that awaits the call gets return value 1 and the reason as
    /// output.
    CallFailed {
        code: String,
    },
}

/// Why a request has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureCode {
    /// The request is invalid or exceeds a limit.
    BadRequest,
    /// Cancelled by the client.
    Cancelled,
    /// The cluster or its storage failed.
    Unavailable,
    /// Outcome unknown: the request may have been performed.
    Unknown,
    /// The request exceeds the present capacity.
    Busy,
    /// State: the size differs, or the range is outside the value.
    State,
    /// The session's token does not allow it, or has expired. Since version 3.
    Unauthorised,
    /// The run does not hold the lock, or no longer. Since version 4.
    LockLost,
    /// The memory budget of the user or of the relay is exhausted: nothing was done. Since version 5; earlier versions
    /// get [`FailureCode::Busy`].
    OverBudget,
}

/// Whether `name` is valid for a user or a function: it becomes part of paths and of keys in the cluster.
pub fn is_valid_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

impl Hello {
    /// Describes a field that exceeds its limit, if any.
    pub fn problem(&self) -> Option<String> {
        if !is_valid_name(&self.user) {
            return Some(name_problem("user", &self.user));
        }
        let token = self.token.as_ref().map_or(0, String::len);
        (token > MAX_TOKEN_BYTES)
            .then(|| format!("the token has {token} bytes; at most {MAX_TOKEN_BYTES} are allowed"))
    }
}

impl Request {
    /// Whether performing it twice is harmless: it changes nothing, or takes a lock, which expires soon after its
    /// session is gone.
    pub fn is_read(&self) -> bool {
        match self {
            Request::ReadState { .. }
            | Request::ReadAppended { .. }
            | Request::ReadFile { .. }
            | Request::Compare { .. }
            | Request::LockState { .. }
            | Request::Watch { .. }
            | Request::Unwatch { .. }
            | Request::ReadWhole { .. }
            | Request::ReadOn { .. }
            | Request::Stage { .. } => true,
            Request::Call { .. }
            | Request::WriteState { .. }
            | Request::WriteStaged { .. }
            | Request::AppendState { .. }
            | Request::ClearAppended { .. }
            | Request::UnlockState { .. } => false,
        }
    }

    /// Key of the state value or list that the request reads or changes.
    pub fn state_key(&self) -> Option<&str> {
        match self {
            Request::ReadState { key, .. }
            | Request::WriteState { key, .. }
            | Request::ReadWhole { key, .. }
            | Request::WriteStaged { key, .. }
            | Request::AppendState { key }
            | Request::ReadAppended { key, .. }
            | Request::ClearAppended { key } => Some(key),
            _ => None,
        }
    }

    /// First version of the protocol that has this request.
    pub fn since(&self) -> u16 {
        match self {
            Request::Compare { .. } => 3,
            Request::LockState { .. }
            | Request::UnlockState { .. }
            | Request::Watch { .. }
            | Request::Unwatch { .. } => 4,
            Request::ReadWhole { .. }
            | Request::ReadOn { .. }
            | Request::Stage { .. }
            | Request::WriteStaged { .. } => WHOLE_VALUES_SINCE,
            _ => 1,
        }
    }

    /// Describes what is invalid or exceeds a limit, if anything.
    pub fn problem(&self, payload: &[u8]) -> Option<String> {
        match self {
            Request::Call { function, args, env, .. } => {
                if !is_valid_name(function) {
                    return Some(name_problem("function", function));
                }
                let most = args.len().max(env.len());
                (most > MAX_STRINGS).then(|| format!("{most} arguments; {MAX_STRINGS} are allowed"))
            }
            Request::Compare { function, integrities } => {
                if !is_valid_name(function) {
                    return Some(name_problem("function", function));
                }
                let [count, longest] = [
                    integrities.len(),
                    integrities.iter().map(String::len).max().unwrap_or_default(),
                ];
                (count > MAX_VERSIONS || longest > MAX_NAME_BYTES).then(|| {
                    format!("{count} versions, of up to {longest} bytes; {MAX_VERSIONS} are allowed, of {MAX_NAME_BYTES}")
                })
            }
            Request::ReadState { key, .. } | Request::ReadWhole { key, .. } => key_problem(key),
            Request::ReadOn { .. } => None,
            Request::Watch { key }
            | Request::Unwatch { key }
            | Request::AppendState { key }
            | Request::ReadAppended { key, .. }
            | Request::ClearAppended { key }
            | Request::LockState { key, .. }
            | Request::UnlockState { key, .. } => key_problem(key),
            Request::ReadFile { path } => (path.len() > MAX_KEY_BYTES)
                .then(|| format!("a path of {} bytes; {MAX_KEY_BYTES} are allowed", path.len())),
            Request::WriteState { key, chunks, .. } => {
                key_problem(key).or_else(|| chunks_problem(chunks, payload))
            }
            Request::Stage { part, chunks, .. } => {
                parts_problem(*part).or_else(|| chunks_problem(chunks, payload))
            }
            Request::WriteStaged { key, parts, chunks, .. } => key_problem(key)
                .or_else(|| parts_problem(*parts))
                .or_else(|| chunks_problem(chunks, payload)),
        }
    }
}

fn chunks_problem(chunks: &[ChunkHeader], payload: &[u8]) -> Option<String> {
    let bytes = chunks.iter().fold(0_u64, |sum, c| sum.saturating_add(c.length));
    if chunks.len() > MAX_CHUNKS {
        Some(format!("{} chunks; {MAX_CHUNKS} are allowed", chunks.len()))
    } else if bytes != payload.len() as u64 {
        Some(format!("chunks of {bytes} bytes, and a payload of {}", payload.len()))
    } else {
        None
    }
}

fn parts_problem(parts: u32) -> Option<String> {
    (parts > MAX_PARTS).then(|| format!("part {parts} of a write; {MAX_PARTS} are allowed"))
}

fn name_problem(what: &str, name: &str) -> String {
    let shown: String = name.chars().take(40).collect();
    format!(
        "`{shown}` cannot name a {what}: use 1 to {MAX_NAME_BYTES} of A-Z a-z 0-9 _ - and ., not beginning with a dot"
    )
}

fn key_problem(key: &str) -> Option<String> {
    (key.len() > MAX_KEY_BYTES)
        .then(|| format!("a state key of {} bytes; {MAX_KEY_BYTES} are allowed", key.len()))
}
