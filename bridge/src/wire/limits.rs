//! Limits of everything a peer can send.

/// Versions of the protocol that this build supports, oldest first.
pub const VERSIONS: std::ops::RangeInclusive<u16> = 1..=5;

/// First version in which a WebSocket message is a sequence of length-prefixed frames.
pub const BATCHES_SINCE: u16 = 3;

/// Longest WebSocket message with several frames; a longer frame is a message of its own.
pub const MESSAGE_BYTES: usize = 64 * 1024;

/// First version with [`Request::Watch`](super::Request::Watch).
pub const WATCHES_SINCE: u16 = 4;

/// First version with [`Request::ReadWhole`](super::Request::ReadWhole) and
/// [`Request::WriteStaged`](super::Request::WriteStaged).
pub const WHOLE_VALUES_SINCE: u16 = 5;

/// Most parts of a staged write.
pub const MAX_PARTS: u32 = 64 * 1024;

/// Most state values that one session may watch.
pub const MAX_WATCHED: usize = 256;

/// Most bytes of the keys of one session's watched values together.
pub const MAX_WATCHED_BYTES: usize = 64 * 1024;

/// First bytes of the handshake.
pub const MAGIC: [u8; 4] = *b"FAsy";

/// Longest envelope, bytes.
pub const MAX_ENVELOPE_BYTES: usize = 256 * 1024;

/// Longest payload, bytes: inputs, outputs, the chunks of one state transfer.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024 * 1024;

/// Most bytes of a state value that one request transfers; longer ones take several requests.
pub const TRANSFER_BYTES: u64 = 8 * 1024 * 1024;

/// Longest frame, bytes.
pub const MAX_FRAME_BYTES: usize = MAX_ENVELOPE_BYTES + MAX_PAYLOAD_BYTES;

/// Longest name of a user or function, bytes.
pub const MAX_NAME_BYTES: usize = 128;

/// Longest state key, bytes; also the limit of the guest kernel.
pub const MAX_KEY_BYTES: usize = 64 * 1024;

/// Most replies that a client holds without an acknowledgement; a timer acknowledges each in any case.
pub const MAX_OWED: usize = 64;

/// Most bytes of replies that a client holds without an acknowledgement.
pub const MAX_OWED_BYTES: usize = 64 * 1024;

/// Longest token, bytes.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Most arguments of a call, and most environment variables.
pub const MAX_STRINGS: usize = 1024;

/// Most versions of a function in one comparison.
pub const MAX_VERSIONS: usize = 8;

/// Most chunks in one state transfer.
pub const MAX_CHUNKS: usize = 4096;

/// Longest body of a batch over HTTP, bytes: it can contain the longest frame.
pub const MAX_BATCH_BYTES: usize = BATCH_HEADER_BYTES + FRAME_PREFIX_BYTES + MAX_FRAME_BYTES;

/// Bytes of a [`BatchHeader`](super::BatchHeader).
pub const BATCH_HEADER_BYTES: usize = 24;

/// Bytes of a frame's length prefix.
pub const FRAME_PREFIX_BYTES: usize = 4;

/// Most requests that a client queues while it has no connection.
pub const MAX_QUEUED_REQUESTS: usize = 8 * 1024;

/// Most bytes of queued requests.
pub const MAX_QUEUED_BYTES: usize = 256 * 1024 * 1024;

/// Most bytes of replies that a relay keeps for one session until they are acknowledged, besides short errors.
pub const MAX_KEPT_BYTES: usize = 256 * 1024 * 1024;

/// Most open requests of one session: running, or answered and not acknowledged.
pub const MAX_OPEN_REQUESTS: usize = 16 * 1024;
