//! The break: the only place from which a run takes memory beyond its module's initial memory.
//!
//! `__sbrk` of Faasm's C library, system call 223 or `brk` of the older toolchain, `mmap`, mapped state values, outputs
//! of awaited calls, and C++ exceptions all allocate from it. It is a bump pointer over the pages that the host adds to
//! linear memory:
//!
//! ```text
//! 0              base                    break          end = size of memory
//! ├── the module ──┼── sbrk │ mapped │ sbrk ┼── clean or released ─────┤
//!                            └ free ranges below the break are reused by later mappings
//! ```
//!
//! `base` is the end of memory at the first use. An allocation moves the break up; linear memory grows with it by whole
//! pages. Releasing memory at the top moves it down; memory released elsewhere is reused by later mappings.
//!
//! # Why no byte is allocated twice
//!
//! Every byte between `base` and `end` comes from a growth that this object requested, is in exactly one of three
//! states (below the break and allocated; below the break and in `free`; above the break), and changes its state only
//! here. A restored snapshot brings back the heap of another moment; from then on all existing memory counts as
//! allocated (`give_up`).
//!
//! * `sbrk` and mappings allocate from above the break; mappings also from `free`.
//! * The break moves down only over bytes that belong to no mapping and no allocation of the host (`floor`). So an
//!   allocator that shrinks its heap cannot release memory above it. The guest cannot unmap an allocation of the host.
//! * `brk` takes an address instead of an amount, so its caller believes that it owns everything from its last break up
//!   to that address. It succeeds only as long as nothing else has moved the break since (`program`).
//!
//! A guest that grows memory by itself adds pages of its own at the end. This is visible as a size other than `end`, or
//! as a growth that begins elsewhere. Then the next allocation begins at the new end, the rest above the old break
//! becomes `free`, and neither side has a byte of the other: each growth, whether by guest or host, adds pages that did
//! not exist before.
//!
//! One kind of guest is not covered by that: a guest that takes *everything below `memory.size`* for its own, as
//! Emscripten's `sbrk` and old allocators do at their first use. So a module whose code reads the size or grows memory
//! gets a fence (`rewriter/src/stages/fence.rs`): before its first allocation this object reserves space for the guest
//! to grow, and then allocates behind it, where the guest can never see it. A module that needs a fence and has none
//! gets no memory at all: [`ModuleFacts::is_break_safe`](super::ModuleFacts).

mod calls;
#[cfg(test)]
mod tests;

use super::{Fault, GuestMemory, GuestMemoryExt};
use rangemap::RangeSet;
use std::ops::Range;

/// Unit in which linear memory grows, bytes.
const PAGE_BYTES: u64 = 64 << 10;

/// How far a guest that grows memory by itself can grow once the host has allocated some, pages: 64 MiB.
const GUEST_RESERVE_PAGES: u32 = 1024;

/// Alignment of the host's allocations, as of any `malloc`.
const ALIGNMENT: u64 = 16;

/// The memory allocated at the end of a run's memory; addresses are byte offsets.
#[derive(Clone, Debug, Default)]
pub(super) struct Heap(Option<Area>);

#[derive(Clone, Debug)]
struct Area {
    /// Memory below this is not managed here.
    base: u64,
    /// The break.
    current: u64,
    /// Highest break so far; memory above it is still zero.
    highest: u64,
    /// End of the memory that was grown from here.
    end: u64,
    /// The guest's mappings, which it may unmap.
    mapped: RangeSet<u64>,
    /// The host's allocations, which are never released.
    host_owned: RangeSet<u64>,
    /// Free ranges below the break.
    free: RangeSet<u64>,
    /// The break as `brk` last returned it, if it was called.
    program: Option<u64>,
}

impl Heap {
    /// `sbrk`: moves the break by `increment` bytes; returns the previous break, or the address of the new bytes.
    ///
    /// Returns `None` if memory cannot grow, or memory above the new break is in use.
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

