//! `faasm-asyncify __binaryen`: the process that `build` starts for Binaryen.

use anyhow::{Context, Result};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    input: PathBuf,
    scratch: PathBuf,
    output: PathBuf,
    /// File with the names of the functions to instrument.
    only: PathBuf,
    #[arg(long)]
    suspending: String,
    #[arg(long = "feature")]
    features: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    use faasm_asyncify::binaryen;
    let features = arguments
        .features
        .iter()
        .map(|name| binaryen::feature(name).with_context(|| format!("feature {name} is not known")))
        .collect::<Result<Vec<_>>>()?;
    let Arguments { input, scratch, output, only, suspending, .. } = arguments;
    binaryen::run(input, scratch, output, &features, suspending, only)?;
    Ok(())
}
