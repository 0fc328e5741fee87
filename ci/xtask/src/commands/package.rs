//! `cargo xtask package`: builds the browser runtime and creates the npm package in `dist/npm`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use wasm_bindgen_cli_support::Bindgen;

use crate::process::{find_program, run};
use crate::setup;
use crate::workspace::{Workspace, copy_file, copy_folder, create_folder, remove_folder};

/// Base name of the package's files.
const NAME: &str = "faasm_runtime";

/// The order of conditions in `exports` matters: the first match applies.
const PACKAGE_JSON: &str = r#"{
  "name": "@faasm/runtime-web",
  "version": "VERSION",
  "description": "Runs Faasm functions in a web page: blocking host calls suspend the function, not the page",
  "license": "Apache-2.0",
  "repository": { "type": "git", "url": "git+https://github.com/faasm/faasm-browser.git" },
  "type": "module",
  "main": "./index.js",
  "types": "./index.d.ts",
  "exports": {
    ".": { "types": "./index.d.ts", "default": "./index.js" },
    "./wasm": "./NAME_bg.wasm",
    "./package.json": "./package.json"
  },
  "files": ["*.js", "*.d.ts", "*.wasm", "snippets"],
  "sideEffects": ["./snippets/*"]
}
"#;

/// Prints the total size of the files given as arguments, each compressed as by a server.
const BROTLI: &str = r#"
const { brotliCompressSync } = require("zlib");
const { readFileSync } = require("fs");
console.log(process.argv.slice(1).reduce((sum, file) => sum + brotliCompressSync(readFileSync(file)).length, 0));
"#;

/// Create the npm package of the browser runtime in dist/npm
#[derive(clap::Args)]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(self, workspace: &Workspace) -> Result<()> {
        setup::rust_targets(workspace, &[setup::WEB])?;
        let module = compile(workspace)?;
        let npm = workspace.npm();
        remove_folder(&npm)?;
        create_folder(&npm)?;
        bind(&module, &npm)
            .with_context(|| format!("generating bindings of {}", module.display()))?;
        let runtime = workspace.root().join("runtime-web");
        copy_folder(&runtime.join("npm"), &npm)?;
        copy_file(&runtime.join("src/types.d.ts"), &npm.join("index.d.ts"))?;
        describe(workspace, &npm)?;
        for (file, size) in files(workspace)? {
            println!("{size:>9} bytes  {}", workspace.show(&file));
        }
        match download(workspace)? {
            None => println!("compressed size: not measured, because node is not installed"),
            Some(bytes) => println!("{bytes:>9} bytes  to download, compressed with brotli"),
        }
        Ok(())
    }
}

/// Number of bytes that a page downloads of the package from a server that compresses; `None` if node is not installed.
pub(crate) fn download(workspace: &Workspace) -> Result<Option<u64>> {
    if find_program(&["node"]).is_none() {
        return Ok(None);
    }
    let files =
        files(workspace)?.into_iter().map(|(file, _)| file).filter(|file| is_downloaded(file));
    let output = Command::new("node").arg("-e").arg(BROTLI).args(files).output();
    let output = output.context("measuring with node")?;
    let bytes = String::from_utf8_lossy(&output.stdout).trim().parse::<u64>();
    bytes.map(Some).with_context(|| {
        format!("measuring with node: {}", String::from_utf8_lossy(&output.stderr))
    })
}

/// The package's files with their sizes.
fn files(workspace: &Workspace) -> Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    list(&workspace.npm(), &mut files)?;
    Ok(files)
}

fn compile(workspace: &Workspace) -> Result<PathBuf> {
    run(workspace.cargo().args([
        "build",
        "-p",
        "faasm-runtime-web",
        "--profile",
        "web",
        "--target",
        setup::WEB,
    ]))
    .context("browser runtime")?;
    Ok(workspace.target().join(setup::WEB).join("web/faasm_runtime_web.wasm"))
}

/// Generates JavaScript around the module for pages that load it without a bundler; bundlers accept it, too.
fn bind(module: &Path, folder: &Path) -> Result<()> {
    Bindgen::new()
        .input_path(module)
        .out_name(NAME)
        .web(true)?
        // The types are hand-written, with their documentation.
        .typescript(false)
        // `init()` looks for the module beside the script.
        .omit_default_module_path(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(folder)
}

fn describe(workspace: &Workspace, npm: &Path) -> Result<()> {
    let package = PACKAGE_JSON.replace("NAME", NAME).replace("VERSION", env!("CARGO_PKG_VERSION"));
    let path = npm.join("package.json");
    fs::write(&path, package).with_context(|| format!("writing {}", path.display()))?;

    // npm shows the package's readme, otherwise the project's.
    let readmes = ["runtime-web/README.md", "README.md"].map(|name| workspace.root().join(name));
    for (from, to) in [
        (readmes.into_iter().find(|path| path.is_file()), "README.md"),
        (Some(workspace.root().join("LICENSE")).filter(|path| path.is_file()), "LICENSE"),
    ] {
        match from {
            Some(from) => copy_file(&from, &npm.join(to))?,
            None => eprintln!("the package has no {to}: the checkout has none"),
        }
    }
    Ok(())
}

/// Files that are fetched with the first call that runs in a worker.
const LATER: [&str; 2] = ["pool.js", "worker.js"];

/// Whether every page downloads the file.
fn is_downloaded(file: &Path) -> bool {
    let is_later = LATER.iter().any(|name| file.file_name() == Some(OsStr::new(name)));
    !is_later && file.extension().is_some_and(|extension| extension == "js" || extension == "wasm")
}

fn list(folder: &Path, files: &mut Vec<(PathBuf, u64)>) -> Result<()> {
    let context = || format!("listing {}", folder.display());
    for entry in fs::read_dir(folder).with_context(context)? {
        let entry = entry.with_context(context)?;
        if entry.path().is_dir() {
            list(&entry.path(), files)?;
        } else {
            files.push((entry.path(), entry.metadata().with_context(context)?.len()));
        }
    }
    files.sort();
    Ok(())
}
