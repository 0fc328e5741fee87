//! Stage 1: gives the binaries of all toolchains the same shape, without Binaryen; the relay runs the result.
//!
//! Before, for a linker that wraps exports, and a C library whose start file leaves constructors to the linker:
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
//! A binary of the 2019/20 toolchain has `main` instead of `_start`. The host calls entries without arguments, so a
//! `main` that takes `argc` and `argv` gets zeros: functions of that time read their input through the host interface.
//!
//! ```wat
//! (export "main" (func $main))                                            ;; before, and kept
//! (export "faasm:main" (func $faasm:main))                                ;; added, and the entry
//! (func $faasm:main (result i32) (call $main (i32.const 0) (i32.const 0)))
//! ```
//!
//! A `_faasm_zygote` runs before the entry of either. It needs the constructors; if the entry runs them, they run
//! before the zygote instead, and only once ([`crate::stages::constructors`]).
//!
//! Draft SIMD and the draft's exceptions ([`crate::stages::input`]), and imported memories and tables
//! ([`crate::stages::storage`]), are handled before all this.
//!
//! Why it is safe: bodies, table and data are unchanged (table and data are compared afterwards), except that a loop
//! that polls the clock waits ([`crate::stages::clock_loop`]); exports are only added, except for wrappers
//! ([`crate::stages::constructors`]); a start function becomes the first export that the host calls, where it may
//! suspend, which it may not during instantiation.

use crate::Error;
use crate::module::encode::encode;
use crate::module::imports::Import;
use crate::module::layout::{Layout, signature};
use crate::module::{guest_calls, imports, references};
use crate::report::warning::{self, Warning};
use crate::stages::constructors::{self, Constructors, View, exported_function};
use crate::stages::{clock_loop, fence, input, storage};
use faasm_bridge::entry::{self, MAIN, Order, Parts, START, ZYGOTE, entry_name};
use faasm_bridge::host::{Era, ImportClass};
use faasm_bridge::manifest::{Entry, Imports};
use walrus::ir::{Const, Instr, Value};
use walrus::{
    ExportItem, FunctionBuilder, FunctionId, FunctionKind, Module, ModuleConfig, RefType,
};

/// Custom sections that are wrong or useless after rewriting. DWARF (`.debug_*`) and relocations (`reloc.*`) go too: their
/// offsets no longer hold.
const DROPPED_SECTIONS: &[&str] =
    &["target_features", "producers", "sourceMappingURL", "external_debug_info", "linking"];

/// Export of `main`, where it takes arguments.
const WRAPPED_MAIN: &str = "faasm:main";

