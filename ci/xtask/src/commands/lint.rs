//! `cargo xtask lint`: formatting, clippy with warnings denied, documents, and dependencies.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::{build, docs};
use crate::process::run;
use crate::stages::Stages;
use crate::workspace::Workspace;
use crate::{deny, documents, setup, unify};

const DENY_WARNINGS: [&str; 3] = ["--", "-D", "warnings"];

/// Check formatting, lints, references in documents, and dependencies
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only check documents and removed words, using the existing builds of rewriter and relay
    #[arg(long)]
    documents: bool,
}

impl Args {
    /// `xtask` is the command line of this program, to check commands in documents against it.
    pub(crate) fn run(self, workspace: &Workspace, xtask: clap::Command) -> Result<()> {
        if self.documents {
            return documents::check(workspace, xtask);
        }
        let mut stages = Stages::new();
        stages.run("set up", || {
            setup::rust_components(workspace)?;
            setup::rust_targets(workspace, &[setup::WASI, setup::WEB])
        })?;
        // Functions have workspaces of their own.
        let functions = [
            workspace.functions_source(),
            workspace.root().join("ci/testing/conformance/functions/rust"),
        ];
        stages.run("formatting", || {
            let in_functions = functions.each_ref().map(|folder| {
                let mut command = workspace.cargo();
                command.current_dir(folder);
                command
            });
            for mut cargo in in_functions.into_iter().chain([workspace.cargo()]) {
                run(cargo.args(["fmt", "--all", "--check"]))
                    .context("formatting; `cargo fmt --all` in that folder corrects it")?;
            }
            Ok(())
        })?;
        stages.run("clippy", || {
            let native =
                ["clippy", "--workspace", "--exclude", "faasm-runtime-web", "--all-targets"];
            clippy(workspace.cargo().args(native))?;
            let web = ["clippy", "-p", "faasm-runtime-web", "--target", setup::WEB];
            clippy(workspace.cargo().args(web))?;
            for folder in &functions {
                let wasi = ["clippy", "--release", "--target", setup::WASI, "--target-dir"];
                let target = workspace.target().join("functions/lint");
                clippy(workspace.cargo().current_dir(folder).args(wasi).arg(target))?;
            }
            Ok(())
        })?;
        stages.run("generated documents and features", || {
            docs::Args { check: true }.run(workspace)?;
            unify::check(workspace)
        })?;
        // Documents name commands of rewriter and relay; the tests need both programs, too.
        stages.run("build rewriter and relay", || build::native(workspace))?;
        stages.run("documents and words", || documents::check(workspace, xtask))?;
        stages
            .run("dependencies (the first time with compiling cargo-deny, some minutes)", || {
                deny::check(workspace)
            })?;
        stages.print();
        Ok(())
    }
}

fn clippy(command: &mut Command) -> Result<()> {
    run(command.args(DENY_WARNINGS)).context("lints")
}
