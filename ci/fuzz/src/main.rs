//! `faasm-fuzz`: fuzzes the rewriter and all decoders of external bytes. `cargo xtask fuzz` builds what it needs.

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use faasm_bridge::manifest::Pass;
use faasm_fuzz::campaign::{self, Settings, Target};
use faasm_fuzz::differential::{PASSES, Tools};
use faasm_fuzz::figures::Totals;
use faasm_fuzz::{finding, single};
use serde_json::Value;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Fuzz the rewriter and the decoders
#[derive(Debug, Parser)]
#[command(name = "faasm-fuzz", version)]
struct Opts {
    /// Duration of the run in seconds
    #[arg(long, value_name = "N", default_value_t = 3600)]
    seconds: u64,
    /// Number of threads; by default one for each processor
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Seed of the inputs; by default a different one each time
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[arg(long, value_enum, default_value_t = Choice::All)]
    target: Choice,
    /// What instruments functions; by our own pass alone, more of what Binaryen cannot read is tried
    #[arg(long, value_enum, default_value_t = Instrumenter::Both)]
    asyncify: Instrumenter,
    /// Write figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Treat unexplained errors as findings for damaged modules, too
    #[arg(long)]
    strict: bool,
    /// Add small functions with new coverage to the corpus
    #[arg(long)]
    grow_corpus: bool,
    /// Check only this input, saved by a finding
    #[arg(long, value_name = "FILE")]
    reproduce: Option<PathBuf>,
    /// Reduce this input as long as it shows the same finding; the result is written beside it
    #[arg(long, value_name = "FILE", conflicts_with = "reproduce")]
    reduce: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Choice {
    Differential,
    Mutate,
    Decoders,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Instrumenter {
    Own,
    Binaryen,
    Both,
}

fn main() -> ExitCode {
    match run(&Opts::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether there were no findings.
fn run(opts: &Opts) -> Result<bool> {
    let passes = match opts.asyncify {
        Instrumenter::Own => vec![Pass::Own],
        Instrumenter::Binaryen => vec![Pass::Binaryen],
        Instrumenter::Both => PASSES.to_vec(),
    };
    let tools = Tools { passes, ..Tools::find()? };
    finding::keep_panics();
    if let Some(path) = &opts.reproduce {
        return single::reproduce(&tools, path);
    }
    if let Some(path) = &opts.reduce {
        return single::reduce(&tools, path).map(|()| true);
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let settings = Settings {
        target: match opts.target {
            Choice::Differential => Target::Differential,
            Choice::Mutate => Target::Mutate,
            Choice::Decoders => Target::Decoders,
            Choice::All => Target::All,
        },
        seed: opts.seed.unwrap_or(now.as_secs()),
        jobs: opts.jobs.unwrap_or(processors),
        time: Duration::from_secs(opts.seconds),
        inputs: u64::MAX,
        strict: opts.strict,
        grow: opts.grow_corpus,
    };
    println!("seed {}, {} jobs, {} s", settings.seed, settings.jobs, opts.seconds);
    let (totals, novelty) = campaign::run(settings, tools, |totals| println!("{totals}"))?;
    println!("{totals}; {} features", novelty.count());
    if opts.grow_corpus {
        println!("{} new functions in the corpus", novelty.write()?);
    }
    if let Some(path) = &opts.json {
        let text = format!("{:#}\n", Value::from(totals.figures()));
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    tell(&totals);
    Ok(totals.found() == 0)
}

fn tell(totals: &Totals) {
    for (what, counts) in [
        ("refused", &totals.refused),
        ("inconclusive", &totals.inconclusive),
        ("skipped", &totals.skipped),
        ("error", &totals.errors),
        ("unexplained", &totals.unexplained),
    ] {
        for (name, count) in counts {
            println!("{what} {count}: {name}");
        }
    }
    for (name, (given, taken)) in &totals.decoded {
        println!("decoded {given}, {taken} of them accepted: {name}");
    }
    for (class, (count, saved)) in &totals.findings {
        println!("\nfound {count}: {class}");
        for path in saved {
            println!("  cargo xtask fuzz --reproduce {}", path.display());
        }
    }
}
