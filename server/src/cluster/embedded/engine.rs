//! The wasmtime engine. It preallocates a pool slot for each instance if the address space suffices.
//!
//! A pool slot is memory that is already mapped: an instance starts by mapping its data copy-on-write and ends by
//! discarding the pages it changed. Without the pool each call maps and unmaps gigabytes of address space.

use super::EmbeddedConfig;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result};

/// Stack of a function; a function that needs more fails with `stack-exhausted`. Browsers have about the same limit.
/// The stack holds return addresses and register spills: C and C++ keep arrays and all addressable variables in linear
/// memory.
pub(super) const MAX_WASM_STACK_BYTES: usize = 1024 * 1024;

/// Stack of the fiber that a function runs on: the function's stack plus the same amount for host calls, so that a host
/// call made near the end of the stack cannot overflow it.
const FIBER_STACK_BYTES: usize = 2 * MAX_WASM_STACK_BYTES;

/// Most tables a function may have.
pub(super) const MAX_TABLES: u32 = 8;

/// Memory that a pool slot keeps resident when its instance ends: clearing it is cheaper than returning it to the
/// system. Every used slot keeps it permanently, so the total is limited by [`KEPT_BYTES`].
const KEPT_MEMORY_BYTES: usize = 128 * 1024;
const KEPT_STACK_BYTES: usize = 32 * 1024;
const KEPT_TABLE_BYTES: usize = 16 * 1024;
const KEPT_BYTES: usize = 40 * 1024 * 1024;

const PAGE_BYTES: usize = 4096;

/// Fibers per instance: its own, and one for calls of its `malloc` during a host call.
const STACKS: u32 = 2;

/// Memories per instance: its own, and one for exception objects.
const MEMORIES: u32 = 2;

/// Creates the engine.
///
/// # Errors
/// This machine cannot run WebAssembly.
pub(super) fn engine(config: &EmbeddedConfig) -> Result<Engine> {
    let mut with_pool = settings();
    with_pool.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(config)));
    Engine::new(&with_pool).or_else(|error| {
        tracing::warn!(
            error = format!("{error:#}"),
            "cannot preallocate {} instances of {} bytes, so calls are slower; lower guests.instances or \
             guests.memory_bytes",
            config.max_instances,
            config.max_memory
        );
        Engine::new(&settings())
    })
}

/// An engine for compilation only; its code runs in the engine of [`engine`].
///
/// # Errors
/// This machine cannot run WebAssembly.
pub(super) fn compiling() -> Result<Engine> {
    Engine::new(&settings())
}

/// Enables the proposals that browsers enable by default and `faasm_asyncify::input` accepts: exceptions, references,
/// tail calls, SIMD, atomic instructions. `input` rejects all others by name.
fn settings() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(MAX_WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        // Otherwise a pool slot keeps the deepest stack that any function has used resident.
        .async_stack_zeroing(true)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_gc(false);
    config
}

fn pool(config: &EmbeddedConfig) -> PoolingAllocationConfig {
    let instances = u32::try_from(config.max_instances).unwrap_or(u32::MAX);
    let each = KEPT_BYTES / config.max_instances.max(1);
    // In pages.
    let part = |parts: usize, most: usize| (each / 5 * parts / PAGE_BYTES * PAGE_BYTES).min(most);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(instances)
        .total_memories(instances.saturating_mul(MEMORIES))
        .total_gc_heaps(instances)
        .total_tables(instances.saturating_mul(MAX_TABLES))
        .total_stacks(instances.saturating_mul(STACKS))
        .max_tables_per_module(MAX_TABLES)
        .max_memories_per_module(1)
        .max_memory_size(config.max_memory)
        .table_elements(config.max_table_elements)
        .linear_memory_keep_resident(part(3, KEPT_MEMORY_BYTES))
        .async_stack_keep_resident(part(1, KEPT_STACK_BYTES))
        .table_keep_resident(part(1, KEPT_TABLE_BYTES));
    pool
}
