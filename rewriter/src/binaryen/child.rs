//! The child's side: runs Binaryen in a process that it may terminate.
//!
//! Binaryen exits the process on what it calls a fatal error, so it never runs in ours: [`crate::instrument()`] starts
//! our own binary with the hidden subcommand `__binaryen`, which uses this module. A child performs one of two
//! [`Job`]s, because Asyncify's output is examined before it is optimised, with the built-in Binaryen or a `wasm-opt`
//! of the caller's choice. The job is passed as JSON.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Command;
#[cfg(feature = "binaryen")]
use wasm_opt::{Feature, OptimizationError, OptimizationOptions, Pass};

/// What Binaryen does to a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Job {
    /// Instruments functions, and leaves the others as they are.
    Asyncify {
        /// The only import that suspends, as `module.name`.
        suspending: String,
        /// File with the names of the functions to instrument, separated by commas. Without it, every function that
        /// makes indirect calls or reaches the import.
        only: Option<PathBuf>,
        /// Functions that are not instrumented trap when they observe a suspension.
        asserts: bool,
    },
    /// `-O2`.
    Optimize,
}

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    pub job: Job,
    pub input: PathBuf,
    pub output: PathBuf,
    /// Proposals that the module may use, by their names in [`crate::module::features`].
    pub features: Vec<String>,
}

/// Names of Asyncify's options.
const IMPORTS: &str = "asyncify-imports";
const ONLY: &str = "asyncify-onlylist";
const ASSERTS: &str = "asyncify-asserts";

impl Run {
    /// Runs the built-in Binaryen. Function names are kept.
    ///
    /// # Errors
    /// What Binaryen reports in an orderly way; what it does not ends the process, with a message on standard error.
    #[cfg(feature = "binaryen")]
    pub fn here(&self) -> Result<(), OptimizationError> {
        // The level also determines how well Asyncify packs the locals that it saves.
        let mut options = OptimizationOptions::new_opt_level_2();
        options.mvp_features_only().debug_info(true).validate(true);
        for feature in self.features.iter().filter_map(|name| feature(name)) {
            options.enable_feature(feature);
        }
        if let Job::Asyncify { .. } = self.job {
            // The crate would put the default passes before Asyncify.
            options.add_default_passes(false).add_pass(Pass::Asyncify);
            for (name, value) in self.job.arguments() {
                options.set_pass_arg(name, &value);
            }
        }
        options.run(&self.input, &self.output)
    }

    /// The command line of the same run with another `wasm-opt`.
    pub fn by(&self, wasm_opt: &Path) -> Command {
        let mut command = Command::new(wasm_opt);
        command
            .arg(&self.input)
            .arg("-o")
            .arg(&self.output)
            .args(["--debuginfo", "--mvp-features"]);
        command.args(self.features.iter().map(|name| format!("--enable-{name}")));
        match &self.job {
            Job::Optimize => command.arg("-O2"),
            Job::Asyncify { .. } => {
                command.args(["--optimize-level=2", "--shrink-level=0", "--asyncify"]);
                let arguments = self.job.arguments().into_iter();
                command.args(arguments.map(|(name, value)| format!("--pass-arg={name}@{value}")))
            }
        };
        command
    }
}

impl Job {
    fn arguments(&self) -> Vec<(&'static str, String)> {
        let Job::Asyncify { suspending, only, asserts } = self else { return Vec::new() };
        let mut arguments = vec![(IMPORTS, suspending.clone())];
        arguments.extend(only.iter().map(|file| (ONLY, format!("@{}", file.display()))));
        arguments.extend(asserts.then(|| (ASSERTS, String::new())));
        arguments
    }
}

/// A proposal by name, if the Binaryen that is linked in knows it.
#[cfg(feature = "binaryen")]
fn feature(name: &str) -> Option<Feature> {
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
        "tail-call" => Feature::TailCall,
        _ => return None,
    })
}
