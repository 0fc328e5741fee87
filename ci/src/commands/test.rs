//! `cargo xtask test`: installs what the tests need, builds everything, runs all tests (native, in
//! wasm, in browsers), and ends with how many passed and failed.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::commands::{api, build, conformance, functions, package};
use crate::process::{run, stream};
use crate::stages::Stages;
use crate::workspace::Workspace;
use crate::{setup, web};

/// The runtime's code runs in browsers only, where the browser tests run it.
const NATIVE: [&str; 3] = ["--workspace", "--exclude", "faasm-runtime-web"];

/// Install what the tests need, build everything, and run all tests
#[derive(clap::Args)]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(self, workspace: &Workspace) -> Result<()> {
        let mut stages = Stages::new();
        stages.run("set up", || {
            setup::test_packages(workspace)?;
            setup::rust_components(workspace)?;
            setup::rust_targets(workspace, &[setup::WASI, setup::WEB])
        })?;
        stages.run("compile functions", || {
            functions::build_all(workspace)?;
            conformance::functions(workspace)
        })?;
        // The same packages as are tested then, tests included, so that cargo chooses the same
        // features of dependencies and builds those once.
        stages.run("build", || {
            run(workspace.cargo().args(["build", "--bins", "--tests"]).args(NATIVE))
        })?;
        stages.run("build functions for the web", || build::web_functions(workspace))?;
        stages.run("package the runtime", || {
            package::Args {}.run(workspace)?;
            web::assemble(workspace)
        })?;

        let mut count = Count::default();
        stages.run("tests", || {
            let mut command = workspace.cargo();
            command.args(["test", "--no-fail-fast"]).args(NATIVE);
            command
                .env("FAASM_RELAY_BIN", workspace.binary("faasm-relay"))
                .env("FAASM_ASYNCIFY_BIN", workspace.binary("faasm-asyncify"))
                .env("FAASM_WEB_DIR", workspace.web())
                .env("FAASM_FUNCTIONS_DIR", workspace.functions());
            count.run(&mut command)
        })?;
        stages.run("tests of the bridge in wasm", || {
            let mut command = workspace.cargo();
            command.args(["test", "--no-fail-fast", "-p", "faasm-bridge", "--lib", "--tests"]);
            // Cargo appends the module and its arguments.
            let runner = format!("{} run --", workspace.binary("faasm-relay").display());
            command.args(["--target", setup::WASI]);
            count.run(command.env("CARGO_TARGET_WASM32_WASIP1_RUNNER", runner))
        })?;
        stages.run("HTTP API", || {
            match api::Args::default().check(workspace) {
                Ok(()) => count.passed += 1,
                Err(error) => {
                    eprintln!("{error:#}");
                    count.failed += 1;
                }
            }
            Ok(())
        })?;
        stages.run("conformance", || count.run(&mut conformance::suite(workspace)))?;

        stages.print();
        println!("\n{} passed, {} failed", count.passed, count.failed);
        if count.failed > 0 {
            bail!("tests failed; the output above has the reasons");
        }
        if count.passed == 0 {
            bail!("no tests were run");
        }
        Ok(())
    }
}

/// Test results over all runs.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
}

impl Count {
    /// Runs tests and counts their results. A run that fails without a failed test (it did not
    /// compile, or crashed) counts as one failure.
    fn run(&mut self, command: &mut Command) -> Result<()> {
        let failed_before = self.failed;
        let status = stream(command, |line| self.add(line)).context("running tests")?;
        if !status.success() && self.failed == failed_before {
            eprintln!("the run itself failed: {status}");
            self.failed += 1;
        }
        Ok(())
    }

    /// Adds a line `test result: ok. 5 passed; 0 failed; ...` of libtest, or `360 cases, 1000 passed, 0 failed` of the
    /// conformance suite; other lines do nothing.
    fn add(&mut self, line: &str) {
        let line = line.trim();
        let libtest = line.strip_prefix("test result: ").map(|result| (result, "; "));
        let suite = line.split_once(" cases, ").map(|(_, counts)| (counts, ", "));
        let Some((result, separator)) = libtest.or(suite) else { return };
        let result = result.split_once(". ").map_or(result, |(_, counts)| counts);
        for part in result.split(separator) {
            match part.split_once(' ') {
                Some((number, "passed")) => self.passed += number.parse::<u64>().unwrap_or(0),
                Some((number, "failed")) => self.failed += number.parse::<u64>().unwrap_or(0),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_runs_are_added_up() {
        let mut count = Count::default();
        for line in [
            "running 5 tests",
            "test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
            "test result: FAILED. 2 passed; 3 failed; 1 ignored; finished in 0.00s",
            "my test result: ok. 7 passed",
            "130 cases, 250 passed, 1 failed",
        ] {
            count.add(line);
        }
        assert_eq!(count, Count { passed: 257, failed: 4 });
    }
}
