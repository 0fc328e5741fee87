//! The child's side: Asyncify, in the process that may die of it.
//!
//! Binaryen ends the process on what it calls a fatal error, so it never runs in ours: [`crate::instrument()`] starts
//! our own binary with the hidden subcommand `__binaryen`, which comes here.
//!
//! Two runs, for the crate puts default passes *before* the ones asked for: Asyncify first, on the code as it is, and
//! optimisation second, on the instrumented code, where most of its cost can be won back.

use std::path::Path;
use wasm_opt::{Feature, OptimizationError, OptimizationOptions, Pass};

/// A proposal by the name [`crate::features`] has for it, if Binaryen knows it.
pub fn feature(name: &str) -> Option<Feature> {
    Some(match name {
        "mutable-globals" => Feature::MutableGlobals,
        "nontrapping-float-to-int" => Feature::TruncSat,
        "sign-ext" => Feature::SignExt,
        "multivalue" => Feature::Multivalue,
        "bulk-memory" => Feature::BulkMemory,
        "reference-types" => Feature::ReferenceTypes,
        "simd" => Feature::Simd,
        "relaxed-simd" => Feature::RelaxedSimd,
        "extended-const" => Feature::ExtendedConst,
        _ => return None,
    })
}

/// Instruments the file `input` for suspension in `suspending`, an import as `module.name`.
///
/// Of the functions only those named in the file `only` are instrumented, separated by commas. `scratch` holds the module
/// between the runs and afterwards. Function names are kept.
///
/// # Errors
/// What Binaryen reports in an orderly way; what it does not ends the process, with a message on standard error.
pub fn run(
    input: &Path,
    scratch: &Path,
    output: &Path,
    features: &[Feature],
    suspending: &str,
    only: &Path,
) -> Result<(), OptimizationError> {
    options(features)
        .add_default_passes(false)
        .add_pass(Pass::Asyncify)
        .set_pass_arg("asyncify-imports", suspending)
        .set_pass_arg("asyncify-onlylist", &format!("@{}", only.display()))
        .run(input, scratch)?;
    options(features).run(scratch, output)
}

/// `-O2` with exactly these features: the level also decides how well Asyncify packs the locals that it saves.
fn options(features: &[Feature]) -> OptimizationOptions {
    let mut options = OptimizationOptions::new_opt_level_2();
    options.mvp_features_only().debug_info(true).validate(true);
    for feature in features {
        options.enable_feature(*feature);
    }
    options
}
