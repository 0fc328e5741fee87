//! `faasm-relay compile-child`: the process in which one function is compiled.

use anyhow::{Context, Result};
use faasm_relay::cluster::embedded::compile_child;
use std::process::ExitCode;

/// The process in which one function is compiled
#[derive(Debug, clap::Args)]
pub(crate) struct Opts {
    /// Most address space, bytes
    #[arg(long)]
    memory: usize,
}

impl Opts {
    pub(crate) fn run(self) -> Result<ExitCode> {
        compile_child(self.memory).context("compiling")
    }
}
