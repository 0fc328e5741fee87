//! Memory that is kept for somebody.

use super::{Account, Kind, OverBudget};
use faasm_bridge::state::Meter;

/// Bytes that are kept for somebody; given back when this is dropped.
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

    /// How many there are.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whose they are.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// So many more.
    ///
    /// # Errors
    /// When there are not as many: then it is what it was.
    pub fn grow(&mut self, bytes: u64) -> Result<(), OverBudget> {
        if bytes > 0 {
            self.account.take(self.kind, bytes)?;
            self.bytes += bytes;
        }
        Ok(())
    }

    /// So many more, for what is there already.
    pub fn grown(&mut self, bytes: u64) {
        self.account.force(self.kind, bytes);
        self.bytes += bytes;
    }

    /// So many less.
    pub fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.account.give_back(self.kind, bytes);
        self.bytes -= bytes;
    }

    /// As many as this.
    ///
    /// # Errors
    /// When there are not as many: then it is what it was.
    pub fn set(&mut self, bytes: u64) -> Result<(), OverBudget> {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.grow(more),
            None => {
                self.shrink(self.bytes - bytes);
                Ok(())
            }
        }
    }

    /// As many as this, which are there already.
    pub fn set_anyway(&mut self, bytes: u64) {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.grown(more),
            None => self.shrink(self.bytes - bytes),
        }
    }

    /// As many bytes of another account, and these are given back.
    ///
    /// # Errors
    /// When that one does not have as many.
    pub fn to(self, account: &Account) -> Result<Self, OverBudget> {
        let mut charge = account.nothing(self.kind);
        charge.grow(self.bytes)?;
        Ok(charge)
    }

    /// These bytes and those of another charge of the same account, as one.
    pub fn absorb(&mut self, other: Self) {
        let other = if other.kind == self.kind { other } else { other.moved(self.kind) };
        self.bytes += other.forget();
    }

    /// Its bytes, which somebody else gives back.
    fn forget(mut self) -> u64 {
        std::mem::take(&mut self.bytes)
    }

    /// The same bytes for something else.
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

/// Of a local tier.
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
