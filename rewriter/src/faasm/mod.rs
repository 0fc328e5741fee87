//! Beside the stages: what goes to a Faasm cluster in place of an original.
//!
//! Faasm's workers, with WAMR as engine, check little of what a function gives them: a pointer outside memory, a key that
//! nobody wrote or a buffer that is too small ends the worker, and an output that is not UTF-8 the planner. They also lose
//! results: the output of a call whose return value is not 0, and the return value of a function pointer. Both are put right
//! in the function itself, by functions around its imports (`support.wat`) that the linker (`link.rs`) adds.
//!
//! | [`Use`] | what is made for it |
//! |---|---|
//! | `Guarded` | for functions of those who are not trusted: what would end a worker traps instead |
//! | `BuiltFor` | for functions that were built for Faasm: such a call is a fault with its code, and return values and outputs that Faasm would lose are encoded ([`faasm_bridge::faasm`]) |
//!
//! The one can be made of the other.
//!
//! # Memory
//!
//! The support needs memory: keys are copied before they are checked, so that the host gets what was checked. It takes
//! whole pages, and keeps them.
//!
//! * A function that imports `__sbrk` or `mmap` has all its heap from the host's break, and so has the support: the host gives
//!   nothing out twice. (Memory that was grown by an instruction instead would lie above the break, and be given out.)
//! * Any other function grows memory by an instruction, and allocators of some C libraries take everything up to the end of memory
//!   when they are first used. There `memory.size` and `memory.grow` become functions that show the guest an end before the pages
//!   of the support until it grows memory itself, and then give it pages behind them. An allocator that is first used after another
//!   one has grown memory would take the other's pages as well as ours.
//!
//! No check relies on it: a hostile function that writes over these pages, or gives addresses inside them, changes nothing that
//! was checked, since it does not run between the last check and the host call, and each check looks at the copy that the host
//! gets, after the last write to it.
//!
//! # What differs from a page
//!
//! * Reading the first elements of a list gives no sizes, so the result is the length of the buffer, and what is behind the
//!   elements reads as zeros. Elements have at most [`faasm_bridge::faasm::MAX_LIST_ELEMENT`] bytes.
//! * A guarded function pushes the first value that it writes to a key at once, and a key that nobody wrote stays missing when it is
//!   pulled: two workers with copies of different sizes end when they pull.
//!   What is left is that two of them write the first value, with different sizes, at the same moment, or that somebody outside the
//!   cluster gives a value another size; relays do not.
//! * A guarded function maps no files, and gets no memory back from `munmap`.
//! * A value has at least one byte. Two runs of one worker share its copy of a value, as two runs of one page do.
//! * Parts of values are written by writing the value: on one worker nothing is lost unless two runs do it at the same moment.
//! * Where partial pushes are allowed, a whole value is pushed, and what others pushed since it was pulled is undone.
//! * A key has at most 1024 bytes, and does not begin with `.faasm.`.
//! * An awaited call's output takes memory of the worker's choice, and nobody gives it back where `malloc` and `free` are not exported.
//! * A chained function that was not built for Faasm still reports 0 for a pointer.

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
use faasm_bridge::faasm::MAX_LIST_ELEMENT;
use faasm_bridge::host::{self, HostCall, ImportClass};
use faasm_bridge::wire::MAX_NAME_BYTES;
use link::{Place, Plan, Support};
use module::Sections;
use serde::{Deserialize, Serialize};
use walrus::ExportItem;
use wasmparser::{TypeRef, ValType};

/// Custom section of a function that was built for Faasm.
pub const SECTION: &str = "faasm:cluster";

/// Bytes before the input of a function pointer that a function built for Faasm chains: [`POINTER_MAGIC`], and the pointer as
/// `u32`, little-endian.
pub const POINTER_HEADER_BYTES: usize = 12;

