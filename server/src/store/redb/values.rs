//! State values in blocks: reads and writes touch only the blocks that they need.

use super::{Checked, disk, new_number};
use crate::budget::Disk;
use crate::store::StateRead;
use faasm_bridge::state::{Chunk, LocalTier, MAX_VALUE_BYTES, StateError};
use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use std::collections::BTreeMap;
use std::ops::Range;

/// Size of a block, bytes. A block, its key and redb's header share a page of 64 KiB: page sizes are powers of two, so
/// a full 64 KiB block would occupy twice as much.
pub(super) const BLOCK_BYTES: usize = 60 * 1024;

const VALUES: TableDefinition<'_, (&str, &str), (u64, u64)> = TableDefinition::new("values");
pub(super) const BLOCKS: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("blocks");

pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(VALUES)?;
    transaction.open_table(BLOCKS)?;
    Ok(())
}

/// Checks of a write that do not need the stored value.
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
        return Ok(StateRead { size: None, chunk: Chunk { offset, bytes: Vec::new().into() } });
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
    Ok(StateRead { size: Some(size), chunk: Chunk { offset, bytes: bytes.into() } })
}

/// Writes chunks that have been checked.
pub(super) fn write(
    transaction: &WriteTransaction,
    name: (&str, &str),
    size: u64,
    chunks: &[Chunk],
    bound: &Disk,
) -> Checked<()> {
    let mut values = transaction.open_table(VALUES)?;
    let found = values.get(name)?.map(|found| found.value());
    if let Some((_, have)) = found.filter(|(_, have)| *have != size) {
        let key = name.1.to_owned();
        return Ok(Err(StateError::SizeMismatch { key, have, asked: size }.into()));
    }
    // Several small chunks may lie in one block: each block is written once.
    let mut changes: BTreeMap<u32, Vec<(usize, &[u8])>> = BTreeMap::new();
    for chunk in chunks {
        let mut rest = &*chunk.bytes;
        for (position, within) in blocks_of(chunk.offset, rest.len()) {
            let (now, later) = rest.split_at(within.len());
            changes.entry(position).or_default().push((within.start, now));
            rest = later;
        }
    }
    let mut blocks = transaction.open_table(BLOCKS)?;
    let length_of = |position: u32| {
        (size - u64::from(position) * BLOCK_BYTES as u64).min(BLOCK_BYTES as u64) as usize
    };
    let row = if found.is_none() { disk::row(name.1) } else { 0 };
    let more = |room: u64| {
        let of_block = |position: &u32| length_of(*position) as u64 + disk::ROW_BYTES;
        let most = row + changes.keys().map(of_block).sum::<u64>();
        let Some((number, _)) = found.filter(|_| most > room) else { return Ok(most) };
        // Rewriting an existing block needs no more space.
        let mut more = row;
        for position in changes.keys() {
            if blocks.get((number, *position))?.is_none() {
                more += of_block(position);
            }
        }
        Ok(more)
    };
    if let Err(over) = disk::check(transaction, bound, name.0, more)? {
        return Ok(Err(over));
    }
    let number = match found {
        Some((number, _)) => number,
        None => {
            let number = new_number(transaction)?;
            values.insert(name, (number, size))?;
            number
        }
    };
    let (mut came, mut went) = (row, 0);
    for (position, changes) in changes {
        let length = length_of(position);
        let key = (number, position);
        let found = blocks.get(key)?.map(|found| found.value().to_vec());
        let mut block = found.unwrap_or_else(|| vec![0; length]);
        for (start, bytes) in changes {
            block[start..start + bytes.len()].copy_from_slice(bytes);
        }
        let taken = block.len() as u64 + disk::ROW_BYTES;
        let before = if block.iter().all(|byte| *byte == 0) {
            blocks.remove(key)?.is_some()
        } else {
            came += taken;
            blocks.insert(key, block.as_slice())?.is_some()
        };
        went += if before { taken } else { 0 };
    }
    disk::count(transaction, name.0, came, went)?;
    Ok(Ok(()))
}

/// Adds up the disk usage of users' values.
pub(super) fn counted(
    transaction: &WriteTransaction,
    add: &mut impl FnMut(&str, u64),
) -> Result<(), redb::Error> {
    let blocks = transaction.open_table(BLOCKS)?;
    for entry in transaction.open_table(VALUES)?.iter()? {
        let (name, value) = entry?;
        let ((user, key), (number, _)) = (name.value(), value.value());
        let mut bytes = disk::row(key);
        for block in blocks.range((number, 0)..=(number, u32::MAX))? {
            bytes += block?.1.value().len() as u64 + disk::ROW_BYTES;
        }
        add(user, bytes);
    }
    Ok(())
}

/// The blocks that `length` bytes from `offset` touch, and the range within each.
fn blocks_of(offset: u64, length: usize) -> impl Iterator<Item = (u32, Range<usize>)> {
    const BLOCK: u64 = BLOCK_BYTES as u64;
    let end = offset + length as u64;
    let touched = if length == 0 { 0..0 } else { offset / BLOCK..end.div_ceil(BLOCK) };
    touched.map(move |position| {
        let start = position * BLOCK;
        let within = offset.max(start) - start..end.min(start + BLOCK) - start;
        // Values are bounded by `MAX_VALUE_BYTES`, so block positions are small.
        (position as u32, within.start as usize..within.end as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_split_into_blocks() {
        let of = |offset, length| blocks_of(offset, length).collect::<Vec<_>>();
        let block = BLOCK_BYTES as u64;
        assert_eq!(of(5, 0), []);
        assert_eq!(of(0, BLOCK_BYTES), [(0, 0..BLOCK_BYTES)]);
        assert_eq!(of(block - 1, 2), [(0, BLOCK_BYTES - 1..BLOCK_BYTES), (1, 0..1)]);
        assert_eq!(of(3 * block + 7, 1), [(3, 7..8)]);
        assert_eq!(of(block, 2 * BLOCK_BYTES + 1).len(), 3);
    }
}
