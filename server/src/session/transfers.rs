//! Values transferred in several requests: buffered in between, so that a page reads a snapshot of a value, and writes
//! all of it at once.
//!
//! The buffers are copies in memory, charged to the page's user before they are allocated. Dropping one loses no data:
//! the page gets an error, and restarts the transfer. So if memory is short, idle transfers are dropped.

use super::{Whose, lock, reads};
use crate::budget::{Account, Charge, Frees, Kind, OverBudget};
use crate::session::requests::{Failure, split};
use crate::store::{SessionKey, StateStore};
use bytes::Bytes;
use faasm_bridge::state::Chunk;
use faasm_bridge::wire::{ChunkHeader, Reply, TRANSFER_BYTES};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, TryLockError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Besides its bytes, what a chunk takes, and a part.
const OVERHEAD: u64 = 64;

/// Besides its parts, what a transfer takes.
const TRANSFER_OVERHEAD: u64 = 512;

/// Time limits of transfers, and of waiting for memory.
#[derive(Clone, Copy, Debug)]
struct Stays {
    /// Unused for so long, it makes room for others.
    idle: Duration,
    /// However much it is used, it makes room after this time.
    longest: Duration,
    /// Unused for so long, it is forgotten.
    kept: Duration,
    /// For memory. Shorter than `idle`: two transfers that wait for each other are both refused, and neither is given up for the
    /// other, again and again.
    time_limit: Duration,
}

impl Default for Stays {
    fn default() -> Self {
        let [idle, longest, kept, time_limit] = [5, 60, 60, 4].map(Duration::from_secs);
        Self { idle, longest, kept, time_limit }
    }
}

/// Polling interval while waiting for memory: transfers become idle without a notification.
const LOOK: Duration = Duration::from_millis(500);

/// Whose something is, and what they call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Read(SessionKey, u64),
    Write(SessionKey, u64),
}

#[derive(Debug)]
struct Kept {
    user: String,
    begun: Instant,
    used: Instant,
    content: Content,
    charge: Charge,
}

#[derive(Debug)]
enum Content {
    /// Size of the value, and its bytes from an offset on.
    Read { size: u64, offset: u64, bytes: Bytes },
    /// Parts by number.
    Write { parts: BTreeMap<u32, Vec<Chunk>> },
}

/// A staged write that is about to be made. Its memory is given back once it is dropped.
pub(super) struct Staged {
    pub(super) chunks: Vec<Chunk>,
    pub(super) charge: Option<Charge>,
}

/// All transfers of this relay.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    stays: Stays,
    kept: Mutex<BTreeMap<Name, Kept>>,
    /// Notified when a transfer is dropped: waiters for memory try again.
    freed: Notify,
    /// Whether a task that drops unused transfers runs.
    is_swept: AtomicBool,
}

/// What is answered to a read.
pub(super) type Answer = (Reply, Vec<u8>);

impl Transfers {
    /// Reads bytes as they are now: gives the first of them, and keeps the others. `brought` is charged for what it gives.
    pub(super) async fn read(
        self: &Arc<Self>,
        state: &dyn StateStore,
        whose: Whose<'_>,
        (key, offset, length): (&str, u64, Option<u64>),
        read: u64,
        brought: &mut Charge,
    ) -> Result<Answer, Failure> {
        let first = length.unwrap_or(TRANSFER_BYTES).min(TRANSFER_BYTES);
        let mut found = reads::state(state, whose.user, (key, offset, first), brought).await?;
        let left = |size: u64| {
            let end = length.map_or(size, |length| size.min(offset.saturating_add(length)));
            end.saturating_sub(offset)
        };
        loop {
            let Some(size) = found.size.filter(|size| left(*size) > first) else {
                return Ok((Reply::State { size: found.size, offset }, found.chunk.bytes.into()));
            };
            let charge = self.charge(whose.account, left(size) + TRANSFER_OVERHEAD).await?;
            // All at once; what was read above may be older.
            found = state.read(whose.user, key, offset, Some(left(size))).await?;
            if found.size != Some(size) {
                // Another value, of another size.
                let first = found.chunk.bytes.len().min(first as usize);
                found.chunk.bytes = Bytes::copy_from_slice(&found.chunk.bytes[..first]);
                continue;
            }
            let bytes = std::mem::take(&mut found.chunk.bytes);
            let now = bytes[..bytes.len().min(TRANSFER_BYTES as usize)].to_vec();
            let content = Content::Read { size, offset, bytes };
            self.keep(Name::Read(whose.session, read), whose.user, content, charge);
            return Ok((Reply::State { size: Some(size), offset }, now));
        }
    }

