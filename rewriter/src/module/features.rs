//! Determines exactly which WebAssembly proposals a module uses, by disabling them.
//!
//! These are enabled in Binaryen, and no others. With all of them it emits encodings that engines reject; with too few
//! its behaviour is undefined. The `target_features` section is no evidence: linkers merge it, and tools omit it.

#[cfg(feature = "cli")]
use crate::Error;
use wasmparser::{Validator, WasmFeatures};

/// A WebAssembly proposal a module can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// The name in `target_features` and on the command line of `wasm-opt`.
    pub name: &'static str,
    flags: WasmFeatures,
    known: Known,
}

/// Which Binaryen supports a proposal in its standardised form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// The built-in one, 116.
    Linked,
    /// A newer one.
    Newer,
    /// None that we can use: the analysis or the host interface would not hold.
    Never,
}

/// Later proposals come first: they build on earlier ones, which can be disabled only after them.
#[rustfmt::skip]
const FEATURES: &[Feature] = &[
    Feature { name: "function-references", flags: WasmFeatures::FUNCTION_REFERENCES, known: Known::Newer },
    Feature { name: "exception-handling", flags: WasmFeatures::EXCEPTIONS, known: Known::Newer },
    Feature { name: "threads", flags: WasmFeatures::THREADS, known: Known::Never },
    Feature { name: "tail-call", flags: WasmFeatures::TAIL_CALL, known: Known::Linked },
    Feature { name: "extended-const", flags: WasmFeatures::EXTENDED_CONST, known: Known::Linked },
    Feature { name: "relaxed-simd", flags: WasmFeatures::RELAXED_SIMD, known: Known::Linked },
    Feature { name: "simd", flags: WasmFeatures::SIMD, known: Known::Linked },
    Feature { name: "reference-types", flags: WasmFeatures::REFERENCE_TYPES, known: Known::Linked },
    Feature { name: "bulk-memory", flags: WasmFeatures::BULK_MEMORY, known: Known::Linked },
    Feature { name: "multivalue", flags: WasmFeatures::MULTI_VALUE, known: Known::Linked },
    Feature { name: "sign-ext", flags: WasmFeatures::SIGN_EXTENSION, known: Known::Linked },
    Feature { name: "nontrapping-float-to-int", flags: WasmFeatures::SATURATING_FLOAT_TO_INT, known: Known::Linked },
    Feature { name: "mutable-globals", flags: WasmFeatures::MUTABLE_GLOBAL, known: Known::Linked },
];

/// A proposal that a function may not use, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) name: &'static str,
    flags: WasmFeatures,
    /// What does not support it.
    pub(crate) who: &'static str,
    pub(crate) advice: &'static str,
}

const CLUSTER: &str = "the cluster";
const WITHOUT: &str = "build the function without it";
const UNFINISHED: &str = "build the function without it: the proposal is not finished, and engines do not enable it by default";

/// What is rejected, and for which place, before anything runs. Proposals that build on others come first.
#[rustfmt::skip]
const REFUSED: &[Refused] = &[
    Refused {
        name: "garbage collection",
        flags: WasmFeatures::GC,
        who: "the host interface",
        advice: "build the function for linear memory, as C, C++ and Rust do",
    },
    Refused { name: "64-bit addresses", flags: WasmFeatures::MEMORY64, who: CLUSTER, advice: "build the function for wasm32" },
    Refused { name: "several memories", flags: WasmFeatures::MULTI_MEMORY, who: "the host interface", advice: WITHOUT },
    Refused { name: "compact imports", flags: WasmFeatures::COMPACT_IMPORTS, who: CLUSTER, advice: UNFINISHED },
    Refused { name: "stack switching", flags: WasmFeatures::STACK_SWITCHING, who: CLUSTER, advice: UNFINISHED },
    Refused { name: "wide arithmetic", flags: WasmFeatures::WIDE_ARITHMETIC, who: CLUSTER, advice: UNFINISHED },
    Refused { name: "custom page sizes", flags: WasmFeatures::CUSTOM_PAGE_SIZES, who: CLUSTER, advice: UNFINISHED },
    Refused { name: "custom descriptors", flags: WasmFeatures::CUSTOM_DESCRIPTORS, who: CLUSTER, advice: UNFINISHED },
    Refused { name: "memory control", flags: WasmFeatures::MEMORY_CONTROL, who: CLUSTER, advice: UNFINISHED },
    Refused { name: "shared-everything threads", flags: WasmFeatures::SHARED_EVERYTHING_THREADS, who: CLUSTER, advice: UNFINISHED },
];

/// Proposals accepted in a function: those that browsers and the cluster enable by default, and that walrus reads.
pub(crate) fn accepted() -> WasmFeatures {
    REFUSED.iter().fold(WasmFeatures::default(), |accepted, refused| accepted - refused.flags)
        - WasmFeatures::COMPONENT_MODEL
        - WasmFeatures::LEGACY_EXCEPTIONS
}

/// Whether a module would be accepted if its exceptions were not in the draft's encoding.
pub(crate) fn has_draft_exceptions(wasm: &[u8]) -> bool {
    let accepted = accepted();
    validates(wasm, accepted | WasmFeatures::LEGACY_EXCEPTIONS) && !validates(wasm, accepted)
}

/// The rejected proposal with which a module is valid, if there is one.
pub(crate) fn refused(wasm: &[u8]) -> Option<Refused> {
    // Exceptions of the draft are not rejected, because they are translated.
    let accepted = accepted() | WasmFeatures::LEGACY_EXCEPTIONS;
    let mut enabled = REFUSED.iter().fold(accepted, |all, refused| all | refused.flags);
    if !validates(wasm, enabled) {
        return None;
    }
    let mut used = None;
    for refused in REFUSED {
        let without = enabled - refused.flags;
        if validates(wasm, without) {
            enabled = without;
        } else {
            used = used.or(Some(*refused));
        }
    }
    used
}

