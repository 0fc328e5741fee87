//! Finds the bytes written through a mapping, by comparison with its earlier bytes.

use std::ops::Range;

/// Most ranges; beyond that, everything from the last range on is one range, unchanged bytes included.
const MAX_RANGES: usize = 16 * 1024;

/// Size of the blocks that are compared as a whole first.
const BLOCK_BYTES: usize = 256;

/// Copies to `target` the bytes in which `now` differs from `before`; returns their ranges.
pub(super) fn copy_changed(target: &mut [u8], now: &[u8], before: &[u8]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    // Comparing whole blocks is much faster, and most blocks are equal.
    let blocks = now.chunks(BLOCK_BYTES).zip(before.chunks(BLOCK_BYTES)).enumerate();
    for (block, (now, before)) in blocks.filter(|(_, (now, before))| now != before) {
        let bytes = now.iter().zip(before).enumerate();
        for (within, (now, _)) in bytes.filter(|(_, (now, before))| now != before) {
            let at = block * BLOCK_BYTES + within;
            target[at] = *now;
            let is_full = ranges.len() == MAX_RANGES;
            match ranges.last_mut() {
                Some(last) if last.end == at || is_full => last.end = at + 1,
                _ => ranges.push(at..at + 1),
            }
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_copied() {
        let mut target = *b"uvwxyz";
        assert_eq!(copy_changed(&mut target, b"abcdef", b"aXYdeZ"), vec![1..3, 5..6]);
        assert_eq!(&target, b"ubcxyf");
        assert!(copy_changed(&mut [], b"", b"").is_empty());
        let mut now = vec![1; 3 * BLOCK_BYTES + 5];
        let before = now.clone();
        let last = now.len() - 1;
        for at in [BLOCK_BYTES - 1, BLOCK_BYTES, last] {
            now[at] = 2;
        }
        let mut target = before.clone();
        let changed = copy_changed(&mut target, &now, &before);
        assert_eq!(changed, vec![BLOCK_BYTES - 1..BLOCK_BYTES + 1, last..last + 1]);
        assert_eq!(target, now);
    }

    #[test]
    fn beyond_the_range_limit_unchanged_bytes_keep_their_value() {
        let size = 4 * MAX_RANGES;
        let now: Vec<u8> = (0..size).map(|at| (at % 2) as u8).collect();
        let mut target = vec![7; size];
        let ranges = copy_changed(&mut target, &now, &vec![0; size]);
        assert_eq!(ranges.len(), MAX_RANGES);
        assert_eq!(ranges.last().map(|last| last.end), Some(size));
        assert!(target.chunks(2).all(|pair| pair == [7, 1]));
    }
}
