//! `faasm-bench`: measures what the rewriter's output costs. `cargo xtask bench` builds what it needs and calls it.

mod artefact;
mod build;
mod column;
mod figures;
mod node;
mod optimise;
mod report;
mod run;
mod size;
mod small;
mod stats;
mod suite;
mod table;
mod unshim;
mod wasmtime;
mod workload;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Measures what the rewriter's output costs
#[derive(Debug, Parser)]
#[command(name = "faasm-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Rewriter(suite::Opts),
    /// The process in which one artefact is made and measured
    #[command(name = build::SUBCOMMAND, hide = true)]
    Build(build::Opts),
    /// The process that runs Binaryen
    #[command(name = optimise::SUBCOMMAND, hide = true)]
    Optimise(optimise::Opts),
}

fn main() -> ExitCode {
    let result: Result<()> = match Cli::parse().command {
        Command::Rewriter(opts) => suite::run(&opts),
        Command::Build(opts) => build::run(&opts),
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