/// How the input begins of a function pointer that a function built for Faasm chains.
pub const POINTER_MAGIC: &[u8; 8] = b"\x02faasmp;";

/// What the result is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Nothing that the function does ends what runs it; it traps instead.
    Guarded,
    /// Results and faults are carried out whole.
    BuiltFor {
        /// Partial pushes become whole ones instead of faults.
        allow_lost_updates: bool,
    },
}

/// How to link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub use_: Use,
    /// A function is chained by name only where the relay has marked it as stored ([`faasm_bridge::faasm::function_key`]).
    pub check_names: bool,
}

/// What was linked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub wasm: Vec<u8>,
    /// Imports that are called by way of the support, or never, as `module.name`.
    pub wrapped: Vec<String>,
}

/// What a function that was built for Faasm says of itself, as JSON in [`SECTION`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuiltFor {
    /// Partial pushes are whole ones.
    pub allow_lost_updates: bool,
    /// The function pointer to chain in place of another one, whose return value it then carries out; the other one goes before the
    /// input ([`POINTER_HEADER_BYTES`]). Only of functions that chain pointers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer_entry: Option<u32>,
    /// Functions that it chains by names which are constants, as [`chained_names`] found them in its original.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chained: Vec<String>,
}

/// Makes what goes to a Faasm cluster in place of an original; none where nothing in it has to change.
///
/// # Errors
/// What [`input::check`] refuses or translates, what was built for Faasm and is to be so again, and imports whose types are not those of the host interface.
pub fn link(original: &[u8], options: Options) -> Result<Option<Made>, Error> {
    check::drafts(original, "a Faasm cluster of today")?;
    let sections = Sections::read(original)?;
    let support = Support::read()?;
    let (mode, lost) = match options.use_ {
        Use::Guarded => ("guarded", false),
        Use::BuiltFor { allow_lost_updates } => ("built", allow_lost_updates),
    };
    let is_guarded = mode == "guarded";
    if !is_guarded && sections.custom(SECTION).is_some() {
        let evidence =
            format!("has a section `{SECTION}`, of one that was built for a Faasm cluster");
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
        let place = if support.find(&tags, name).is_some() {
            Place::Support(name)
        } else if is_guarded && !imports::is_harmless(import.module, *class) {
            Place::Stop(None)
        } else if let Some(reason) = missing.filter(|_| !is_guarded) {
            Place::Stop(Some(format!("not-implemented;{shown} cannot be called here: {reason}")))
        } else {
            Place::Import
        };
        if place != Place::Import {
            wrapped.push(shown);
        }
        imports.push(place);
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

/// Imports that no artefact for a Faasm cluster can have, with the reason; calling one is a fault or a trap there.
///
/// # Errors
/// On a module that [`input::check`] would refuse.
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

/// What a function says of how it was built for Faasm, where it was.
pub fn built_for(wasm: &[u8]) -> Option<BuiltFor> {
    let sections = Sections::read(wasm).ok()?;
    serde_json::from_slice(sections.custom(SECTION)?).ok()
}

/// Whether a function was built for Faasm; one that says so and was not only deceives those who await it.
pub fn is_built_for(wasm: &[u8]) -> bool {
    built_for(wasm).is_some()
}

/// The exported `main` of a function that has no `_start`, where it has a return value.
fn returning_main(sections: &Sections<'_>) -> Option<u32> {
    let main = sections.exported("main").filter(|_| sections.exported("_start").is_none())?;
    let ty = sections.signature(main).ok()?;
    (ty.results() == [ValType::I32]).then_some(main)
}

/// `malloc` and `free` of the guest, where it exports both: not the linker's wrappers around them, which run constructors again.
fn allocator(original: &[u8], sections: &Sections<'_>) -> Result<Option<(u32, u32)>, Error> {
    let mut module = normalise::parse(original)?;
    constructors::settle(&mut module, &["_start"]);
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

/// The first slot behind the table of function pointers, and never the null pointer.
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
