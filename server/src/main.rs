//! `faasm-relay`: serves web pages and runs functions.

mod cli;

use clap::{Parser, Subcommand};
use faasm_relay::cluster::embedded::COMPILE;
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Carries calls and state between web pages and a cluster.
#[derive(Debug, Parser)]
#[command(name = "faasm-relay", version, about)]
struct Opts {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(cli::serve::Opts),
    Doctor(cli::doctor::Opts),
    Run(cli::run::Opts),
    Token(cli::token::Opts),
    #[command(name = COMPILE, hide = true)]
    Compile(cli::compile::Opts),
}

fn main() -> ExitCode {
    let opts = Opts::parse();
    let quiet = match &opts.command {
        Command::Serve(_) => "info",
        // What a function prints, or what was found, is the output of these commands.
        Command::Run(_) | Command::Token(_) | Command::Doctor(_) | Command::Compile(_) => "warn",
    };
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(quiet)),
        )
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let ended = tokio::runtime::Runtime::new().map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(async {
            match opts.command {
                Command::Serve(opts) => opts.run().await,
                Command::Doctor(opts) => opts.run().await,
                Command::Run(opts) => opts.run().await,
                Command::Token(opts) => opts.run(),
                Command::Compile(opts) => opts.run(),
            }
        })
    });
    ended.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
