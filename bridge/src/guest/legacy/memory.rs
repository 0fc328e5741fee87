//! Memory that the older toolchain's C library asks its kernel for: the break, and mappings.
//!
//! Both come from the end of linear memory. The break starts there at the first call and can go on as long as nobody
//! else has grown memory; musl's allocator then goes over to mappings. What is unmapped is kept for later mappings,
//! since linear memory does not shrink.

use crate::guest::errno::{Errno, Stop};
use crate::guest::{Args, Context, Fault, Guest, GuestMemoryExt};
use rangemap::RangeSet;

/// Unit of mappings, bytes.
const PAGE_BYTES: u64 = 4096;

/// Unit in which linear memory grows, bytes.
const GROWTH_BYTES: u64 = 64 << 10;

const PROT_WRITE: u32 = 2;
const MAP_SHARED: u32 = 1;
const MAP_FIXED: u32 = 0x10;
const MAP_ANONYMOUS: u32 = 0x20;

/// What a run took from the end of its memory.
#[derive(Clone, Debug, Default)]
pub(in crate::guest) struct Areas {
    heap: Option<Heap>,
    /// All that was ever mapped.
    mapped: RangeSet<u64>,
    /// The part of it that is free again.
    free: RangeSet<u64>,
}

#[derive(Clone, Debug)]
struct Heap {
    start: u64,
    current: u64,
    /// How far the break has been; what lies below may be dirty.
    highest: u64,
    /// End of the memory taken for it.
    end: u64,
}

impl Areas {
    /// `brk(address)`: the break after the call, which is the old one where there is no room.
    pub(super) fn set_break(&mut self, address: u64, cx: &mut Context<'_>) -> Result<u64, Fault> {
        let size = cx.host.size();
        let heap =
            self.heap.get_or_insert(Heap { start: size, current: size, highest: size, end: size });
        if address < heap.start {
            return Ok(heap.current);
        }
        if address > heap.end {
            let pages = (address - heap.end).div_ceil(GROWTH_BYTES) as u32;
            if size != heap.end || cx.host.grow(pages).is_none() {
                return Ok(heap.current);
            }
            heap.end += u64::from(pages) * GROWTH_BYTES;
        }
        let dirty = heap.current..address.min(heap.highest);
        heap.current = address;
        heap.highest = heap.highest.max(address);
        clear(dirty, cx)?;
        Ok(address)
    }

    /// Zeroed memory of its own for a mapping.
    fn map(&mut self, length: u64, cx: &mut Context<'_>) -> Result<u64, Stop> {
        let length = length.next_multiple_of(PAGE_BYTES);
        if let Some(fit) = self.free.iter().find(|free| free.end - free.start >= length) {
            let found = fit.start..fit.start + length;
            self.free.remove(found.clone());
            clear(found.clone(), cx)?;
            return Ok(found.start);
        }
        let pages = length.div_ceil(GROWTH_BYTES) as u32;
        let before = cx.host.grow(pages).ok_or(Errno::NoMemory)?;
        let start = u64::from(before) * GROWTH_BYTES;
        let end = start + u64::from(pages) * GROWTH_BYTES;
        self.mapped.insert(start..end);
        if start + length < end {
            self.free.insert(start + length..end);
        }
        Ok(start)
    }

    /// Gives back what lies in a range; what was never mapped is left alone.
    fn unmap(&mut self, start: u64, length: u64) {
        let range = start..start + length.next_multiple_of(PAGE_BYTES);
        let given: Vec<_> = self.mapped.overlapping(range.clone()).cloned().collect();
        for area in given {
            self.free.insert(area.start.max(range.start)..area.end.min(range.end));
        }
    }
}

fn clear(range: std::ops::Range<u64>, cx: &mut Context<'_>) -> Result<(), Fault> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut at = range.start;
    while at < range.end {
        let step = (range.end - at).min(ZEROS.len() as u64);
        cx.host.write(at as u32, &ZEROS[..step as usize])?;
        at += step;
    }
    Ok(())
}

impl Guest {
    /// `mmap2(address, length, protection, flags, fd, page)`
    ///
    /// Every mapping is private: it gets the bytes of the file as they are now.
    pub(super) fn mmap2(&mut self, args: &Args, cx: &mut Context<'_>) -> Result<i32, Stop> {
        let (length, protection, flags) = (args.u32(2), args.u32(3), args.u32(4));
        if length == 0 || flags & MAP_FIXED != 0 {
            return Err(Errno::Invalid.into());
        }
        let file = flags & MAP_ANONYMOUS == 0;
        if file && flags & MAP_SHARED != 0 && protection & PROT_WRITE != 0 {
            return Err(Errno::NotSupported.into());
        }
        let offset = u64::from(args.u32(6)) * PAGE_BYTES;
        let bytes = if file { self.files.bytes(args.u32(5), offset)? } else { &[] };
        let start = self.areas.map(length.into(), cx)?;
        cx.host.write(start as u32, &bytes[..bytes.len().min(length as usize)])?;
        Ok(start as u32 as i32)
    }

    /// `munmap(address, length)`
    pub(super) fn munmap(&mut self, args: &Args) -> Result<i32, Stop> {
        let (start, length) = (u64::from(args.u32(1)), u64::from(args.u32(2)));
        if start % PAGE_BYTES != 0 || length == 0 {
            return Err(Errno::Invalid.into());
        }
        self.areas.unmap(start, length);
        Ok(0)
    }
}
