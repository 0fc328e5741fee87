//! `cargo xtask package`: builds the browser runtime and makes the npm package in `dist/npm`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use wasm_bindgen_cli_support::Bindgen;

use crate::process::run;
use crate::setup;
use crate::workspace::{Workspace, copy_file, copy_folder, create_folder, remove_folder};

/// The stem of the package's files.
const NAME: &str = "faasm_runtime";

/// The order of conditions in `exports` matters: the first that fits is taken.
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

/// Make the npm package of the browser runtime in dist/npm
#[derive(clap::Args)]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(self, workspace: &Workspace) -> Result<()> {
        setup::rust_targets(workspace, &[setup::WEB])?;
        let module = compile(workspace)?;
        let npm = workspace.npm();
        remove_folder(&npm)?;
        create_folder(&npm)?;
        bind(&module, &npm).with_context(|| format!("bindings of {}", module.display()))?;
        copy_folder(&workspace.root().join("runtime-web/package"), &npm)?;
        describe(workspace, &npm)?;
        let mut files = Vec::new();
        list(&npm, &mut files)?;
        for (file, size) in files {
            println!("{size:>9} bytes  {}", workspace.show(&file));
        }
        Ok(())
    }
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

/// JavaScript and TypeScript around the module, for pages that load it without a bundler; bundlers
/// take it too.
fn bind(module: &Path, folder: &Path) -> Result<()> {
    Bindgen::new()
        .input_path(module)
        .out_name(NAME)
        .web(true)?
        .typescript(true)
        // `init()` finds the module beside the script.
        .omit_default_module_path(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(folder)
}

fn describe(workspace: &Workspace, npm: &Path) -> Result<()> {
    let package = PACKAGE_JSON.replace("NAME", NAME).replace("VERSION", env!("CARGO_PKG_VERSION"));
    let path = npm.join("package.json");
    fs::write(&path, package).with_context(|| format!("writing {}", path.display()))?;

    // npm shows the readme of the package, or else the project's.
    let readmes = ["runtime-web/README.md", "README.md"].map(|name| workspace.root().join(name));
    for (from, to) in [
        (readmes.into_iter().find(|path| path.is_file()), "README.md"),
        (Some(workspace.root().join("LICENSE")).filter(|path| path.is_file()), "LICENSE"),
    ] {
        match from {
            Some(from) => copy_file(&from, &npm.join(to))?,
            None => eprintln!("the package has no {to}: there is none in the checkout"),
        }
    }
    Ok(())
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
