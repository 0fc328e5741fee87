//! Builds the artefact of a column from an original. All columns start alike; they differ in what Binaryen does.

use super::column::Column;
use super::optimise;
use anyhow::{Context as _, Result, anyhow};
use faasm_asyncify::{Binaryen, Normalised, Options, features, normalise, shim};
use std::path::Path;
use walrus::{Module, ModuleConfig};

/// What it takes to run an artefact.
#[derive(Clone, Debug)]
pub(crate) struct Artefact {
    pub(crate) wasm: Vec<u8>,
    /// Size of the unwind buffer at the end of memory; `None` if the host has to allocate one.
    pub(crate) buffer: Option<u32>,
    /// How many of the functions can be on the stack during a suspension; known only for our artefacts.
    pub(crate) reach: Option<Reach>,
}

/// Counts of functions.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Reach {
    pub(crate) instrumented: usize,
    pub(crate) by_default: usize,
    pub(crate) total: usize,
}

/// Builds an artefact. `asyncify` is the `faasm-asyncify` binary.
pub(crate) fn make(original: &[u8], column: Column, asyncify: &Path) -> Result<Artefact> {
    if column == Column::Ours {
        return ours(original, asyncify);
    }
    let Normalised { wasm, .. } = normalise(original)?;
    let shimmed = shim(&wasm)?;
    let used = features::used(&shimmed);
    let names: Vec<&str> = used.iter().map(|feature| feature.name).collect();
    let wasm = optimise::in_child(&without_names(&shimmed)?, column, &names)?;
    Ok(Artefact { wasm, buffer: None, reach: None })
}

fn ours(original: &[u8], asyncify: &Path) -> Result<Artefact> {
    let binaryen = Binaryen::of(asyncify);
    let built =
        faasm_asyncify::build("bench", "bench.wasm", original, &Options::new(binaryen), |_| {})?;
    let reach = Reach {
        instrumented: built.reach.functions.len(),
        by_default: built.reach.by_default,
        total: built.reach.total,
    };
    let wasm = built.asyncify.context("the build has no Asyncify artefact")?;
    let asyncify = built.manifest.engines.asyncify.artefact();
    let buffer = asyncify.and_then(|asyncify| asyncify.buffer).map(|buffer| buffer.bytes);
    Ok(Artefact { wasm, buffer, reach: Some(reach) })
}

/// Replaces function names by meaningless ones and removes data names, as in the rewriter: some real-world names make
/// Binaryen fail.
fn without_names(wasm: &[u8]) -> Result<Vec<u8>> {
    let mut module = read(wasm)?;
    for (position, function) in module.funcs.iter_mut().enumerate() {
        function.name = Some(format!("faasm{position}"));
    }
    let segments: Vec<_> = module.data.iter().map(|data| data.id()).collect();
    for segment in segments {
        module.data.get_mut(segment).name = None;
    }
    Ok(module.emit_wasm())
}

/// Parses a module such that writing it adds nothing.
pub(crate) fn read(wasm: &[u8]) -> Result<Module> {
    ModuleConfig::new()
        .generate_producers_section(false)
        .parse(wasm)
        .map_err(|error| anyhow!("{error:#}"))
        .context("reading a module")
}
