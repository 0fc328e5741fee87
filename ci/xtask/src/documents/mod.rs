//! Checks of documents: everything that they name exists, and removed words do not return.

mod commands;
mod links;
mod markdown;
mod names;
mod paths;
mod words;

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::workspace::Workspace;
use commands::Programs;
use markdown::Document;
use names::Names;
use paths::Tree;

/// Describes the past, in which names differed.
const HISTORY: &str = "CHANGELOG.md";

/// Checks documents and words; the error follows a list of all problems with file and line.
pub(crate) fn check(workspace: &Workspace, xtask: clap::Command) -> Result<()> {
    let files = files(workspace)?;
    let programs = Programs::of(workspace, xtask)?;
    let tree = Tree::new(files.iter().map(String::as_str));
    let mut names = Names::default();
    for path in &files {
        names.add(path, &read(workspace, path)?);
    }
    let mut problems = Vec::new();
    for path in files.iter().filter(|path| path.ends_with(".md") && *path != HISTORY) {
        let document = Document::parse(path, &read(workspace, path)?);
        problems.extend(links::check(
            &document,
            |target| {
                let text = fs::read_to_string(workspace.root().join(target)).ok()?;
                Some(Document::parse(target, &text))
            },
            &tree,
        ));
        problems.extend(tree.check(&document));
        problems.extend(programs.check(&document));
        problems.extend(names.check(&document));
    }
    for path in files.iter().filter(|path| path.ends_with(".rs")) {
        problems.extend(tree.check(&Document::of_comments(path, &read(workspace, path)?)));
    }
    problems.extend(error_pages(&files));
    let words = words::Words::parse(&read(workspace, words::LIST)?)?;
    for path in &files {
        if words.apply_to(path) {
            problems.extend(words.check(path, &read(workspace, path)?));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    for problem in &problems {
        eprintln!("{problem}");
    }
    bail!("{} problems in documents or words; they are listed above", problems.len())
}

/// Every file of the checkout that is not ignored, relative to its root.
fn files(workspace: &Workspace) -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.current_dir(workspace.root());
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let output = git.output().context("starting git, which lists the files of the checkout")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git cannot list the files of the checkout: {stderr}");
    let listed = String::from_utf8(output.stdout).context("decoding the names of files")?;
    let mut files: Vec<String> = listed.split_terminator('\0').map(str::to_owned).collect();
    // Deleted, but still in the index.
    files.retain(|path| workspace.root().join(path).is_file());
    files.sort();
    files.dedup();
    Ok(files)
}

fn read(workspace: &Workspace, path: &str) -> Result<String> {
    let bytes = fs::read(workspace.root().join(path)).with_context(|| format!("reading {path}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Error codes without a page, and pages without an error code.
fn error_pages(files: &[String]) -> Vec<String> {
    const FOLDER: &str = "docs/errors/";
    let page = |code: &str| format!("{FOLDER}{code}.md");
    let expected: Vec<String> =
        faasm_bridge::explain::pages().map(|(code, _)| page(code)).collect();
    let missing = expected.iter().filter(|path| !files.contains(path));
    let missing = missing.map(|path| format!("{path} is missing: the error code has no page"));
    let found =
        files.iter().filter(|path| path.starts_with(FOLDER) && !path.ends_with("README.md"));
    let extra = found.filter(|path| !expected.contains(path));
    missing.chain(extra.map(|path| format!("{path}: no error code has this name"))).collect()
}
