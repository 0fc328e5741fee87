//! The demo's web site in `dist/web`: the pages, the runtime, and the functions that `cargo xtask build` has put there.

use std::ffi::OsStr;
use std::fs;

use anyhow::{Context as _, Result};

use crate::workspace::{Workspace, copy_file, copy_folder, create_folder, remove_folder};

/// The example page.
const PAGES: [&str; 4] = ["index.html", "app.js", "style.css", "worker.js"];

/// Copies pages and runtime beside the functions; deletes earlier copies.
pub(crate) fn assemble(workspace: &Workspace) -> Result<()> {
    let web = workspace.web();
    create_folder(&web)?;
    for entry in fs::read_dir(&web).with_context(|| format!("reading {}", web.display()))? {
        let path = entry.with_context(|| format!("reading {}", web.display()))?.path();
        if path.is_file() {
            fs::remove_file(&path).with_context(|| format!("deleting {}", path.display()))?;
        } else if path.file_name() != Some(OsStr::new("functions")) {
            remove_folder(&path)?;
        }
    }
    // Copies single files, because the app in the same folder has a bundler of its own.
    for file in PAGES {
        copy_file(&workspace.root().join("examples/web").join(file), &web.join(file))?;
    }
    copy_folder(&workspace.npm(), &web.join("runtime"))
}
