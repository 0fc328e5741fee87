//! The break: the one place from which a run takes memory beyond what its module began with.
//!
//! Faasm's C library by `__sbrk`, the older toolchain's by system call 223 or `brk`, `mmap`, mapped state values, outputs of
//! awaited calls, and C++ exceptions all take from it. It is a bump pointer over the pages that the host adds to linear
//! memory:
//!
//! ```text
//! 0              base                    break          end = size of memory
//! ├── the module ──┼── sbrk │ mapped │ sbrk ┼── clean or given back ──┤
//!                            └ free ranges below the break are kept for later mappings
//! ```
//!
//! `base` is where memory ended at the first use. What is taken moves the break up; linear memory grows with it by whole
//! pages. What is given back at the top moves it down, what is given back elsewhere is kept for later mappings.
//!
//! # Why nothing is given out twice
//!
//! Every byte between `base` and `end` came from a growth that this object asked for, is in exactly one of three states
//! (below the break and taken; below the break and in `free`; above the break), and moves between them only here. A restored
//! snapshot brings the heap of another moment; then all memory there is counts as taken (`give_up`).
//!
//! * `sbrk` and mappings take from above the break, or, mappings only, from `free`.
//! * The break moves down only over bytes that no mapping and nothing handed out has (`floor`). So an allocator that shrinks
//!   its heap cannot give away what lies above it. What the host has handed out, the guest cannot unmap.
//! * `brk` names an address instead of an amount, so its caller believes that everything from its last break up to that
//!   address is its own. It may go on only while nothing else has moved the break since (`program`).
//!
//! A guest that grows memory by itself puts pages of its own at the end. That shows as a size other than `end`, or as a
//! growth that begins elsewhere. Then the next bytes come from the new end, what was left above the break becomes `free`,
//! and neither side has a byte of the other: each growth, whoever asks for it, gives pages that did not exist before.
//!
//! One kind of guest is not covered by that: one that takes *everything below `memory.size`* for its own, as Emscripten's
//! `sbrk` and old allocators at their first use do. A module whose code asks for the size or grows memory is therefore
//! given a fence (`rewriter/src/stages/fence.rs`): before anything else this object leaves it room to grow, and takes what lies
//! behind, beyond all that the guest can ever see. A module without a fence that it would need gets no memory at all:
//! [`ModuleFacts::is_break_safe`](super::ModuleFacts).

mod calls;
#[cfg(test)]
mod tests;

use super::{Fault, GuestMemory, GuestMemoryExt};
use rangemap::RangeSet;
use std::ops::Range;

/// Unit in which linear memory grows, bytes.
const PAGE_BYTES: u64 = 64 << 10;

/// How much a guest that grows memory by itself can grow once the host has taken some, pages: 64 MiB.
const GUEST_ROOM_PAGES: u32 = 1024;

/// Alignment of what the host hands out, as of any `malloc`.
const ALIGNMENT: u64 = 16;

/// What a run took from the end of its memory; addresses are byte offsets.
#[derive(Clone, Debug, Default)]
pub(super) struct Heap(Option<Area>);

#[derive(Clone, Debug)]
struct Area {
    /// What lies below is not this object's.
    base: u64,
    /// The break.
    current: u64,
    /// How far the break has been; what lies below may be dirty.
    highest: u64,
    /// End of the memory that was grown for it.
    end: u64,
    /// What the guest has mapped, and may unmap.
    mapped: RangeSet<u64>,
    /// What the host has handed out, for good.
    handed: RangeSet<u64>,
    /// Below the break, and nobody's.
    free: RangeSet<u64>,
    /// The break as `brk` last gave it; none before.
    program: Option<u64>,
}

impl Heap {
    /// `sbrk`: moves the break by `increment` bytes; gives the break before, or where the new bytes begin.
    ///
    /// `None` where memory cannot grow, or something above the break is in use.
    pub(super) fn move_break(
        &mut self,
        increment: i64,
        memory: &mut (impl GuestMemory + ?Sized),
    ) -> Result<Option<u64>, Fault> {
        let area = self.area(memory);
        let before = area.current;
        if increment <= 0 {
            let wanted = before.saturating_add_signed(increment);
            if wanted < area.floor() {
                return Ok(None);
            }
            area.current = wanted;
            return Ok(Some(before));
        }
        area.advance(increment.unsigned_abs(), 1, memory)
    }

