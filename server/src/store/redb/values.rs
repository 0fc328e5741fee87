//! State values in blocks: a write touches only the blocks concerned, and a read only those asked for.

use super::{Checked, new_number};
use crate::store::StateRead;
use faasm_bridge::state::{Chunk, LocalTier, MAX_VALUE_BYTES, StateError};
use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use std::collections::BTreeMap;
use std::ops::Range;

/// Bytes of a block. A block, its key and redb's own header share a page of 64 KiB: pages are powers of two, so a block of
/// that size would take twice as much.
pub(super) const BLOCK_BYTES: usize = 60 * 1024;

const VALUES: TableDefinition<'_, (&str, &str), (u64, u64)> = TableDefinition::new("values");
pub(super) const BLOCKS: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("blocks");

pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(VALUES)?;
    transaction.open_table(BLOCKS)?;
    Ok(())
}

/// Everything that can be wrong with a write before the value is looked at.
pub(super) fn check(key: &str, size: u64, chunks: &[Chunk]) -> Result<(), StateError> {
    if size > MAX_VALUE_BYTES {
        return Err(StateError::TooLarge { key: key.to_owned(), size });
    }
    for chunk in chunks {
        LocalTier::range(key, size, chunk.offset, chunk.bytes.len() as u64)?;
    }
    Ok(())
}

pub(super) fn read(
    transaction: &ReadTransaction,
    name: (&str, &str),
    offset: u64,
    length: Option<u64>,
) -> Result<StateRead, redb::Error> {
    let found = transaction.open_table(VALUES)?.get(name)?.map(|found| found.value());
    let Some((number, size)) = found else {
        return Ok(StateRead { size: None, chunk: Chunk { offset, bytes: Vec::new() } });
    };
    let end = length.map_or(size, |length| offset.saturating_add(length).min(size));
    let mut bytes = vec![0; end.saturating_sub(offset) as usize];
    let blocks = transaction.open_table(BLOCKS)?;
    for (position, within) in blocks_of(offset, bytes.len()) {
        if let Some(block) = blocks.get((number, position))? {
            let start = u64::from(position) * BLOCK_BYTES as u64 + within.start as u64 - offset;
            let target = &mut bytes[start as usize..][..within.len()];
            target.copy_from_slice(&block.value()[within]);
        }
    }
    Ok(StateRead { size: Some(size), chunk: Chunk { offset, bytes } })
}

/// Writes chunks that were checked.
pub(super) fn write(
    transaction: &WriteTransaction,
    name: (&str, &str),
    size: u64,
    chunks: &[Chunk],
) -> Checked<()> {
    let mut values = transaction.open_table(VALUES)?;
    let found = values.get(name)?.map(|found| found.value());
    let number = match found {
        Some((number, have)) if have == size => number,
        Some((_, have)) => {
            let key = name.1.to_owned();
            return Ok(Err(StateError::SizeMismatch { key, have, asked: size }.into()));
        }
        None => {
            let number = new_number(transaction)?;
            values.insert(name, (number, size))?;
            number
        }
    };
    // Many small chunks may lie in one block: each block is written once.
    let mut changes: BTreeMap<u32, Vec<(usize, &[u8])>> = BTreeMap::new();
    for chunk in chunks {
        let mut rest = chunk.bytes.as_slice();
        for (position, within) in blocks_of(chunk.offset, rest.len()) {
            let (now, later) = rest.split_at(within.len());
            changes.entry(position).or_default().push((within.start, now));
            rest = later;
        }
    }
    let mut blocks = transaction.open_table(BLOCKS)?;
    for (position, changes) in changes {
        let start = u64::from(position) * BLOCK_BYTES as u64;
        let length = (size - start).min(BLOCK_BYTES as u64) as usize;
        let key = (number, position);
        let found = blocks.get(key)?.map(|found| found.value().to_vec());
        let mut block = found.unwrap_or_else(|| vec![0; length]);
        for (start, bytes) in changes {
            block[start..start + bytes.len()].copy_from_slice(bytes);
        }
        if block.iter().all(|byte| *byte == 0) {
            blocks.remove(key)?;
        } else {
            blocks.insert(key, block.as_slice())?;
        }
    }
    Ok(Ok(()))
}

/// The blocks that `length` bytes from `offset` touch, and which of their bytes.
fn blocks_of(offset: u64, length: usize) -> impl Iterator<Item = (u32, Range<usize>)> {
    const BLOCK: u64 = BLOCK_BYTES as u64;
    let end = offset + length as u64;
    let touched = if length == 0 { 0..0 } else { offset / BLOCK..end.div_ceil(BLOCK) };
    touched.map(move |position| {
        let start = position * BLOCK;
        let within = offset.max(start) - start..end.min(start + BLOCK) - start;
        // Values are bounded by `MAX_VALUE_BYTES`, so positions are small.
        (position as u32, within.start as usize..within.end as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_fall_into_blocks() {
        let of = |offset, length| blocks_of(offset, length).collect::<Vec<_>>();
        let block = BLOCK_BYTES as u64;
        assert_eq!(of(5, 0), []);
        assert_eq!(of(0, BLOCK_BYTES), [(0, 0..BLOCK_BYTES)]);
        assert_eq!(of(block - 1, 2), [(0, BLOCK_BYTES - 1..BLOCK_BYTES), (1, 0..1)]);
        assert_eq!(of(3 * block + 7, 1), [(3, 7..8)]);
        assert_eq!(of(block, 2 * BLOCK_BYTES + 1).len(), 3);
    }
}
