//! `faasm-asyncify man`: writes manual pages, one for each subcommand.

use anyhow::{Context, Result};
use clap::{Args, Command};
use std::path::PathBuf;

/// Write manual pages, one for each subcommand
///
/// For example `faasm-asyncify man ~/.local/share/man/man1`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Folder for the pages; created if missing
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(crate) fn run(arguments: &Arguments, program: Command) -> Result<()> {
    let folder = &arguments.folder;
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(program, folder))
        .with_context(|| format!("cannot write manual pages to {}", folder.display()))
}
