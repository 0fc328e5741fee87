//! The manifest: what a built function says of itself, written by the rewriter and read by the browser runtime.
//!
//! A JSON document beside the artefacts. Integrity values are in the form of Subresource Integrity
//! (`sha256-` and base64), so that a page can hand them to `fetch` as they are.

use crate::guest::ModuleFacts;
use crate::host::Era;
use crate::placement::Policy;
use crate::residence::Rules;
use serde::{Deserialize, Serialize};

/// Version of the schema; a reader refuses what it does not know.
pub const SCHEMA: u32 = 1;

/// Export of an instrumented module by which its host makes memory grow, since the end of memory is not the guest's.
pub const GROW_EXPORT: &str = "faasm:memory.grow";

/// Global of a module that grows memory by itself: the pages that it is told it has; -1 as long as all are its own.
pub const GUEST_PAGES_EXPORT: &str = "faasm:guest.pages";

/// Beside it: the first page of the host, to which the guest may grow.
pub const GUEST_LIMIT_EXPORT: &str = "faasm:guest.limit";

/// A built function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Name of the function, which the cluster knows it by.
    pub name: String,
    /// The binary as the toolchain made it, which is what the cluster runs.
    pub original: Artefact,
    pub era: Era,
    pub entry: Entry,
    pub imports: Imports,
    pub engines: Engines,
    /// WebAssembly proposals the artefacts use beyond the first version of the specification.
    pub features: Vec<String>,
    /// [`Names`](crate::names::Names), where the artefacts have none themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<Artefact>,
    /// What goes to a Faasm cluster in place of the original; see [`crate::faasm`]. Not written by versions that had `textOutput`
    /// instead, which no reader needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faasm: Option<FaasmArtefact>,
    /// Where the calls that it chains run, unless the page says otherwise; in the cluster where this says nothing.
    #[serde(default, rename = "where", skip_serializing_if = "Policy::is_empty")]
    pub chained: Policy,
    /// Where values of state live that it works on, besides what the page says.
    #[serde(default, skip_serializing_if = "Rules::is_empty")]
    pub state: Rules,
    /// Who wrote this, as `faasm-asyncify 0.1.0`.
    pub generator: String,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artefact {
    /// File name beside the manifest; of the original, the name it was built from.
    pub file: String,
    /// `sha256-` and base64 of the file.
    pub integrity: String,
    pub bytes: u64,
}

/// What goes to a Faasm cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FaasmArtefact {
    #[serde(flatten)]
    pub artefact: Artefact,
    /// Partial pushes of state are whole ones, which can undo what others push meanwhile.
    pub allow_lost_updates: bool,
}

/// What to call, in order, to run the function.
///
/// Toolchains differ in who runs the constructors; the rewriter finds out, and lists exactly the calls that run them
/// once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Exports to call for the function itself; the last one is its main entry.
    pub main: Vec<String>,
    /// Exports to call before a chained function pointer.
    pub before_pointer: Vec<String>,
    /// Export of the function table, where there is one.
    pub table: Option<String>,
    /// Export of the memory.
    pub memory: String,
    /// Export of the guest's allocator, by which the host hands out memory where there is one.
    pub malloc: Option<String>,
    /// Address of the C library's `errno` in memory, where the module shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<u32>,
    /// Memory that the host takes is safe from the guest: it does not grow by itself, or has a fence. Not said by versions that
    /// did not put one.
    #[serde(default)]
    pub break_safe: bool,
}

impl Entry {
    /// What the guest kernel has to know of the module.
    pub fn facts(&self) -> ModuleFacts {
        ModuleFacts {
            has_malloc: self.malloc.is_some(),
            is_break_safe: self.break_safe,
            errno: self.errno,
        }
    }
}

/// The imports of the original, as `module.name`, by what becomes of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Imports {
    /// Answered at once.
    pub immediate: Vec<String>,
    /// Can keep the function waiting.
    pub suspending: Vec<String>,
    /// Only a Faasm cluster answers them; a function with one of them is not run elsewhere.
    pub cluster_only: Vec<String>,
    /// In the host interface, not implemented yet.
    pub planned: Vec<String>,
    /// Unknown: calling one traps with its name.
    pub unknown: Vec<String>,
}

/// The artefacts by engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Engines {
    /// For engines with JavaScript Promise Integration: shimmed, not instrumented.
    pub jspi: Artefact,
    /// For every engine.
    pub asyncify: Asyncify,
}

/// The instrumented artefact, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Asyncify {
    Artefact(AsyncifyArtefact),
    /// The function does what Asyncify cannot suspend; it runs with JavaScript Promise Integration, and in a cluster.
    Unsupported {
        /// What that is, in which functions, and what to do about it.
        unsupported: String,
    },
}

impl Asyncify {
    /// The artefact, where there is one.
    pub fn artefact(&self) -> Option<&AsyncifyArtefact> {
        match self {
            Asyncify::Artefact(artefact) => Some(artefact),
            Asyncify::Unsupported { .. } => None,
        }
    }
}

/// The instrumented artefact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AsyncifyArtefact {
    #[serde(flatten)]
    pub artefact: Artefact,
    /// Where the unwound stack goes; absent where nothing can suspend, and then the module is not instrumented.
    pub buffer: Option<UnwindBuffer>,
}

/// The last bytes of memory, which hold the unwound stack while the function is suspended; the guest does not know of them.
///
/// It begins with Asyncify's two pointers (`i32` each: next free byte, end of the region).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnwindBuffer {
    pub bytes: u32,
}
