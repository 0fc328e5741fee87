//! The break against a model that marks every byte with its owner.

use super::*;

/// Linear memory of a few pages; one growth may begin elsewhere.
struct Memory {
    bytes: Vec<u8>,
    most: usize,
    /// Pages that the first growth skips.
    gap: u32,
    wants_fence: bool,
    fence: Option<(u32, u32)>,
}

impl Memory {
    fn new(pages: usize) -> Self {
        let most = 64 * PAGE_BYTES as usize;
        Self {
            bytes: vec![0; pages * PAGE_BYTES as usize],
            most,
            gap: 0,
            wants_fence: false,
            fence: None,
        }
    }
}

impl GuestMemory for Memory {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }
    fn read_into(&self, pointer: u32, target: &mut [u8]) {
        let at = pointer as usize;
        target.copy_from_slice(&self.bytes[at..at + target.len()]);
    }
    fn write_from(&mut self, pointer: u32, source: &[u8]) {
        let at = pointer as usize;
        self.bytes[at..at + source.len()].copy_from_slice(source);
    }
    fn grow(&mut self, pages: u32) -> Option<u32> {
        let gap = std::mem::take(&mut self.gap);
        let before = self.bytes.len() / PAGE_BYTES as usize + gap as usize;
        let after = (before + pages as usize) * PAGE_BYTES as usize;
        if after > self.most {
            return None;
        }
        self.bytes.resize(after, 0);
        Some(before as u32)
    }
    fn wants_fence(&self) -> bool {
        self.wants_fence
    }
    fn put_fence(&mut self, pages: u32, limit: u32) {
        assert!(self.fence.is_none(), "it is set once");
        self.fence = Some((pages, limit));
    }
}

const PAGE: i64 = PAGE_BYTES as i64;

fn moved(heap: &mut Heap, memory: &mut Memory, by: i64) -> Option<u64> {
    heap.move_break(by, memory).unwrap()
}

#[test]
fn the_break_begins_where_memory_ends() {
    let (mut heap, mut memory) = (Heap::default(), Memory::new(2));
    assert_eq!(moved(&mut heap, &mut memory, 0), Some(2 * PAGE_BYTES));
    assert_eq!(moved(&mut heap, &mut memory, 3 * PAGE), Some(2 * PAGE_BYTES));
    assert_eq!(moved(&mut heap, &mut memory, 0), Some(5 * PAGE_BYTES));
    assert_eq!(memory.size(), 5 * PAGE_BYTES);
    // After moving down, the memory stays, and is zeroed when it is allocated again.
    memory.bytes[4 * PAGE_BYTES as usize] = 7;
    assert_eq!(moved(&mut heap, &mut memory, -2 * PAGE), Some(5 * PAGE_BYTES));
    assert_eq!(moved(&mut heap, &mut memory, PAGE), Some(3 * PAGE_BYTES));
    assert_eq!(moved(&mut heap, &mut memory, PAGE), Some(4 * PAGE_BYTES));
    assert_eq!((memory.size(), memory.bytes[4 * PAGE_BYTES as usize]), (5 * PAGE_BYTES, 0));
    // Neither below its start nor beyond the limit of memory.
    assert_eq!(moved(&mut heap, &mut memory, -4 * PAGE), None);
    assert_eq!(moved(&mut heap, &mut memory, 60 * PAGE), None);
    assert_eq!(moved(&mut heap, &mut memory, 0), Some(5 * PAGE_BYTES));
}

#[test]
fn a_mapping_is_safe_from_an_allocator_that_shrinks() {
    let (mut heap, mut memory) = (Heap::default(), Memory::new(1));
    assert_eq!(moved(&mut heap, &mut memory, PAGE), Some(PAGE_BYTES));
    assert_eq!(heap.take(100, &mut memory).unwrap(), Some(2 * PAGE_BYTES));
    assert_eq!(moved(&mut heap, &mut memory, -PAGE), None);
    // The rest of its page is used for the next allocation.
    assert_eq!(heap.take(100, &mut memory).unwrap(), Some(2 * PAGE_BYTES + 112));
    assert_eq!(moved(&mut heap, &mut memory, 0), Some(3 * PAGE_BYTES));
}

