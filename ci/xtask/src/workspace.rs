//! Paths: sources, cargo's output, and `dist` with everything that this crate creates.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The folders of a checkout.
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// The checkout in which `cargo xtask` was called.
    ///
    /// Taken from cargo's environment at run time. The path at build time may differ: if checkouts share a target
    /// folder, cargo may run a binary that another checkout built.
    pub(crate) fn find() -> Result<Workspace> {
        let package =
            env::var_os("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").into());
        // The crate is in `ci/xtask`.
        let root = Path::new(&package)
            .ancestors()
            .nth(2)
            .context("the xtask crate is not two folders below the workspace's root")?
            .to_path_buf();
        if !root.join("Cargo.toml").is_file() {
            bail!(
                "{} is gone since xtask was built: run `cargo xtask` in the checkout to build again",
                root.display()
            );
        }
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => env::current_dir().context("current folder")?.join(folder),
            None => own_target_folder().unwrap_or_else(|| root.join("target")),
        };
        Ok(Workspace { root, target })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's target folder, which all cargo commands started here share.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Path of a binary of the workspace built with `cargo build`.
    pub(crate) fn binary(&self, name: &str) -> PathBuf {
        self.target.join("debug").join(format!("{name}{}", env::consts::EXE_SUFFIX))
    }

    pub(crate) fn functions_source(&self) -> PathBuf {
        self.root.join("examples/functions")
    }

    /// The compiled functions, for the cluster.
    pub(crate) fn functions(&self) -> PathBuf {
        self.root.join("dist/functions")
    }

    /// The functions built for web pages.
    pub(crate) fn web_functions(&self) -> PathBuf {
        self.web().join("functions")
    }

    /// The web site of the demo.
    pub(crate) fn web(&self) -> PathBuf {
        self.root.join("dist/web")
    }

    /// The npm package of the browser runtime.
    pub(crate) fn npm(&self) -> PathBuf {
        self.root.join("dist/npm")
    }

    /// The data of the demo's embedded cluster.
    pub(crate) fn data(&self) -> PathBuf {
        self.root.join("dist/data")
    }

    /// The cargo that runs this program, in the root of the checkout.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        command
    }

    /// A path for messages: relative to the root of the checkout if it is inside.
    pub(crate) fn show<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}

/// `TARGET` if this program is `TARGET/debug/xtask`, which also holds with `cargo --target-dir`.
fn own_target_folder() -> Option<PathBuf> {
    let own = env::current_exe().ok()?;
    let profile = own.parent()?;
    (profile.file_name() == Some(OsStr::new("debug"))).then(|| profile.parent())?.map(Into::into)
}

/// The wasm modules in a folder, sorted by name.
pub(crate) fn wasm_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry.with_context(|| format!("reading {}", folder.display()))?.path();
        if path.extension() == Some(OsStr::new("wasm")) {
            files.push(path);
        }
    }
    if files.is_empty() {
        bail!("no functions in {}: `cargo xtask functions` builds the examples", folder.display());
    }
    files.sort();
    Ok(files)
}

pub(crate) fn create_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("creating folder {}", folder.display()))
}

/// Deletes a folder if it exists.
pub(crate) fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("deleting {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Copies a folder recursively into another one, which is created if necessary.
pub(crate) fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    create_folder(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry.with_context(|| format!("reading {}", from.display()))?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            copy_file(&entry.path(), &target)?;
        }
    }
    Ok(())
}

pub(crate) fn copy_file(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .map(drop)
        .with_context(|| format!("copying {} to {}", from.display(), to.display()))
}
