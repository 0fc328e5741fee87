//! `cargo xtask api`: holds a relay to what it says about its HTTP routes, with Schemathesis.

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

/// Check the relay's HTTP routes against the document at /openapi.json, with requests that fit it and others that do not
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Most requests of each kind for each operation
    #[arg(long, value_name = "N", default_value_t = 30)]
    examples: u32,
    /// Where the requests begin
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

    /// The same for a relay that was built.
    pub(crate) fn check(self, workspace: &Workspace) -> Result<()> {
        let program = schemathesis(workspace)?;
        // The relay serves it; there need not be anything in it.
        fs::create_dir_all(workspace.web()).context("folder of the web site")?;
        let relay = Relay::start(workspace, 0)?;
        let mut command = Command::new(program);
        command.current_dir(workspace.target());
        command.arg("--config-file").arg(workspace.root().join("ci/xtask/api.toml"));
        command.args(["run", "--no-color", "--warnings", "off", "--seed", &self.seed.to_string()]);
        command.args(["--max-examples", &self.examples.to_string()]);
        command.arg(format!("{}/openapi.json", relay.url()));
        run(&mut command)
            .context("the relay does not do what it says; the output above has the requests")
    }
}

/// Schemathesis in a folder of its own, installed if it is not there.
fn schemathesis(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target().join(SCHEMATHESIS.replace("==", "-"));
    let program = folder.join("bin/schemathesis");
    if !succeeds(Command::new(&program).arg("--version")) {
        setup::python()?;
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))
            .context("making a Python environment")?;
        run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", SCHEMATHESIS]))
            .context("installing Schemathesis")?;
    }
    Ok(program)
}
