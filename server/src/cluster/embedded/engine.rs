//! The engine that runs functions: with a place ready for each instance, where the machine has the address space for that.
//!
//! A place is memory that was mapped before: an instance begins by mapping its data over it, which copies on write, and ends
//! by giving back the pages it changed. Without places each call maps and unmaps gigabytes of address space.

use super::EmbeddedConfig;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result};

/// Stack of a function; one that needs more ends as `stack-exhausted`. About what browsers give. It holds return addresses
/// and what does not fit into registers: C and C++ keep arrays and whatever has an address in linear memory.
pub(super) const MAX_WASM_STACK_BYTES: usize = 1024 * 1024;

/// Stack of the fiber a function runs on: its own, and as much again for the host calls made at its end, so that these
/// can never overflow it.
const FIBER_STACK_BYTES: usize = 2 * MAX_WASM_STACK_BYTES;

/// Most tables a function may have.
pub(super) const MAX_TABLES: u32 = 8;

/// Of a place, as much stays with it when an instance ends: clearing it costs less than giving it back. It stays for good, with
/// every place that was ever used, so all of them together keep no more than [`KEPT_BYTES`].
const KEPT_MEMORY_BYTES: usize = 128 * 1024;
const KEPT_STACK_BYTES: usize = 32 * 1024;
const KEPT_TABLE_BYTES: usize = 16 * 1024;
const KEPT_BYTES: usize = 40 * 1024 * 1024;

const PAGE_BYTES: usize = 4096;

/// Fibers for each instance: its own, and one for calls of its `malloc` during a host call.
const STACKS: u32 = 2;

/// Memories for each instance: its own, and one for exceptions that it throws and holds on to.
const MEMORIES: u32 = 2;

/// Makes the engine.
///
/// # Errors
/// When this machine cannot run WebAssembly.
pub(super) fn engine(config: &EmbeddedConfig) -> Result<Engine> {
    let mut with_places = settings();
    with_places.allocation_strategy(InstanceAllocationStrategy::Pooling(places(config)));
    Engine::new(&with_places).or_else(|error| {
        tracing::warn!(
            error = format!("{error:#}"),
            "no places for {} instances of {} bytes: calls are slower; ask for fewer or smaller ones",
            config.max_instances,
            config.max_memory
        );
        Engine::new(&settings())
    })
}

/// An engine that only compiles: what it makes runs in the other.
///
/// # Errors
/// When this machine cannot run WebAssembly.
pub(super) fn compiling() -> Result<Engine> {
    Engine::new(&settings())
}

/// What browsers have by default, and `faasm_asyncify::input` takes: exceptions, references, tail calls, SIMD, atomic
/// instructions. The rest is refused there, by name.
fn settings() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(MAX_WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        // Or else a place keeps as much of its stack as any function has used of it.
        .async_stack_zeroing(true)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_gc(false);
    config
}

fn places(config: &EmbeddedConfig) -> PoolingAllocationConfig {
    let instances = u32::try_from(config.max_instances).unwrap_or(u32::MAX);
    let each = KEPT_BYTES / config.max_instances.max(1);
    // In pages.
    let part = |parts: usize, most: usize| (each / 5 * parts / PAGE_BYTES * PAGE_BYTES).min(most);
    let mut places = PoolingAllocationConfig::new();
    places
        .total_core_instances(instances)
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
    places
}