/// A function in the shape that later stages and hosts expect.
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
/// Bytes that are not a function, or that need what the host interface does not have; see [`Error`].
pub fn normalise(wasm: &[u8]) -> Result<Normalised, Error> {
    let wasm = &*input::check(wasm)?;
    let mut module = parse(wasm)?;
    references::check(&module)?;
    storage::own(&mut module);
    let list = imports::list(&module)?;
    let imports = imports::summarise(&list);
    let ctors = constructors::settle(&mut module, &[START]);
    let entry = settle_entry(&mut module, ctors)?;
    let takes_memory = |import: &Import| match import.class {
        ImportClass::Known(call) => call.takes_memory(entry.malloc.is_some()),
        _ => false,
    };
    let sees_memory = fence::sees_memory(&module);
    let is_fenced = sees_memory && list.iter().any(takes_memory);
    if is_fenced {
        fence::add(&mut module);
    }
    let entry = Entry { break_safe: is_fenced || !sees_memory, ..entry };
    guest_calls::settle(&mut module, &list);
    let era = era_of(&module, &imports);
    let warnings = warning::collect(&imports, &entry, ctors.certain);
    clock_loop::settle(&mut module);
    drop_sections(&mut module);
    let normalised = encode(&mut module);
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

pub(crate) fn drop_sections(module: &mut Module) {
    let is_dropped = |name: &str| {
        DROPPED_SECTIONS.contains(&name)
            || [".debug_", "reloc."].iter().any(|prefix| name.starts_with(prefix))
    };
    let sections = module.customs.iter();
    let dropped: Vec<_> =
        sections.filter(|(_, section)| is_dropped(section.name())).map(|(id, _)| id).collect();
    for id in dropped {
        module.customs.delete(id);
    }
}

/// Exports what the host has to access, and lists what it has to call.
fn settle_entry(module: &mut Module, ctors: Constructors) -> Result<Entry, Error> {
    let entry_name = entry_name(&View(module));
    let entry = exported_function(module, entry_name).ok_or(Error::NoEntry)?;
    let zygote = exported_function(module, ZYGOTE);
    let mut start = module.start.take();
    let in_start =
        start.is_some_and(|start| ctors.function == Some(start) || ctors.run_in(module, start));
    let in_entry = ctors.run_in(module, entry);
    let mut ctors_function = ctors.function;
    // If they run before the entry anyway, the entry must not run them again over what was created since.
    if let Some(function) = ctors.function.filter(|_| in_entry && (zygote.is_some() || in_start)) {
        let once = constructors::run_once(module, function);
        ctors_function = Some(once);
        start = start.map(|start| if start == function { once } else { start });
    }
    let start = start.map(|start| export(module, "faasm:start", ExportItem::Function(start)));
    let constructors = ctors_function.filter(|_| !in_start);
    let constructors =
        constructors.map(|it| export(module, "faasm:ctors", ExportItem::Function(it)));
    let is_emscripten_command = entry_name == START && entry::is_emscripten(&View(module));
    let entry = match entry_name {
        MAIN => without_arguments(module, entry),
        _ => START.to_owned(),
    };
    let parts = Parts {
        start,
        constructors,
        has_zygote: zygote.is_some(),
        entry,
        entry_constructs: in_entry || is_emscripten_command,
    };
    let Order { main, before_pointer } = parts.order();

    let table = function_table(module)
        .map(|table| export(module, "__indirect_function_table", ExportItem::Table(table)));
    let memory = module.memories.iter().next().map(walrus::Memory::id).ok_or(Error::NoMemory)?;
    let memory = export(module, "memory", ExportItem::Memory(memory));
    let (malloc, errno) = (malloc(module), errno(module));
    Ok(Entry { main, before_pointer, table, memory, malloc, errno, break_safe: false })
}

/// The name of an export that calls `main` with no arguments, of which it takes none or `argc` and `argv`.
fn without_arguments(module: &mut Module, main: FunctionId) -> String {
    let (params, results) = module.types.params_results(module.funcs.get(main).ty());
    let (count, results) = (params.len(), results.to_vec());
    if count == 0 {
        return MAIN.to_owned();
    }
    let mut wrapper = FunctionBuilder::new(&mut module.types, &[], &results);
    let mut body = wrapper.name(WRAPPED_MAIN.to_owned()).func_body();
    for _ in 0..count {
        body.i32_const(0);
    }
    body.call(main);
    let wrapper = wrapper.finish(Vec::new(), &mut module.funcs);
    export(module, WRAPPED_MAIN, ExportItem::Function(wrapper))
}

/// The name under which an item is exported; adds an export if there is none.
///
/// If another item has the wanted name, ours gets a prefix that no toolchain uses.
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

/// The table that function pointers index: the one of that name, else the first table of functions.
pub(crate) fn function_table(module: &Module) -> Option<walrus::TableId> {
    let is_function_table = |table: &&walrus::Table| table.element_ty == RefType::FUNCREF;
    let is_named =
        |table: &walrus::Table| table.name.as_deref() == Some("__indirect_function_table");
    let mut tables = module.tables.iter().filter(is_function_table);
    let first = tables.next()?;
    let chosen =
        if is_named(first) { first } else { tables.find(|table| is_named(table)).unwrap_or(first) };
    Some(chosen.id())
}

/// The export of the C library's allocator; a new one if only its debug name identifies it.
fn malloc(module: &mut Module) -> Option<String> {
    const MALLOC: &str = "malloc";
    let exported = exported_function(module, MALLOC);
    let function = exported.or_else(|| by_its_name(module, MALLOC))?;
    let (params, results) = module.types.params_results(module.funcs.get(function).ty());
    let fits = signature(params, results) == "(i32) -> i32";
    fits.then(|| export(module, MALLOC, ExportItem::Function(function)))
}

/// A function of the module's own by its debug name; an import may have the same name.
fn by_its_name(module: &Module, name: &str) -> Option<FunctionId> {
    let is_own = |id: &FunctionId| matches!(module.funcs.get(*id).kind, FunctionKind::Local(_));
    module.funcs.by_name(name).filter(is_own)
}

/// The address of `errno`, if `__errno_location` just returns a constant.
fn errno(module: &Module) -> Option<u32> {
    const LOCATION: &str = "__errno_location";
    let found = exported_function(module, LOCATION).or_else(|| by_its_name(module, LOCATION))?;
    let FunctionKind::Local(function) = &module.funcs.get(found).kind else { return None };
    match function.block(function.entry_block()).instrs.as_slice() {
        [(Instr::Const(Const { value: Value::I32(address) }), _)] => Some(address.cast_unsigned()),
        _ => None,
    }
}

/// System calls by number, and `main` as the entry, indicate the 2019/20 toolchain.
fn era_of(module: &Module, imports: &Imports) -> Era {
    let Imports { immediate, suspending, cluster_only, planned, unknown } = imports;
    let mut names = [immediate, suspending, cluster_only, planned, unknown].into_iter().flatten();
    let is_syscall = |name: &String| {
        name.strip_prefix("env.__syscall")
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    };
    let is_legacy = entry_name(&View(module)) == MAIN || names.any(is_syscall);
    if is_legacy { Era::Legacy } else { Era::Current }
}
