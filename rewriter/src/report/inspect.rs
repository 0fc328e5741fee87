//! Inspects a function without building it: its properties, its imports, and where it would suspend.

use crate::asyncify::analyse;
use crate::module::{features, layout::Layout};
use crate::report::warning::{Warning, planned_reason, provider_of};
use crate::{Error, Reach, normalise, shim};
use faasm_bridge::host::{self, Era, ImportClass};
use faasm_bridge::manifest::Entry;
use serde::Serialize;
use wasmparser::{Parser, Payload};

/// The result of [`inspect`].
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub era: Era,
    pub entry: Entry,
    pub imports: Vec<ImportReport>,
    /// Exported name and its kind and type, as the toolchain made them.
    pub exports: Vec<(String, String)>,
    pub features: Vec<&'static str>,
    pub reach: Reach,
    pub bytes: usize,
    /// Of these, bytes of debug information, which no artefact keeps.
    pub debug_bytes: usize,
    pub warnings: Vec<String>,
}

/// One import.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportReport {
    /// `module.name`.
    pub import: String,
    pub signature: String,
    /// `ready`, `planned`, `cluster only` or `unknown`.
    pub status: &'static str,
    pub suspends: bool,
    pub summary: String,
}

/// Inspects a binary as the toolchain made it.
///
/// # Errors
/// As for [`crate::normalise()`].
pub fn inspect(wasm: &[u8]) -> Result<Report, Error> {
    let normalised = normalise(wasm)?;
    let shimmed = shim(&normalised.wasm)?;
    let layout = Layout::read(wasm)?;
    let imports = layout.imports.into_iter().map(|(name, ty)| import_report(name, ty)).collect();
    Ok(Report {
        era: normalised.era,
        entry: normalised.entry,
        imports,
        exports: layout.exports.into_iter().collect(),
        features: features::used(&normalised.wasm).iter().map(|feature| feature.name).collect(),
        reach: analyse::reach(&shimmed)?,
        bytes: wasm.len(),
        debug_bytes: debug_bytes(wasm),
        warnings: normalised.warnings.iter().map(Warning::to_string).collect(),
    })
}

fn import_report(import: String, signature: String) -> ImportReport {
    let (module, name) = import.split_once('.').unwrap_or((&import, ""));
    let (status, suspends, summary) = match host::classify(module, name) {
        ImportClass::Unknown => {
            let summary = provider_of(&import).summary();
            ("unknown", false, format!("{summary}; calling it traps"))
        }
        ImportClass::Family(family) => {
            ("cluster only", false, format!("{}: {}", family.name, family.summary))
        }
        ImportClass::Known(call) => {
            let row = call.row();
            let (suspends, summary) = (row.suspends != host::Suspends::Never, call.summary());
            match (row.available, planned_reason(&import)) {
                (host::Available::Cluster, _) => ("cluster only", suspends, summary.to_owned()),
                (_, Some(reason)) => ("planned", suspends, format!("{summary} ({reason})")),
                (_, None) => ("ready", suspends, summary.to_owned()),
            }
        }
    };
    ImportReport { import, signature, status, suspends, summary }
}

/// Bytes of DWARF; 0 if its sections describe nothing, because linkers leave some behind.
pub(crate) fn debug_bytes(wasm: &[u8]) -> usize {
    let (mut bytes, mut describes) = (0, false);
    for payload in Parser::new(0).parse_all(wasm) {
        if let Ok(Payload::CustomSection(section)) = payload
            && section.name().starts_with(".debug_")
        {
            bytes += section.data().len();
            // Units of code, and line programs; the other sections are tables to which these refer.
            let is_used = [".debug_info", ".debug_line"].contains(&section.name());
            describes |= is_used && !section.data().is_empty();
        }
    }
    if describes { bytes } else { 0 }
}
