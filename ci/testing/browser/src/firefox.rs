//! Headless Firefox, driven through geckodriver.

use crate::browser::{SCRIPT_TIMEOUT, Started, find};
use crate::driver::Driver;
use anyhow::{Context as _, Result};
use serde_json::json;
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::process::Command;

/// The text that geckodriver prints before its port.
const STARTED: &str = "Listening on 127.0.0.1:";

/// Program names of the browser, in order of preference.
const BROWSERS: [&str; 2] = ["firefox-esr", "firefox"];

pub(crate) async fn start(profile: &TempDir) -> Result<Started> {
    let binary =
        find(&BROWSERS).context("no Firefox on the PATH: install the package firefox-esr")?;
    let command = || {
        let mut command = Command::new(geckodriver()?);
        command.args(["--host", "127.0.0.1", "--port", "0", "--websocket-port", "0"]);
        // geckodriver creates the profile here, and Firefox uses it as its home.
        command.arg("--profile-root").arg(profile.path()).env("HOME", profile.path());
        Ok(command)
    };
    let port = |line: &str| line.split_once(STARTED)?.1.trim().parse().ok();
    let (driver, port) = Driver::start(command, port).await?;
    let capabilities = json!({
        "moz:firefoxOptions": {
            "binary": binary,
            "args": ["-headless", "--width=1200", "--height=1000"],
            "prefs": {
                // Firefox must fetch only the pages of the tests.
                "app.update.enabled": false,
                "browser.safebrowsing.malware.enabled": false,
                "browser.safebrowsing.phishing.enabled": false,
                "datareporting.policy.dataSubmissionEnabled": false,
                "network.captive-portal-service.enabled": false,
                "network.connectivity-service.enabled": false,
            },
        },
        "timeouts": { "script": SCRIPT_TIMEOUT },
    });
    Ok(Started { driver, port, capabilities, display: None })
}

/// The geckodriver that `cargo xtask test` installs in cargo's target folder, or the one on the `PATH`.
fn geckodriver() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let installed = this.ancestors().map(|folder| folder.join("tools/bin/geckodriver"));
    let installed = installed.into_iter().find(|path| path.is_file());
    installed.or_else(|| find(&["geckodriver"])).context(
        "no geckodriver: `cargo xtask test` installs it, as does `cargo install geckodriver`",
    )
}
