//! `faasm-bench`: measures the cost of functions and of the runtime. `cargo xtask bench` builds what it needs and
//! starts it.

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

/// Measures the cost of functions and of the runtime
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
    /// The process that builds and measures one artefact
    #[command(name = build::SUBCOMMAND, hide = true)]
    Build(build::Opts),
    /// The process between this program and a measured program
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