    /// `brk`: returns the break after the call, which is unchanged if it cannot be `address`.
    pub(super) fn set_break(
        &mut self,
        address: u64,
        memory: &mut (impl GuestMemory + ?Sized),
    ) -> Result<u64, Fault> {
        let area = self.area(memory);
        let current = *area.program.get_or_insert(area.current);
        // Another caller has moved the break, or the guest has grown memory: the bytes in between are not this
        // caller's.
        let is_last = current == area.current && memory.size() == area.end;
        if !is_last || address < area.floor() {
            return Ok(current);
        }
        if address <= area.current {
            area.current = address;
        } else {
            match area.advance(address - area.current, 1, memory)? {
                Some(begin) if begin == current => {}
                // The new pages do not adjoin the old break, which `brk` cannot report.
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

    /// A mapping: `length` bytes of zeroed memory from an address that is a multiple of `unit`, a power of two.
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

    /// Allocates memory for the host: an output, a mapped value, an exception. It is never released.
    pub(super) fn take(
        &mut self,
        length: u64,
        memory: &mut (impl GuestMemory + ?Sized),
    ) -> Result<Option<u64>, Fault> {
        let area = self.area(memory);
        let Some(range) = area.place(length, ALIGNMENT, memory)? else { return Ok(None) };
        area.host_owned.insert(range.clone());
        Ok(Some(range.start))
    }

    /// Whether memory was allocated from it, or its size was determined.
    pub(super) fn is_used(&self) -> bool {
        self.0.is_some()
    }

    /// Leaves all memory up to its end to the guest from now on, as after restoring a snapshot: the guest's allocator
    /// has the memory of the snapshot again.
    pub(super) fn give_up(&mut self, memory: &(impl GuestMemory + ?Sized)) {
        let Some(area) = &mut self.0 else { return };
        let end = memory.size();
        (area.base, area.current, area.highest, area.end) = (end, end, end, end);
        area.free = RangeSet::new();
        area.program = None;
    }

    /// Releases the mapped parts of a range. At the top they go back to the break.
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
                host_owned: RangeSet::new(),
                free: RangeSet::new(),
                program: None,
            }
        })
    }
}

impl Area {
    /// Allocates zeroed memory below or above the break; see [`Heap::map`].
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
                // Whole pages, so that the break stays where a C library expects it; the rest of the last page becomes
                // free.
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

    /// The lowest address to which the break may move.
    fn floor(&self) -> u64 {
        let end = |ranges: &RangeSet<u64>| ranges.iter().next_back().map_or(0, |last| last.end);
        self.base.max(end(&self.mapped)).max(end(&self.host_owned)).max(end(&self.free))
    }

    /// Allocates zeroed bytes above the break, from a multiple of `unit`; returns their address.
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
                // The new pages are elsewhere; allocate again behind them.
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

    /// Moves the break to pages that were grown elsewhere; the rest of the old ones becomes free.
    fn begin_at(&mut self, begin: u64, length: u64) {
        if self.current < self.end {
            self.free.insert(self.current..self.end);
        }
        (self.current, self.highest, self.end) = (begin, begin, begin + length);
        // The break must not move down over the guest's pages in between.
        self.base = begin;
    }
}

/// Grows memory by at least so many bytes; returns the address of the new ones.
fn grow(bytes: u64, memory: &mut (impl GuestMemory + ?Sized)) -> Option<u64> {
    let pages = u32::try_from(bytes.div_ceil(PAGE_BYTES)).ok()?;
    memory.grow(pages).map(|before| u64::from(before) * PAGE_BYTES)
}

/// Reserves space for a guest that grows by itself, puts the fence behind it, and reserves an eighth as much for the
/// host, so that the guest does not get everything. Returns the address of the host's memory.
fn put_fence(memory: &mut (impl GuestMemory + ?Sized)) -> Option<u64> {
    let mut room = GUEST_RESERVE_PAGES;
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
