//! The web folder of a test: the example site, plus functions of the test.

use crate::relay::program;
use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};
use std::{env, fs};
use tempfile::TempDir;
use tokio::process::Command;

/// A copy of the built example site.
#[derive(Debug)]
pub struct Site {
    folder: TempDir,
    /// Original binaries to upload.
    originals: Vec<PathBuf>,
}

impl Site {
    /// Copies the site that `cargo xtask test` built, with every function whose original exists.
    pub fn new() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let from = |variable: &str, default: &str| {
            env::var_os(variable).map_or_else(|| root.join(default), PathBuf::from)
        };
        let folder = tempfile::tempdir()?;
        copy_folder(&from("FAASM_WEB_DIR", "dist/web"), folder.path())
            .context("no built site: run `cargo xtask test`")?;
        let mut originals = Vec::new();
        for entry in fs::read_dir(from("FAASM_FUNCTIONS_DIR", "dist/functions"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "wasm") {
                originals.push(path);
            }
        }
        originals.sort();
        Ok(Self { folder, originals })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Original binaries to upload.
    pub fn originals(&self) -> &[PathBuf] {
        &self.originals
    }

    /// Names of the functions of some languages, selected by the suffix of the name.
    pub fn functions(&self, endings: &[&str]) -> Vec<String> {
        let names = self.originals.iter().filter_map(|path| path.file_stem()?.to_str());
        names
            .filter(|name| endings.iter().any(|ending| name.ends_with(ending)))
            .map(str::to_owned)
            .collect()
    }

    /// Builds a function from its text and adds it to the site.
    pub async fn add(&mut self, name: &str, text: &str) -> Result<()> {
        self.add_with(name, text, &[]).await
    }

    /// Like [`Site::add`], with further options of `faasm-asyncify build`.
    pub async fn add_with(&mut self, name: &str, text: &str, options: &[&str]) -> Result<()> {
        let original = self.folder.path().join(format!("{name}.original.wasm"));
        let renamed = self.folder.path().join("originals").join(format!("{name}.wasm"));
        fs::create_dir_all(self.folder.path().join("originals"))?;
        fs::write(
            &original,
            wat::parse_str(text).with_context(|| format!("parsing the text of {name}"))?,
        )?;
        fs::rename(&original, &renamed)?;
        let output = Command::new(program("FAASM_ASYNCIFY_BIN", "faasm-asyncify")?)
            .arg("build")
            .arg(&renamed)
            .arg("-o")
            .arg(self.folder.path().join("functions"))
            .args(options)
            .output()
            .await
            .context("running faasm-asyncify build")?;
        ensure!(
            output.status.success(),
            "building {name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        self.originals.push(renamed);
        Ok(())
    }
}

/// Copies a folder recursively.
pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
