//! The journal's file: a sequence of records of sessions and calls.
//!
//! ```text
//! header   ┌────────────┬──────────────┐
//!          │ "FAjl" 1 0 │ boot (36)    │
//!          └────────────┴──────────────┘
//! record   ┌────────────────┬─────────────────┬──────────────────┬──────────────────────┐
//!          │ u32 LE length  │ u64 LE checksum │ postcard: Record │ reply frame, if any  │   the length and the checksum
//!          └────────────────┴─────────────────┴──────────────────┴──────────────────────┘   are of what follows them
//! ```
//!
//! A record is written to the operating system without a sync to disk. Such a write survives the death of this process,
//! `kill -9` included; a call waits only for the copy into the system's memory, not for the disk. The write may not
//! survive a crash of the system. So the header names the system's *boot*: if it differs, records at the end may be
//! missing, and a call that is not in the log may have started. Then no session is recovered, and each page learns that
//! the outcome of its requests is unknown.

use super::image::Image;
use crate::store::SessionKey;
use bytes::Bytes;
use faasm_bridge::wire::{Frame, RequestId};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Magic number of the file, and the version of its records.
const MAGIC: [u8; 6] = *b"FAjl\x01\x00";

/// Length of a boot's id.
const BOOT_BYTES: usize = 36;

/// Length of the header.
const HEADER_BYTES: u64 = (MAGIC.len() + BOOT_BYTES) as u64;

/// Length of a record's prefix.
const PREFIX_BYTES: usize = 12;

/// Maximum length of a record: the longest frame, and its envelope.
const MAX_RECORD_BYTES: usize = faasm_bridge::wire::MAX_FRAME_BYTES + 4096;

/// The log is rewritten without unneeded records when it is longer than this and mostly unneeded.
const COMPACT_BYTES: u64 = 8 * 1024 * 1024;

/// A reply of at least so many bytes is not copied to be written with what is before and after it.
const SHARED_BYTES: usize = 64 * 1024;

/// One thing to remember.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Record {
    Begin {
        session: SessionKey,
        user: String,
    },
    Accept {
        session: SessionKey,
        request: RequestId,
    },
    /// The reply follows the record.
    Finish {
        session: SessionKey,
        request: RequestId,
    },
    Forget {
        session: SessionKey,
        requests: Range<u64>,
    },
    End {
        session: SessionKey,
    },
}

/// Position of a record's reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) offset: u64,
    pub(super) length: usize,
}

/// The id of this boot of the system; `None` if the system does not provide one.
pub(super) fn boot() -> Option<[u8; BOOT_BYTES]> {
    let id = std::fs::read("/proc/sys/kernel/random/boot_id").ok()?;
    id.get(..BOOT_BYTES)?.try_into().ok()
}

/// The open file.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    boot: [u8; BOOT_BYTES],
    /// Position of the next record. Bytes of the file beyond it are ignored.
    end: u64,
    /// Whether there are bytes beyond `end`, after a write failed midway.
    is_ragged: bool,
    compact_at: u64,
}

