//! `faasm-relay explain`: the page of an error code.

use anyhow::{Context, Error, Result};
use std::io::Write;
use std::process::ExitCode;

/// Prints what an error code means and how to fix it
///
/// Works offline. Knows the codes of runs and those of builds; an unknown one is answered by the list of all.
#[derive(Debug, clap::Args)]
pub(crate) struct Opts {
    /// The code, for example the last part of the link at the end of a message
    #[arg(value_name = "CODE")]
    code: String,
}

impl Opts {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let page = faasm_bridge::explain::explain(&self.code).map_err(Error::msg)?;
        let mut out = std::io::stdout();
        out.write_all(page.as_bytes()).and_then(|()| out.flush()).context("writing the page")?;
        Ok(ExitCode::SUCCESS)
    }
}
