//! `faasm-relay explain`: prints the page of an error code.

use anyhow::{Context, Error, Result};
use std::io::Write;
use std::process::ExitCode;

/// Prints what an error code means and how to fix it
///
/// Works offline. Covers the codes of runs and of builds; for an unknown code it lists all codes.
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