    /// The next bytes of what [`Transfers::read`] has kept; forgets it with the last of them.
    ///
    /// # Errors
    /// When there is no memory for another copy of these bytes.
    pub(super) fn read_on(
        &self,
        session: SessionKey,
        read: u64,
        from: u64,
        brought: &mut Charge,
    ) -> Result<Answer, OverBudget> {
        let name = Name::Read(session, read);
        let mut kept = lock(&self.kept);
        let missing = (Reply::Missing, Vec::new());
        let Some(Kept { used, content: Content::Read { size, offset, bytes }, .. }) =
            kept.get_mut(&name)
        else {
            return Ok(missing);
        };
        *used = Instant::now();
        let Some(at) = from.checked_sub(*offset).and_then(|at| usize::try_from(at).ok()) else {
            return Ok(missing);
        };
        let rest = bytes.get(at..).unwrap_or_default();
        let part = &rest[..rest.len().min(TRANSFER_BYTES as usize)];
        brought.set(part.len() as u64)?;
        let reply = Reply::State { size: Some(*size), offset: from };
        let (part, is_last) = (part.to_vec(), part.len() == rest.len());
        if is_last {
            kept.remove(&name);
            self.freed.notify_waiters();
        }
        Ok((reply, part))
    }

    /// Keeps one part of a write.
    ///
    /// # Errors
    /// When there is no memory for it: what was kept before stays.
    pub(super) async fn stage(
        self: &Arc<Self>,
        whose: Whose<'_>,
        (write, part): (u64, u32),
        headers: &[ChunkHeader],
        payload: &Bytes,
    ) -> Result<(), OverBudget> {
        let name = Name::Write(whose.session, write);
        if let Some(kept) = lock(&self.kept).get_mut(&name) {
            kept.used = Instant::now();
        }
        let weight = headers.len() as u64 * OVERHEAD + payload.len() as u64 + OVERHEAD;
        let charge = self.charge(whose.account, weight).await?;
        let chunks = split(headers, payload);
        let mut kept = lock(&self.kept);
        let Some(Kept { used, content: Content::Write { parts }, charge: all, .. }) =
            kept.get_mut(&name)
        else {
            drop(kept);
            let mut charge = charge;
            charge.grown(TRANSFER_OVERHEAD);
            let parts = BTreeMap::from([(part, chunks)]);
            self.keep(name, whose.user, Content::Write { parts }, charge);
            return Ok(());
        };
        *used = Instant::now();
        all.absorb(charge);
        if let Some(before) = parts.insert(part, chunks) {
            all.shrink(self::weight(&before));
        }
        Ok(())
    }

    /// All parts of a write, in their order; none where there are not as many.
    pub(super) fn take(&self, session: SessionKey, write: u64, parts: u32) -> Option<Staged> {
        if parts == 0 {
            return Some(Staged { chunks: Vec::new(), charge: None });
        }
        let taken = lock(&self.kept).remove(&Name::Write(session, write))?;
        self.freed.notify_waiters();
        let Kept { content: Content::Write { parts: staged }, charge, .. } = taken else {
            return None;
        };
        let is_whole = staged.keys().copied().eq(0..parts);
        let chunks = staged.into_values().flatten().collect();
        is_whole.then_some(Staged { chunks, charge: Some(charge) })
    }

    /// Charges this many bytes, after dropping other transfers of the user, or of all users, if necessary.
    ///
    /// # Errors
    /// If not enough memory becomes free in time.
    async fn charge(&self, account: &Account, bytes: u64) -> Result<Charge, OverBudget> {
        let until = Instant::now() + self.stays.time_limit;
        let mut charge = account.nothing(Kind::Transfer);
        loop {
            let freed = self.freed.notified();
            match charge.grow(bytes) {
                Ok(()) => return Ok(charge),
                Err(over) if bytes > over.most || Instant::now() >= until => return Err(over),
                Err(_) => {}
            }
            tokio::select! {
                () = freed => {}
                () = tokio::time::sleep(LOOK.min(self.stays.time_limit)) => {}
            }
        }
    }

    fn keep(self: &Arc<Self>, name: Name, user: &str, content: Content, charge: Charge) {
        let now = Instant::now();
        let user = user.to_owned();
        lock(&self.kept).insert(name, Kept { user, begun: now, used: now, content, charge });
        if !self.is_swept.swap(true, Ordering::SeqCst) {
            tokio::spawn(sweep(Arc::downgrade(self), self.stays.kept));
        }
    }
}

impl Frees for Transfers {
    fn free(&self, user: Option<&str>) {
        let mut kept = match self.kept.try_lock() {
            Ok(kept) => kept,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let now = Instant::now();
        let Stays { idle, longest, .. } = self.stays;
        kept.retain(|_, kept| {
            let is_meant = user.is_none_or(|user| user == kept.user);
            let is_left = now - kept.used >= idle || now - kept.begun >= longest;
            !(is_meant && is_left)
        });
    }
}

/// Drops unused transfers, until none are left.
async fn sweep(transfers: Weak<Transfers>, after: Duration) {
    loop {
        tokio::time::sleep(after / 2).await;
        let Some(transfers) = transfers.upgrade() else { return };
        let mut kept = lock(&transfers.kept);
        let now = Instant::now();
        kept.retain(|_, kept| now - kept.used < after);
        transfers.freed.notify_waiters();
        if kept.is_empty() {
            // What is kept after this finds it so.
            transfers.is_swept.store(false, Ordering::SeqCst);
            return;
        }
    }
}

/// What the chunks of a part count.
fn weight(chunks: &[Chunk]) -> u64 {
    let bytes = chunks.iter().map(|chunk| chunk.bytes.len() as u64 + OVERHEAD);
    bytes.sum::<u64>() + OVERHEAD
}

#[cfg(test)]
#[path = "transfers_tests.rs"]
mod tests;
