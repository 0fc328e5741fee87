//! wasmtime as in the embedded cluster, with limits for fuzzing.

use anyhow::{Context as _, Result};
use std::num::NonZeroUsize;
use std::time::Duration;
use wasmtime::{Config, Engine, OptLevel, StoreLimits, StoreLimitsBuilder};

/// Stack of a running guest. Budgets bound recursion, so that no run comes near it.
const STACK_BYTES: usize = 8 << 20;
/// Stack size of a thread that runs guests.
pub const THREAD_STACK_BYTES: usize = STACK_BYTES + (8 << 20);
/// Maximum number of pages of a guest's memory, without the hidden part.
const MOST_PAGES: usize = 32;
const MOST_ELEMENTS: usize = 10_000;
/// Maximum number of captured stack frames.
const MOST_FRAMES: usize = 400;
const TICK: Duration = Duration::from_millis(100);
/// Ticks after which a run counts as endless: budgets allow a fraction of a second.
pub(super) const MOST_TICKS: u64 = 300;

/// An engine whose epoch advances for as long as it lives.
///
/// # Errors
/// This machine cannot run WebAssembly, or start a thread.
pub fn engine() -> Result<Engine> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        .async_stack_size(2 * STACK_BYTES)
        .wasm_backtrace_max_frames(NonZeroUsize::new(MOST_FRAMES))
        .cranelift_opt_level(OptLevel::None)
        .parallel_compilation(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false);
    let engine = Engine::new(&config).map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let weak = engine.weak();
    let tick = move || {
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    };
    std::thread::Builder::new().name("epoch".into()).spawn(tick).context("the epoch's thread")?;
    Ok(engine)
}

/// The same limits for every form of a function; the hidden part is added.
pub(super) fn limits(hidden: usize) -> StoreLimits {
    StoreLimitsBuilder::new()
        .memory_size(MOST_PAGES * 65536 + hidden)
        .table_elements(MOST_ELEMENTS)
        .build()
}
