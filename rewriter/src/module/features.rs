//! Which WebAssembly proposals a module uses: exactly, by taking them away.
//!
//! Binaryen is told these and no others. Told "all", it emits encodings that engines refuse; told too few, its
//! behaviour is undefined. What a `target_features` section claims is not evidence: linkers merge, tools forget.

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

/// Which Binaryen knows a proposal as it was standardised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// The one that is linked in, 116.
    Linked,
    /// A newer one.
    Newer,
    /// None that we could use: the analysis or the host interface would not hold.
    Never,
}

/// Later proposals come first: they build on earlier ones, which can only be taken away after them.
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
    /// Why not.
    pub(crate) who: &'static str,
    pub(crate) advice: &'static str,
}

const CLUSTER: &str = "the cluster";
const WITHOUT: &str = "build the function without it";
const UNFINISHED: &str = "build the function without it: the proposal is not finished, and engines do not have it without a switch";

/// What is refused in each place, before anything runs. Those that build on others come first.
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

/// What we accept in a function: what browsers and the cluster have by default, and walrus reads.
pub(crate) fn accepted() -> WasmFeatures {
    REFUSED.iter().fold(WasmFeatures::default(), |accepted, refused| accepted - refused.flags)
        - WasmFeatures::COMPONENT_MODEL
        - WasmFeatures::LEGACY_EXCEPTIONS
}

/// Whether a module would be accepted but for its exceptions, which are in the encoding of the draft.
pub(crate) fn has_draft_exceptions(wasm: &[u8]) -> bool {
    let accepted = accepted();
    validates(wasm, accepted | WasmFeatures::LEGACY_EXCEPTIONS) && !validates(wasm, accepted)
}

/// The proposal for which a module is not accepted, if it is valid with it.
pub(crate) fn refused(wasm: &[u8]) -> Option<Refused> {
    // Beside which there may be exceptions of the draft, which are translated.
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

/// The proposals a valid module uses: a smallest set with which it validates.
pub fn used(wasm: &[u8]) -> Vec<Feature> {
    let mut used = Vec::new();
    take_away(wasm, FEATURES, accepted(), &mut used);
    used.reverse();
    used
}

/// Takes away those of some proposals that the module does not use, all of them at once or else each half by itself, and
/// gives what is still enabled. What validates with fewer proposals validates with more, so the answer is the same as
/// that of taking them away one at a time.
fn take_away(
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
            let enabled = take_away(wasm, first, enabled, used);
            take_away(wasm, second, enabled, used)
        }
    }
}

/// Whether the module validates with no proposals but these.
pub(crate) fn suffice(wasm: &[u8], features: &[Feature]) -> bool {
    let flags = features.iter().fold(WasmFeatures::MVP, |flags, feature| flags | feature.flags);
    validates(wasm, flags)
}

/// Refuses what Binaryen cannot read, before it sees it: the one that is linked in, or a `newer` one.
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
    fn what_is_refused_is_named() {
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
