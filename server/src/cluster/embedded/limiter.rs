//! What an instance may have: bounds of its own, and what the budget of its user has left.

use super::EmbeddedConfig;
use super::engine::{MAX_TABLES, MAX_WASM_STACK_BYTES};
use crate::budget::{Account, Charge, Kind, OverBudget};
use wasmtime::{Error, ResourceLimiter, Result, StoreLimits, StoreLimitsBuilder};

/// What an element of a table takes up, bytes.
const ELEMENT_BYTES: u64 = 16;

/// The limiter of one run.
pub(super) struct Limiter {
    limits: StoreLimits,
    charge: Charge,
    /// What was charged last, in case it comes to nothing.
    newest: u64,
    /// The instance is being made: what it has from the start is not there, so it cannot begin.
    pub(super) is_beginning: bool,
}

impl Limiter {
    /// With the stack that the function may use.
    pub(super) fn new(config: &EmbeddedConfig, account: &Account) -> Result<Self, OverBudget> {
        let limits = StoreLimitsBuilder::new()
            .memory_size(config.max_memory)
            .table_elements(config.max_table_elements)
            .instances(1)
            .memories(1)
            .tables(MAX_TABLES as usize)
            .build();
        let charge = account.charge(Kind::Instance, MAX_WASM_STACK_BYTES)?;
        Ok(Self { limits, charge, newest: 0, is_beginning: true })
    }

    fn charge(&mut self, bytes: u64) -> Result<bool> {
        self.newest = 0;
        match self.charge.grow(bytes) {
            Ok(()) => {
                self.newest = bytes;
                Ok(true)
            }
            Err(over) if self.is_beginning => Err(Error::new(over)),
            // As at any other bound of its memory: the function sees that it does not grow.
            Err(_) => Ok(false),
        }
    }

    fn take_back(&mut self) {
        let bytes = std::mem::take(&mut self.newest);
        self.charge.shrink(bytes);
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        let may = self.limits.memory_growing(current, desired, maximum)?;
        if may { self.charge(desired.saturating_sub(current) as u64) } else { Ok(false) }
    }

    fn memory_grow_failed(&mut self, error: Error) -> Result<()> {
        self.take_back();
        self.limits.memory_grow_failed(error)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        let may = self.limits.table_growing(current, desired, maximum)?;
        let elements = desired.saturating_sub(current) as u64;
        if may { self.charge(elements.saturating_mul(ELEMENT_BYTES)) } else { Ok(false) }
    }

    fn table_grow_failed(&mut self, error: Error) -> Result<()> {
        self.take_back();
        self.limits.table_grow_failed(error)
    }

    fn instances(&self) -> usize {
        self.limits.instances()
    }

    fn tables(&self) -> usize {
        self.limits.tables()
    }

    fn memories(&self) -> usize {
        self.limits.memories()
    }
}
