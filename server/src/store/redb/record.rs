//! Writes the journal's log: records that are pending together share one write.

use super::image::Image;
use super::log::{Extent, Log, Pending, Record};
use super::queue::{Bounds, Queue};
use crate::store::{SessionKey, StoreError};
use faasm_bridge::session::{InFlight, RecoveredSession};
use faasm_bridge::wire::{Frame, RequestId};
use std::collections::{HashSet, VecDeque};
use std::io;
use tokio::sync::oneshot;

/// Limits on pending records, and on the records of one write.
const BOUNDS: Bounds =
    Bounds { waiting_bytes: 256 * 1024 * 1024, batch: 4096, batch_bytes: 16 * 1024 * 1024 };

/// Maximum bytes of results in the log. If it is reached, abandoned sessions are evicted, the oldest first; a result
/// that still does not fit is unknown once the relay ends.
pub(super) const MAX_JOURNALED_BYTES: u64 = 1024 * 1024 * 1024;

/// Maximum number of ended sessions remembered, to reject a request to create one that was sent before its end and
/// arrives after it.
const MAX_ENDED: usize = 16 * 1024;

type Done<T> = oneshot::Sender<Result<T, StoreError>>;

/// An operation on the log.
#[derive(Debug)]
pub(super) enum Entry {
    /// A record that nobody waits for, and its reply.
    Note(Record, Frame),
    /// A record that has to be there before anything else happens.
    Ensure(Record, Done<()>),
    /// Acquires a session of this user and returns its recovered state.
    TakeUp(SessionKey, String, Done<Option<RecoveredSession>>),
    EndLeftOver,
    Settle(oneshot::Sender<()>),
}

/// The log, with the thread that writes it.
#[derive(Debug)]
pub(super) struct Recorder {
    queue: Queue<Entry>,
}

impl Recorder {
    /// With capacity for so many sessions; beyond it, abandoned ones are evicted, the oldest first. For a relay that
    /// may hold `relay` bytes for users.
    pub(super) fn start(
        log: Log,
        image: Image,
        most_sessions: usize,
        relay: u64,
    ) -> io::Result<Self> {
        let ended = Ended::default();
        let mut writer = Writer { log, image, most_sessions, ended };
        let work = move |batch| writer.write(batch);
        Ok(Self { queue: Queue::start("journal", BOUNDS.within(relay), work)? })
    }

    /// Notes something later. Where there is no room for it, it is left out; see [`crate::store::SessionNotes`].
    pub(super) fn note(&self, record: Record, reply: Frame) {
        if !self.queue.try_push(reply.len(), || Entry::Note(record, reply)) {
            tracing::warn!("the journal cannot keep up, and leaves something out");
        }
    }

    /// Writes a record, and completes when it is written.
    pub(super) async fn ensure(&self, record: Record) -> Result<(), StoreError> {
        self.ask(|done| Entry::Ensure(record, done)).await
    }

    pub(super) async fn take_up(
        &self,
        session: SessionKey,
        user: &str,
    ) -> Result<Option<RecoveredSession>, StoreError> {
        self.ask(|done| Entry::TakeUp(session, user.to_owned(), done)).await
    }

    async fn ask<T>(&self, entry: impl FnOnce(Done<T>) -> Entry) -> Result<T, StoreError> {
        let (done, doing) = oneshot::channel();
        self.queue.push(0, entry(done)).await;
        let panicked = "write its journal";
        doing.await.unwrap_or_else(|_| {
            Err(StoreError::Backend { action: panicked, reason: "it panicked".into() })
        })
    }

    pub(super) fn end_left_over(&self) {
        self.queue.try_push(0, || Entry::EndLeftOver);
    }

    pub(super) async fn settle(&self) {
        let (done, doing) = oneshot::channel();
        self.queue.push(0, Entry::Settle(done)).await;
        let _ = doing.await;
    }
}

struct Writer {
    log: Log,
    image: Image,
    most_sessions: usize,
    ended: Ended,
}

/// The sessions that this process ended most recently.
#[derive(Default)]
struct Ended {
    sessions: HashSet<SessionKey>,
    /// The oldest first.
    order: VecDeque<SessionKey>,
}

impl Ended {
    fn add(&mut self, session: SessionKey) {
        if !self.sessions.insert(session) {
            return;
        }
        self.order.push_back(session);
        if self.order.len() > MAX_ENDED
            && let Some(oldest) = self.order.pop_front()
        {
            self.sessions.remove(&oldest);
        }
    }
}

impl Writer {
    fn write(&mut self, batch: Vec<Entry>) {
        let mut group = Group { pending: Pending::at(self.log.end()), waiting: Vec::new() };
        for entry in batch {
            match entry {
                Entry::Note(record, reply) => self.note(&mut group, record, reply),
                Entry::Ensure(record, done) => self.ensure(&mut group, record, done),
                Entry::TakeUp(session, user, done) => {
                    // Flush first, so that the log contains every earlier record.
                    self.flush(&mut group);
                    let _ = done.send(self.take_up(session, &user));
                }
                Entry::EndLeftOver => {
                    self.flush(&mut group);
                    for session in self.image.left_over() {
                        self.push(&mut group, Record::End { session }, Frame::default());
                    }
                }
                Entry::Settle(done) => {
                    self.flush(&mut group);
                    let _ = done.send(());
                }
            }
        }
        self.flush(&mut group);
        self.log.compact(&mut self.image);
    }

