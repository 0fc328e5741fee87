//! Disk usage of each user's functions, values and lists, updated in the transactions that change it; shared files have
//! no user and are counted together.
//!
//! A row counts with its bytes, its name and [`ROW_BYTES`]. Blocks of zeros are not stored and do not count, nor do the
//! journal and its idempotency records, which have limits of their own.

use super::{Checked, FILES, FUNCTIONS, lists, values};
use crate::budget::Disk;
use crate::store::StoreError;
use redb::{ReadableTable, TableDefinition, TableHandle, WriteTransaction};
use std::collections::BTreeMap;

pub(super) const DISK: TableDefinition<'_, &str, u64> = TableDefinition::new("disk");

/// The owner of shared files; not a valid user name.
pub(super) const ANYBODY: &str = "";

/// Approximate size of a row besides its name and its bytes.
pub(super) const ROW_BYTES: u64 = 128;

/// Size of a row with this name besides its bytes.
pub(super) fn row(name: &str) -> u64 {
    ROW_BYTES + name.len() as u64
}

/// Checks whether a user may store this many more bytes. Changes nothing.
pub(super) fn check(
    transaction: &WriteTransaction,
    disk: &Disk,
    user: &str,
    more: impl FnOnce(u64) -> Result<u64, redb::Error>,
) -> Checked<()> {
    let used = transaction.open_table(DISK)?.get(user)?.map_or(0, |used| used.value());
    Ok(disk.check(used, more(disk.most().saturating_sub(used))?).map_err(StoreError::from))
}

/// Adds and subtracts bytes.
pub(super) fn count(
    transaction: &WriteTransaction,
    user: &str,
    came: u64,
    went: u64,
) -> Result<(), redb::Error> {
    if came == went {
        return Ok(());
    }
    let mut table = transaction.open_table(DISK)?;
    let used = table.get(user)?.map_or(0, |used| used.value());
    match used.saturating_add(came).saturating_sub(went) {
        0 => drop(table.remove(user)?),
        used => drop(table.insert(user, used)?),
    }
    Ok(())
}

/// Creates the table. If it did not exist, as in a database of an earlier version, computes all counts once.
pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    let is_there = transaction.list_tables()?.any(|table| table.name() == DISK.name());
    let mut table = transaction.open_table(DISK)?;
    if is_there {
        return Ok(());
    }
    for (user, bytes) in counted(transaction)? {
        table.insert(user.as_str(), bytes)?;
    }
    Ok(())
}

/// The bytes of each user.
pub(super) fn counted(
    transaction: &WriteTransaction,
) -> Result<BTreeMap<String, u64>, redb::Error> {
    let mut users = BTreeMap::<String, u64>::new();
    let mut add = |user: &str, bytes: u64| *users.entry(user.to_owned()).or_default() += bytes;
    for entry in transaction.open_table(FUNCTIONS)?.iter()? {
        let (name, function) = entry?;
        let (user, function) = (name.value().0, (name.value().1, function.value().1));
        add(user, row(function.0) + function.1.len() as u64);
    }
    for entry in transaction.open_table(FILES)?.iter()? {
        let (path, file) = entry?;
        add(ANYBODY, row(path.value()) + file.value().len() as u64);
    }
    values::counted(transaction, &mut add)?;
    lists::counted(transaction, &mut add)?;
    Ok(users)
}
