//! Small functions: how much instrumentation adds to the size of each function that can suspend.

use super::artefact;
use super::column::Column;
use super::size;
use anyhow::{Context as _, Result};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Compiled functions have at least this many bytes; those assembled by hand for a single test have a few hundred.
pub(crate) const COMPILED: usize = 4096;

/// One function.
pub(crate) struct Small {
    pub(crate) name: String,
    /// Size with `-O2` only.
    pub(crate) plain: usize,
    pub(crate) ours: usize,
}

impl Small {
    pub(crate) fn ratio(&self) -> f64 {
        self.ours as f64 / self.plain as f64
    }

    pub(crate) fn is_compiled(&self) -> bool {
        self.plain >= COMPILED
    }
}

/// Measures every function in these folders that can suspend, except those that are meant to be rejected.
pub(crate) fn measure(folders: &[PathBuf], asyncify: &Path) -> Result<Vec<Small>> {
    eprintln!("\n== small functions");
    let mut measured = Vec::new();
    for file in files(folders)? {
        let original =
            std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        let Ok(ours) = artefact::make(&original, Column::Ours, asyncify) else { continue };
        if ours.reach.is_none_or(|reach| reach.instrumented == 0) {
            continue;
        }
        let plain = artefact::make(&original, Column::O2, asyncify)?;
        measured.push(Small {
            name: file.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            plain: size::of(&plain.wasm)?,
            ours: size::of(&ours.wasm)?,
        });
    }
    Ok(measured)
}

fn files(folders: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in folders {
        let entries = folder.read_dir().with_context(|| format!("reading {}", folder.display()))?;
        for entry in entries {
            let path = entry.with_context(|| format!("reading {}", folder.display()))?.path();
            if path.extension() == Some(OsStr::new("wasm")) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}
