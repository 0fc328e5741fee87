//! Runs modules under V8, each in a separate Node process with the driver in `js`.

use super::run::Run;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

const SCRIPTS: [(&str, &str); 3] = [
    ("driver.mjs", include_str!("../../js/driver.mjs")),
    ("host.mjs", include_str!("../../js/host.mjs")),
    ("suspending.mjs", include_str!("../../js/suspending.mjs")),
];

/// Only V8's optimising compiler: otherwise it depends on the machine's load when a function is optimised.
const FLAGS: [&str; 2] = ["--no-warnings", "--no-liftoff"];

pub(crate) struct Node {
    driver: PathBuf,
}

impl Node {
    /// Writes the driver to this folder.
    pub(crate) fn new(folder: &Path) -> Result<Node> {
        for (name, text) in SCRIPTS {
            std::fs::write(folder.join(name), text).context("writing the driver")?;
        }
        Ok(Node { driver: folder.join("driver.mjs") })
    }

    /// The output of `node --version`.
    pub(crate) fn version() -> Result<String> {
        let output = Command::new("node")
            .arg("--version")
            .output()
            .context("starting Node, which runs modules under V8; install Node 20 or later")?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Runs a module that has its original imports.
    pub(crate) fn time(&self, module: &Path, entry: &[String], rounds: u32) -> Result<Run> {
        let (stdout, _) = self.run(module, &json!({ "rounds": rounds, "entry": entry }))?;
        Run::parse(&stdout)
    }

    /// Runs an instrumented module for one round, suspended at every host call that may block; returns its checksum and
    /// the number of suspensions.
    pub(crate) fn suspend(
        &self,
        module: &Path,
        entry: &[String],
        buffer: Option<u32>,
    ) -> Result<(String, u64)> {
        let options = json!({ "rounds": 1, "entry": entry, "suspend": { "buffer": buffer } });
        let (stdout, stderr) = self.run(module, &options)?;
        let count = stderr.lines().find_map(|line| line.strip_prefix("suspensions "));
        let count = count.and_then(|count| count.parse().ok());
        Ok((
            Run::parse(&stdout)?.checksum,
            count.context("the driver printed no number of suspensions")?,
        ))
    }

    fn run(&self, module: &Path, options: &Value) -> Result<(String, String)> {
        let mut command = Command::new("node");
        command.args(FLAGS).arg(&self.driver).arg(module).arg(options.to_string());
        let output = command.output().context("starting Node")?;
        let [stdout, stderr] = [output.stdout, output.stderr]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let shown = module.display();
        ensure!(output.status.success(), "{shown} under Node: {}\n{stdout}{stderr}", output.status);
        Ok((stdout, stderr))
    }
}
