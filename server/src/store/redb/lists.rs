//! Appended lists: an element is one row, which is never changed until the list is cleared.

use super::{Checked, disk, new_number};
use crate::budget::Disk;
use crate::store::{MAX_ELEMENT_BYTES, MAX_LIST_BYTES, MAX_LIST_ELEMENTS, StoreError};
use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};

const LISTS: TableDefinition<'_, (&str, &str), (u64, u32, u64)> = TableDefinition::new("lists");
pub(super) const ELEMENTS: TableDefinition<'_, (u64, u32), &[u8]> =
    TableDefinition::new("elements");

pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(LISTS)?;
    transaction.open_table(ELEMENTS)?;
    Ok(())
}

pub(super) fn append(
    transaction: &WriteTransaction,
    name: (&str, &str),
    element: &[u8],
    bound: &Disk,
) -> Checked<()> {
    let (key, length) = (name.1, element.len() as u64);
    if length > MAX_ELEMENT_BYTES {
        return Ok(Err(StoreError::ElementTooLong {
            key: key.to_owned(),
            bytes: length,
            most: MAX_ELEMENT_BYTES,
        }));
    }
    let mut lists = transaction.open_table(LISTS)?;
    let found = lists.get(name)?.map(|found| found.value());
    let (_, count, bytes) = found.unwrap_or_default();
    let (elements, bytes) = (count + 1, bytes + length);
    if elements > MAX_LIST_ELEMENTS || bytes > MAX_LIST_BYTES {
        return Ok(Err(StoreError::ListFull { key: key.to_owned(), elements, bytes }));
    }
    let more = length + disk::ROW_BYTES + if found.is_none() { disk::row(key) } else { 0 };
    if let Err(over) = disk::check(transaction, bound, name.0, |_| Ok(more))? {
        return Ok(Err(over));
    }
    let number = match found {
        Some((number, ..)) => number,
        None => new_number(transaction)?,
    };
    lists.insert(name, (number, elements, bytes))?;
    transaction.open_table(ELEMENTS)?.insert((number, count), element)?;
    disk::count(transaction, name.0, more, 0)?;
    Ok(Ok(()))
}

pub(super) fn read(
    transaction: &ReadTransaction,
    name: (&str, &str),
    count: u32,
) -> Result<Vec<u8>, redb::Error> {
    let found = transaction.open_table(LISTS)?.get(name)?.map(|found| found.value());
    let Some((number, ..)) = found else { return Ok(Vec::new()) };
    let mut bytes = Vec::new();
    for row in transaction.open_table(ELEMENTS)?.range((number, 0)..(number, count))? {
        bytes.extend_from_slice(row?.1.value());
    }
    Ok(bytes)
}

/// Upper bound of the bytes that [`read`] returns.
pub(super) fn bytes(
    transaction: &ReadTransaction,
    name: (&str, &str),
    count: u32,
) -> Result<u64, redb::Error> {
    let found = transaction.open_table(LISTS)?.get(name)?.map(|found| found.value());
    let longest = u64::from(count).saturating_mul(MAX_ELEMENT_BYTES);
    Ok(found.map_or(0, |(_, _, bytes)| bytes.min(longest)))
}

pub(super) fn clear(transaction: &WriteTransaction, name: (&str, &str)) -> Checked<()> {
    let removed = transaction.open_table(LISTS)?.remove(name)?.map(|found| found.value());
    if let Some((number, count, bytes)) = removed {
        disk::count(transaction, name.0, 0, taken(name.1, count, bytes))?;
        let mut elements = transaction.open_table(ELEMENTS)?;
        elements.retain_in((number, 0)..(number, count), |_, _| false)?;
    }
    Ok(Ok(()))
}

/// Disk usage of a list.
fn taken(key: &str, count: u32, bytes: u64) -> u64 {
    disk::row(key) + bytes + u64::from(count) * disk::ROW_BYTES
}

/// Adds up the disk usage of users' lists.
pub(super) fn counted(
    transaction: &WriteTransaction,
    add: &mut impl FnMut(&str, u64),
) -> Result<(), redb::Error> {
    for entry in transaction.open_table(LISTS)?.iter()? {
        let (name, list) = entry?;
        let ((user, key), (_, count, bytes)) = (name.value(), list.value());
        add(user, taken(key, count, bytes));
    }
    Ok(())
}
