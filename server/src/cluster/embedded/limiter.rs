//! Limits an instance's memory by its own bounds and by its user's remaining budget.

use super::EmbeddedConfig;
use super::engine::{MAX_TABLES, MAX_WASM_STACK_BYTES};
use crate::budget::{Account, Charge, Kind, OverBudget};
use wasmtime::{Error, ResourceLimiter, Result, StoreLimits, StoreLimitsBuilder};

/// Bytes per table element.
const ELEMENT_BYTES: u64 = 16;

/// The limiter of one run.
pub(super) struct Limiter {
    limits: StoreLimits,
    charge: Charge,
    /// The last charge, to be reverted if the growth fails.
    newest: u64,
    /// The instance is being created: if its initial memory is denied, instantiation fails.
    pub(super) is_beginning: bool,
}

impl Limiter {
    /// Includes a charge for the function's stack.
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
            // As with any other memory limit, the function sees that `memory.grow` fails.
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
