//! The content of the journal's log in memory: sessions, their open calls, and how many bytes of the log are still
//! needed.

use super::log::{Extent, Record};
use crate::store::SessionKey;
use faasm_bridge::wire::RequestId;
use rangemap::RangeSet;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// Approximate size of a session or an open request in the log besides its reply, bytes.
const ROW_BYTES: u64 = 64;

/// All sessions in the log.
#[derive(Debug, Default)]
pub(super) struct Image {
    sessions: HashMap<SessionKey, Entry>,
    /// Approximate size of the needed records.
    bytes: u64,
    /// Counts records, which orders the sessions.
    records: u64,
}

#[derive(Debug, Default)]
struct Entry {
    user: String,
    acked: RangeSet<u64>,
    open: BTreeMap<RequestId, Option<Extent>>,
    /// Created or acquired by this process.
    is_claimed: bool,
    /// Number of its latest record.
    touched: u64,
}

impl Image {
    pub(super) fn apply(&mut self, record: Record, extent: Extent) {
        self.records += 1;
        let touched = self.records;
        match record {
            Record::Begin { session, user } => {
                let entry = self.sessions.entry(session).or_insert_with(|| {
                    self.bytes += ROW_BYTES;
                    Entry::default()
                });
                (entry.user, entry.touched) = (user, touched);
            }
            Record::Accept { session, request } => {
                let Some(entry) = self.sessions.get_mut(&session) else { return };
                entry.touched = touched;
                entry.open.entry(request).or_insert_with(|| {
                    self.bytes += ROW_BYTES;
                    None
                });
            }
            Record::Finish { session, request } => {
                let Some(entry) = self.sessions.get_mut(&session) else { return };
                entry.touched = touched;
                if entry.acked.contains(&request.0) {
                    return;
                }
                self.bytes += ROW_BYTES + extent.length as u64;
                let before = entry.open.insert(request, Some(extent));
                self.bytes -= before.map_or(0, cost);
            }
            Record::Forget { session, requests } => {
                let Some(entry) = self.sessions.get_mut(&session) else { return };
                entry.touched = touched;
                let ids = RequestId(requests.start)..RequestId(requests.end);
                let gone: Vec<RequestId> = match requests.is_empty() {
                    true => Vec::new(),
                    false => entry.open.range(ids).map(|(id, _)| *id).collect(),
                };
                for id in gone {
                    self.bytes -= entry.open.remove(&id).map_or(0, cost);
                }
                if !requests.is_empty() {
                    entry.acked.insert(requests);
                }
            }
            Record::End { session } => {
                if let Some(entry) = self.sessions.remove(&session) {
                    let open: u64 = entry.open.into_values().map(cost).sum();
                    self.bytes -= open + ROW_BYTES;
                }
            }
        }
    }

    /// Approximate length of a log that contains only needed records.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn contains(&self, session: SessionKey) -> bool {
        self.sessions.contains_key(&session)
    }

    pub(super) fn user(&self, session: SessionKey) -> Option<&str> {
        self.sessions.get(&session).map(|entry| entry.user.as_str())
    }

    pub(super) fn acked(&self, session: SessionKey) -> Vec<Range<u64>> {
        let entry = self.sessions.get(&session);
        entry.map(|entry| entry.acked.iter().cloned().collect()).unwrap_or_default()
    }

    /// Open calls of a session, with the positions of their replies; `None` if the session does not exist.
    pub(super) fn begun(
        &self,
        session: SessionKey,
    ) -> Option<impl Iterator<Item = (RequestId, Option<Extent>)>> {
        let entry = self.sessions.get(&session)?;
        Some(entry.open.iter().map(|(id, extent)| (*id, *extent)))
    }

    /// Marks the session as held by this process.
    pub(super) fn claim(&mut self, session: SessionKey) {
        if let Some(entry) = self.sessions.get_mut(&session) {
            entry.is_claimed = true;
        }
    }

    /// Sessions of earlier processes whose pages have not resumed, the oldest first.
    pub(super) fn left_over(&self) -> Vec<SessionKey> {
        let left = self.sessions.iter().filter(|(_, entry)| !entry.is_claimed);
        let mut left: Vec<(u64, SessionKey)> =
            left.map(|(session, entry)| (entry.touched, *session)).collect();
        left.sort_unstable();
        left.into_iter().map(|(_, session)| session).collect()
    }

    /// Records that reproduce this image, and the replies of those that have one.
    pub(super) fn records(&self) -> Vec<(Record, Option<Extent>)> {
        let mut sessions: Vec<(&SessionKey, &Entry)> = self.sessions.iter().collect();
        sessions.sort_unstable_by_key(|(_, entry)| entry.touched);
        let mut records = Vec::new();
        for (session, entry) in sessions {
            let (session, user) = (*session, entry.user.clone());
            records.push((Record::Begin { session, user }, None));
            for requests in entry.acked.iter().cloned() {
                records.push((Record::Forget { session, requests }, None));
            }
            for (request, extent) in &entry.open {
                let request = *request;
                records.push(match extent {
                    Some(extent) => (Record::Finish { session, request }, Some(*extent)),
                    None => (Record::Accept { session, request }, None),
                });
            }
        }
        records
    }

    /// Restores the claims after the log was rewritten: they are not part of it.
    pub(super) fn keep_claims_of(&mut self, before: &Self) {
        for (session, entry) in &mut self.sessions {
            entry.is_claimed = before.sessions.get(session).is_some_and(|entry| entry.is_claimed);
        }
    }
}

fn cost(extent: Option<Extent>) -> u64 {
    ROW_BYTES + extent.map_or(0, |extent| extent.length as u64)
}
