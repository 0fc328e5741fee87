//! Stage 1: one shape for the binaries of all toolchains. No Binaryen; the relay runs what comes out of it.
//!
//! Before, from a linker that wraps exports, for a C library whose start file leaves constructors to the linker:
//!
//! ```wat
//! (export "_start" (func $_start.command_export))   ;; ctors, _start, dtors
//! (export "malloc" (func $malloc.command_export))   ;; ctors, malloc, dtors: resets the guest
//! (table $t 4 4 funcref)                            ;; not exported: out of reach
//! ```
//!
//! After:
//!
//! ```wat
//! (export "_start" (func $_start.command_export))
//! (export "malloc" (func $malloc))
//! (export "__indirect_function_table" (table $t))
//! (export "faasm:ctors" (func $__wasm_call_ctors))
//! ```
//!
//! with [`Entry`] `main: ["_start"], before_pointer: ["faasm:ctors"]`.
//!
//! Why it is safe: bodies, table and data stay as they are (table and data are compared afterwards); exports are only
//! added, except for wrappers ([`crate::constructors`]); a start function becomes the first export that the host
//! calls, where it may suspend, which it may not during instantiation.

use crate::constructors::{self, Constructors, exported_function};
use crate::layout::{Layout, signature};
use crate::warning::{self, Warning};
use crate::{Error, imports, input};
use faasm_bridge::host::Era;
use faasm_bridge::manifest::{Entry, Imports};
use walrus::{ExportItem, FunctionId, Module, ModuleConfig, RefType};

/// Custom sections that are wrong or useless after rewriting. DWARF (`.debug_*`) goes too: its offsets no longer hold.
const DROPPED_SECTIONS: &[&str] =
    &["target_features", "producers", "sourceMappingURL", "external_debug_info"];

/// A function in the one shape that later stages and hosts know.
#[derive(Clone, Debug)]
pub struct Normalised {
    pub wasm: Vec<u8>,
    pub entry: Entry,
    pub era: Era,
    pub imports: Imports,
    pub warnings: Vec<Warning>,
}

/// Normalises a binary as the toolchain made it.
///
/// # Errors
/// The bytes are not a function, or ask for what the host interface does not have; see [`Error`].
pub fn normalise(wasm: &[u8]) -> Result<Normalised, Error> {
    input::check(wasm)?;
    let mut module = parse(wasm)?;
    let list = imports::list(&module)?;
    let imports = imports::summarise(&list);
    let ctors = constructors::settle(&mut module, &["_start"]);
    let entry = settle_entry(&mut module, ctors)?;
    let era = era_of(&imports, &entry);
    let warnings = warning::collect(&imports, &entry, ctors.certain);
    for section in DROPPED_SECTIONS {
        while module.customs.remove_raw(section).is_some() {}
    }
    let normalised = module.emit_wasm();
    Layout::read(wasm)?.kept_by(&Layout::read(&normalised)?, "normalise")?;
    Ok(Normalised { wasm: normalised, entry, era, imports, warnings })
}

/// Reads a valid module for rewriting.
pub(crate) fn parse(wasm: &[u8]) -> Result<Module, Error> {
    ModuleConfig::new()
        .generate_producers_section(false)
        .parse(wasm)
        .map_err(|error| Error::Rewrite { message: format!("{error:#}") })
}

