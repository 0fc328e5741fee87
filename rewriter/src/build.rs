//! Builds a function: runs all stages, and makes the manifest that describes the artefacts.

use crate::asyncify::analyse;
use crate::module::features;
use crate::stages::debug_info;
use crate::{
    Binaryen, Bound, DebugInfo, Error, Instrumentation, Instrumented, Made, Normalised, Reach,
    Warning, faasm, instrument, normalise, optimize, shim, verify,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use faasm_bridge::manifest::{
    Artefact, Asyncify, AsyncifyArtefact, Engines, FaasmArtefact, Manifest, Pass, SCHEMA,
};
use faasm_bridge::placement::Policy;
use faasm_bridge::residence::Rules;
use sha2::{Digest, Sha256};
use std::fmt;

/// Suffix of the file of [`Built::faasm`], after the function's name.
pub const CLUSTER_ENDING: &str = ".cluster.wasm";

/// How to build.
#[derive(Clone, Debug)]
pub struct Options {
    /// What instruments it.
    pub pass: Pass,
    /// Bytes for the unwound stack, rounded up to whole pages; see [`Instrumentation`].
    pub stack_size: Option<u32>,
    pub debug_info: DebugInfo,
    /// Optimise before all other stages, so that the artefact for JavaScript Promise Integration is optimised too.
    pub optimize: bool,
    /// Also make the artefact for a Faasm cluster, if it differs from the original; see [`faasm`].
    pub faasm: Option<ForFaasm>,
    /// Asyncify's asserts; see [`Instrumentation`].
    pub asserts: bool,
    /// Compare what the own pass makes with what came; see [`Instrumentation`].
    pub verify: bool,
    /// Where the calls that it chains run; goes to the manifest.
    pub chained: Policy,
    /// Where the function's state values live; written to the manifest.
    pub state: Rules,
    pub binaryen: Binaryen,
}

impl Options {
    /// The defaults.
    pub fn new(binaryen: Binaryen) -> Options {
        Options {
            pass: Pass::default(),
            stack_size: None,
            debug_info: DebugInfo::Keep,
            optimize: false,
            faasm: None,
            asserts: false,
            verify: false,
            chained: Policy::default(),
            state: Rules::default(),
            binaryen,
        }
    }
}

/// How to build for a Faasm cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForFaasm {
    /// Partial pushes of state become whole ones, which can overwrite concurrent pushes.
    pub allow_lost_updates: bool,
}

/// A built function, not yet written anywhere.
#[derive(Clone, Debug)]
pub struct Built {
    /// For engines with JavaScript Promise Integration.
    pub jspi: Vec<u8>,
    /// For every engine; `None` if the function uses what Asyncify does not support; the manifest says what.
    pub asyncify: Option<Vec<u8>>,
    /// Names of functions as JSON, if they go to a file beside the artefacts.
    pub names: Option<Vec<u8>>,
    /// The artefact for a Faasm cluster, if it was requested and differs from the original.
    pub faasm: Option<Vec<u8>>,
    /// Whether an artefact for a Faasm cluster was requested.
    pub for_faasm: bool,
    /// Imports that this artefact replaces, as `module.name`.
    pub wrapped: Vec<String>,
    pub manifest: Manifest,
    /// The functions that were instrumented.
    pub reach: Reach,
    /// The bound of the unwound stack; `None` if nothing suspends.
    pub bound: Option<Bound>,
    pub warnings: Vec<Warning>,
}

/// The stage that a build is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Normalise,
    Shim,
    Optimize,
    Instrument,
    Verify,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Normalise => "normalise",
            Stage::Shim => "shim",
            Stage::Optimize => "optimize",
            Stage::Instrument => "instrument",
            Stage::Verify => "verify",
        })
    }
}

