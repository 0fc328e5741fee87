//! `faasm-relay compile-child`: the process in which one function is checked and compiled, or guarded for a Faasm cluster.

use anyhow::{Context, Result};
use faasm_relay::cluster::{Job, compile_child};
use std::process::ExitCode;

/// The process in which one function is compiled
#[derive(Debug, clap::Args)]
pub(crate) struct Opts {
    /// Most address space, bytes
    #[arg(long)]
    memory: usize,
    /// Check it and guard it for a Faasm cluster
    #[arg(long)]
    for_faasm: bool,
    /// Its user is trusted: it is checked only
    #[arg(long, requires = "for_faasm")]
    trusted: bool,
    /// Its guard looks whether functions that it chains are there
    #[arg(long, requires = "for_faasm")]
    check_names: bool,
}

impl Opts {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let job = Job::from_options(self.for_faasm, self.trusted, self.check_names);
        compile_child(self.memory, job).context("compiling")
    }
}