impl Log {
    /// Opens the log and reads it, or starts a new one if the file is of another boot. The second value is its content.
    pub(super) fn open(path: &Path, boot: Option<[u8; BOOT_BYTES]>) -> io::Result<(Self, Image)> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut log = Self {
            path: path.to_owned(),
            file,
            boot: boot.unwrap_or([0; BOOT_BYTES]),
            end: HEADER_BYTES,
            is_ragged: false,
            compact_at: COMPACT_BYTES,
        };
        if let Some(image) = boot.and_then(|_| log.read().transpose()).transpose()? {
            log.file.set_len(log.end)?;
            return Ok((log, image));
        }
        log.file.set_len(0)?;
        log.file.write_all_at(&log.header(), 0)?;
        log.end = HEADER_BYTES;
        Ok((log, Image::default()))
    }

    fn header(&self) -> Vec<u8> {
        [&MAGIC[..], &self.boot[..]].concat()
    }

    /// `None` if the file is of another boot, or is damaged anywhere but at its end.
    fn read(&mut self) -> io::Result<Option<Image>> {
        let length = self.file.metadata()?.len();
        let mut header = vec![0; HEADER_BYTES as usize];
        if length < HEADER_BYTES {
            return Ok(None);
        }
        self.file.read_exact_at(&mut header, 0)?;
        if header != self.header() {
            tracing::warn!(
                "the system was rebooted: unsynced records are lost, so no session is recovered"
            );
            return Ok(None);
        }
        let mut image = Image::default();
        loop {
            let mut prefix = [0; PREFIX_BYTES];
            let rest = length - self.end;
            if rest < PREFIX_BYTES as u64 {
                break;
            }
            self.file.read_exact_at(&mut prefix, self.end)?;
            let (size, checksum) = split(prefix);
            if size > MAX_RECORD_BYTES {
                return Ok(self.damaged());
            }
            // A record whose write was cut short: no caller was told of its success.
            if rest - (PREFIX_BYTES as u64) < size as u64 {
                break;
            }
            let mut body = vec![0; size];
            self.file.read_exact_at(&mut body, self.end + PREFIX_BYTES as u64)?;
            if hash(&body) != checksum {
                return Ok(self.damaged());
            }
            let Ok((record, reply)) = postcard::take_from_bytes::<Record>(&body) else {
                return Ok(self.damaged());
            };
            let next = self.end + (PREFIX_BYTES + size) as u64;
            let extent = Extent { offset: next - reply.len() as u64, length: reply.len() };
            image.apply(record, extent);
            self.end = next;
        }
        Ok(Some(image))
    }

    fn damaged(&self) -> Option<Image> {
        tracing::error!(
            path = %self.path.display(),
            offset = self.end,
            "the journal is damaged, so no session is recovered"
        );
        None
    }

    /// Writes records, all or none.
    pub(super) fn append(&mut self, records: &Pending) -> io::Result<()> {
        if self.is_ragged {
            self.file.set_len(self.end)?;
            self.is_ragged = false;
        }
        if let Err(error) = records.write(&self.file, self.end) {
            // What the file has beyond its end would be read as records, should the relay end now.
            self.is_ragged = self.file.set_len(self.end).is_err();
            return Err(error);
        }
        self.end += records.length;
        Ok(())
    }

    /// Position of the next record.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Reads a record's reply.
    pub(super) fn reply(&self, extent: Extent) -> io::Result<Vec<u8>> {
        let mut reply = vec![0; extent.length];
        self.file.read_exact_at(&mut reply, extent.offset)?;
        Ok(reply)
    }

    /// Rewrites the log, if that makes it much shorter.
    pub(super) fn compact(&mut self, image: &mut Image) {
        if self.end < self.compact_at || self.end / 2 < image.bytes() {
            return;
        }
        let new = self.path.with_extension("new");
        let before = self.end;
        if let Err(error) = self.rewrite(image, &new) {
            tracing::warn!(%error, "the journal cannot be rewritten and keeps its length");
            let _ = std::fs::remove_file(&new);
        }
        tracing::debug!(before, after = self.end, "journal rewritten");
        self.compact_at = self.end + COMPACT_BYTES;
    }

    fn rewrite(&mut self, image: &mut Image, path: &Path) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(path)?;
        file.write_all_at(&self.header(), 0)?;
        let mut moved = Image::default();
        let mut end = HEADER_BYTES;
        for (record, extent) in image.records() {
            let reply = extent.map(|extent| self.reply(extent)).transpose()?.unwrap_or_default();
            let mut pending = Pending::at(end);
            pending.push(record, reply.into())?;
            pending.write(&file, end)?;
            end += pending.length;
            pending.apply(&mut moved);
        }
        // Atomic for a process that starts later.
        std::fs::rename(path, &self.path)?;
        moved.keep_claims_of(image);
        (self.file, self.end, self.is_ragged, *image) = (file, end, false, moved);
        Ok(())
    }
}

