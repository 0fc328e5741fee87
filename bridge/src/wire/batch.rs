//! Several frames in one message, each length-prefixed. Over plain HTTP a page's batch begins with its connection's
//! header.

use super::WireError;
use super::limits::{BATCH_HEADER_BYTES, FRAME_PREFIX_BYTES, MAX_FRAME_BYTES};

/// Identifies a connection over HTTP. A random number chosen by the relay, and a secret: its holder can act in the
/// session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub [u8; 16]);

impl std::fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A secret: show only enough to tell connections apart.
        write!(f, "ConnectionId({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

/// First bytes of every HTTP request of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub connection: ConnectionId,
    /// Number of batches sent before this one; in a request for frames, number of batches received.
    pub seq: u64,
}

impl BatchHeader {
    /// The connection, then the number, little-endian.
    pub fn to_bytes(self) -> [u8; BATCH_HEADER_BYTES] {
        let mut bytes = [0; BATCH_HEADER_BYTES];
        bytes[..16].copy_from_slice(&self.connection.0);
        bytes[16..].copy_from_slice(&self.seq.to_le_bytes());
        bytes
    }

    pub fn from_bytes(bytes: [u8; BATCH_HEADER_BYTES]) -> Self {
        let mut connection = [0; 16];
        connection.copy_from_slice(&bytes[..16]);
        let mut number = [0; 8];
        number.copy_from_slice(&bytes[16..]);
        Self { connection: ConnectionId(connection), seq: u64::from_le_bytes(number) }
    }
}

/// Appends a frame: its length, 4 bytes little-endian, and its bytes. A frame of length 0 is a keep-alive.
pub fn append_frame(batch: &mut Vec<u8>, frame: &[u8]) {
    append_parts(batch, &[frame]);
}

/// The same of a frame in parts.
pub fn append_parts(batch: &mut Vec<u8>, parts: &[&[u8]]) {
    append_beginning(batch, parts, 0);
}

/// The beginning of a frame, of which so many bytes follow the batch.
pub fn append_beginning(batch: &mut Vec<u8>, parts: &[&[u8]], following: usize) {
    let length = parts.iter().map(|part| part.len()).sum::<usize>() + following;
    let length = u32::try_from(length).expect("a frame is at most MAX_FRAME_BYTES long");
    batch.extend_from_slice(&length.to_le_bytes());
    parts.iter().for_each(|part| batch.extend_from_slice(part));
}

/// The frames of a WebSocket message. A message that is not a batch (a handshake, or of a version before
/// [`BATCHES_SINCE`](super::BATCHES_SINCE)) is one frame.
pub fn frames_of(message: &[u8], is_batch: bool) -> Frames<'_> {
    Frames { rest: message, is_batch }
}

/// Iterator of [`frames_of`]; skips frames of length 0.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
    is_batch: bool,
}

impl<'a> Frames<'a> {
    fn cut(&mut self) -> Result<&'a [u8], WireError> {
        let (prefix, rest) = self.rest.split_first_chunk().ok_or_else(cut_off)?;
        let length = u32::from_le_bytes(*prefix) as usize;
        if length > MAX_FRAME_BYTES {
            return Err(WireError::FrameTooLong { bytes: length });
        }
        let (frame, rest) = rest.split_at_checked(length).ok_or_else(cut_off)?;
        self.rest = rest;
        Ok(frame)
    }
}

fn cut_off() -> WireError {
    WireError::Malformed { reason: "the message ends within a frame".into() }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<&'a [u8], WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            if !self.is_batch {
                return Some(Ok(std::mem::take(&mut self.rest)));
            }
            match self.cut() {
                Ok([]) => {}
                Ok(frame) => return Some(Ok(frame)),
                Err(error) => {
                    self.rest = &[];
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// Splits a byte stream that arrives in pieces of any size into frames.
#[derive(Debug, Default)]
pub struct FrameReader {
    prefix: Vec<u8>,
    /// The frame that is being received, and the number of its missing bytes.
    frame: Option<(Vec<u8>, usize)>,
}

impl FrameReader {
    /// Takes one piece and returns the frames that it completes, except those of length 0.
    ///
    /// # Errors
    /// If a frame is longer than the protocol allows.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<Vec<u8>>, WireError> {
        let mut frames = Vec::new();
        loop {
            let (mut frame, missing) = match self.frame.take() {
                Some(arriving) => arriving,
                None => match self.begin(&mut bytes)? {
                    Some(length) => (Vec::new(), length),
                    None => return Ok(frames),
                },
            };
            let (now, later) = bytes.split_at(missing.min(bytes.len()));
            frame.extend_from_slice(now);
            bytes = later;
            match missing - now.len() {
                0 if frame.is_empty() => {}
                0 => frames.push(frame),
                missing => {
                    self.frame = Some((frame, missing));
                    return Ok(frames);
                }
            }
        }
    }

    /// Whether the last frame is complete.
    pub fn is_at_boundary(&self) -> bool {
        self.prefix.is_empty() && self.frame.is_none()
    }

    /// The next frame's length, once its prefix is complete.
    fn begin(&mut self, bytes: &mut &[u8]) -> Result<Option<usize>, WireError> {
        let (now, later) =
            bytes.split_at((FRAME_PREFIX_BYTES - self.prefix.len()).min(bytes.len()));
        self.prefix.extend_from_slice(now);
        *bytes = later;
        let Ok(prefix) = <[u8; FRAME_PREFIX_BYTES]>::try_from(self.prefix.as_slice()) else {
            return Ok(None);
        };
        self.prefix.clear();
        let length = u32::from_le_bytes(prefix) as usize;
        if length > MAX_FRAME_BYTES {
            return Err(WireError::FrameTooLong { bytes: length });
        }
        Ok(Some(length))
    }
}