    fn push(&mut self, group: &mut Group, record: Record, reply: Frame) {
        if let Err(error) = group.pending.push(record, reply) {
            tracing::error!(%error, "a record of the journal cannot be encoded");
        }
    }

    /// Writes the gathered records, and completes their callers' futures.
    fn flush(&mut self, group: &mut Group) {
        if group.pending.is_empty() {
            return;
        }
        let written = self.log.append(&group.pending);
        if let Err(error) = &written {
            tracing::error!(%error, "the journal cannot be written");
        }
        let pending = std::mem::replace(&mut group.pending, Pending::at(self.log.end()));
        if written.is_ok() {
            pending.apply(&mut self.image);
        }
        for (session, done) in group.waiting.drain(..) {
            if let Some(session) = session {
                self.image.claim(session);
            }
            let _ = done.send(match &written {
                Ok(()) => Ok(()),
                Err(error) => Err(failed(error)),
            });
        }
    }

    fn note(&mut self, group: &mut Group, record: Record, reply: Frame) {
        if let Record::End { session } = &record {
            self.ended.add(*session);
        }
        if !reply.is_empty() {
            self.make_room(group, reply.len() as u64);
            let needed = self.image.bytes() + reply.len() as u64;
            if needed > MAX_JOURNALED_BYTES {
                tracing::warn!(
                    "the journal is full: a result is not recorded, and would be unknown if the relay ended"
                );
                return;
            }
        }
        let has_reply = !reply.is_empty();
        self.push(group, record, reply);
        // So that what is counted is what is there.
        if has_reply && self.image.bytes() + BOUNDS.waiting_bytes as u64 > MAX_JOURNALED_BYTES {
            self.flush(group);
        }
    }

    /// Ends abandoned sessions until the result fits.
    fn make_room(&mut self, group: &mut Group, bytes: u64) {
        if self.image.bytes() + bytes <= MAX_JOURNALED_BYTES {
            return;
        }
        for session in self.image.left_over() {
            self.push(group, Record::End { session }, Frame::default());
            self.flush(group);
            if self.image.bytes() + bytes <= MAX_JOURNALED_BYTES {
                return;
            }
        }
    }

    fn ensure(&mut self, group: &mut Group, record: Record, done: Done<()>) {
        let mut claims = None;
        let lost = |done: Done<()>| {
            let _ = done.send(Err(StoreError::SessionLost { reason: "it has ended" }));
        };
        match &record {
            // Its acknowledged records are deleted, so a new session would perform its requests a second time.
            Record::Begin { session, .. } if self.ended.sessions.contains(session) => {
                return lost(done);
            }
            Record::Begin { session, .. } => {
                claims = Some(*session);
                // A batch creates few sessions, so pending ones need not be counted.
                if self.image.len() >= self.most_sessions {
                    self.flush(group);
                    if let Some(session) = self.image.left_over().first().copied() {
                        self.push(group, Record::End { session }, Frame::default());
                    }
                }
            }
            Record::Accept { session, .. }
                if !group.begins(*session) && !self.image.contains(*session) =>
            {
                return lost(done);
            }
            _ => {}
        }
        self.push(group, record, Frame::default());
        group.waiting.push((claims, done));
    }

    fn take_up(
        &mut self,
        session: SessionKey,
        user: &str,
    ) -> Result<Option<RecoveredSession>, StoreError> {
        if self.image.user(session) != Some(user) {
            return Ok(None);
        }
        let Some(begun) = self.image.begun(session) else { return Ok(None) };
        let read = |(id, extent): (RequestId, Option<Extent>)| {
            let reply = extent.map(|extent| self.log.reply(extent)).transpose()?;
            Ok((id, reply.map_or(InFlight::Unknown, InFlight::Replied)))
        };
        let begun = begun.map(read).collect::<io::Result<Vec<_>>>().map_err(|e| failed(&e))?;
        let acked = self.image.acked(session);
        self.image.claim(session);
        Ok(Some(RecoveredSession { acked, begun }))
    }
}

/// The records of one write.
struct Group {
    pending: Pending,
    /// The waiting caller, and the session that the record creates.
    waiting: Vec<(Option<SessionKey>, Done<()>)>,
}

impl Group {
    fn begins(&self, session: SessionKey) -> bool {
        self.waiting.iter().any(|(begun, _)| *begun == Some(session))
    }
}

const ACTION: &str = "write to its journal";

fn failed(error: &io::Error) -> StoreError {
    StoreError::Backend { action: ACTION, reason: error.to_string() }
}
