//! The whole way of one function: all stages, and the manifest that describes the result.

use crate::{
    Binaryen, Error, Normalised, Reach, Warning, analyse, features, instrument, normalise, shim,
    verify,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use faasm_bridge::manifest::{Artefact, AsyncifyArtefact, Engines, Manifest, SCHEMA};
use sha2::{Digest, Sha256};
use std::fmt;

/// How to build.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes for the unwound stack, rounded up to whole pages.
    pub stack_size: u32,
    pub binaryen: Binaryen,
}

impl Options {
    /// 256 KiB: 60 times what Emscripten gives, for recursion such as an interpreter's.
    pub const STACK_SIZE: u32 = 256 * 1024;

    /// The defaults.
    pub fn new(binaryen: Binaryen) -> Options {
        Options { stack_size: Options::STACK_SIZE, binaryen }
    }
}

/// A built function, not yet written anywhere.
#[derive(Clone, Debug)]
pub struct Built {
    /// For engines with JavaScript Promise Integration.
    pub jspi: Vec<u8>,
    /// For every engine.
    pub asyncify: Vec<u8>,
    pub manifest: Manifest,
    /// What was instrumented.
    pub reach: Reach,
    pub warnings: Vec<Warning>,
}

/// The step a build is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Normalise,
    Shim,
    Instrument,
    Verify,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Normalise => "normalise",
            Stage::Shim => "shim",
            Stage::Instrument => "instrument",
            Stage::Verify => "verify",
        })
    }
}

/// Builds the function `name` from `wasm`, which was read from a file called `file`.
///
/// The same input gives the same output, byte for byte. `progress` hears of each stage as it begins.
///
/// # Errors
/// Any stage's; nothing has been written.
pub fn build(
    name: &str,
    file: &str,
    wasm: &[u8],
    options: &Options,
    mut progress: impl FnMut(Stage),
) -> Result<Built, Error> {
    check_name(name)?;
    progress(Stage::Normalise);
    let Normalised { wasm: normalised, entry, era, imports, warnings } = normalise(wasm)?;
    progress(Stage::Shim);
    let jspi = shim(&normalised)?;
    let features = features::used(&jspi);
    progress(Stage::Instrument);
    let instrumented = instrument(&jspi, &features, options.stack_size, &options.binaryen)?;
    progress(Stage::Verify);
    verify(&normalised, &jspi, &features, false)?;
    verify(&normalised, &instrumented.wasm, &features, instrumented.buffer.is_some())?;

    let manifest = Manifest {
        schema: SCHEMA,
        name: name.to_owned(),
        original: artefact(file.to_owned(), wasm),
        era,
        entry,
        imports,
        engines: Engines {
            jspi: artefact(format!("{name}.wasm"), &jspi),
            asyncify: AsyncifyArtefact {
                artefact: artefact(format!("{name}.asyncify.wasm"), &instrumented.wasm),
                buffer: instrumented.buffer,
            },
        },
        features: features.iter().map(|feature| feature.name.to_owned()).collect(),
        generator: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    let reach = analyse::reach(&jspi)?;
    Ok(Built { jspi, asyncify: instrumented.wasm, manifest, reach, warnings })
}

fn artefact(file: String, bytes: &[u8]) -> Artefact {
    let integrity = format!("sha256-{}", STANDARD.encode(Sha256::digest(bytes)));
    Artefact { file, integrity, bytes: bytes.len() as u64 }
}

/// A name becomes part of file names and URLs; `NAME.asyncify` would be taken for an artefact of `NAME`.
fn check_name(name: &str) -> Result<(), Error> {
    let mut bytes = name.bytes();
    let starts_well = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let is_free = !name.ends_with(".asyncify");
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
        for name in ["", ".", "..", ".hidden", "a/b", "a b", "ü", "-o", "a.asyncify"] {
            check_name(name).unwrap_err();
        }
    }
}
