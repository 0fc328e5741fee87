//! The messages. Changing one changes the protocol: `wire/tests.rs` holds the approved hash of this file.

use super::limits::*;
use serde::{Deserialize, Serialize};

/// Chosen by the client, counting up from 1 within a session. On *every* request, so that one sent again after a
/// reconnect is recognised and does nothing twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// Chosen by the relay at random; who knows it can take the session over after a reconnect.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionId(pub [u8; 16]);

impl std::fmt::Debug for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A secret: only enough of it to tell two apart.
        write!(f, "SessionId({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

/// First frame of the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Oldest and newest version the client speaks.
    pub versions: (u16, u16),
    /// Whose functions and state this session uses.
    pub user: String,
    /// Proof of that; browsers cannot set WebSocket headers, so it travels here.
    pub token: Option<String>,
    /// The session to take up again.
    pub resume: Option<SessionId>,
}

/// First frame of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    Welcome {
        /// What both speak from here on.
        version: u16,
        session: SessionId,
        /// Whether this is the session that [`Hello::resume`] named, with all its requests.
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
    /// No version in common.
    Version,
    /// Not a handshake, or one out of bounds.
    Malformed,
    /// Not allowed to act for this user.
    Unauthorised,
    /// The relay has no room now.
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
    /// Nobody waits for the reply any more; there will be one all the same.
    Cancel {
        id: RequestId,
    },
    /// Asks for a sign of life, for pages do not see a WebSocket's own pings. Answered by [`ServerMessage::Pong`] at once.
    /// Since version 2.
    Ping,
    /// The call with this id, which comes next, was chained by the same run as an earlier one, its first. Since version 3.
    SameRun {
        id: RequestId,
        first: RequestId,
    },
}

/// What a page asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Runs a function in the cluster; payload: its input. Answered by [`Reply::Call`] or
    /// [`Reply::CallFailed`].
    Call { function: String, entry: CallEntry, args: Vec<String>, env: Vec<(String, String)> },
    /// Reads bytes of a state value, to its end where `length` is `None`, but no more than [`TRANSFER_BYTES`]. Answered by
    /// [`Reply::State`].
    ReadState { key: String, offset: u64, length: Option<u64> },
    /// Writes chunks of a state value, all or none; payload: their bytes, one after the other. Answered by
    /// [`Reply::Done`] once they are durable.
    WriteState { key: String, size: u64, chunks: Vec<ChunkHeader> },
    /// Appends the payload to a list of the global tier. Answered by [`Reply::Done`] once it is durable.
    AppendState { key: String },
    /// Reads the first elements of a list, one after the other. Answered by [`Reply::Bytes`].
    ReadAppended { key: String, count: u32 },
    /// Empties a list. Answered by [`Reply::Done`].
    ClearAppended { key: String },
    /// Reads a file that the cluster shares. Answered by [`Reply::Bytes`] or [`Reply::Missing`].
    ReadFile { path: String },
    /// Asks whether the cluster has one of these versions of a function, by their content hashes, as manifests have them.
    /// Answered by [`Reply::Done`], by [`Reply::Missing`] where it has no such function, or by [`Reply::Bytes`] with the hash of
    /// the version that it has. Since version 3.
    Compare { function: String, integrities: Vec<String> },
    /// Takes the lock of a key for a run of this session, once nobody else holds it; the number tells the session's runs apart.
    /// Answered by [`Reply::Done`] once it is held. Performed again where the connection broke before the page had the reply.
    /// Since version 4.
    LockState { key: String, run: u64 },
    /// Releases it. Answered by [`Reply::Done`], or by [`FailureCode::LockLost`] where the run does not hold it. Since version 4.
    UnlockState { key: String, run: u64 },
    /// Asks for a [`ServerMessage::Changed`] whenever somebody else writes a state value, until [`Request::Unwatch`] or the end of
    /// the session. Answered by [`Reply::Done`] where the session is told of this value already, and by [`Reply::Missing`] where
    /// that begins now, so that earlier changes were not told. Since version 4.
    Watch { key: String },
    /// Ends that. Answered by [`Reply::Done`]. Since version 4.
    Unwatch { key: String },
    /// Reads bytes of a state value as all of them are at one moment, to its end where `length` is `None`. Answered by
    /// [`Reply::State`] with the first of them, no more than [`TRANSFER_BYTES`]; the relay keeps the others for
    /// [`Request::ReadOn`], under a number that tells the session's reads apart. Since version 5.
    ReadWhole { key: String, offset: u64, length: Option<u64>, read: u64 },
    /// Reads on from `offset` in what [`Request::ReadWhole`] has begun. Answered by [`Reply::State`], or by [`Reply::Missing`] where
    /// the relay does not keep it any more: begin again. Since version 5.
    ReadOn { read: u64, offset: u64 },
    /// Hands over one part of a write, which changes nothing yet; payload: the chunks' bytes. The number tells the session's
    /// writes apart. Answered by [`Reply::Done`]. Since version 5.
    Stage { write: u64, part: u32, chunks: Vec<ChunkHeader> },
    /// Writes the chunks of all parts, of which there are so many, and then these, all or none; payload: their bytes. Answered by
    /// [`Reply::Done`] once they are durable, or by [`Reply::Missing`] where the relay does not have every part: nothing was
    /// written, and all of it is to be sent again. Since version 5.
    WriteStaged { key: String, size: u64, write: u64, parts: u32, chunks: Vec<ChunkHeader> },
}

