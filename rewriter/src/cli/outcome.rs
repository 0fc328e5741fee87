//! What `build` reports about a function, as a row of its table and as JSON.

use super::{human, table::table};
use faasm_asyncify::{Bound, Built, Files};
use faasm_bridge::manifest::{Manifest, UnwindBuffer};
use serde::Serialize;
use std::path::PathBuf;

/// A built function.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outcome {
    pub(crate) name: String,
    files: Vec<PathBuf>,
    pub(crate) bytes: Sizes,
    /// By how much the Asyncify artefact is larger than the other, in percent; null without an Asyncify artefact.
    growth: Option<f64>,
    suspending: Vec<String>,
    functions: Functions,
    buffer: Option<UnwindBuffer>,
    /// Upper bound of the unwind buffer's contents.
    bound: Option<Bound>,
    /// The file to upload to a cluster, and why.
    cluster: Destination,
    pub(crate) warnings: Vec<String>,
}

/// The file to upload to a cluster, and why.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Destination {
    file: String,
    because: String,
}

impl Destination {
    fn of(built: &Built) -> Self {
        let manifest = &built.manifest;
        let original = |because: &str| Self {
            file: manifest.original.file.clone(),
            because: because.to_owned(),
        };
        match &manifest.faasm {
            Some(faasm) if built.wrapped.is_empty() => Self {
                file: faasm.artefact.file.clone(),
                because: "it preserves the return value of `main`".to_owned(),
            },
            Some(faasm) => Self {
                file: faasm.artefact.file.clone(),
                because: format!(
                    "it replaces host calls that a Faasm cluster gets wrong or lacks: {}",
                    built.wrapped.join(", ")
                ),
            },
            None if built.for_faasm => {
                original("a Faasm cluster performs all its host calls correctly")
            }
            None => original("`--for` was not given"),
        }
    }
}

/// How many functions can be on the stack during a suspension, how many there are, and how many Binaryen would
/// instrument.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Functions {
    instrumented: usize,
    total: usize,
    by_default: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sizes {
    original: u64,
    jspi: u64,
    asyncify: Option<u64>,
    /// Size of the Asyncify artefact if Binaryen chose what to instrument; only on request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by_default: Option<u64>,
}

impl Outcome {
    pub(crate) fn new(built: Built, files: Files) -> Outcome {
        let growth = growth(&built.manifest);
        let cluster = Destination::of(&built);
        let manifest = built.manifest;
        let asyncify = manifest.engines.asyncify.artefact();
        Outcome {
            name: manifest.name,
            files: [files.jspi, files.manifest]
                .into_iter()
                .chain(files.asyncify)
                .chain(files.names)
                .chain(files.faasm)
                .collect(),
            bytes: Sizes {
                original: manifest.original.bytes,
                jspi: manifest.engines.jspi.bytes,
                asyncify: asyncify.map(|asyncify| asyncify.artefact.bytes),
                by_default: None,
            },
            growth,
            suspending: manifest.imports.suspending,
            functions: Functions {
                instrumented: built.reach.functions.len(),
                total: built.reach.total,
                by_default: built.reach.by_default,
            },
            buffer: asyncify.and_then(|asyncify| asyncify.buffer),
            bound: built.bound,
            cluster,
            warnings: built.warnings.iter().map(ToString::to_string).collect(),
        }
    }

    /// The cells of a row, with their headings.
    fn row(&self, compared: bool) -> Vec<(&'static str, String)> {
        let Sizes { original, jspi, asyncify, by_default } = self.bytes;
        let functions = &self.functions;
        let mut row = vec![
            ("function", self.name.clone()),
            ("original", human(original)),
            ("JSPI", human(jspi)),
            ("Asyncify", asyncify.map_or("none".to_owned(), human)),
            ("growth", self.growth.map_or(String::new(), |growth| format!("{growth:+.1} %"))),
            ("instrumented", functions.instrumented.to_string()),
            ("of", functions.total.to_string()),
            ("by default", functions.by_default.to_string()),
        ];
        if compared {
            row.push(("default size", by_default.map_or("?".to_owned(), human)));
        }
        row.push(("stack", self.stack()));
        row
    }

    /// The bound of the unwound stack; if it has none, the size of the buffer.
    fn stack(&self) -> String {
        match (&self.bound, self.buffer) {
            (Some(Bound::Bytes(bytes)), _) => human(*bytes),
            (_, Some(buffer)) => format!("unbounded, has {}", human(buffer.bytes.into())),
            (_, None) => "none".to_owned(),
        }
    }
}

/// Which file of each function to upload to a cluster, and why.
pub(crate) fn destinations(outcomes: &[Outcome]) -> String {
    let line = |outcome: &Outcome| {
        let Destination { file, because } = &outcome.cluster;
        format!(
            "{}: upload {file} to a Faasm cluster ({because}); the other files are for pages\n",
            outcome.name
        )
    };
    outcomes.iter().map(line).collect()
}

/// A table with one row for each function.
pub(crate) fn show(outcomes: &[Outcome], compared: bool) -> String {
    let rows: Vec<_> = outcomes.iter().map(|outcome| outcome.row(compared)).collect();
    let headings = rows.first().into_iter().map(|row| row.iter().map(|(heading, _)| heading));
    let headings = headings.map(|row| row.map(|heading| (*heading).to_owned()).collect());
    let cells = rows.iter().map(|row| row.iter().map(|(_, cell)| cell.clone()).collect());
    table(&headings.chain(cells).collect::<Vec<_>>())
}

/// By how much the Asyncify artefact is larger than the other, in percent; `None` without an Asyncify artefact.
pub(crate) fn growth(manifest: &Manifest) -> Option<f64> {
    let jspi = manifest.engines.jspi.bytes as f64;
    let asyncify = manifest.engines.asyncify.artefact()?.artefact.bytes as f64;
    Some((asyncify - jspi) / jspi * 100.0)
}
