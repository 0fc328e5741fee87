//! Measures the time and memory of building an artefact, each time in a process of its own.

use super::artefact::{self, Artefact, Reach};
use super::column::Column;
use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) const SUBCOMMAND: &str = "__build";

#[derive(Debug, clap::Args)]
pub(crate) struct Opts {
    column: Column,
    original: PathBuf,
    output: PathBuf,
    #[arg(long)]
    asyncify: PathBuf,
}

/// Resources of one build.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// CPU time of this process and Binaryen's, from the original in memory to the artefact in memory; it does not
    /// include other programs.
    pub(crate) seconds: f64,
    /// Sum of the peaks of this process and of Binaryen's, which run at the same time.
    pub(crate) kibibytes: u64,
}

/// The output of the child process.
#[derive(Serialize, Deserialize)]
struct Report {
    cost: Cost,
    buffer: Option<u32>,
    reach: Option<Reach>,
}

/// Builds the artefact in a child process.
pub(crate) fn measure(
    original: &Path,
    column: Column,
    asyncify: &Path,
    folder: &Path,
) -> Result<(Artefact, Cost)> {
    let output = folder.join("built.wasm");
    let mut command = Command::new(std::env::current_exe().context("own program")?);
    command.args([SUBCOMMAND, column.id()]).arg(original).arg(&output);
    command.arg("--asyncify").arg(asyncify).stderr(Stdio::inherit());
    let child = command.output().context("starting a build")?;
    ensure!(child.status.success(), "building {} failed: {}", original.display(), child.status);
    let Report { cost, buffer, reach } =
        serde_json::from_slice(&child.stdout).context("parsing the report of a build")?;
    let wasm = std::fs::read(&output).context("reading an artefact")?;
    Ok((Artefact { wasm, buffer, reach }, cost))
}

/// Entry of the child process.
pub(crate) fn run(opts: &Opts) -> Result<()> {
    let original = std::fs::read(&opts.original)
        .with_context(|| format!("reading {}", opts.original.display()))?;
    let before = processor_seconds(&getrusage(UsageWho::RUSAGE_SELF)?);
    let artefact = artefact::make(&original, opts.column, &opts.asyncify)?;
    let binaryen = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let own = processor_seconds(&getrusage(UsageWho::RUSAGE_SELF)?) - before;
    let seconds = own + processor_seconds(&binaryen);
    let kibibytes = own_peak()? + u64::try_from(binaryen.max_rss()).unwrap_or(0);
    std::fs::write(&opts.output, &artefact.wasm).context("writing an artefact")?;
    let report = Report {
        cost: Cost { seconds, kibibytes },
        buffer: artefact.buffer,
        reach: artefact.reach,
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

fn processor_seconds(usage: &Usage) -> f64 {
    let time = usage.user_time() + usage.system_time();
    time.num_microseconds() as f64 / 1e6
}

/// In KiB. Not from `getrusage`, whose value for a process includes the peak that the parent had at the fork.
fn own_peak() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")
        .context("reading the memory use from /proc")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()).context("no VmHWM")?;
    number.parse().context("VmHWM")
}
