//! Checks that the expensive dependencies have the same features in every usual selection of packages, so that each is
//! built only once. `ci/unify/Cargo.toml` unifies them.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};

use crate::workspace::Workspace;

/// Dependencies that take minutes to build.
const COSTLY: [&str; 4] = ["wasm-opt-sys", "wasm-opt-cxx-sys", "wasmtime", "walrus"];

/// The selection of `cargo xtask test`.
const ALL: &[&str] = &["--workspace", "--exclude", "faasm-runtime-web"];

/// The selections of `cargo xtask conformance`, `cargo xtask demo` and developers.
const OTHERS: [&[&str]; 5] = [
    &["-p", "faasm-asyncify", "-p", "faasm-conformance"],
    &["-p", "faasm-asyncify", "-p", "faasm-relay"],
    &["-p", "faasm-asyncify"],
    &["-p", "faasm-relay"],
    &["-p", "xtask"],
];

/// Compares each selection with the whole workspace.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let all = tree(workspace, ALL)?;
    for selection in OTHERS {
        let tree = tree(workspace, selection)?;
        for name in COSTLY {
            let (here, there) = (below(&all, name), below(&tree, name));
            let differing: Vec<_> = there.difference(&here).collect();
            ensure!(
                differing.is_empty(),
                "`cargo build {}` builds {name} again, because these of its dependencies have other features \
                 than in the workspace: {}; add the missing ones to ci/unify/Cargo.toml",
                selection.join(" "),
                differing.into_iter().cloned().collect::<Vec<_>>().join(", ")
            );
        }
    }
    Ok(())
}

fn tree(workspace: &Workspace, selection: &[&str]) -> Result<String> {
    let output = workspace
        .cargo()
        .arg("tree")
        .args(selection)
        .args([
            "--edges",
            "normal,build,dev",
            "--prefix",
            "depth",
            "--no-dedupe",
            "--format",
            " {p} {f}",
        ])
        .output()
        .context("cargo tree")?;
    ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).context("the output of cargo tree")
}

/// Every package, with its features, below a package of this name in a tree.
fn below(tree: &str, name: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut inside = None;
    for line in tree.lines() {
        let Some((depth, package)) = line.split_once(' ') else { continue };
        let Ok(depth) = depth.parse::<u32>() else { continue };
        if inside.is_some_and(|start| depth <= start) {
            inside = None;
        }
        if inside.is_none() && package.split(' ').next() == Some(name) {
            inside = Some(depth);
        }
        if inside.is_some() {
            found.insert(package.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subtree_ends_where_its_depth_does() {
        let tree = "0 top v1 \n1 heavy v1 a\n2 syn v2 full\n1 other v1 \n2 syn v2 fold\n";
        let expected = ["heavy v1 a", "syn v2 full"].map(str::to_owned);
        assert_eq!(below(tree, "heavy"), BTreeSet::from(expected));
    }
}
