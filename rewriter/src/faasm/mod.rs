//! Beside the stages: makes the artefact that replaces an original in a Faasm cluster.
//!
//! Faasm's workers, with WAMR as engine, check little of what a function passes to them: a pointer outside memory, a
//! key that was never written, or a buffer that is too small terminates the worker, and an output that is not UTF-8
//! terminates the planner. They also lose results: the output of a call whose return value is not 0, and the return
//! value of a function pointer. Both problems are solved in the function itself, by functions around its imports
//! (`support.wat`) that the linker (`link.rs`) adds.
//!
//! | [`Use`] | purpose |
//! |---|---|
//! | `Guarded` | for functions that are not trusted: what would terminate a worker traps instead |
//! | `BuiltFor` | for functions that were built for Faasm: such a call is a fault with its code, and return values and outputs that Faasm would lose are encoded ([`faasm_bridge::faasm`]) |
//!
//! A function that was built for Faasm can be guarded as well.
//!
//! # Memory
//!
//! The support needs memory: it copies keys before it checks them, so that the host receives what was checked. It takes
//! whole pages, and never releases them.
//!
//! * A function that imports `__sbrk` or `mmap` takes its whole heap from the host's break, and so does the support:
//!   the host hands out no memory twice. (Memory grown by an instruction would lie above the break, and be handed out
//!   again.)
//! * Any other function grows memory by an instruction, and allocators of some C libraries claim everything up to the
//!   end of memory at their first use. There `memory.size` and `memory.grow` become functions that report an end before
//!   the pages of the support until the guest grows memory itself, and then return pages after them. An allocator that
//!   is first used after another one has grown memory would take the other's pages as well as ours.
//!
//! No check relies on this. A hostile function that writes to these pages, or passes addresses inside them, cannot
//! change what was checked: it does not run between the last check and the host call, and each check reads the copy
//! that the host receives, after the last write to it.
//!
//! # Differences from a page
//!
//! * Reading the first elements of a list returns no sizes, so the result is the length of the buffer, and what follows
//!   the elements reads as zeros. Elements have at most [`faasm_bridge::faasm::MAX_LIST_ELEMENT`] bytes.
//! * A guarded function pushes the first value that it writes to a key immediately, and a key that was never written
//!   stays missing when it is pulled: two workers with copies of different sizes terminate when they pull. Two cases
//!   remain: two workers write the first value, with different sizes, at the same moment; or a client outside the
//!   cluster changes the size of a value, which relays do not.
//! * A guarded function cannot map files, and `munmap` returns no memory to it.
//! * A value has at least one byte. Two runs of one worker share its copy of a value, as two runs of one page do.
//! * A part of a value is written by writing the value: on one worker an update is lost only if two runs write at the
//!   same moment.
//! * If partial pushes are allowed, they push the whole value, which overwrites what others have pushed since it was
//!   pulled.
//! * A key has at most 1024 bytes, and does not begin with `.faasm.`.
//! * The output of an awaited call takes memory of the worker's choice, which is never freed if the function does not
//!   export `malloc` and `free`.
//! * A chained function that was not built for Faasm still returns 0 for a pointer.

mod allocator;
mod check;
mod generated;
mod imports;
mod link;
mod module;

pub use check::{chained_names, check, check_loadable, enterable};
pub use imports::Unsupported;

use crate::Error;
use crate::stages::{constructors, input, normalise};
use faasm_bridge::entry::START;
use faasm_bridge::faasm::MAX_LIST_ELEMENT;
use faasm_bridge::host::{self, HostCall, ImportClass};
use faasm_bridge::wire::MAX_NAME_BYTES;
use link::{Plan, Replacement, Support};
use module::Sections;
use serde::{Deserialize, Serialize};
use walrus::ExportItem;
use wasmparser::{TypeRef, ValType};

/// Custom section of a function that was built for Faasm.
pub const SECTION: &str = "faasm:cluster";

/// Length of the header before the input of a function pointer that a function built for Faasm chains:
/// [`POINTER_MAGIC`], and the pointer as `u32`, little-endian.
pub const POINTER_HEADER_BYTES: usize = 12;

/// The first bytes of that header.
pub const POINTER_MAGIC: &[u8; 8] = b"\x02faasmp;";

