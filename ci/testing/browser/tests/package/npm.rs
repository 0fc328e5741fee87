//! npm, and the package that it packs and installs.

use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};
use std::{env, fs};
use tempfile::TempDir;
use tokio::process::Command;

/// The runtime installed in an empty project. Dropping this value deletes both.
pub(crate) struct Project {
    folder: TempDir,
}

impl Project {
    /// Packs the package of the tests' site, and installs the result.
    pub(crate) async fn new(package: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let target = folder.path().to_str().context("the path of a temporary folder")?;
        let said = npm(package, &["pack", "--pack-destination", target]).await?;
        let packed = said.lines().last().context("reading the package name that npm prints")?;
        fs::write(folder.path().join("package.json"), r#"{ "private": true, "type": "module" }"#)?;
        npm(folder.path(), &["install", "--offline", &format!("./{packed}")]).await?;
        Ok(Self { folder })
    }

    /// Folder of the installed package.
    pub(crate) fn package(&self) -> PathBuf {
        self.folder.path().join("node_modules/@faasm/runtime-web")
    }
}

/// Runs npm to its end, and returns its output.
pub(crate) async fn npm(folder: &Path, arguments: &[&str]) -> Result<String> {
    // Ignore the developer's npm configuration.
    let quiet = ["--no-audit", "--no-fund", "--no-update-notifier"];
    run(folder, Path::new("npm"), &[arguments, &quiet].concat()).await
}

/// Runs a program to its end, and returns its output.
pub(crate) async fn run(folder: &Path, program: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).current_dir(folder).output().await;
    let output = output.with_context(|| {
        format!("starting {}: the tests need Node.js 20.19 or newer with npm", program.display())
    })?;
    let [said, complained] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let line = format!("{} {}", program.display(), arguments.join(" "));
    ensure!(output.status.success(), "`{line}` failed:\n{said}\n{complained}");
    Ok(said)
}

/// The folder in which a test leaves screenshots for people to look at.
pub(crate) fn screenshots() -> Option<PathBuf> {
    env::var_os("FAASM_SCREENSHOTS").map(PathBuf::from)
}
