//! State values mapped into guest memory.
//!
//! In a cluster with threads a mapping is shared memory. Here every run has a memory of its own, so a mapping is a copy
//! that is synchronised at defined moments:
//!
//! * the guest's writes through the pointer are copied to the local tier (*absorb*) when it suspends, ends, unlocks,
//!   flags or pushes, and before any of its own state calls accesses the value;
//! * writes of others are copied to the mapping (*refresh*) after a pull, after a lock, when the function resumes, and
//!   after its own writes.
//!
//! Only bytes that the guest changed are absorbed: each mapping keeps its bytes as of the last synchronisation.

use super::{Context, Fault, GuestMemoryExt, Host};
use crate::state::LocalTier;
use std::ops::Range;

/// A range of a value to be mapped.
pub(super) struct MappingRequest {
    pub(super) key: String,
    pub(super) range: Range<u64>,
}

struct Mapping {
    key: String,
    range: Range<u64>,
    pointer: u32,
    /// The bytes as of the last synchronisation of guest and tier.
    synced: Vec<u8>,
}

/// The mappings of one run.
#[derive(Default)]
pub(super) struct Mappings(Vec<Mapping>);

impl Mappings {
    /// Address of a range that is already mapped: a value keeps its address for the whole run.
    pub(super) fn find(&self, key: &str, range: &Range<u64>) -> Option<u32> {
        let holds =
            |m: &&Mapping| m.key == key && m.range.start <= range.start && range.end <= m.range.end;
        let mapping = self.0.iter().find(holds)?;
        Some(mapping.pointer + (range.start - mapping.range.start) as u32)
    }

    /// Copies a range into memory allocated by the guest's `malloc`.
    pub(super) fn add(
        &mut self,
        request: MappingRequest,
        pointer: u32,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let MappingRequest { key, range } = request;
        let synced = match cx.tier.get(&key) {
            Some(value) if range.end <= value.size() => value.read(range.clone()).to_vec(),
            _ => vec![0; (range.end - range.start) as usize],
        };
        cx.host.write(pointer, &synced)?;
        cx.tier.hold(&key);
        self.0.push(Mapping { key, range, pointer, synced });
        Ok(())
    }

    /// Copies the guest's changes to the tier.
    pub(super) fn absorb(&mut self, host: &mut dyn Host, tier: &mut LocalTier) {
        for mapping in &mut self.0 {
            // The region was inside memory when it was mapped, and memory does not shrink.
            let Ok(now) = host.read(mapping.pointer, mapping.synced.len() as u32) else { continue };
            tier.absorb_changed(&mapping.key, mapping.range.start, &now, &mapping.synced);
            mapping.synced = now;
        }
    }

    /// Whether nothing is mapped.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes held by the mappings.
    pub(super) fn held_bytes(&self) -> u64 {
        self.0.iter().map(|mapping| (mapping.synced.len() + mapping.key.len()) as u64).sum()
    }

    /// Ends all mappings, at the end of the run.
    pub(super) fn release(&mut self, tier: &mut LocalTier) {
        for mapping in std::mem::take(&mut self.0) {
            tier.let_go(&mapping.key);
        }
    }

    /// Writes the mapped bytes to guest memory again, after it was overwritten.
    pub(super) fn restore_in_guest(&self, host: &mut dyn Host) {
        for mapping in &self.0 {
            // Cannot fail, as in `absorb`.
            let _ = host.write(mapping.pointer, &mapping.synced);
        }
    }

    /// Copies the tier's changes to the guest; call `absorb` first.
    pub(super) fn refresh(&mut self, host: &mut dyn Host, tier: &LocalTier) {
        for mapping in &mut self.0 {
            let Some(value) = tier.get(&mapping.key) else { continue };
            let now = value.read(mapping.range.clone());
            if now != mapping.synced && host.write(mapping.pointer, now).is_ok() {
                mapping.synced.copy_from_slice(now);
            }
        }
    }
}
