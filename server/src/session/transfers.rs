//! Values that take several requests to come or go: kept in between, so that a page gets all of a value as it was at one moment, and
//! writes all of it at once.
//!
//! What is kept are copies in memory, and nothing is lost with one: the page is told, and begins again. So there is room for a few, and
//! whoever needs it takes it from those that nobody has used for a while.

use super::lock;
use crate::store::{SessionKey, StateStore, StoreError};
use faasm_bridge::state::{Chunk, MAX_VALUE_BYTES};
use faasm_bridge::wire::{Reply, TRANSFER_BYTES};
use std::collections::BTreeMap;
use std::future::ready;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// What is counted in: small things take one.
const UNIT: u64 = 1 << 20;

/// Room for all of them: for one value of the longest kind.
const UNITS: u32 = (MAX_VALUE_BYTES / UNIT) as u32 + 1;

/// Besides its bytes, what a chunk takes, and a part.
const OVERHEAD: u64 = 64;

/// How long something stays.
#[derive(Clone, Copy, Debug)]
struct Stays {
    /// Unused for so long, it makes room for others.
    idle: Duration,
    /// However much it is used, it makes room after this time.
    longest: Duration,
    /// Unused for so long, it is forgotten.
    kept: Duration,
}

impl Default for Stays {
    fn default() -> Self {
        let [idle, longest, kept] = [5, 60, 60].map(Duration::from_secs);
        Self { idle, longest, kept }
    }
}

/// Between two looks of somebody who waits for room: others become idle without anything being said.
const LOOK: Duration = Duration::from_secs(1);

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
    room: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Content {
    /// Size of the value, and its bytes from an offset on.
    Read { size: u64, offset: u64, bytes: Vec<u8> },
    /// Parts by number, and what they count.
    Write { parts: BTreeMap<u32, Vec<Chunk>>, bytes: u64 },
}

/// A staged write that is about to be made. Its room is free once it is dropped.
pub(super) struct Staged {
    pub(super) chunks: Vec<Chunk>,
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// Everything of this relay that is on its way.
#[derive(Debug)]
pub(super) struct Transfers {
    units: u32,
    stays: Stays,
    kept: Mutex<BTreeMap<Name, Kept>>,
    room: Arc<Semaphore>,
    /// Something was kept: who waits for room looks again.
    changed: Notify,
    /// Somebody looks for what is not used.
    is_swept: AtomicBool,
}

impl Default for Transfers {
    fn default() -> Self {
        Self::new(UNITS, Stays::default())
    }
}

impl Transfers {
    fn new(units: u32, stays: Stays) -> Self {
        let room = Arc::new(Semaphore::new(units as usize));
        Self {
            units,
            stays,
            kept: Mutex::default(),
            room,
            changed: Notify::new(),
            is_swept: false.into(),
        }
    }
}

/// What is answered to a read.
pub(super) type Answer = (Reply, Vec<u8>);

impl Transfers {
    /// Reads bytes as they are now: gives the first of them, and keeps the others.
    pub(super) async fn read(
        self: &Arc<Self>,
        state: &dyn StateStore,
        (session, user): (SessionKey, &str),
        (key, offset, length): (&str, u64, Option<u64>),
        read: u64,
    ) -> Result<Answer, StoreError> {
        let first = length.unwrap_or(TRANSFER_BYTES).min(TRANSFER_BYTES);
        let mut found = state.read(user, key, offset, Some(first)).await?;
        let left = |size: u64| {
            let end = length.map_or(size, |length| size.min(offset.saturating_add(length)));
            end.saturating_sub(offset)
        };
        loop {
            let Some(size) = found.size.filter(|size| left(*size) > first) else {
                return Ok((Reply::State { size: found.size, offset }, found.chunk.bytes));
            };
            let room = self.room(user, units(left(size))).await;
            // All at once; what was read above may be older.
            found = state.read(user, key, offset, Some(left(size))).await?;
            if found.size != Some(size) {
                // Another value, of another size.
                found.chunk.bytes.truncate(first as usize);
                continue;
            }
            let bytes = std::mem::take(&mut found.chunk.bytes);
            let now = bytes[..bytes.len().min(TRANSFER_BYTES as usize)].to_vec();
            let content = Content::Read { size, offset, bytes };
            self.keep(Name::Read(session, read), user, content, room);
            return Ok((Reply::State { size: Some(size), offset }, now));
        }
    }

    /// The next bytes of what [`Transfers::read`] has kept; forgets it with the last of them.
    pub(super) fn read_on(&self, session: SessionKey, read: u64, from: u64) -> Answer {
        let name = Name::Read(session, read);
        let mut kept = lock(&self.kept);
        let missing = (Reply::Missing, Vec::new());
        let Some(Kept { used, content: Content::Read { size, offset, bytes }, .. }) =
            kept.get_mut(&name)
        else {
            return missing;
        };
        *used = Instant::now();
        let Some(at) = from.checked_sub(*offset).and_then(|at| usize::try_from(at).ok()) else {
            return missing;
        };
        let rest = bytes.get(at..).unwrap_or_default();
        let part = rest[..rest.len().min(TRANSFER_BYTES as usize)].to_vec();
        let reply = Reply::State { size: Some(*size), offset: from };
        if part.len() == rest.len() {
            kept.remove(&name);
        }
        (reply, part)
    }