#[test]
fn the_last_mapping_goes_back_to_the_break() {
    let (mut heap, mut memory) = (Heap::default(), Memory::new(1));
    let first = heap.map(PAGE_BYTES, PAGE_BYTES, &mut memory).unwrap().unwrap();
    let last = heap.map(2 * PAGE_BYTES, PAGE_BYTES, &mut memory).unwrap().unwrap();
    assert_eq!((first, last), (PAGE_BYTES, 2 * PAGE_BYTES));
    heap.unmap(first..first + PAGE_BYTES);
    assert_eq!(moved(&mut heap, &mut memory, 0), Some(4 * PAGE_BYTES), "it is not the last");
    heap.unmap(last..last + 2 * PAGE_BYTES);
    assert_eq!(moved(&mut heap, &mut memory, 0), Some(PAGE_BYTES), "all is free");
}

#[test]
fn the_guest_cannot_unmap_allocations_of_the_host() {
    let (mut heap, mut memory) = (Heap::default(), Memory::new(1));
    let handed = heap.take(100, &mut memory).unwrap().unwrap();
    heap.unmap(handed..handed + PAGE_BYTES);
    assert_eq!(moved(&mut heap, &mut memory, 0), Some(2 * PAGE_BYTES));
    let mapped = heap.map(16, 16, &mut memory).unwrap().unwrap();
    assert!(mapped >= handed + 112, "{mapped}");
}

#[test]
fn restored_memory_belongs_to_the_guest() {
    let (mut heap, mut memory) = (Heap::default(), Memory::new(1));
    assert_eq!(moved(&mut heap, &mut memory, 2 * PAGE), Some(PAGE_BYTES));
    assert_eq!(moved(&mut heap, &mut memory, -2 * PAGE), Some(3 * PAGE_BYTES));
    // The snapshot's heap has two pages.
    heap.give_up(&memory);
    assert_eq!(moved(&mut heap, &mut memory, PAGE), Some(3 * PAGE_BYTES));
    assert_eq!(moved(&mut heap, &mut memory, -2 * PAGE), None);
}

#[test]
fn brk_goes_on_only_where_nothing_else_has_moved_the_break() {
    let (mut heap, mut memory) = (Heap::default(), Memory::new(1));
    let start = heap.set_break(0, &mut memory).unwrap();
    assert_eq!(start, PAGE_BYTES);
    assert_eq!(heap.set_break(start + 5000, &mut memory).unwrap(), start + 5000);
    let mapped = heap.map(4096, 4096, &mut memory).unwrap().unwrap();
    assert!(mapped >= start + 5000);
    // A C library that continues from its own break would overwrite the mapping.
    assert_eq!(heap.set_break(start + 200_000, &mut memory).unwrap(), start + 5000);
}

#[test]
fn a_guest_that_grows_by_itself_keeps_its_pages() {
    let (mut heap, mut memory) = (Heap::default(), Memory::new(1));
    assert_eq!(moved(&mut heap, &mut memory, 100), Some(PAGE_BYTES));
    assert_eq!(memory.grow(1), Some(2));
    // Beyond the guest's page; the rest of the old page is for mappings.
    assert_eq!(moved(&mut heap, &mut memory, PAGE), Some(3 * PAGE_BYTES));
    assert_eq!(heap.take(16, &mut memory).unwrap(), Some(PAGE_BYTES + 112));
    assert_eq!(moved(&mut heap, &mut memory, -PAGE - 1), None);
}

#[test]
fn a_growth_may_begin_beyond_the_old_end() {
    let (mut heap, mut memory) = (Heap::default(), Memory::new(1));
    assert_eq!(moved(&mut heap, &mut memory, 0), Some(PAGE_BYTES));
    memory.gap = 4;
    assert_eq!(moved(&mut heap, &mut memory, 2 * PAGE), Some(5 * PAGE_BYTES));
    assert_eq!(memory.size(), 7 * PAGE_BYTES);
    assert_eq!(heap.take(1, &mut memory).unwrap(), Some(7 * PAGE_BYTES));
}

#[test]
fn the_host_takes_what_is_behind_the_fence() {
    let (mut heap, mut memory) = (Heap::default(), Memory::new(2));
    memory.wants_fence = true;
    // Of the 64 pages, 32 can be reserved for the guest.
    assert_eq!(heap.take(1, &mut memory).unwrap(), Some(34 * PAGE_BYTES));
    assert_eq!(memory.fence, Some((2, 34)));
    assert_eq!(moved(&mut heap, &mut memory, PAGE), Some(35 * PAGE_BYTES));
    assert_eq!(memory.fence, Some((2, 34)));
}

