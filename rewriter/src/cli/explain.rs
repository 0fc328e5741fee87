//! `faasm-asyncify explain`: the page of an error code.

use anyhow::{Error, Result};
use clap::Args;
use faasm_bridge::explain::explain;

/// Print what an error code means and how to fix it
///
/// Works offline. Knows the codes of builds and those of runs; an unknown one is answered by the list of all.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  faasm-asyncify explain not-wasm")]
pub(crate) struct Arguments {
    /// The code, for example the last part of the link at the end of a message
    #[arg(value_name = "CODE")]
    code: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    super::print(explain(&arguments.code).map_err(Error::msg)?)
}
