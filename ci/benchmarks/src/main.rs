//! `faasm-bench`: measures what functions and the runtime cost. `cargo xtask bench` builds what it needs and calls it.

mod figure;
mod measured;
mod process;
mod relay;
mod rewriter;
mod runtime;
mod stats;
mod table;

use anyhow::Result;
use clap::{Parser, Subcommand};
use rewriter::{build, optimise, shapes, suite};
use std::process::ExitCode;

/// Measures what functions and the runtime cost
#[derive(Debug, Parser)]
#[command(name = "faasm-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Rewriter(suite::Opts),
    Shapes(shapes::Opts),
    Runtime(runtime::Opts),
    Relay(relay::Opts),
    /// The process in which one artefact is made and measured
    #[command(name = build::SUBCOMMAND, hide = true)]
    Build(build::Opts),
    /// The process between this program and one that is measured
    #[command(name = measured::SUBCOMMAND, hide = true)]
    Measured(measured::Opts),
    /// The process that runs Binaryen
    #[command(name = optimise::SUBCOMMAND, hide = true)]
    Optimise(optimise::Opts),
}

fn main() -> ExitCode {
    let result: Result<()> = match Cli::parse().command {
        Command::Rewriter(opts) => suite::run(&opts),
        Command::Shapes(opts) => shapes::run(&opts),
        Command::Runtime(opts) => runtime::run(&opts),
        Command::Relay(opts) => relay::run(&opts),
        Command::Build(opts) => build::run(&opts),
        Command::Measured(opts) => measured::run(&opts),
        Command::Optimise(opts) => optimise::run(&opts),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
