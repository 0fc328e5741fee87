//! The corpus: functions with coverage at a suspension that no other function has.

use crate::random::hash;
use crate::scenario::Scenario;
use anyhow::{Context as _, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Limits of the checked-in corpus.
const MOST_BYTES_EACH: usize = 2048;
const MOST_BYTES: usize = 480 * 1024;

/// A function, and the scenarios it is run under.
#[derive(Clone, Debug)]
pub struct Input {
    pub path: PathBuf,
    pub wasm: Vec<u8>,
    pub scenarios: Vec<Scenario>,
}

/// Scenarios of a module that contains none.
const SCENARIOS: std::ops::Range<u64> = 0..8;

/// The folders of this crate.
pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Reads a module, as a binary or as text.
///
/// # Errors
/// It cannot be read, or the text is not WebAssembly.
pub fn read(path: &Path) -> Result<Input> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    // Damaged binaries are findings too.
    let is_text = path.extension().is_some_and(|ending| ending == "wat");
    let wasm = if is_text {
        wat::parse_bytes(&bytes).with_context(|| format!("{}", path.display()))?.into_owned()
    } else {
        bytes
    };
    let carried = Scenario::of(&wasm);
    let scenarios = if carried == Scenario::new(0) {
        SCENARIOS.map(Scenario::new).collect()
    } else {
        vec![carried]
    };
    Ok(Input { path: path.to_owned(), wasm, scenarios })
}

/// Reads every module in a folder of this crate, in order of their names.
///
/// # Errors
/// The folder or a module cannot be read.
pub fn read_all(name: &str) -> Result<Vec<Input>> {
    let folder = folder(name);
    let entries = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|it| it == "wasm" || it == "wat"));
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

/// The coverage of all inputs so far, and the inputs that added to it.
#[derive(Clone, Debug, Default)]
pub struct Novelty {
    met: BTreeSet<String>,
    /// The part of it that the corpus covers.
    known: BTreeSet<String>,
    candidates: Vec<(Vec<u8>, BTreeSet<String>)>,
}

impl Novelty {
    /// Records the coverage of an input; keeps the input if it is small and its coverage is new.
    pub fn add(&mut self, wasm: &[u8], features: &BTreeSet<String>, keep: bool) {
        if features.is_subset(&self.met) {
            return;
        }
        if keep && wasm.len() > MOST_BYTES_EACH {
            // A smaller input with the same coverage may follow.
            return;
        }
        self.met.extend(features.iter().cloned());
        if !keep {
            self.known.extend(features.iter().cloned());
        } else {
            self.candidates.push((wasm.to_vec(), features.clone()));
        }
    }

    /// Number of covered features.
    pub fn count(&self) -> usize {
        self.met.len()
    }

    /// Writes the candidates that add coverage to the corpus, smallest first; returns their number.
    ///
    /// # Errors
    /// The folder cannot be read or written to.
    pub fn write(mut self) -> Result<usize> {
        let mut bytes: usize = read_all("corpus")?.iter().map(|input| input.wasm.len()).sum();
        self.candidates.sort_by_key(|(wasm, _)| wasm.len());
        let mut written = 0;
        for (wasm, features) in self.candidates {
            if features.is_subset(&self.known) || bytes + wasm.len() > MOST_BYTES {
                continue;
            }
            let path = folder("corpus").join(format!("{:016x}.wasm", hash(&wasm)));
            fs::write(&path, &wasm).with_context(|| format!("writing {}", path.display()))?;
            bytes += wasm.len();
            written += 1;
            self.known.extend(features);
        }
        Ok(written)
    }
}
