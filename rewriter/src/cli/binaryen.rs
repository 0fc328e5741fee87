//! `faasm-asyncify __binaryen`: the process that `build` starts for Binaryen.

use anyhow::{Context, Result, bail};
use clap::Args;
use faasm_asyncify::binaryen::Run;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The job, as JSON.
    run: String,
    /// Use this instead of the built-in Binaryen.
    #[arg(long)]
    wasm_opt: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let run: Run = serde_json::from_str(&arguments.run).context("cannot read the job")?;
    match &arguments.wasm_opt {
        #[cfg(feature = "binaryen")]
        None => run.here().context("the Binaryen that is built in"),
        #[cfg(not(feature = "binaryen"))]
        None => bail!("{} is asked for without Binaryen", run.input.display()),
        Some(wasm_opt) => exec(run.by(wasm_opt), wasm_opt),
    }
}

/// Replaces this process by `wasm-opt`, so that the parent kills `wasm-opt` when time is up.
#[cfg(unix)]
fn exec(mut command: Command, wasm_opt: &Path) -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    let error = command.exec();
    bail!("cannot start {}: {error}; give the path of a `wasm-opt`", wasm_opt.display())
}

#[cfg(not(unix))]
fn exec(mut command: Command, wasm_opt: &Path) -> Result<()> {
    let status = command.status().with_context(|| {
        format!("cannot start {}; give the path of a `wasm-opt`", wasm_opt.display())
    })?;
    if status.success() {
        return Ok(());
    }
    bail!("{} exited with {status}", wasm_opt.display())
}
