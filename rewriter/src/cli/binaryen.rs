//! `faasm-asyncify __binaryen`: the process that `build` starts for Binaryen.

use anyhow::{Context, Result, bail};
use clap::Args;
use faasm_asyncify::binaryen::Run;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What to do, as JSON.
    run: String,
    /// To be used instead of the Binaryen that is linked in.
    #[arg(long)]
    wasm_opt: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let run: Run = serde_json::from_str(&arguments.run).context("cannot read what to do")?;
    match &arguments.wasm_opt {
        None => run.here().context("the Binaryen that is built in"),
        Some(wasm_opt) => become_(run.by(wasm_opt), wasm_opt),
    }
}

/// Runs it in place of this process, which is what the parent ends when time is up.
#[cfg(unix)]
fn become_(mut command: Command, wasm_opt: &Path) -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    let error = command.exec();
    bail!("cannot start {}: {error}; give the path of a `wasm-opt`", wasm_opt.display())
}

#[cfg(not(unix))]
fn become_(mut command: Command, wasm_opt: &Path) -> Result<()> {
    let status = command.status().with_context(|| {
        format!("cannot start {}; give the path of a `wasm-opt`", wasm_opt.display())
    })?;
    if status.success() {
        return Ok(());
    }
    bail!("{} ended with {status}", wasm_opt.display())
}
