//! WebKitGTK's MiniBrowser, driven through WebKitWebDriver. It has no headless mode, so it draws on an X server without
//! a screen.

use crate::browser::{SCRIPT_TIMEOUT, Started};
use crate::driver::Driver;
use anyhow::{Context as _, Result};
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::process::Command;

/// Folders of libraries that may contain the browser.
const LIBRARIES: [&str; 3] = ["webkit2gtk-4.1", "webkitgtk-6.0", "webkit2gtk-4.0"];

pub(crate) async fn start(profile: &TempDir) -> Result<Started> {
    let binary = browser().context("no MiniBrowser: install the package webkit2gtk-driver")?;
    let command = || {
        let mut command = Command::new("Xvfb");
        // Xvfb takes the first free display and writes its number to the given descriptor, here its standard output.
        command.args(["-displayfd", "1", "-screen", "0", "1200x1000x24", "-nolisten", "tcp"]);
        Ok(command)
    };
    let number = |line: &str| line.trim().parse::<u32>().ok();
    let (display, number) =
        Driver::start(command, number).await.context("starting Xvfb: install the package xvfb")?;
    let command = |port| {
        let mut command = Command::new("WebKitWebDriver");
        command.arg("--host=127.0.0.1").arg(format!("--port={port}"));
        command.env("DISPLAY", format!(":{number}"));
        // Its sandbox needs user namespaces, and does not run as root.
        command.env("WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS", "1");
        command.env("GSETTINGS_BACKEND", "memory").env("NO_AT_BRIDGE", "1");
        for variable in ["HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            command.env(variable, profile.path());
        }
        Ok(command)
    };
    let (driver, port) = Driver::start_at(command).await?;
    let capabilities = json!({
        "webkitgtk:browserOptions": { "binary": binary, "args": ["--automation"] },
        "timeouts": { "script": SCRIPT_TIMEOUT },
    });
    Ok(Started { driver, port, capabilities, display: Some(display) })
}

/// The browser, which is not on the `PATH`: `/usr/lib/ARCHITECTURE/LIBRARY/MiniBrowser`.
fn browser() -> Option<PathBuf> {
    let folders: Vec<PathBuf> =
        fs::read_dir("/usr/lib").ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    LIBRARIES.iter().find_map(|library| {
        folders
            .iter()
            .map(|folder| folder.join(library).join("MiniBrowser"))
            .find(|it| it.is_file())
    })
}
