//! Resources that a program uses, including all processes that it starts and waits for: CPU time, and the memory of the
//! largest process.
//!
//! The system accumulates both over all children that a process has waited for, so each program is started by a process
//! of its own.

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::process::{Command, Stdio};

pub(crate) const SUBCOMMAND: &str = "__measured";

/// The intermediate process.
#[derive(Debug, clap::Args)]
pub(crate) struct Opts {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<OsString>,
}

/// Resources that a program used.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Taken {
    /// CPU time of all processes.
    pub(crate) seconds: f64,
    /// Peak memory of the largest process.
    pub(crate) bytes: u64,
}

/// Runs a program to its end.
///
/// # Errors
/// When the program cannot be started, or fails.
pub(crate) fn measured(command: &Command) -> Result<Taken> {
    let mut between = Command::new(std::env::current_exe().context("own program")?);
    between.arg(SUBCOMMAND).arg(command.get_program()).args(command.get_args());
    let output = between.stderr(Stdio::inherit()).output().context("starting this program")?;
    ensure!(output.status.success(), "{command:?} failed");
    serde_json::from_slice(&output.stdout).context("parsing the resources that a program used")
}

/// Entry of the intermediate process.
pub(crate) fn run(opts: &Opts) -> Result<()> {
    let (program, arguments) = opts.command.split_first().context("no program")?;
    let mut command = Command::new(program);
    let status = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.with_context(|| format!("starting {}", program.display()))?;
    ensure!(status.success(), "{} ended with {status}", program.display());
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let taken = Taken {
        seconds: (usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6,
        // The system counts in KiB.
        bytes: usage.max_rss().unsigned_abs() * 1024,
    };
    println!("{}", serde_json::to_string(&taken)?);
    Ok(())
}
