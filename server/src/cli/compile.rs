//! `faasm-relay compile-child`: the process that checks and compiles one function, or guards it for a Faasm cluster.

use anyhow::{Context, Result};
use faasm_relay::cluster::{Job, compile_child};
use std::process::ExitCode;

/// The process that compiles one function
#[derive(Debug, clap::Args)]
pub(crate) struct Opts {
    /// Limit of the address space, bytes
    #[arg(long)]
    memory: usize,
    /// Check and guard the function for a Faasm cluster
    #[arg(long)]
    for_faasm: bool,
    /// The user is trusted: check the function, but do not guard it
    #[arg(long, requires = "for_faasm")]
    trusted: bool,
    /// The guard checks that chained functions exist
    #[arg(long, requires = "for_faasm")]
    check_names: bool,
}

impl Opts {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let job = Job::from_options(self.for_faasm, self.trusted, self.check_names);
        compile_child(self.memory, job).context("compiling")
    }
}