    /// `brk`: the break after the call, which is the old one where it cannot be `address`.
    pub(super) fn set_break(
        &mut self,
        address: u64,
        memory: &mut (impl GuestMemory + ?Sized),
    ) -> Result<u64, Fault> {
        let area = self.area(memory);
        let current = *area.program.get_or_insert(area.current);
        // Somebody else has moved the break, or the guest has grown memory: what lies between is not the caller's.
        let is_last = current == area.current && memory.size() == area.end;
        if !is_last || address < area.floor() {
            return Ok(current);
        }
        if address <= area.current {
            area.current = address;
        } else {
            match area.advance(address - area.current, 1, memory)? {
                Some(begin) if begin == current => {}
                // The new pages do not adjoin the old break, which `brk` cannot say.
                Some(begin) => {
                    area.current = begin;
                    return Ok(current);
                }
                None => return Ok(current),
            }
        }
        area.program = Some(address);
        Ok(address)
    }

    /// A mapping: zeroed memory, `length` bytes from an address that is a multiple of `unit`, a power of two.
    pub(super) fn map(
        &mut self,
        length: u64,
        unit: u64,
        memory: &mut (impl GuestMemory + ?Sized),
    ) -> Result<Option<u64>, Fault> {
        let area = self.area(memory);
        let Some(range) = area.place(length, unit, memory)? else { return Ok(None) };
        area.mapped.insert(range.clone());
        Ok(Some(range.start))
    }

    /// Memory that the host hands out: an output, a mapped value, an exception. It is never given back.
    pub(super) fn take(
        &mut self,
        length: u64,
        memory: &mut (impl GuestMemory + ?Sized),
    ) -> Result<Option<u64>, Fault> {
        let area = self.area(memory);
        let Some(range) = area.place(length, ALIGNMENT, memory)? else { return Ok(None) };
        area.handed.insert(range.clone());
        Ok(Some(range.start))
    }

    /// Whether it has taken, or looked for, any memory.
    pub(super) fn is_used(&self) -> bool {
        self.0.is_some()
    }

    /// All memory up to its end is the guest's from here on, as after a snapshot was restored: what the guest's allocator had
    /// then, it has again.
    pub(super) fn give_up(&mut self, memory: &(impl GuestMemory + ?Sized)) {
        let Some(area) = &mut self.0 else { return };
        let end = memory.size();
        (area.base, area.current, area.highest, area.end) = (end, end, end, end);
        area.free = RangeSet::new();
        area.program = None;
    }

    /// Gives back what lies in a range; what was never mapped is left alone. At the top it goes back to the break.
    pub(super) fn unmap(&mut self, range: Range<u64>) {
        let Some(area) = &mut self.0 else { return };
        let given: Vec<_> = area.mapped.overlapping(range.clone()).cloned().collect();
        for part in given {
            let part = part.start.max(range.start)..part.end.min(range.end);
            area.mapped.remove(part.clone());
            area.free.insert(part);
        }
        let last = area.free.iter().next_back().cloned();
        if let Some(last) = last.filter(|last| last.end == area.current) {
            let current = last.start.next_multiple_of(PAGE_BYTES).min(last.end);
            if current < last.end {
                area.free.remove(current..last.end);
                area.current = current;
            }
        }
    }

    fn area(&mut self, memory: &mut (impl GuestMemory + ?Sized)) -> &mut Area {
        self.0.get_or_insert_with(|| {
            let limit = if memory.wants_fence() { put_fence(memory) } else { None };
            let begin = limit.unwrap_or_else(|| memory.size());
            Area {
                base: begin,
                current: begin,
                highest: begin,
                end: memory.size(),
                mapped: RangeSet::new(),
                handed: RangeSet::new(),
                free: RangeSet::new(),
                program: None,
            }
        })
    }
}

