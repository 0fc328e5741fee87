//! The manifest: the description of a built function, written by the rewriter and read by the browser runtime.
//!
//! A JSON document beside the artefacts. Integrity values are in the form of Subresource Integrity
//! (`sha256-` and base64), so that a page can pass them to `fetch` unchanged.

use crate::guest::ModuleFacts;
use crate::host::Era;
use crate::placement::Policy;
use crate::residence::Rules;
use serde::{Deserialize, Serialize};

/// Version of the schema; readers reject other versions.
pub const SCHEMA: u32 = 1;

/// Export of an instrumented module by which its host grows memory, since the end of memory does not belong to the
/// guest.
pub const GROW_EXPORT: &str = "faasm:memory.grow";

/// Global of a module that grows memory by itself: the number of pages shown to the guest; -1 while it owns all pages.
pub const GUEST_PAGES_EXPORT: &str = "faasm:guest.pages";

/// Global beside it: the first page of the host, up to which the guest may grow.
pub const GUEST_LIMIT_EXPORT: &str = "faasm:guest.limit";

/// A built function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Name of the function in the cluster.
    pub name: String,
    /// The binary as the toolchain linked it; the cluster runs this one.
    pub original: Artefact,
    pub era: Era,
    pub entry: Entry,
    pub imports: Imports,
    pub engines: Engines,
    /// WebAssembly proposals the artefacts use beyond the first version of the specification.
    pub features: Vec<String>,
    /// [`Names`](crate::names::Names), if the artefacts contain none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<Artefact>,
    /// The artefact for a Faasm cluster, in place of the original; see [`crate::faasm`]. Versions that wrote
    /// `textOutput` did not write it, and readers do not need theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faasm: Option<FaasmArtefact>,
    /// Where its chained calls run, unless the page says otherwise; by default in the cluster.
    #[serde(default, rename = "where", skip_serializing_if = "Policy::is_empty")]
    pub chained: Policy,
    /// Where the state values it uses live, in addition to the page's rules.
    #[serde(default, skip_serializing_if = "Rules::is_empty")]
    pub state: Rules,
    /// Program and version that wrote this, as `faasm-asyncify 0.1.0`.
    pub generator: String,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artefact {
    /// File name beside the manifest; for the original, the name of the file it was built from.
    pub file: String,
    /// `sha256-` and base64 of the file.
    pub integrity: String,
    pub bytes: u64,
}

/// The artefact for a Faasm cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FaasmArtefact {
    #[serde(flatten)]
    pub artefact: Artefact,
    /// Partial pushes of state are whole pushes, which can overwrite concurrent pushes.
    pub allow_lost_updates: bool,
}

/// The exports to call, in order, to run the function.
///
/// Toolchains differ in how constructors are run; the rewriter detects it, and lists exactly the calls that run them
/// once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Exports to call to run the function; the last one is its main entry.
    pub main: Vec<String>,
    /// Exports to call before a chained function pointer.
    pub before_pointer: Vec<String>,
    /// Export of the function table, if there is one.
    pub table: Option<String>,
    /// Export of the memory.
    pub memory: String,
    /// Export of the guest's allocator, if there is one; the host allocates guest memory with it.
    pub malloc: Option<String>,
    /// Address of the C library's `errno` in memory, if the module reveals it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<u32>,
    /// The guest does not use memory that the host takes: it does not grow memory by itself, or has a fence. Missing in
    /// manifests of versions without the fence.
    #[serde(default)]
    pub break_safe: bool,
}

impl Entry {
    /// What the guest kernel needs to know about the module.
    pub fn facts(&self) -> ModuleFacts {
        ModuleFacts {
            has_malloc: self.malloc.is_some(),
            is_break_safe: self.break_safe,
            errno: self.errno,
        }
    }
}

/// The imports of the original, as `module.name`, by class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Imports {
    /// Calls that never wait.
    pub immediate: Vec<String>,
    /// Calls that may suspend the function.
    pub suspending: Vec<String>,
    /// Only a Faasm cluster implements them; a function that imports one does not run elsewhere.
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
    /// The function contains code that Asyncify cannot suspend; it runs with JavaScript Promise Integration, and in a
    /// cluster.
    Unsupported {
        /// The constructs, the functions that contain them, and what to do about it.
        unsupported: String,
    },
}

impl Asyncify {
    /// The artefact, if there is one.
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
    /// Where the stack is unwound to; absent if nothing can suspend, in which case the module is not instrumented.
    pub buffer: Option<UnwindBuffer>,
    /// What instrumented the module, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass: Option<Pass>,
}

/// What instruments a module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pass {
    /// The rewriter's own pass.
    Own,
    /// Binaryen's Asyncify.
    #[default]
    Binaryen,
}

/// The last bytes of memory, which hold the unwound stack while the function is suspended; hidden from the guest.
///
/// It begins with Asyncify's two pointers (`i32` each: next free byte, end of the region).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnwindBuffer {
    pub bytes: u32,
}
