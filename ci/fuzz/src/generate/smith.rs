//! The configuration of `wasm-smith`.

use crate::random::Rng;
use arbitrary::Unstructured;
use wasm_smith::{Config, MemoryOffsetChoices, Module};

/// The ingredients of a module.
#[derive(Clone, Debug)]
pub struct Profile {
    pub simd: bool,
    pub bulk: bool,
    pub multi_value: bool,
    pub references: bool,
    /// Code that writes to the table.
    pub moves: bool,
    /// Constructs that Binaryen 116 cannot read: blocks with parameters, bulk operations on tables.
    pub unreadable: bool,
    /// Tail calls, which the rewriter turns into plain calls if they can suspend.
    pub tail_calls: bool,
    /// `main` as the entry, as the toolchain of 2019/20 has it.
    pub legacy: bool,
    /// Statements that trap, rarely.
    pub traps: bool,
    /// About how many statements a function gets.
    pub statements: usize,
    /// Calls of functions and turns of loops in one run.
    pub budget: i32,
}

impl Profile {
    pub fn random(rng: &mut Rng) -> Self {
        Self {
            simd: rng.chance(35),
            bulk: rng.chance(60),
            multi_value: rng.chance(75),
            references: rng.chance(3),
            moves: rng.chance(15),
            unreadable: rng.chance(2),
            tail_calls: rng.chance(15),
            legacy: rng.chance(10),
            traps: rng.chance(15),
            statements: 1 + rng.below(4),
            budget: 30 + rng.below(300) as i32,
        }
    }
}

/// A module without imports, with one memory. It does not trap by itself.
pub(super) fn module(profile: &Profile, rng: &mut Rng) -> Option<Vec<u8>> {
    let unreadable = profile.unreadable;
    let config = Config {
        allow_floats: rng.chance(70),
        bulk_memory_enabled: profile.bulk,
        canonicalize_nans: true,
        disallow_traps: true,
        export_everything: rng.chance(50),
        extended_const_enabled: rng.chance(30),
        max_data_segments: 3,
        max_element_segments: if unreadable { 3 } else { 0 },
        max_elements: 8,
        max_exports: 6,
        max_funcs: 1 + rng.below(6),
        max_globals: 6,
        max_imports: 0,
        max_instructions: 10 + rng.below(120),
        max_memories: 1,
        max_memory32_bytes: 8 * 65536,
        max_table_elements: 16,
        max_tables: if unreadable { 2 } else { usize::from(!profile.bulk) },
        max_types: 8,
        memory_offset_choices: MemoryOffsetChoices(95, 4, 1),
        min_funcs: 1,
        min_memories: 1,
        min_types: 1,
        // `wasm-smith` often generates blocks with parameters.
        multi_value_enabled: profile.multi_value && unreadable,
        reference_types_enabled: profile.references,
        saturating_float_to_int_enabled: rng.chance(80),
        sign_extension_ops_enabled: rng.chance(80),
        simd_enabled: profile.simd,
        tail_call_enabled: profile.tail_calls,
        ..Config { memory64_enabled: false, relaxed_simd_enabled: false, ..one_memory() }
    };
    generate(config, rng)
}

/// A module with any proposal, for tests that only look for crashes.
pub fn any_module(rng: &mut Rng) -> Option<Vec<u8>> {
    let all = Config {
        custom_descriptors_enabled: rng.chance(10),
        custom_page_sizes_enabled: rng.chance(10),
        generate_custom_sections: true,
        max_funcs: 8,
        max_instructions: 10 + rng.below(200),
        max_memories: 1 + rng.below(3),
        max_tables: 3,
        min_memories: 1,
        shared_everything_threads_enabled: rng.chance(10),
        wide_arithmetic_enabled: rng.chance(20),
        ..Config::default()
    };
    // With all proposals enabled, almost every module has something that is rejected early.
    let config = match rng.below(4) {
        0 => all,
        1 => Config { max_imports: 0, threads_enabled: false, memory64_enabled: false, ..all },
        2 => Config { max_imports: 0, max_memories: 1, ..one_memory() },
        _ => Config { max_imports: 0, gc_enabled: true, tail_call_enabled: true, ..one_memory() },
    };
    generate(config, rng)
}

/// The proposals of today's toolchains.
fn one_memory() -> Config {
    Config {
        exceptions_enabled: false,
        gc_enabled: false,
        max_memories: 1,
        max_memory32_bytes: 8 * 65536,
        memory64_enabled: false,
        min_memories: 1,
        shared_everything_threads_enabled: false,
        tail_call_enabled: false,
        threads_enabled: false,
        ..Config::default()
    }
}

fn generate(config: Config, rng: &mut Rng) -> Option<Vec<u8>> {
    let length = 200 + rng.below(4000);
    let bytes = rng.bytes(length);
    Module::new(config, &mut Unstructured::new(&bytes)).ok().map(|module| module.to_bytes())
}