    /// Keeps one part of a write.
    pub(super) async fn stage(
        self: &Arc<Self>,
        (session, user): (SessionKey, &str),
        (write, part): (u64, u32),
        chunks: Vec<Chunk>,
    ) {
        let name = Name::Write(session, write);
        let bytes = weight(&chunks);
        let mut room = self.room(user, units(bytes)).await;
        let mut kept = lock(&self.kept);
        let Some(Kept { used, content: Content::Write { parts, bytes: all }, room: own, .. }) =
            kept.get_mut(&name)
        else {
            drop(kept);
            let parts = BTreeMap::from([(part, chunks)]);
            return self.keep(name, user, Content::Write { parts, bytes }, room);
        };
        *used = Instant::now();
        *all += bytes;
        if let Some(before) = parts.insert(part, chunks) {
            *all -= weight(&before);
        }
        // No more than all of it takes.
        let more = units(*all).saturating_sub(own.num_permits() as u32) as usize;
        if let Some(more) = room.split(more.min(room.num_permits())) {
            own.merge(more);
        }
    }

    /// All parts of a write, in their order; none where there are not as many.
    pub(super) fn take(&self, session: SessionKey, write: u64, parts: u32) -> Option<Staged> {
        if parts == 0 {
            return Some(Staged { chunks: Vec::new(), room: None });
        }
        let taken = lock(&self.kept).remove(&Name::Write(session, write))?;
        let Kept { content: Content::Write { parts: staged, .. }, room, .. } = taken else {
            return None;
        };
        let is_whole = staged.keys().copied().eq(0..parts);
        let chunks = staged.into_values().flatten().collect();
        is_whole.then_some(Staged { chunks, room: Some(room) })
    }

    /// Waits until there is room, which others make where they have to.
    async fn room(&self, user: &str, units: u32) -> OwnedSemaphorePermit {
        let mut acquired = pin!(Arc::clone(&self.room).acquire_many_owned(units));
        loop {
            let changed = self.changed.notified();
            tokio::select! {
                biased;
                Ok(permit) = &mut acquired => return permit,
                () = ready(()) => {}
            }
            if self.make_room(user, units) {
                continue;
            }
            tokio::select! {
                biased;
                Ok(permit) = &mut acquired => return permit,
                () = changed => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Forgets one that has to make room for a user who waits for so much; `false` where there is none. Those of a user who would
    /// have more than half of all are the first.
    fn make_room(&self, user: &str, wanted: u32) -> bool {
        let mut kept = lock(&self.kept);
        let now = Instant::now();
        let of_user = kept.values().filter(|kept| kept.user == user);
        let of_user: u32 = of_user.map(|kept| kept.room.num_permits() as u32).sum();
        let is_beyond = of_user.saturating_add(wanted) > self.units / 2;
        let makes_room = |kept: &Kept| {
            let is_own = is_beyond && kept.user == user;
            is_own || now - kept.used >= self.stays.idle || now - kept.begun >= self.stays.longest
        };
        let oldest = kept.iter().filter(|(_, kept)| makes_room(kept));
        let oldest = oldest.min_by_key(|(_, kept)| kept.used).map(|(name, _)| *name);
        oldest.and_then(|name| kept.remove(&name)).is_some()
    }

    fn keep(
        self: &Arc<Self>,
        name: Name,
        user: &str,
        content: Content,
        room: OwnedSemaphorePermit,
    ) {
        let now = Instant::now();
        let user = user.to_owned();
        lock(&self.kept).insert(name, Kept { user, begun: now, used: now, content, room });
        self.changed.notify_waiters();
        if !self.is_swept.swap(true, Ordering::SeqCst) {
            tokio::spawn(sweep(Arc::downgrade(self), self.stays.kept));
        }
    }
}

/// Forgets what is not used, as long as there is anything.
async fn sweep(transfers: Weak<Transfers>, after: Duration) {
    loop {
        tokio::time::sleep(after / 2).await;
        let Some(transfers) = transfers.upgrade() else { return };
        let mut kept = lock(&transfers.kept);
        let now = Instant::now();
        kept.retain(|_, kept| now - kept.used < after);
        if kept.is_empty() {
            // What is kept after this finds it so.
            transfers.is_swept.store(false, Ordering::SeqCst);
            return;
        }
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(UNITS).clamp(1, UNITS)
}

/// What chunks count.
fn weight(chunks: &[Chunk]) -> u64 {
    let bytes = chunks.iter().map(|chunk| chunk.bytes.len() as u64 + OVERHEAD);
    bytes.sum::<u64>() + OVERHEAD
}

#[cfg(test)]
#[path = "transfers_tests.rs"]
mod tests;
