//! Headless Chromium, driven through chromedriver.

use crate::browser::{SCRIPT_TIMEOUT, Started, find};
use crate::driver::Driver;
use anyhow::{Context as _, Result};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

/// The text that chromedriver prints before its port.
const STARTED: &str = "started successfully on port ";

/// Program names of the browser, in order of preference.
const BROWSERS: [&str; 4] =
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

pub(crate) async fn start(profile: &TempDir) -> Result<Started> {
    let binary =
        find(&BROWSERS).context("no Chromium on the PATH: install the package chromium")?;
    let command = || {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0");
        Ok(command)
    };
    let port = |line: &str| line.split_once(STARTED)?.1.trim_end_matches('.').parse().ok();
    let (driver, port) = Driver::start(command, port).await?;
    let profile = format!("--user-data-dir={}", profile.path().display());
    let capabilities = json!({
        "goog:chromeOptions": {
            "binary": binary,
            "args": [
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--disable-dev-shm-usage", "--window-size=1200,1000", profile,
            ],
        },
        "timeouts": { "script": SCRIPT_TIMEOUT },
    });
    Ok(Started { driver, port, capabilities, display: None })
}
