//! From an original to the artefact of a column. All begin alike; what differs is what Binaryen is asked for.

use super::column::Column;
use super::optimise;
use anyhow::{Context as _, Result, anyhow};
use faasm_asyncify::{Binaryen, Normalised, Options, features, normalise, shim};
use std::path::Path;
use walrus::{Module, ModuleConfig};

/// What running an artefact takes.
#[derive(Clone, Debug)]
pub(crate) struct Artefact {
    pub(crate) wasm: Vec<u8>,
    /// Size of the buffer at the end of memory for the unwound stack; none where the host has to allocate one.
    pub(crate) buffer: Option<u32>,
    /// How many functions can be on the stack during a suspension, of how many; only known of ours.
    pub(crate) reach: Option<Reach>,
}

/// Counts of functions.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Reach {
    pub(crate) instrumented: usize,
    pub(crate) by_default: usize,
    pub(crate) total: usize,
}

/// Makes it. `asyncify` is the `faasm-asyncify` binary.
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
    let wasm = built.asyncify.context("it has no Asyncify artefact")?;
    let asyncify = built.manifest.engines.asyncify.artefact();
    let buffer = asyncify.and_then(|asyncify| asyncify.buffer).map(|buffer| buffer.bytes);
    Ok(Artefact { wasm, buffer, reach: Some(reach) })
}

/// Functions get names without meaning and data none, as in the rewriter: Binaryen can fail over those in the wild.
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

/// Reads a module so that it is written again without additions.
pub(crate) fn read(wasm: &[u8]) -> Result<Module> {
    ModuleConfig::new()
        .generate_producers_section(false)
        .parse(wasm)
        .map_err(|error| anyhow!("{error:#}"))
        .context("reading a module")
}
