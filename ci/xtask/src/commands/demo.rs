//! `cargo xtask demo`: builds everything from a fresh checkout, and runs the example functions in a web page with a
//! cluster on this machine.

use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::commands::{build, functions, package};
use crate::process::run;
use crate::relay::Relay;
use crate::stages::{Stages, figure, in_words, write_figures};
use crate::workspace::{Workspace, wasm_files};
use crate::{browsers, setup, web};

/// The user whose functions the demo's pages run.
const USER: &str = "demo";

/// Target for the first run on a fresh machine until the page can be opened.
const FIRST_RUN: Duration = Duration::from_secs(15 * 60);

/// Build everything and run the example functions in a web page
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run the functions in a headless Chromium instead of waiting for Ctrl-C, and exit with its result
    #[arg(long)]
    check: bool,

    /// Port on 127.0.0.1; 0 chooses a free port, and is the default with --check [default: 8080]
    #[arg(long)]
    port: Option<u16>,

    /// Write the times as JSON to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self, workspace: &Workspace) -> Result<()> {
        let mut stages = Stages::new();
        let was_built = workspace.binary("faasm-relay").is_file();
        if self.check {
            // Fail now rather than after minutes of building.
            browsers::require_one()?;
        }

        stages.run("set up", || setup::rust_targets(workspace, &[setup::WASI, setup::WEB]))?;
        stages.run("compile functions", || functions::build_all(workspace))?;
        stages.run("build rewriter and relay", || build::native(workspace))?;
        stages.run("build functions for the web", || build::web_functions(workspace))?;
        stages.run("package the runtime", || package::Args {}.run(workspace))?;
        let port = self.port.unwrap_or(if self.check { 0 } else { 8080 });
        let mut relay = stages.run("start the relay", || {
            web::assemble(workspace)?;
            let relay = Relay::start(workspace, port)?;
            upload(workspace, &relay)?;
            Ok(relay)
        })?;
        let first_run = stages.total();

        let checked = self.check.then(|| {
            stages.run("check in a browser", || {
                let check = ["run", "-p", "faasm-browser-tests", "--", "check"];
                run(workspace.cargo().args(check).arg(relay.url()))
            })
        });
        stages.print();
        eprintln!("{:>12}  until the page could be opened", in_words(first_run));
        if let Some(path) = &self.json {
            let note = if was_built {
                "not a first run: the relay had been built before"
            } else {
                "the relay had not been built before; a cold run if the target folder was empty"
            };
            let name = "demo: until the page can be opened";
            let mut figures = vec![figure(name, first_run, Some(FIRST_RUN), note)];
            figures.extend(stages.figures());
            write_figures(path, &figures)?;
        }
        match checked {
            Some(result) => result,
            None => wait(&mut relay),
        }
    }
}

/// Uploads the compiled functions to the cluster.
fn upload(workspace: &Workspace, relay: &Relay) -> Result<()> {
    run(Command::new(workspace.binary("faasm-asyncify"))
        .arg("upload")
        .args(wasm_files(&workspace.functions())?)
        .args(["--to", relay.url(), "--user", USER]))
    .context("uploading functions to the relay")
}

/// Waits for Ctrl-C, SIGTERM, or the end of the relay.
fn wait(relay: &mut Relay) -> Result<()> {
    let (stop, stopped) = mpsc::channel();
    ctrlc::set_handler(move || {
        // Sending fails only if the receiver is gone.
        let _ = stop.send(());
    })
    .context("waiting for Ctrl-C")?;
    println!("\nOpen {}/ in a browser. Ctrl-C ends the demo.", relay.url());
    while stopped.recv_timeout(Duration::from_millis(200)).is_err() {
        if let Some(status) = relay.ended()? {
            bail!("the relay exited unexpectedly: {status}");
        }
    }
    Ok(())
}