/// Exports what the host has to reach, and lists what it has to call.
fn settle_entry(module: &mut Module, ctors: Constructors) -> Result<Entry, Error> {
    let mut first = Vec::new();
    if let Some(start) = module.start.take() {
        first.push(export(module, "faasm:start", ExportItem::Function(start)));
    }
    let mut before_pointer = first.clone();
    if let Some(function) = ctors.function {
        before_pointer.push(export(module, "faasm:ctors", ExportItem::Function(function)));
    }

    let mut main = first;
    let entry_name = if exported_function(module, "_start").is_some() { "_start" } else { "main" };
    let entry = exported_function(module, entry_name).ok_or(Error::NoEntry)?;
    check_entry(module, entry_name, entry)?;
    if !ctors.run_in(module, entry) {
        main = before_pointer.clone();
    }
    let zygote = "_faasm_zygote";
    if entry_name == "main" && exported_function(module, zygote).is_some() {
        main.push(zygote.to_owned());
    }
    main.push(entry_name.to_owned());

    let table = function_table(module)
        .map(|table| export(module, "__indirect_function_table", ExportItem::Table(table)));
    let memory = module.memories.iter().next().map(walrus::Memory::id).ok_or(Error::NoMemory)?;
    let memory = export(module, "memory", ExportItem::Memory(memory));
    Ok(Entry { main, before_pointer, table, memory, malloc: malloc(module) })
}

/// Checks that the host can call the entry: `_start` takes and returns nothing, `main` may have `argc`, `argv` and a
/// return value.
fn check_entry(module: &Module, name: &str, function: FunctionId) -> Result<(), Error> {
    let (params, results) = module.types.params_results(module.funcs.get(function).ty());
    let found = signature(params, results);
    let (fits, expected) = match name {
        "_start" => (found == "() -> nothing", "() -> nothing"),
        _ => (
            ["() -> i32", "() -> nothing", "(i32, i32) -> i32"].contains(&found.as_str()),
            "() -> i32 or (i32, i32) -> i32",
        ),
    };
    if fits {
        Ok(())
    } else {
        Err(Error::EntrySignature { export: name.to_owned(), found, expected })
    }
}

/// The name under which an item is exported; a new export where there is none.
///
/// Where something else has the wanted name, ours gets a prefix that no toolchain uses.
fn export(module: &mut Module, wanted: &str, item: ExportItem) -> String {
    let same = |other: &ExportItem| match (item, other) {
        (ExportItem::Function(a), ExportItem::Function(b)) => a == *b,
        (ExportItem::Table(a), ExportItem::Table(b)) => a == *b,
        (ExportItem::Memory(a), ExportItem::Memory(b)) => a == *b,
        _ => false,
    };
    if let Some(export) = module.exports.iter().find(|export| same(&export.item)) {
        return export.name.clone();
    }
    let mut name = wanted.to_owned();
    while module.exports.iter().any(|export| export.name == name) {
        name.insert_str(0, "faasm:");
    }
    module.exports.add(&name, item);
    name
}

/// The table that function pointers index: the one of that name, else the first that holds functions.
fn function_table(module: &Module) -> Option<walrus::TableId> {
    let is_function_table = |table: &&walrus::Table| table.element_ty == RefType::FUNCREF;
    let is_named =
        |table: &walrus::Table| table.name.as_deref() == Some("__indirect_function_table");
    let mut tables = module.tables.iter().filter(is_function_table);
    let first = tables.next()?;
    let chosen =
        if is_named(first) { first } else { tables.find(|table| is_named(table)).unwrap_or(first) };
    Some(chosen.id())
}

fn malloc(module: &Module) -> Option<String> {
    let function = exported_function(module, "malloc")?;
    let (params, results) = module.types.params_results(module.funcs.get(function).ty());
    (signature(params, results) == "(i32) -> i32").then(|| "malloc".to_owned())
}

/// System calls by number, and `main` as the entry, are signs of the 2019/20 toolchain.
fn era_of(imports: &Imports, entry: &Entry) -> Era {
    let Imports { immediate, suspending, cluster_only, planned, unknown } = imports;
    let mut names = [immediate, suspending, cluster_only, planned, unknown].into_iter().flatten();
    let is_syscall = |name: &String| {
        name.strip_prefix("env.__syscall")
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    };
    let is_legacy = entry.main.last().is_some_and(|last| last == "main") || names.any(is_syscall);
    if is_legacy { Era::Legacy } else { Era::Current }
}
