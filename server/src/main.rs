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

/// Forwards calls and state between web pages and a cluster.
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

/// Time limit for tasks that still run when a command has ended.
const UNWINDING: Duration = Duration::from_secs(2);
/// Functions occupy at most one thread per processor; these additional threads keep everything else responsive.
const MORE_THREADS: usize = 2;

fn runtime() -> std::io::Result<Runtime> {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = processors + MORE_THREADS;
    Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}

/// Allocations from this size on are mapped, and returned to the system when freed, bytes.
const MAPPED_BYTES: i32 = 128 * 1024;

/// Fixes the mmap threshold of glibc's allocator. Otherwise the threshold grows with each large allocation that is
/// freed, and heaps retain the memory: 590 of 780 MiB after 24 sessions that did not read their replies, instead of 40
/// MiB.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn give_memory_back() {
    // SAFETY: the call sets a number, and there is no other thread yet.
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
        // The output of these commands is what a function prints, or the doctor's results, not a library's remarks
        // about custom sections.
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
        // Blocking tasks cannot be cancelled, so the process does not wait for them.
        runtime.shutdown_timeout(UNWINDING);
        ended
    });
    ended.unwrap_or_else(|error| {
        eprintln!("error: {}", cli::describe(&error));
        ExitCode::FAILURE
    })
}