/// The purpose of the artefact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// The function cannot terminate the process that runs it; it traps instead.
    Guarded,
    /// No result or fault is lost.
    BuiltFor {
        /// Partial pushes become whole ones instead of faults.
        allow_lost_updates: bool,
    },
}

/// How to make the artefact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub use_: Use,
    /// A function is chained by name only if the relay has marked it as stored ([`faasm_bridge::faasm::function_key`]).
    pub check_names: bool,
}

/// The artefact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub wasm: Vec<u8>,
    /// Imports that are called through the support, or never, as `module.name`.
    pub wrapped: Vec<String>,
}

/// Metadata of a function that was built for Faasm, as JSON in [`SECTION`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuiltFor {
    /// Partial pushes are whole ones.
    pub allow_lost_updates: bool,
    /// The function pointer to chain instead of another one, whose return value it preserves; the other one precedes
    /// the input ([`POINTER_HEADER_BYTES`]). Only in functions that chain pointers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer_entry: Option<u32>,
    /// Constant names of functions that it chains, as [`chained_names`] found them in its original.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chained: Vec<String>,
}

/// Makes the artefact that replaces an original in a Faasm cluster; `None` if nothing has to change.
///
/// # Errors
/// Any error of [`input::check`]; a function that it would have to translate; a function that was already built for
/// Faasm, if it is to be built again; and imports whose types differ from the host interface.
pub fn link(original: &[u8], options: Options) -> Result<Option<Made>, Error> {
    check::drafts(original, "a current Faasm cluster")?;
    let sections = Sections::read(original)?;
    let support = Support::read()?;
    let (mode, lost) = match options.use_ {
        Use::Guarded => ("guarded", false),
        Use::BuiltFor { allow_lost_updates } => ("built", allow_lost_updates),
    };
    let is_guarded = mode == "guarded";
    if !is_guarded && sections.custom(SECTION).is_some() {
        let evidence = format!("has a section `{SECTION}`, so it was built for a Faasm cluster");
        return Err(Error::AlreadyInstrumented { evidence });
    }
    let mut imports = Vec::new();
    let mut wrapped = Vec::new();
    let classes: Vec<ImportClass> = sections
        .function_imports()
        .map(|(_, import)| host::classify(import.module, import.name))
        .collect();
    let has = |calls: &[HostCall]| {
        classes
            .iter()
            .any(|class| matches!(class, ImportClass::Known(call) if calls.contains(call)))
    };
    let mut tags = vec![mode, if has(&[HostCall::Sbrk, HostCall::Mmap]) { "sbrk" } else { "grow" }];
    if lost {
        tags.push("lost");
    }
    let names: Vec<String> = sections
        .function_imports()
        .zip(&classes)
        .map(|((_, import), class)| match class {
            ImportClass::Known(call) => call.row().import(),
            _ => format!("{}.{}", import.module, import.name),
        })
        .collect();
    for (((_, import), class), name) in sections.function_imports().zip(&classes).zip(&names) {
        let shown = format!("{}.{}", import.module, import.name);
        let missing = imports::missing(*class, import.name, lost);
        let replacement = if support.find(&tags, name).is_some() {
            Replacement::Support(name)
        } else if is_guarded && !imports::is_harmless(import.module, *class) {
            Replacement::Stop(None)
        } else if let Some(reason) = missing.filter(|_| !is_guarded) {
            Replacement::Stop(Some(format!(
                "not-implemented;{shown} cannot be called here: {reason}"
            )))
        } else {
            Replacement::Import
        };
        if replacement != Replacement::Import {
            wrapped.push(shown);
        }
        imports.push(replacement);
    }
    let main = if is_guarded { None } else { returning_main(&sections) };
    if wrapped.is_empty() && main.is_none() {
        return Ok(None);
    }
    wrapped.sort();
    wrapped.dedup();
    let awaits = has(&[HostCall::AwaitCall, HostCall::AwaitCallOutput]);
    let malloc = if awaits { allocator(original, &sections)? } else { None };
    let entry_slot =
        if !is_guarded && has(&[HostCall::ChainPtr]) { Some(free_slot(&sections)?) } else { None };
    let section = if is_guarded {
        sections.custom(SECTION).map(|data| (SECTION, data.to_vec()))
    } else {
        let chained =
            chained_names(original)?.into_iter().filter_map(|name| String::from_utf8(name).ok());
        let built = BuiltFor {
            allow_lost_updates: lost,
            pointer_entry: entry_slot,
            chained: chained.collect(),
        };
        let json = serde_json::to_vec(&built)
            .map_err(|error| Error::Rewrite { message: error.to_string() })?;
        Some((SECTION, json))
    };
    let constants = vec![
        ("guarded", i32::from(is_guarded)),
        ("check names", i32::from(options.check_names)),
        ("over built", i32::from(is_guarded && sections.custom(SECTION).is_some())),
        ("most element", MAX_LIST_ELEMENT as i32),
        ("most name", MAX_NAME_BYTES as i32),
        ("entry slot", entry_slot.unwrap_or_default().cast_signed()),
    ];
    let plan = Plan { tags, constants, imports, main, malloc, entry_slot, section };
    let mut wasm = link::link(original, &sections, &support, &plan)?;
    if is_guarded && awaits {
        wasm = allocator::checked(&wasm)?;
    }
    Ok(Some(Made { wasm, wrapped }))
}