/// Where a called function is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallEntry {
    Main,
    /// An entry of its table.
    Pointer(u32),
    /// Its main entry, with this answer to `__faasm_get_idx`.
    Index(u32),
}

/// Place and length of a chunk whose bytes are in the payload.
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
    /// A value that the session watches was written since the page was last told so, once or many times. Since version 4.
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
    /// Size of the value, if there is one; payload: its bytes from `offset`.
    State {
        size: Option<u64>,
        offset: u64,
    },
    Done,
    /// It was not performed, or nobody can tell.
    Failed {
        code: FailureCode,
        message: String,
    },
    /// Payload: the bytes asked for.
    Bytes,
    /// What was to be read does not exist.
    Missing,
    /// The call did not run to its end: a trap, a missing function, time that ran out. The code is stable, as in
    /// `guest::Fault::code`; payload: the reason. A function that awaits the call sees return value 1 and the reason as
    /// output.
    CallFailed {
        code: String,
    },
}

/// Why a request has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureCode {
    /// Out of bounds, or it makes no sense.
    BadRequest,
    /// Cancelled by the client.
    Cancelled,
    /// The cluster or its storage failed.
    Unavailable,
    /// The relay cannot tell whether it was performed.
    Unknown,
    /// Too much at once.
    Busy,
    /// State: another size, or outside the value.
    State,
    /// The session's token does not allow it, or has expired. Since version 3.
    Unauthorised,
    /// The run does not hold the lock, or not any more. Since version 4.
    LockLost,
    /// There is no memory left in the budget of the user, or of the relay: nothing was done. Since version 5; earlier ones are told
    /// [`FailureCode::Busy`].
    OverBudget,
}

/// Whether `name` can name a user or a function: it becomes part of paths and of keys in the cluster.
pub fn is_valid_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

impl Hello {
    /// What is out of bounds, if anything.
    pub fn problem(&self) -> Option<String> {
        if !is_valid_name(&self.user) {
            return Some(name_problem("user", &self.user));
        }
        let token = self.token.as_ref().map_or(0, String::len);
        (token > MAX_TOKEN_BYTES).then(|| format!("the token has {token} bytes"))
    }
}

impl Request {
    /// Whether performing it twice does no harm: it changes nothing, or takes a lock, which a session that is gone does not
    /// hold for long.
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

    /// The state value or list that it reads or changes.
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

    /// First version of the protocol that has it.
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

    /// What is out of bounds, if anything.
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