impl Area {
    /// Finds zeroed memory below or above the break; see [`Heap::map`].
    fn place(
        &mut self,
        length: u64,
        unit: u64,
        memory: &mut (impl GuestMemory + ?Sized),
    ) -> Result<Option<Range<u64>>, Fault> {
        let length = length.max(1).next_multiple_of(unit);
        let fits = |free: &Range<u64>| {
            let start = free.start.next_multiple_of(unit);
            (start + length <= free.end).then_some(start)
        };
        let start = match self.free.iter().find_map(fits) {
            Some(start) => {
                self.free.remove(start..start + length);
                clear(start..start + length, memory)?;
                start
            }
            None => {
                // Whole pages, so that the break stays where a C library expects it; what is left of them is kept.
                let pages = length.next_multiple_of(PAGE_BYTES);
                let Some(start) = self.advance(pages, unit, memory)? else { return Ok(None) };
                if length < pages {
                    self.free.insert(start + length..start + pages);
                }
                start
            }
        };
        Ok(Some(start..start + length))
    }

    /// How far down the break may move.
    fn floor(&self) -> u64 {
        let end = |ranges: &RangeSet<u64>| ranges.iter().next_back().map_or(0, |last| last.end);
        self.base.max(end(&self.mapped)).max(end(&self.handed)).max(end(&self.free))
    }

    /// Takes zeroed bytes above the break, from a multiple of `unit`; gives where they begin.
    fn advance(
        &mut self,
        length: u64,
        unit: u64,
        memory: &mut (impl GuestMemory + ?Sized),
    ) -> Result<Option<u64>, Fault> {
        let start = self.current.next_multiple_of(unit);
        let missing = start.saturating_add(length).saturating_sub(self.end);
        let start = if missing == 0 {
            start
        } else if memory.size() == self.end {
            let Some(begin) = grow(missing, memory) else { return Ok(None) };
            let grown = missing.next_multiple_of(PAGE_BYTES);
            if begin == self.end {
                self.end += grown;
                start
            } else {
                // Elsewhere; the rest of what is needed follows it.
                self.begin_at(begin, grown);
                return self.advance(length, unit, memory);
            }
        } else {
            let Some(begin) = grow(length, memory) else { return Ok(None) };
            self.begin_at(begin, length.next_multiple_of(PAGE_BYTES));
            begin
        };
        let end = start + length;
        let dirty = start..end.min(self.highest);
        if self.current < start {
            self.free.insert(self.current..start);
        }
        self.current = end;
        self.highest = self.highest.max(end);
        clear(dirty, memory)?;
        Ok(Some(start))
    }

    /// Pages that were grown elsewhere: what is left here becomes free, and the break goes there.
    fn begin_at(&mut self, begin: u64, length: u64) {
        if self.current < self.end {
            self.free.insert(self.current..self.end);
        }
        (self.current, self.highest, self.end) = (begin, begin, begin + length);
        // The break does not move down over what the guest has in between.
        self.base = begin;
    }
}

/// Grows memory by at least so many bytes; gives where the new ones begin.
fn grow(bytes: u64, memory: &mut (impl GuestMemory + ?Sized)) -> Option<u64> {
    let pages = u32::try_from(bytes.div_ceil(PAGE_BYTES)).ok()?;
    memory.grow(pages).map(|before| u64::from(before) * PAGE_BYTES)
}

/// Leaves room for a guest that grows by itself, puts the fence behind it, and keeps an eighth of the room for the host, lest
/// the guest get all that is left. Gives where the host's memory begins.
fn put_fence(memory: &mut (impl GuestMemory + ?Sized)) -> Option<u64> {
    let mut room = GUEST_ROOM_PAGES;
    loop {
        let share = room.div_ceil(8);
        if let Some(pages) = memory.grow(room + share) {
            memory.put_fence(pages, pages + room);
            return Some(u64::from(pages + room) * PAGE_BYTES);
        }
        if room == 0 {
            return None;
        }
        room /= 2;
    }
}

fn clear(range: Range<u64>, memory: &mut (impl GuestMemory + ?Sized)) -> Result<(), Fault> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut at = range.start;
    while at < range.end {
        let step = (range.end - at).min(ZEROS.len() as u64);
        memory.write(at as u32, &ZEROS[..step as usize])?;
        at += step;
    }
    Ok(())
}
