//! `cargo xtask api`: tests with Schemathesis that a relay conforms to its description of the HTTP routes.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process::{run, succeeds};
use crate::relay::Relay;
use crate::setup;
use crate::workspace::Workspace;

/// The version that the settings in `ci/xtask/api.toml` are for.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// Check the relay's HTTP routes against the document at /openapi.json, with valid and invalid requests
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Maximum number of requests of each kind for each operation
    #[arg(long, value_name = "N", default_value_t = 30)]
    examples: u32,
    /// Seed of the requests
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

impl Default for Args {
    fn default() -> Self {
        Args { examples: 30, seed: 1 }
    }
}

impl Args {
    pub(crate) fn run(self, workspace: &Workspace) -> Result<()> {
        run(workspace.cargo().args(["build", "-p", "faasm-relay"])).context("relay")?;
        self.check(workspace)
    }

    /// Checks a relay that is already built.
    pub(crate) fn check(self, workspace: &Workspace) -> Result<()> {
        let program = schemathesis(workspace)?;
        // The relay serves this folder, which may be empty.
        fs::create_dir_all(workspace.web()).context("folder of the web site")?;
        let relay = Relay::start(workspace, 0)?;
        let mut command = Command::new(program);
        command.current_dir(workspace.target());
        command.arg("--config-file").arg(workspace.root().join("ci/xtask/api.toml"));
        command.args(["run", "--no-color", "--warnings", "off", "--seed", &self.seed.to_string()]);
        command.args(["--max-examples", &self.examples.to_string()]);
        command.arg(format!("{}/openapi.json", relay.url()));
        run(&mut command)
            .context("the relay violates its own description; the output above shows the requests")
    }
}

/// Schemathesis in a folder of its own, installed if missing.
fn schemathesis(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target().join(SCHEMATHESIS.replace("==", "-"));
    let program = folder.join("bin/schemathesis");
    if !succeeds(Command::new(&program).arg("--version")) {
        setup::python()?;
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))
            .context("creating a Python environment")?;
        run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", SCHEMATHESIS]))
            .context("installing Schemathesis")?;
    }
    Ok(program)
}
