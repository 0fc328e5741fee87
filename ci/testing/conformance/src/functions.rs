//! The suite's functions: assembles modules from text and hexadecimal, and builds all originals for pages.

use anyhow::{Context as _, Result, bail, ensure};
use faasm_bridge::manifest::Manifest;
use faasm_browser_tests::{copy_folder, program};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// The page of the site, which only loads the script.
const PAGE: &str = "<!doctype html><meta charset=\"utf-8\"><title>Conformance</title>\n";

/// Folder of the site with the built functions.
pub(crate) const FUNCTIONS: &str = "functions";
/// Folder of the functions that were built with Asyncify's asserts.
pub(crate) const FUNCTIONS_WITH_ASSERTS: &str = "functions-with-asserts";
/// The same, built by our own Asyncify pass.
pub(crate) const FUNCTIONS_BY_OWN_PASS: &str = "functions-by-own-pass";
/// The originals, for pages that load them as they are.
pub(crate) const ORIGINALS: &str = "originals";

/// Folders of the originals, and of the site with the built functions.
#[derive(Clone, Debug)]
pub struct Folders {
    pub originals: PathBuf,
    pub web: PathBuf,
    /// The npm package of the runtime.
    runtime: PathBuf,
    /// Sources in text and hexadecimal.
    sources: PathBuf,
}

impl Folders {
    /// The folders in `dist/conformance` of the checkout, where `cargo xtask conformance` puts the compiled functions.
    pub fn of_checkout() -> Self {
        let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let dist = crate_root.join("../../../dist");
        Self {
            originals: dist.join("conformance/originals"),
            web: dist.join("conformance/web"),
            runtime: dist.join("npm"),
            sources: crate_root.join("functions"),
        }
    }

    /// Every original, by name.
    pub fn originals(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let files = files(&self.originals, "wasm")?;
        files.into_iter().map(|path| Ok((stem(&path)?, read(&path)?))).collect()
    }

    /// The manifest of every function that could be built for pages.
    pub fn manifests(&self) -> Result<Vec<Manifest>> {
        let files = files(&self.web.join(FUNCTIONS), "json")?.into_iter();
        // The same folder has files with names of functions.
        let manifests = files.filter(|path| !path.to_string_lossy().ends_with(".names.json"));
        manifests
            .map(|path| {
                serde_json::from_slice(&read(&path)?)
                    .with_context(|| format!("reading {}", path.display()))
            })
            .collect()
    }

    /// Builds everything that is missing or out of date. Returns the functions that could not be built for pages, with
    /// the reason: cases that need them fail in every page.
    pub fn build(&self) -> Result<Vec<(String, String)>> {
        fs::create_dir_all(&self.originals)?;
        self.assemble()?;
        self.site()?;
        let problems = self.build_to(FUNCTIONS, &[])?;
        // The same functions fail with asserts.
        self.build_to(FUNCTIONS_WITH_ASSERTS, &["--asserts"])?;
        self.build_to(FUNCTIONS_BY_OWN_PASS, &["--asyncify", "own", "--verify"])?;
        Ok(problems)
    }

    fn build_to(&self, folder: &str, options: &[&str]) -> Result<Vec<(String, String)>> {
        let mut problems = Vec::new();
        let asyncify = program("FAASM_ASYNCIFY_BIN", "faasm-asyncify")?;
        let functions = self.web.join(folder);
        fs::create_dir_all(&functions)?;
        for original in files(&self.originals, "wasm")? {
            let name = stem(&original)?;
            let manifest = functions.join(format!("{name}.json"));
            let built = modified(&manifest);
            if built.is_some() && built > modified(&original).max(modified(&asyncify)) {
                continue;
            }
            // A manifest of an earlier build must not remain.
            if built.is_some() {
                fs::remove_file(&manifest)?;
            }
            let mut build = Command::new(&asyncify);
            build.arg("build").arg(&original).arg("-o").arg(&functions).args(options);
            let output =
                build.output().with_context(|| format!("running {}", asyncify.display()))?;
            if !output.status.success() {
                let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                problems.push((name, reason));
            }
        }
        Ok(problems)
    }

    /// Assembles modules from WebAssembly text, and from hexadecimal if text cannot express them.
    fn assemble(&self) -> Result<()> {
        for path in files(&self.sources.join("wat"), "wat")? {
            let wasm = wat::parse_file(&path).with_context(|| format!("{}", path.display()))?;
            self.original(&path, &wasm)?;
        }
        for path in files(&self.sources.join("hex"), "hex")? {
            let text = String::from_utf8(read(&path)?)?;
            let wasm = bytes(&text).with_context(|| format!("{}", path.display()))?;
            self.original(&path, &wasm)?;
        }
        Ok(())
    }

    /// Writes the file only if it changes, so that builds of it stay up to date.
    fn original(&self, source: &Path, wasm: &[u8]) -> Result<()> {
        let path = self.originals.join(format!("{}.wasm", stem(source)?));
        if fs::read(&path).is_ok_and(|there| there == wasm) {
            return Ok(());
        }
        fs::write(&path, wasm).with_context(|| format!("writing {}", path.display()))
    }

    /// Writes the page, its script, the runtime, and the originals.
    fn site(&self) -> Result<()> {
        fs::create_dir_all(&self.web)?;
        fs::write(self.web.join("index.html"), PAGE)?;
        fs::write(self.web.join("suite.js"), include_str!("column/suite.js"))?;
        ensure!(
            self.runtime.is_dir(),
            "no runtime in {}: run `cargo xtask package`",
            self.runtime.display()
        );
        for (from, to) in [(&self.runtime, "runtime"), (&self.originals, ORIGINALS)] {
            let to = self.web.join(to);
            if to.exists() {
                fs::remove_dir_all(&to)?;
            }
            copy_folder(from, &to)?;
        }
        Ok(())
    }
}

/// Parses hexadecimal text, in which `;` starts a comment.
fn bytes(text: &str) -> Result<Vec<u8>> {
    let code = |line: &'_ str| line.split(';').next().unwrap_or_default().to_owned();
    let digits: Vec<char> =
        text.lines().map(code).collect::<String>().chars().filter(|c| !c.is_whitespace()).collect();
    let pair = |pair: &[char]| {
        let digits: String = pair.iter().collect();
        u8::from_str_radix(&digits, 16).with_context(|| format!("`{digits}` is not a byte"))
    };
    digits.chunks(2).map(pair).collect()
}

fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new(extension)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}

fn stem(path: &Path) -> Result<String> {
    match path.file_stem().and_then(OsStr::to_str) {
        Some(stem) => Ok(stem.to_owned()),
        None => bail!("{}: the file name is not a valid function name", path.display()),
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_with_comments() {
        assert_eq!(bytes("00 61; magic\n 73\n6d ;").unwrap(), b"\0asm");
        assert!(bytes("0g").is_err());
    }

    #[test]
    fn every_text_function_is_webassembly() {
        for path in files(&Folders::of_checkout().sources.join("wat"), "wat").unwrap() {
            wat::parse_file(&path).unwrap();
        }
    }
}
