//! `cargo xtask fuzz`: builds the fuzzer and the rewriter, and runs the fuzzer.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process::run;
use crate::workspace::Workspace;

/// Search for functions that the rewriter builds wrongly, and for inputs that crash a decoder
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Duration of the run in seconds
    #[arg(long, value_name = "N", default_value_t = 3600)]
    seconds: u64,
    /// Number of threads; by default one for each processor
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Seed of the inputs; by default a different one each time
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Targets to fuzz: differential, mutate, decoders, all
    #[arg(long, value_name = "NAME", default_value = "all")]
    target: String,
    /// Write figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Treat unexplained errors as findings for damaged modules, too
    #[arg(long)]
    strict: bool,
    /// Add small functions with new coverage to `ci/fuzz/corpus`
    #[arg(long)]
    grow_corpus: bool,
    /// Check only this input, saved by a finding
    #[arg(long, value_name = "FILE")]
    reproduce: Option<PathBuf>,
    /// Reduce this input as long as it shows the same finding; the result is written beside it
    #[arg(long, value_name = "FILE")]
    reduce: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self, workspace: &Workspace) -> Result<()> {
        run(workspace.cargo().args(["build", "-p", "faasm-asyncify", "-p", "faasm-fuzz"]))
            .context("building rewriter and fuzzer")?;
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
