//! Checks that the suite's functions import every row of the host table: no case can compare a row that no function
//! imports.

use crate::functions::Folders;
use anyhow::{Result, ensure};
use faasm_asyncify::BRIDGE_MODULE;
use faasm_bridge::host::{Available, HostCall, Status};
use faasm_bridge::manifest::Manifest;
use std::collections::BTreeSet;

/// Compares the imports of all functions that could be built with the host table.
///
/// # Errors
/// Names the rows that no function imports.
pub fn check(folders: &Folders) -> Result<()> {
    let imported: BTreeSet<HostCall> = folders
        .manifests()?
        .iter()
        .flat_map(|manifest| {
            let Manifest { imports, .. } = manifest;
            imports.immediate.iter().chain(&imports.suspending)
        })
        .filter_map(|import| {
            let (module, name) = import.split_once('.')?;
            HostCall::by_import(module, name)
        })
        .collect();
    let is_answered = |call: &&HostCall| {
        let row = call.row();
        // No original imports the host calls that the rewriter adds.
        row.status == Status::Ready
            && row.available == Available::Everywhere
            && row.module != BRIDGE_MODULE
    };
    let missing: Vec<String> = HostCall::ALL
        .iter()
        .filter(is_answered)
        .filter(|call| !imported.contains(call))
        .map(ToString::to_string)
        .collect();
    ensure!(
        missing.is_empty(),
        "no function of the suite imports {}: add it to one in ci/testing/conformance/functions/faasm",
        missing.join(", ")
    );
    Ok(())
}
