//! `cargo xtask lint`: formatting, clippy with warnings denied, and `cargo deny` where installed.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::docs;
use crate::process::{run, succeeds};
use crate::setup;
use crate::unify;
use crate::workspace::Workspace;

const DENY_WARNINGS: [&str; 3] = ["--", "-D", "warnings"];

/// Check formatting, lints, and licences where cargo-deny is installed
#[derive(clap::Args)]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(self, workspace: &Workspace) -> Result<()> {
        setup::rust_components(workspace)?;
        setup::rust_targets(workspace, &[setup::WASI, setup::WEB])?;
        // Functions have workspaces of their own.
        let functions = [
            workspace.functions_source(),
            workspace.root().join("ci/testing/conformance/functions/rust"),
        ];
        let in_functions = functions.each_ref().map(|folder| {
            let mut command = workspace.cargo();
            command.current_dir(folder);
            command
        });

        for mut cargo in in_functions.into_iter().chain([workspace.cargo()]) {
            run(cargo.args(["fmt", "--all", "--check"]))
                .context("formatting; `cargo fmt --all` in that folder corrects it")?;
        }
        clippy(workspace.cargo().args([
            "clippy",
            "--workspace",
            "--exclude",
            "faasm-runtime-web",
            "--all-targets",
        ]))?;
        clippy(workspace.cargo().args([
            "clippy",
            "-p",
            "faasm-runtime-web",
            "--target",
            setup::WEB,
        ]))?;
        for folder in &functions {
            clippy(
                workspace
                    .cargo()
                    .current_dir(folder)
                    .args(["clippy", "--release", "--target", setup::WASI, "--target-dir"])
                    .arg(workspace.target().join("functions/lint")),
            )?;
        }

        docs::Args { check: true }.run(workspace)?;
        unify::check(workspace)?;

        if succeeds(workspace.cargo().args(["deny", "--version"])) {
            run(workspace.cargo().args(["deny", "check"]))?;
        } else {
            eprintln!("skipped `cargo deny check`: `cargo install cargo-deny` adds it");
        }
        Ok(())
    }
}

fn clippy(command: &mut Command) -> Result<()> {
    run(command.args(DENY_WARNINGS)).context("lints")
}
