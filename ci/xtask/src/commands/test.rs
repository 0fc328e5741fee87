//! `cargo xtask test`: installs what the tests need, builds everything, runs all tests (native, in wasm, in browsers),
//! and prints how many passed and failed.

use anyhow::{Result, bail};

use crate::commands::{api, build, conformance, functions, package};
use crate::process::run;
use crate::results::Results;
use crate::stages::Stages;
use crate::workspace::Workspace;
use crate::{setup, web};

/// The runtime's code runs only in browsers, where the browser tests cover it.
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
        // Builds the packages that are tested below, including tests, so that cargo selects the same features of
        // dependencies and builds them once.
        stages.run("build", || {
            run(workspace.cargo().args(["build", "--bins", "--tests"]).args(NATIVE))
        })?;
        stages.run("build functions for the web", || build::web_functions(workspace))?;
        stages.run("package the runtime", || {
            package::Args {}.run(workspace)?;
            web::assemble(workspace)
        })?;

        let mut results = Results::default();
        stages.run("tests", || {
            let mut command = workspace.cargo();
            command.args(["test", "--no-fail-fast"]).args(NATIVE);
            command
                .env("FAASM_RELAY_BIN", workspace.binary("faasm-relay"))
                .env("FAASM_ASYNCIFY_BIN", workspace.binary("faasm-asyncify"))
                .env("FAASM_WEB_DIR", workspace.web())
                .env("FAASM_FUNCTIONS_DIR", workspace.functions());
            results.run(&mut command)
        })?;
        stages.run("tests of the bridge in wasm", || {
            let mut command = workspace.cargo();
            command.args(["test", "--no-fail-fast", "-p", "faasm-bridge", "--lib", "--tests"]);
            // Cargo appends the module and its arguments.
            let runner = format!("{} run --", workspace.binary("faasm-relay").display());
            command.args(["--target", setup::WASI]);
            results.run(command.env("CARGO_TARGET_WASM32_WASIP1_RUNNER", runner))
        })?;
        stages.run("HTTP API", || {
            match api::Args::default().check(workspace) {
                Ok(()) => results.passed += 1,
                Err(error) => results.fail(format!("HTTP API: {error:#}")),
            }
            Ok(())
        })?;
        stages.run("conformance", || results.run(&mut conformance::suite(workspace)))?;

        stages.print();
        results.print();
        if results.failed > 0 {
            bail!("tests failed; see the output above");
        }
        if results.passed == 0 {
            bail!("no tests were run");
        }
        Ok(())
    }
}
