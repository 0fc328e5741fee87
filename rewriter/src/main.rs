//! `faasm-asyncify`: builds Faasm functions for the browser.

mod cli;

use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;

/// Builds Faasm functions for the browser.
///
/// A function is a WebAssembly binary, as Faasm's toolchain links it. The cluster runs the binary itself; web pages run
/// what `build` makes of it.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  faasm-asyncify build hello.wasm -o dist
  faasm-asyncify inspect hello.wasm
  faasm-asyncify run hello.wasm --input Ada
  faasm-asyncify upload hello.wasm --to http://localhost:8080 --user demo

Exit status:
  0  success
  1  an input cannot be read, built, run or uploaded; nothing was written for it
  2  the command line is invalid";

#[derive(Debug, Subcommand)]
enum Command {
    Build(cli::build::Arguments),
    Inspect(cli::inspect::Arguments),
    Run(cli::run::Arguments),
    Upload(cli::upload::Arguments),
    Explain(cli::explain::Arguments),
    Completions(cli::completions::Arguments),
    Man(cli::man::Arguments),
    #[command(name = "__binaryen", hide = true)]
    Binaryen(cli::binaryen::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Build(arguments) => cli::build::run(&arguments),
        Command::Inspect(arguments) => cli::inspect::run(&arguments),
        Command::Run(arguments) => cli::run::run(&arguments),
        Command::Upload(arguments) => cli::upload::run(&arguments),
        Command::Explain(arguments) => cli::explain::run(&arguments),
        Command::Completions(arguments) => cli::completions::run(&arguments, &Arguments::command()),
        Command::Man(arguments) => cli::man::run(&arguments, Arguments::command()),
        Command::Binaryen(arguments) => cli::binaryen::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", cli::describe(&error));
            ExitCode::FAILURE
        }
    }
}