#[test]
fn a_fence_never_leaves_the_host_without_memory() {
    for growable in 2..=62 {
        let (mut heap, mut memory) = (Heap::default(), Memory::new(1));
        memory.most = (1 + growable) * PAGE_BYTES as usize;
        memory.wants_fence = true;
        assert!(heap.take(1, &mut memory).unwrap().is_some(), "{growable} pages");
    }
}

/// Random calls, with every allocated byte marked: no byte is allocated twice, and all are zero at first.
#[test]
fn no_byte_has_two_owners() {
    for seed in 1..=300_u64 {
        let mut state = seed;
        let mut random = move |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let (mut heap, mut memory) = (Heap::default(), Memory::new(1 + random(3) as usize));
        if random(3) == 0 {
            memory.gap = random(5) as u32;
        }
        // Allocated ranges, with the byte that fills them.
        let mut owned: Vec<(Range<u64>, u8)> = vec![(0..memory.size(), 1)];
        memory.bytes.fill(1);
        let mut broken: Vec<Range<u64>> = Vec::new();
        let mut program = None;
        for step in 0..120_u32 {
            let paint = (step % 250) as u8 + 2;
            let given = match random(7) {
                0 => {
                    let length = random(3 * PAGE_BYTES);
                    let start = moved(&mut heap, &mut memory, length as i64);
                    start.filter(|_| length > 0).map(|start| (start..start + length, true))
                }
                1 => match broken.pop() {
                    // Releases the last piece, as an allocator does with memory at the top.
                    Some(last) if moved(&mut heap, &mut memory, 0) == Some(last.end) => {
                        let length = last.end - last.start;
                        if moved(&mut heap, &mut memory, -(length as i64)).is_some() {
                            owned.retain(|(range, _)| *range != last);
                        }
                        None
                    }
                    _ => None,
                },
                2 | 3 => {
                    let (length, unit) =
                        (random(2 * PAGE_BYTES) + 1, [16, 4096, PAGE_BYTES][random(3) as usize]);
                    let start = heap.map(length, unit, &mut memory).unwrap();
                    start.map(|start| (start..start + length.next_multiple_of(unit), false))
                }
                4 => {
                    let mappings: Vec<_> = owned.iter().map(|(range, _)| range.clone()).collect();
                    let range = mappings[random(mappings.len() as u64) as usize].clone();
                    let is_mapping =
                        range.start > 0 && !broken.contains(&range) && program != Some(range.end);
                    let is_own = owned.iter().any(|(own, paint)| *own == range && *paint == 0);
                    if is_mapping && !is_own {
                        heap.unmap(range.clone());
                        owned.retain(|(own, _)| *own != range);
                    }
                    None
                }
                5 => {
                    let pages = random(2) as u32;
                    memory.gap = 0;
                    let before = memory.grow(pages).map(u64::from);
                    if let Some(before) = before.filter(|_| pages > 0) {
                        let range = before * PAGE_BYTES..(before + u64::from(pages)) * PAGE_BYTES;
                        // The guest's own page: never released. Marked with 0, which identifies it.
                        owned.push((range, 0));
                    }
                    None
                }
                _ => {
                    let current = heap.set_break(0, &mut memory).unwrap();
                    let wanted = current + random(PAGE_BYTES) + 1;
                    let now = heap.set_break(wanted, &mut memory).unwrap();
                    program = Some(now);
                    (now == wanted).then_some((current..wanted, false))
                }
            };
            if let Some((range, is_break)) = given {
                for (other, _) in &owned {
                    let apart = range.end <= other.start || other.end <= range.start;
                    assert!(apart, "seed {seed} step {step}: {range:?} overlaps {other:?}");
                }
                let bytes = &mut memory.bytes[range.start as usize..range.end as usize];
                assert!(
                    bytes.iter().all(|byte| *byte == 0),
                    "seed {seed} step {step}: dirty {range:?}"
                );
                bytes.fill(paint);
                if is_break {
                    broken.push(range.clone());
                }
                owned.push((range, paint));
            }
            // The marks of other ranges stay until they are checked.
            if step % 12 != 11 {
                continue;
            }
            for (range, paint) in &owned {
                let bytes = &memory.bytes[range.start as usize..range.end as usize];
                assert!(
                    bytes.iter().all(|byte| byte == paint),
                    "seed {seed} step {step}: {range:?} was changed"
                );
            }
        }
    }
}
