//! `cargo deny`: licences, bans and sources of dependencies, and advisories if their database can be fetched.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process::{find_program, run, succeeds};
use crate::workspace::Workspace;

/// Installed if it is missing. Compiling it takes three minutes of CPU time, once for each target folder.
const CARGO_DENY: (&str, &str) = ("cargo-deny", "0.20.2");

/// Checks everything in `deny.toml`.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let program = install(workspace)?;
    let deny = || {
        let mut command = Command::new(&program);
        command.current_dir(workspace.root()).args(["--log-level", "error"]);
        command
    };
    // Reports multiple versions of a dependency as a warning, without the paths to each.
    let kinds = ["check", "--hide-inclusion-graph", "licenses", "bans", "sources"];
    run(deny().args(kinds)).context("dependencies; deny.toml says what is allowed")?;
    if succeeds(deny().args(["fetch", "db"])) {
        return run(deny().args(["--offline", "check", "advisories"]))
            .context("advisories; update the dependency, or ignore the advisory in deny.toml with the reason");
    }
    eprintln!("advisories were not checked: `cargo deny fetch db` cannot fetch their database");
    Ok(())
}

/// The program on the `PATH`, or the one in the tools folder, which is compiled if it is missing.
fn install(workspace: &Workspace) -> Result<PathBuf> {
    let (name, version) = CARGO_DENY;
    if let Some(program) = find_program(&[name]) {
        return Ok(program);
    }
    let tools = workspace.target().join("tools");
    let program = tools.join("bin").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if program.is_file() {
        return Ok(program);
    }
    // A separate target folder, because its features differ.
    let build = tools.join("build-deny");
    let mut install = workspace.cargo();
    install.args(["install", name, "--version", version, "--locked", "--root"]).arg(&tools);
    run(install.arg("--target-dir").arg(&build))
        .context("installing cargo-deny, which checks dependencies")?;
    fs::remove_dir_all(&build).with_context(|| format!("deleting {}", build.display()))?;
    Ok(program)
}
