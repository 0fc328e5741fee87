//! `faasm-asyncify completions`: prints what a shell needs to complete our command lines.

use super::print;
use anyhow::Result;
use clap::{Args, Command};
use clap_complete::Shell;

const NAME: &str = env!("CARGO_PKG_NAME");

/// Print completions for a shell
///
/// For example `faasm-asyncify completions bash > ~/.local/share/bash-completion/completions/faasm-asyncify`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments, program: &Command) -> Result<()> {
    // The generator would include hidden subcommands.
    let shown = program.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let mut shown = Command::new(NAME).version(env!("CARGO_PKG_VERSION")).subcommands(shown);
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut shown, NAME, &mut script);
    print(&String::from_utf8_lossy(&script))
}