/// Records of one write.
#[derive(Debug)]
pub(super) struct Pending {
    start: u64,
    /// Bytes of all records.
    length: u64,
    /// What is before each long reply, and the reply.
    parts: Vec<(Vec<u8>, Bytes)>,
    /// What is after the last one.
    rest: Vec<u8>,
    records: Vec<(Record, Extent)>,
}

impl Pending {
    /// To be written at position `start`.
    pub(super) fn at(start: u64) -> Self {
        Self { start, length: 0, parts: Vec::new(), rest: Vec::new(), records: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// A record with its reply, which is shared unless it is short.
    pub(super) fn push(&mut self, record: Record, reply: Frame) -> io::Result<()> {
        let mut head = postcard::to_allocvec(&record).map_err(io::Error::other)?;
        let (length, size) = (reply.len(), head.len() + reply.len());
        let Frame { envelope, payload } = reply;
        head.extend_from_slice(&envelope);
        let size_prefix = u32::try_from(size).map_err(io::Error::other)?;
        self.rest.extend_from_slice(&size_prefix.to_le_bytes());
        self.rest.extend_from_slice(&hash_of([&head, &payload]).to_le_bytes());
        self.rest.extend_from_slice(&head);
        self.length += (PREFIX_BYTES + size) as u64;
        let offset = self.start + self.length - length as u64;
        match payload.len() {
            ..SHARED_BYTES => self.rest.extend_from_slice(&payload),
            _ => self.parts.push((std::mem::take(&mut self.rest), payload)),
        }
        self.records.push((record, Extent { offset, length }));
        Ok(())
    }

    /// Writes the records, one part after the other.
    fn write(&self, file: &File, mut at: u64) -> io::Result<()> {
        let parts = self.parts.iter().flat_map(|(before, reply)| [&before[..], &reply[..]]);
        for part in parts.chain([&self.rest[..]]) {
            file.write_all_at(part, at)?;
            at += part.len() as u64;
        }
        Ok(())
    }

    /// To be called after the write.
    pub(super) fn apply(self, image: &mut Image) {
        for (record, extent) in self.records {
            image.apply(record, extent);
        }
    }
}

fn split(prefix: [u8; PREFIX_BYTES]) -> (usize, u64) {
    let [a, b, c, d, checksum @ ..] = prefix;
    (u32::from_le_bytes([a, b, c, d]) as usize, u64::from_le_bytes(checksum))
}

/// Processes eight bytes at a time: it has to detect truncated records, not forged ones.
fn hash(bytes: &[u8]) -> u64 {
    hash_of([bytes, &[]])
}

/// The same of two parts, as if one followed the other in memory.
fn hash_of([first, second]: [&[u8]; 2]) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(PRIME).rotate_left(29);
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap_or_default());
    let seed = 0xcbf2_9ce4_8422_2325 ^ (first.len() + second.len()) as u64;
    let words = first.chunks_exact(8);
    // The word that begins in the first part and ends in the second.
    let left = words.remainder();
    let (middle, second) = second.split_at(second.len().min((8 - left.len()) % 8));
    let across = [left, middle].concat();
    let hash = words.fold(seed, |hash, bytes| mix(hash, word(bytes)));
    let (hash, rest) = match across.len() {
        8 => (mix(hash, word(&across)), &[][..]),
        _ => (hash, &across[..]),
    };
    let words = second.chunks_exact(8);
    let last = words.remainder();
    let hash = words.fold(hash, |hash, bytes| mix(hash, word(bytes)));
    [rest, last].into_iter().flatten().fold(hash, |hash, byte| mix(hash, u64::from(*byte)))
}

#[cfg(test)]
mod tests;
