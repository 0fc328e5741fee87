//! The site of the benchmark: pages, the runtime, functions, and other drivers of the same functions.

use crate::rewriter::optimise;
use anyhow::{Context as _, Result, ensure};
use faasm_browser_tests::{copy_folder, program};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The host call that suspends.
const SUSPENDING: &str = "env.__faasm_await_call";

macro_rules! texts {
    ($folder:literal: $($name:literal)*) => {
        [$(($name, include_str!(concat!("../../", $folder, "/", $name)))),*]
    };
}

const PAGES: [(&str, &str); 5] =
    texts!("page": "index.html" "measure.js" "peers.js" "groups.js" "blocking.js");

const FUNCTIONS: [(&str, &str); 5] =
    texts!("functions/wat": "suspend.wat" "read.wat" "chain.wat" "fan.wat" "nothing.wat");

/// A folder for a relay to serve.
pub(crate) struct Site {
    folder: TempDir,
}

impl Site {
    /// Creates the site with the runtime from this package, and the module of `asyncify-wasm`.
    pub(crate) fn new(package: &Path, asyncify_wasm: &Path) -> Result<Site> {
        let site = Site { folder: tempfile::tempdir().context("a temporary folder")? };
        for (name, text) in PAGES {
            fs::write(site.path().join(name), text).with_context(|| format!("writing {name}"))?;
        }
        copy_folder(package, &site.path().join("runtime"))?;
        for folder in ["originals", "peers"] {
            fs::create_dir(site.path().join(folder)).with_context(|| format!("making {folder}"))?;
        }
        for (name, text) in FUNCTIONS {
            let wasm =
                wat::parse_str(text).with_context(|| format!("parsing the text of {name}"))?;
            let path = site.original(name);
            fs::write(&path, wasm).with_context(|| format!("writing {}", path.display()))?;
        }
        build(&site.originals(), &site.path().join("functions"))?;
        let suspending = fs::read(site.original("suspend.wat")).context("reading a function")?;
        let peer = optimise::asyncified(&suspending, SUSPENDING)?;
        fs::write(site.path().join("peers/suspend.wasm"), peer).context("writing a peer")?;
        fs::copy(asyncify_wasm, site.path().join("peers/asyncify-wasm.mjs"))
            .with_context(|| format!("copying {}", asyncify_wasm.display()))?;
        Ok(site)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn original(&self, name: &str) -> PathBuf {
        self.path().join("originals").join(name).with_extension("wasm")
    }

    /// Original binaries of the functions.
    pub(crate) fn originals(&self) -> Vec<PathBuf> {
        FUNCTIONS.iter().map(|(name, _)| self.original(name)).collect()
    }

    /// Path of the package's engines.
    pub(crate) fn engine(&self) -> Result<String> {
        let snippets = self.path().join("runtime/snippets");
        let entries = fs::read_dir(&snippets).context("listing the package's snippets")?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let file = |name: String| format!("runtime/snippets/{name}/glue/engine.js");
        names
            .map(file)
            .find(|file| self.path().join(file).is_file())
            .map(|file| format!("/{file}"))
            .context("the package has no engine.js")
    }
}

fn build(originals: &[PathBuf], folder: &Path) -> Result<()> {
    let status = Command::new(program("FAASM_ASYNCIFY_BIN", "faasm-asyncify")?)
        .arg("build")
        .args(originals)
        .arg("-o")
        .arg(folder)
        .stdout(std::process::Stdio::null())
        .status()
        .context("starting faasm-asyncify")?;
    ensure!(status.success(), "building the functions failed; see its message above");
    Ok(())
}
