//! Appended lists: an element is one row, and never touched again until the list is cleared.

use super::{Checked, new_number};
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
    let (number, count, bytes) = match found {
        Some(found) => found,
        None => (new_number(transaction)?, 0, 0),
    };
    let (elements, bytes) = (count + 1, bytes + length);
    if elements > MAX_LIST_ELEMENTS || bytes > MAX_LIST_BYTES {
        return Ok(Err(StoreError::ListFull { key: key.to_owned(), elements, bytes }));
    }
    lists.insert(name, (number, elements, bytes))?;
    transaction.open_table(ELEMENTS)?.insert((number, count), element)?;
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

pub(super) fn clear(transaction: &WriteTransaction, name: (&str, &str)) -> Checked<()> {
    let removed = transaction.open_table(LISTS)?.remove(name)?.map(|found| found.value());
    if let Some((number, count, _)) = removed {
        let mut elements = transaction.open_table(ELEMENTS)?;
        elements.retain_in((number, 0)..(number, count), |_, _| false)?;
    }
    Ok(Ok(()))
}
