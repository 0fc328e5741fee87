//! Charges: reserved bytes of an account.

use super::{Account, Kind, OverBudget};
use faasm_bridge::state::Meter;

/// Bytes charged to an account, released on drop.
#[derive(Debug)]
pub struct Charge {
    account: Account,
    kind: Kind,
    bytes: u64,
}

impl Charge {
    pub(super) fn nothing(account: Account, kind: Kind) -> Self {
        Self { account, kind, bytes: 0 }
    }

    /// The charged bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The charged account.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Increases the charge.
    ///
    /// # Errors
    /// The budget is exhausted; the charge is unchanged.
    pub fn grow(&mut self, bytes: u64) -> Result<(), OverBudget> {
        if bytes > 0 {
            self.account.take(self.kind, bytes)?;
            self.bytes += bytes;
        }
        Ok(())
    }

    /// Increases the charge for memory that is already allocated; this may exceed the budget.
    pub fn grown(&mut self, bytes: u64) {
        self.account.force(self.kind, bytes);
        self.bytes += bytes;
    }

    /// Decreases the charge.
    pub fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.account.give_back(self.kind, bytes);
        self.bytes -= bytes;
    }

    /// Sets the charge.
    ///
    /// # Errors
    /// The budget is exhausted; the charge is unchanged.
    pub fn set(&mut self, bytes: u64) -> Result<(), OverBudget> {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.grow(more),
            None => {
                self.shrink(self.bytes - bytes);
                Ok(())
            }
        }
    }

    /// Sets the charge for memory that is already allocated; this may exceed the budget.
    pub fn set_anyway(&mut self, bytes: u64) {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.grown(more),
            None => self.shrink(self.bytes - bytes),
        }
    }

    /// Moves the charge to another account.
    ///
    /// # Errors
    /// The other account's budget is exhausted.
    pub fn to(self, account: &Account) -> Result<Self, OverBudget> {
        let mut charge = account.nothing(self.kind);
        charge.grow(self.bytes)?;
        Ok(charge)
    }

    /// Merges another charge of the same account into this one.
    pub fn absorb(&mut self, other: Self) {
        let other = if other.kind == self.kind { other } else { other.moved(self.kind) };
        self.bytes += other.forget();
    }

    /// Forgets the charge without releasing it, and returns its bytes; the caller releases them.
    fn forget(mut self) -> u64 {
        std::mem::take(&mut self.bytes)
    }

    /// Changes the kind of the charge.
    #[must_use]
    pub fn moved(mut self, kind: Kind) -> Self {
        let bytes = std::mem::take(&mut self.bytes);
        let mut moved = Self { account: self.account.clone(), kind, bytes: 0 };
        self.account.give_back(self.kind, bytes);
        moved.grown(bytes);
        moved
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.give_back(self.kind, self.bytes);
    }
}

/// The meter of a local tier.
impl Meter for Charge {
    fn has(&self, bytes: u64) -> bool {
        self.account.has(bytes)
    }

    fn grow(&mut self, bytes: u64) -> Result<(), String> {
        Charge::grow(self, bytes).map_err(|over| over.to_string())
    }

    fn grown(&mut self, bytes: u64) {
        Charge::grown(self, bytes);
    }

    fn shrink(&mut self, bytes: u64) {
        Charge::shrink(self, bytes);
    }
}
