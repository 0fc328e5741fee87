//! Which WebAssembly proposals a module uses: exactly, by taking them away one at a time.
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
    Feature { name: "gc", flags: WasmFeatures::GC, known: Known::Never },
    Feature { name: "function-references", flags: WasmFeatures::FUNCTION_REFERENCES, known: Known::Newer },
    Feature { name: "exception-handling", flags: WasmFeatures::EXCEPTIONS, known: Known::Newer },
    Feature { name: "memory64", flags: WasmFeatures::MEMORY64, known: Known::Never },
    Feature { name: "multi-memory", flags: WasmFeatures::MULTI_MEMORY, known: Known::Never },
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

/// What we accept in a function: every finished proposal for core modules, but garbage collection, of which walrus reads
/// only parts.
pub(crate) fn accepted() -> WasmFeatures {
    finished() - WasmFeatures::GC
}

/// Every finished proposal for core modules.
pub(crate) fn finished() -> WasmFeatures {
    WasmFeatures::default() - WasmFeatures::COMPONENT_MODEL
}

/// The proposals a valid module uses: a smallest set with which it validates.
pub fn used(wasm: &[u8]) -> Vec<Feature> {
    let mut enabled = accepted();
    let mut used = Vec::new();
    for feature in FEATURES {
        let without = enabled - feature.flags;
        if validates(wasm, without) {
            enabled = without;
        } else {
            used.push(*feature);
        }
    }
    used.reverse();
    used
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
        who: if newer { "Asyncify" } else { "Binaryen 116, which is built in," },
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
