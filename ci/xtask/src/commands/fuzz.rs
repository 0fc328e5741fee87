//! `cargo xtask fuzz`: builds the fuzzer and the rewriter, and runs it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process::run;
use crate::workspace::Workspace;

/// Look for functions that the rewriter builds wrongly, and for bytes that something crashes on
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long to run
    #[arg(long, value_name = "N", default_value_t = 3600)]
    seconds: u64,
    /// Threads; by default one for each processor
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Where inputs begin; by default another one every time
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// What for: differential, mutate, decoders, all
    #[arg(long, value_name = "NAME", default_value = "all")]
    target: String,
    /// Write figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Errors that explain nothing are findings also for damaged modules
    #[arg(long)]
    strict: bool,
    /// Add small functions that met something new to `ci/fuzz/corpus`
    #[arg(long)]
    grow_corpus: bool,
    /// Check only this input, which a finding has left
    #[arg(long, value_name = "FILE")]
    reproduce: Option<PathBuf>,
    /// Make this input smaller, as long as it shows the same; the result lies beside it
    #[arg(long, value_name = "FILE")]
    reduce: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self, workspace: &Workspace) -> Result<()> {
        run(workspace.cargo().args(["build", "-p", "faasm-asyncify", "-p", "faasm-fuzz"]))
            .context("rewriter and fuzzer")?;
        let mut command = Command::new(workspace.binary("faasm-fuzz"));
        command.env("FAASM_ASYNCIFY_BIN", workspace.binary("faasm-asyncify"));
        command.args(["--seconds", &self.seconds.to_string(), "--target", &self.target]);
        command.args(self.jobs.iter().flat_map(|jobs| ["--jobs".to_owned(), jobs.to_string()]));
        command.args(self.seed.iter().flat_map(|seed| ["--seed".to_owned(), seed.to_string()]));
        command.args(self.strict.then_some("--strict"));
        command.args(self.grow_corpus.then_some("--grow-corpus"));
        let files =
            [("--json", self.json), ("--reproduce", self.reproduce), ("--reduce", self.reduce)];
        for (option, file) in files {
            if let Some(file) = file {
                command.arg(option).arg(file);
            }
        }
        run(&mut command)
    }
}
