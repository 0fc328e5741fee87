//! The alternative from npm that the runtime is compared with.

use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The most widely used driver for Asyncify.
const ASYNCIFY_WASM: &str = "asyncify-wasm@1.2.1";

/// Installs it into this folder, and returns its module.
pub(crate) fn asyncify_wasm(folder: &Path) -> Result<PathBuf> {
    let module = folder.join("node_modules/asyncify-wasm/dist/asyncify.mjs");
    if !module.is_file() {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let status = Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--prefix"])
            .arg(folder)
            .arg(ASYNCIFY_WASM)
            .status()
            .context("starting npm: the benchmark needs Node.js with npm")?;
        ensure!(status.success(), "`npm install {ASYNCIFY_WASM}` failed; see its message above");
    }
    Ok(module)
}
