//! `cargo xtask`: the entry point for building, demonstrating and testing this project. Each subcommand is one file in
//! `commands`.

mod browsers;
mod commands;
mod deny;
mod documents;
mod process;
mod relay;
mod results;
mod setup;
mod stages;
mod unify;
mod web;
mod workspace;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use workspace::Workspace;

/// Builds, demonstrates, checks and tests the project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(commands::demo::Args),
    Test(commands::test::Args),
    Conformance(commands::conformance::Args),
    Lint(commands::lint::Args),
    Functions(commands::functions::Args),
    Build(commands::build::Args),
    Package(commands::package::Args),
    Bench(commands::bench::Args),
    Fuzz(commands::fuzz::Args),
    Chaos(commands::chaos::Args),
    Api(commands::api::Args),
    Docs(commands::docs::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = Workspace::find().and_then(|workspace| match cli.command {
        Command::Demo(args) => args.run(&workspace),
        Command::Test(args) => args.run(&workspace),
        Command::Conformance(args) => args.run(&workspace),
        Command::Lint(args) => args.run(&workspace, Cli::command()),
        Command::Functions(args) => args.run(&workspace),
        Command::Build(args) => args.run(&workspace),
        Command::Package(args) => args.run(&workspace),
        Command::Bench(args) => args.run(&workspace),
        Command::Fuzz(args) => args.run(&workspace),
        Command::Chaos(args) => args.run(&workspace),
        Command::Api(args) => args.run(&workspace),
        Command::Docs(args) => args.run(&workspace),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
