//! `cargo xtask build`: builds rewriter and relay, then the functions in `dist/functions` for web
//! pages, to `dist/web/functions`.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process::run;
use crate::workspace::{Workspace, create_folder, remove_folder, wasm_files};

/// Build rewriter and relay, and the functions in dist/functions for web pages
#[derive(clap::Args)]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(self, workspace: &Workspace) -> Result<()> {
        native(workspace)?;
        web_functions(workspace)
    }
}

/// Builds rewriter and relay in one cargo command, so that shared dependencies are built once.
pub(crate) fn native(workspace: &Workspace) -> Result<()> {
    run(workspace.cargo().args(["build", "-p", "faasm-asyncify", "-p", "faasm-relay"]))
        .context("building rewriter and relay")
}

/// Builds the functions for web pages; replaces earlier output.
pub(crate) fn web_functions(workspace: &Workspace) -> Result<()> {
    let output = workspace.web_functions();
    remove_folder(&output)?;
    create_folder(&output)?;
    run(Command::new(workspace.binary("faasm-asyncify"))
        .arg("build")
        .args(wasm_files(&workspace.functions())?)
        .arg("-o")
        .arg(&output))
    .context("building functions for web pages")
}