/// Imports that no artefact for a Faasm cluster can replace, with the reason; calling one is a fault or a trap there.
///
/// # Errors
/// A module that [`input::check`] would reject.
pub fn unsupported(original: &[u8], allow_lost_updates: bool) -> Result<Vec<Unsupported>, Error> {
    let original = input::check(original)?;
    let sections = Sections::read(&original)?;
    let mut list = Vec::new();
    for (_, import) in sections.function_imports() {
        let class = host::classify(import.module, import.name);
        if let Some(reason) = imports::missing(class, import.name, allow_lost_updates) {
            let import = format!("{}.{}", import.module, import.name);
            list.push(Unsupported { import, reason });
        }
    }
    Ok(list)
}

/// The metadata of a function that was built for Faasm; `None` for others.
pub fn built_for(wasm: &[u8]) -> Option<BuiltFor> {
    let sections = Sections::read(wasm).ok()?;
    serde_json::from_slice(sections.custom(SECTION)?).ok()
}

/// Whether a function says that it was built for Faasm; a false claim only deceives the callers that await it.
pub fn is_built_for(wasm: &[u8]) -> bool {
    built_for(wasm).is_some()
}

/// The exported `main` of a function that has no `_start`, where it has a return value.
fn returning_main(sections: &Sections<'_>) -> Option<u32> {
    let main = sections.exported("main").filter(|_| sections.exported("_start").is_none())?;
    let ty = sections.signature(main).ok()?;
    (ty.results() == [ValType::I32]).then_some(main)
}

/// The guest's `malloc` and `free`, if it exports both, without the linker's wrappers, which run constructors again.
fn allocator(original: &[u8], sections: &Sections<'_>) -> Result<Option<(u32, u32)>, Error> {
    let mut module = normalise::parse(original)?;
    constructors::settle(&mut module, &[START]);
    let find = |name: &str, params: &[ValType], results: &[ValType]| {
        let export = module.exports.iter().find(|export| export.name == name)?;
        let ExportItem::Function(function) = export.item else { return None };
        let index = function.index() as u32;
        let ty = sections.signature(index).ok()?;
        let is_own = index >= sections.imported();
        (is_own && ty.params() == params && ty.results() == results).then_some(index)
    };
    let malloc = find("malloc", &[ValType::I32], &[ValType::I32]);
    Ok(malloc.zip(find("free", &[ValType::I32], &[])))
}

/// The first slot after the function table, but never the null pointer.
fn free_slot(sections: &Sections<'_>) -> Result<u32, Error> {
    for import in &sections.imports {
        if let TypeRef::Table(_) = import.ty {
            let import = format!("{}.{}", import.module, import.name);
            return Err(Error::ForeignImport { import, kind: "table" });
        }
    }
    let first = match sections.tables.clone().and_then(|tables| tables.into_iter().next()) {
        Some(table) => table?.ty.initial,
        None => 0,
    };
    u32::try_from(first.max(1))
        .map_err(|_| Error::Rewrite { message: "the table is too large".into() })
}
