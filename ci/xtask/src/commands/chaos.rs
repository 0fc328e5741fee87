//! `cargo xtask chaos`: builds the relay and the chaos test, and runs the test.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process::run;
use crate::setup;
use crate::workspace::Workspace;

/// Kill relays, break networks and fill disks, and count lost and duplicated effects
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seed of the faults; by default a different one each time
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Number of calls
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    calls: u64,
    /// Number of operations on state
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    operations: u64,
    /// Time limit for them
    #[arg(long, value_name = "N", default_value_t = 900)]
    seconds: u64,
    /// Fewer of each, in less than 20 s
    #[arg(long, conflicts_with_all = ["calls", "operations", "seconds"])]
    short: bool,
    /// Two relays over one Redis, which also fails, instead of one relay with a disk
    #[arg(long)]
    redis: bool,
    /// Write figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure calls and appends per second of this many sessions instead, without faults
    #[arg(long, value_name = "SESSIONS")]
    load: Option<u64>,
}

impl Args {
    pub(crate) fn run(self, workspace: &Workspace) -> Result<()> {
        if self.redis {
            setup::redis()?;
        }
        run(workspace.cargo().args(["build", "-p", "faasm-relay", "-p", "faasm-chaos"]))
            .context("building relay and chaos test")?;
        let mut command = Command::new(workspace.binary("faasm-chaos"));
        command.env("FAASM_RELAY_BIN", workspace.binary("faasm-relay"));
        if self.short {
            command.arg("--short");
        } else {
            let numbers = [
                ("--calls", self.calls),
                ("--operations", self.operations),
                ("--seconds", self.seconds),
            ];
            for (option, number) in numbers {
                command.arg(option).arg(number.to_string());
            }
        }
        for (option, number) in [("--seed", self.seed), ("--load", self.load)] {
            command.args(number.iter().flat_map(|number| [option.to_owned(), number.to_string()]));
        }
        if self.redis {
            command.arg("--redis");
        }
        if let Some(path) = &self.json {
            command.arg("--json").arg(path);
        }
        run(&mut command)
    }
}