/// The proposals that a valid module uses: a minimal set with which it validates.
pub fn used(wasm: &[u8]) -> Vec<Feature> {
    let mut used = Vec::new();
    disable_unused(wasm, FEATURES, accepted(), &mut used);
    used.reverse();
    used
}

/// Disables those of some proposals that the module does not use, all at once or else each half by itself, and returns
/// those still enabled. What validates with fewer proposals validates with more, so the result is that of disabling
/// them one at a time.
fn disable_unused(
    wasm: &[u8],
    features: &[Feature],
    enabled: WasmFeatures,
    used: &mut Vec<Feature>,
) -> WasmFeatures {
    let without = features.iter().fold(enabled, |enabled, feature| enabled - feature.flags);
    if validates(wasm, without) {
        return without;
    }
    match features {
        [] => enabled,
        [one] => {
            used.push(*one);
            enabled
        }
        several => {
            let (first, second) = several.split_at(several.len() / 2);
            let enabled = disable_unused(wasm, first, enabled, used);
            disable_unused(wasm, second, enabled, used)
        }
    }
}

/// Whether the module validates with only these proposals.
pub(crate) fn suffice(wasm: &[u8], features: &[Feature]) -> bool {
    let flags = features.iter().fold(WasmFeatures::MVP, |flags, feature| flags | feature.flags);
    validates(wasm, flags)
}

/// Rejects what Binaryen cannot read, before it runs: the built-in one, or a `newer` one.
#[cfg(feature = "cli")]
pub(crate) fn instrumentable(features: &[Feature], newer: bool) -> Result<(), Error> {
    let is_known = |feature: &&Feature| match feature.known {
        Known::Linked => true,
        Known::Newer => newer,
        Known::Never => false,
    };
    let unknown = features.iter().find(|feature| !is_known(feature));
    let Some(unknown) = unknown else { return Ok(()) };
    Err(Error::Feature {
        feature: unknown.name,
        who: if newer { "Asyncify" } else { "the built-in Binaryen 116" },
        advice: match unknown.known {
            Known::Newer => {
                "build the function without it, or give a newer Binaryen with `--wasm-opt`"
            }
            _ => "build the function without it",
        },
    })
}

fn validates(wasm: &[u8], features: WasmFeatures) -> bool {
    Validator::new_with_features(features).validate_all(wasm).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(wat: &str) -> Vec<&'static str> {
        let wasm = wat::parse_str(wat).unwrap();
        let used = used(&wasm);
        assert!(suffice(&wasm, &used));
        used.iter().map(|feature| feature.name).collect()
    }

    #[test]
    fn the_first_version_needs_nothing() {
        assert_eq!(names("(module (func (param f64) (result i32) i32.const 1))"), [""; 0]);
    }

    #[test]
    fn a_rejected_proposal_is_named() {
        let name = |wat: &str| refused(&wat::parse_str(wat).unwrap()).map(|refused| refused.name);
        assert_eq!(name("(module (func))"), None);
        assert_eq!(name("(module (func (result i32)))"), None);
        assert_eq!(name("(module (table i64 1 funcref))"), Some("64-bit addresses"));
        assert_eq!(name("(module (memory 1) (memory 1))"), Some("several memories"));
        assert_eq!(
            name(
                "(module (func (param i64) (result i64 i64) (i64.add128 (local.get 0) (local.get 0) (local.get 0) (local.get 0))))"
            ),
            Some("wide arithmetic")
        );
        assert_eq!(name("(module (type (struct)))"), Some("garbage collection"));
        let with_exceptions = "(module (memory 1) (memory 1) (tag $t) (func try catch $t end))";
        assert_eq!(name(with_exceptions), Some("several memories"));
    }

    #[test]
    fn proposals_are_found_whether_they_are_neighbours_or_not() {
        let all = "(module
            (type $f (func (param (ref null func)) (result i32 i64)))
            (global (export \"g\") (mut i32) (i32.add (i32.const 1) (i32.const 2)))
            (memory 1) (tag $t)
            (func $f return_call $f)
            (func (throw $t))
            (func (param v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 0))))
            (func (param f32) (drop (i32.trunc_sat_f32_s (local.get 0))))
            (func (param (ref $f)))
            (func (param i32) (drop (i32.extend8_s (local.get 0))))
            (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0))))";
        let expected: Vec<&str> = FEATURES.iter().map(|feature| feature.name).rev().collect();
        let without_threads = expected.iter().copied().filter(|name| *name != "threads");
        assert_eq!(names(all), without_threads.collect::<Vec<_>>());
        let far_apart = "(module (memory 1) (func $f (export \"f\") return_call $f)
            (global (export \"g\") (mut i32) (i32.const 0)))";
        assert_eq!(names(far_apart), ["mutable-globals", "tail-call"]);
    }

    #[test]
    fn each_is_found_by_its_use() {
        assert_eq!(
            names(
                "(module (memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0))))"
            ),
            ["bulk-memory"]
        );
        assert_eq!(
            names("(module (func (param i32) (result i32) (i32.extend8_s (local.get 0))))"),
            ["sign-ext"]
        );
        assert_eq!(
            names("(module (global (export \"g\") (mut i32) (i32.const 0)))"),
            ["mutable-globals"]
        );
        assert_eq!(
            names("(module (func (result i32 i32) i32.const 1 i32.const 2))"),
            ["multivalue"]
        );
        assert_eq!(names("(module (func $f return_call $f))"), ["tail-call"]);
        assert_eq!(names("(module (global v128 (v128.const i64x2 0 0)))"), ["simd"]);
    }
}