/// Builds the function `name` from `original`, the contents of a file called `file`.
///
/// The same input gives the same output, byte for byte. `progress` is called at the beginning of each stage.
///
/// If Asyncify does not support the function, that is no error: there is only the artefact for JavaScript Promise
/// Integration, and a warning.
///
/// # Errors
/// Any error of a stage; nothing has been written.
pub fn build(
    name: &str,
    file: &str,
    original: &[u8],
    options: &Options,
    mut progress: impl FnMut(Stage),
) -> Result<Built, Error> {
    check_name(name)?;
    let linked = options.faasm.map(|how| for_faasm(original, how)).transpose()?.flatten();
    let (linked, wrapped) = linked.map(|made| (made.wasm, made.wrapped)).unzip();
    progress(Stage::Normalise);
    let Normalised { wasm: normalised, entry, era, imports, mut warnings } = normalise(original)?;
    warnings.extend(debug_info::warning(options.debug_info, original));
    progress(Stage::Shim);
    let mut jspi = shim(&normalised)?;
    let features = features::used(&jspi);
    if options.optimize {
        progress(Stage::Optimize);
        jspi = optimize(&jspi, &features, &options.binaryen)?;
    }
    progress(Stage::Instrument);
    let Options { pass, stack_size, asserts, .. } = *options;
    let how = Instrumentation { pass, stack_size, asserts, verify: options.verify };
    let mut instrumented = match instrument(&jspi, &features, how, &options.binaryen) {
        Ok(instrumented) => Ok(instrumented),
        Err(error) if error.is_limit_of_asyncify() => Err(error.to_string()),
        Err(error) => return Err(error),
    };
    progress(Stage::Verify);
    let made = if options.optimize { Made::Optimized } else { Made::Shimmed };
    verify(&normalised, &jspi, &features, made)?;
    match &instrumented {
        Ok(Instrumented { wasm, unwinding }) => {
            let made = if unwinding.is_some() { Made::Instrumented } else { made };
            verify(&normalised, wasm, &features, made)?;
            let lowered = unwinding.iter().flat_map(|unwinding| &unwinding.lowered).cloned();
            warnings.extend(lowered.map(|function| Warning::TailCalls { function }));
        }
        Err(limit) => warnings.push(Warning::OnlyJspi { limit: limit.clone() }),
    }
    let reach = analyse::reach(&jspi)?;
    let wasm = instrumented.as_mut().ok().map(|instrumented| &mut instrumented.wasm);
    let names = debug_info::settle(options.debug_info, &mut jspi, wasm)?;

    let described = match &instrumented {
        Ok(Instrumented { wasm, unwinding }) => Asyncify::Artefact(AsyncifyArtefact {
            artefact: artefact(format!("{name}.asyncify.wasm"), wasm),
            buffer: unwinding.as_ref().map(|unwinding| unwinding.buffer),
            pass: unwinding.as_ref().map(|_| options.pass),
        }),
        Err(limit) => Asyncify::Unsupported { unsupported: limit.clone() },
    };
    let manifest = Manifest {
        schema: SCHEMA,
        name: name.to_owned(),
        original: artefact(file.to_owned(), original),
        era,
        entry,
        imports,
        engines: Engines { jspi: artefact(format!("{name}.wasm"), &jspi), asyncify: described },
        features: features.iter().map(|feature| feature.name.to_owned()).collect(),
        names: names.as_ref().map(|names| artefact(format!("{name}.names.json"), names)),
        faasm: linked.as_ref().map(|linked| FaasmArtefact {
            artefact: artefact(format!("{name}{CLUSTER_ENDING}"), linked),
            allow_lost_updates: options.faasm.is_some_and(|how| how.allow_lost_updates),
        }),
        chained: options.chained.clone(),
        state: options.state.clone(),
        generator: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    let (asyncify, unwinding) = instrumented.ok().map(|made| (made.wasm, made.unwinding)).unzip();
    let bound = unwinding.flatten().map(|unwinding| unwinding.bound);
    Ok(Built {
        jspi,
        asyncify,
        names,
        faasm: linked,
        for_faasm: options.faasm.is_some(),
        wrapped: wrapped.unwrap_or_default(),
        manifest,
        reach,
        bound,
        warnings,
    })
}

/// Makes the artefact for a Faasm cluster. An import that the cluster does not support is an error here, not a fault at
/// run time.
fn for_faasm(original: &[u8], how: ForFaasm) -> Result<Option<faasm::Made>, Error> {
    let ForFaasm { allow_lost_updates } = how;
    faasm::check(original)?;
    let unsupported = faasm::unsupported(original, allow_lost_updates)?;
    if !unsupported.is_empty() {
        let say = |one: &faasm::Unsupported| format!("`{}` ({})", one.import, one.reason);
        let imports: Vec<String> = unsupported.iter().map(say).collect();
        return Err(Error::NotInFaasm { imports: imports.join(", ") });
    }
    let use_ = faasm::Use::BuiltFor { allow_lost_updates };
    faasm::link(original, faasm::Options { use_, check_names: false })
}

fn artefact(file: String, bytes: &[u8]) -> Artefact {
    Artefact { file, integrity: integrity(bytes), bytes: bytes.len() as u64 }
}

/// A hash in the format of Subresource Integrity, as in manifests and replies of relays.
pub fn integrity(bytes: &[u8]) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(bytes)))
}

/// A name becomes part of file names and URLs; `NAME.asyncify` and `NAME.names` would be mistaken for files of `NAME`.
fn check_name(name: &str) -> Result<(), Error> {
    let mut bytes = name.bytes();
    let starts_well = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let is_free = ![".asyncify", ".cluster", ".names"].iter().any(|ending| name.ends_with(ending));
    if starts_well
        && is_free
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    {
        return Ok(());
    }
    Err(Error::Name { name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_in_paths_and_urls() {
        for name in ["hello", "a.b-c_2", "0"] {
            check_name(name).unwrap();
        }
        for name in [
            "",
            ".",
            "..",
            ".hidden",
            "a/b",
            "a b",
            "ü",
            "-o",
            "a.asyncify",
            "a.cluster",
            "a.names",
        ] {
            check_name(name).unwrap_err();
        }
    }
}
