//! `faasm-relay`: serves web pages and runs functions.

mod cli;

use clap::{Parser, Subcommand};
use faasm_relay::cluster::COMPILE;
use std::io::IsTerminal;
use std::num::NonZero;
use std::process::ExitCode;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
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
    Explain(cli::explain::Opts),
    #[command(name = COMPILE, hide = true)]
    Compile(cli::compile::Opts),
}

/// For what still runs when a command has ended.
const UNWINDING: Duration = Duration::from_secs(2);
/// Functions run on as many threads as there are processors, one turn each; these are for everything else meanwhile, so that
/// what is answered at once is.
const MORE_THREADS: usize = 2;

fn runtime() -> std::io::Result<Runtime> {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = processors + MORE_THREADS;
    Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}

/// Pieces from this size on are mapped, and given back when they are freed, bytes.
const MAPPED_BYTES: i32 = 128 * 1024;

/// Fixes what glibc's allocator maps. Otherwise, with each large piece that is freed, it takes larger ones from its heaps, and these
/// keep what they had: 590 of 780 MiB after 24 sessions that did not read their replies, where now it is 40.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn give_memory_back() {
    // SAFETY: it sets a number, and there is no other thread yet.
    let is_set = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES) };
    debug_assert_eq!(is_set, 1);
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_memory_back() {}

fn main() -> ExitCode {
    give_memory_back();
    let opts = Opts::parse();
    let quiet = match &opts.command {
        Command::Serve(_) => "info,walrus=off",
        // What a function prints, or what was found, is the output of these commands; what a library says of a function's custom
        // sections is not.
        Command::Run(_)
        | Command::Token(_)
        | Command::Explain(_)
        | Command::Doctor(_)
        | Command::Compile(_) => "warn,walrus=off",
    };
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(quiet)),
        )
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let ended = runtime().map_err(anyhow::Error::from).and_then(|runtime| {
        let ended = runtime.block_on(async {
            match opts.command {
                Command::Serve(opts) => opts.run().await,
                Command::Doctor(opts) => opts.run().await,
                Command::Run(opts) => opts.run().await,
                Command::Token(opts) => opts.run(),
                Command::Explain(opts) => opts.run(),
                Command::Compile(opts) => opts.run(),
            }
        });
        // What blocks a thread cannot be cut off, and is not waited for.
        runtime.shutdown_timeout(UNWINDING);
        ended
    });
    ended.unwrap_or_else(|error| {
        eprintln!("error: {}", cli::describe(&error));
        ExitCode::FAILURE
    })
}
