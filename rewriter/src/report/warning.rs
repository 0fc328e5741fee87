//! Warnings about functions that can be built all the same.

use crate::module::provider::Provider;
use faasm_bridge::host::{self, Available, HostCall, ImportClass, Status};
use faasm_bridge::manifest::{Entry, Imports};
use std::collections::BTreeMap;
use std::fmt;

/// A concern that does not stop the build.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// How many imports are not in the host interface, by the party that should have defined them.
    NotAnswered { faasm: usize, library: usize, program: usize },
    /// Imports that are not in the host interface: calling one traps.
    UnknownImports { provider: Provider, imports: Vec<String> },
    /// Imports that only a Faasm cluster supports.
    ClusterOnly { what: String, imports: Vec<String> },
    /// Imports in the host interface that are not implemented yet.
    Planned { reason: &'static str, imports: Vec<String> },
    /// Function pointers are chained, and the constructors cannot be identified.
    NoConstructors { import: String },
    /// Bytes of debug information, which no artefact keeps, and whether functions have names.
    Dwarf { bytes: usize, has_names: bool },
    /// There is no Asyncify artefact: what Asyncify does not support, where, and what to do.
    OnlyJspi { limit: String },
    /// A function that can suspend makes tail calls, which become plain ones.
    TailCalls { function: String },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::OnlyJspi { limit } => write!(
                f,
                "built for JavaScript Promise Integration only, so it cannot run in browsers without it: {limit}"
            ),
            Warning::TailCalls { function } => write!(
                f,
                "`{function}` can suspend, so its tail calls become plain calls, which need stack: recursion through \
                 them must be bounded; build without `-mtail-call` to see whether it is"
            ),
            Warning::NotAnswered { faasm, library, program } => {
                let total = faasm + library + program;
                let imports = if total == 1 { "import is" } else { "imports are" };
                let parts: Vec<String> = [
                    (faasm, "of Faasm"),
                    (library, "of the C or C++ library"),
                    (program, "of the program"),
                ]
                .into_iter()
                .filter(|(count, _)| **count > 0)
                .map(|(count, whose)| format!("{count} {whose}"))
                .collect();
                write!(
                    f,
                    "{total} {imports} not in the host interface: {}; calling one ends the run with an error that names \
                     it",
                    parts.join(", ")
                )
            }
            Warning::UnknownImports { provider, imports } => {
                let (summary, advice) = (provider.summary(), provider.advice());
                write!(f, "not in the host interface: {}: {summary}; {advice}", quoted(imports))
            }
            Warning::ClusterOnly { what, imports } => write!(
                f,
                "{what} is available only in a Faasm cluster: a page and a relay's embedded cluster cannot run the \
                 function, because it imports {}; put the relay in front of a Faasm cluster (setting cluster.planner), \
                 or build the function without these imports",
                quoted(imports)
            ),
            Warning::Planned { reason, imports } => {
                write!(
                    f,
                    "{reason}: {}; avoid it, or run the function in a Faasm cluster",
                    quoted(imports)
                )
            }
            Warning::NoConstructors { import } => write!(
                f,
                "`{import}` is used, but the binary has no function names and no constructors were found: a function \
                 called by pointer runs without them; if there are any, link with `-Wl,--export=__wasm_call_ctors`"
            ),
            Warning::Dwarf { bytes, has_names } => {
                let (stacks, strip) = match has_names {
                    true => (
                        "stacks still show the names of functions",
                        "`--debug-info strip`, which removes the names too",
                    ),
                    false => (
                        "stacks show numbers of functions, because it has no names",
                        "`--debug-info strip`",
                    ),
                };
                write!(
                    f,
                    "its {bytes} bytes of DWARF are dropped, because rewriting moves the code that they describe; \
                     {stacks}; DWARF comes from every part compiled with `-g`, which can be a library alone: link with \
                     `-Wl,--strip-debug`, or build with {strip}"
                )
            }
        }
    }
}

fn quoted(imports: &[String]) -> String {
    imports.iter().map(|import| format!("`{import}`")).collect::<Vec<_>>().join(", ")
}

/// The warnings that follow from the imports and the entry; `ctors_certain` if the entry lists all constructors.
pub(crate) fn collect(imports: &Imports, entry: &Entry, ctors_certain: bool) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = Vec::new();
    let unknown = group(&imports.unknown, |import| Some(provider_of(import)));
    let count = |provider| unknown.get(&provider).map_or(0, Vec::len);
    let [faasm, library, program] =
        [Provider::Faasm, Provider::Library, Provider::Program].map(count);
    if !unknown.is_empty() {
        warnings.push(Warning::NotAnswered { faasm, library, program });
    }
    for (provider, imports) in unknown {
        warnings.push(Warning::UnknownImports { provider, imports });
    }
    for (what, imports) in group(&imports.cluster_only, cluster_facility) {
        warnings.push(Warning::ClusterOnly { what, imports });
    }
    for (reason, imports) in group(&imports.planned, planned_reason) {
        warnings.push(Warning::Planned { reason, imports });
    }
    let imported = |call: HostCall| {
        let name = call.to_string();
        [&imports.immediate, &imports.suspending, &imports.planned]
            .into_iter()
            .any(|list| list.contains(&name))
            .then_some(name)
    };
    let may_miss = entry.before_pointer.is_empty() && !ctors_certain;
    if let Some(import) = imported(HostCall::ChainPtr).filter(|_| may_miss) {
        warnings.push(Warning::NoConstructors { import });
    }
    warnings
}

fn group<K: Ord>(imports: &[String], key: impl Fn(&str) -> Option<K>) -> BTreeMap<K, Vec<String>> {
    let mut groups: BTreeMap<K, Vec<String>> = BTreeMap::new();
    for import in imports {
        if let Some(key) = key(import) {
            groups.entry(key).or_default().push(import.clone());
        }
    }
    groups
}

fn class_of(import: &str) -> ImportClass {
    let (module, name) = import.split_once('.').unwrap_or((import, ""));
    host::classify(module, name)
}

/// The party that should have defined an import.
pub(crate) fn provider_of(import: &str) -> Provider {
    let (module, name) = import.split_once('.').unwrap_or((import, ""));
    Provider::of(module, name)
}

fn cluster_facility(import: &str) -> Option<String> {
    match class_of(import) {
        ImportClass::Family(family) => Some(format!("{} ({})", family.name, family.summary)),
        ImportClass::Known(call) if call.row().available == Available::Cluster => {
            Some(format!("`{call}` ({})", call.summary()))
        }
        _ => None,
    }
}

/// Why a planned import is not implemented.
pub(crate) fn planned_reason(import: &str) -> Option<&'static str> {
    match class_of(import) {
        ImportClass::Known(call) => match call.row().status {
            Status::Planned(reason) => Some(reason),
            Status::Ready => None,
        },
        _ => None,
    }
}
