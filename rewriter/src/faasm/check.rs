//! Checks on a function before it is uploaded to a Faasm cluster.

use super::generated::KINDS;
use super::module::Sections;
use crate::Error;
use crate::module::features;
use crate::module::layout::Layout;
use crate::stages::input;
use faasm_bridge::host::{self, HostCall, ImportClass};
use faasm_bridge::wire::MAX_NAME_BYTES;
use std::borrow::Cow;
use std::collections::BTreeSet;
use wasmparser::{
    ConstExpr, DataKind, ElementItems, ElementKind, ExternalKind, Operator, TypeRef, ValType,
};

/// Proposals that WAMR, as Faasm builds it, does not support.
const REFUSED: &[&str] = &[
    "gc",
    "function-references",
    "exception-handling",
    "memory64",
    "multi-memory",
    "threads",
    "tail-call",
    "extended-const",
    "relaxed-simd",
];

const PAGE_BYTES: u64 = 65_536;

const WHO: &str = "Faasm's WAMR";

const NO_EXCEPTIONS: &str = "build it with -fno-exceptions";

/// Rejects what would have to be translated, because the original itself is uploaded.
pub(super) fn drafts(original: &[u8], who: &'static str) -> Result<(), Error> {
    let Cow::Owned(_) = input::check(original)? else { return Ok(()) };
    let (feature, advice) = match features::has_draft_exceptions(original) {
        true => ("exceptions", NO_EXCEPTIONS),
        false => ("the draft SIMD of 2019", "build the function again with a current toolchain"),
    };
    Err(Error::Feature { feature, who, advice })
}

/// Rejects what WAMR cannot compile, which would terminate Faasm's upload server.
///
/// # Errors
/// Any error of [`input::check`]; an unsupported proposal or import, or a missing export, with what to do.
pub fn check(original: &[u8]) -> Result<(), Error> {
    drafts(original, WHO)?;
    let refused = |feature: &features::Feature| REFUSED.contains(&feature.name);
    if let Some(feature) = features::used(original).into_iter().find(refused) {
        return Err(Error::Feature {
            feature: feature.name,
            who: WHO,
            advice: match feature.name {
                "tail-call" => "build it with -mno-tail-call, and without `musttail`",
                "exception-handling" => NO_EXCEPTIONS,
                "threads" => "build it for one thread, without -pthread and -matomics",
                "memory64" => "build it for wasm32",
                _ => {
                    "build it without this proposal, for clang with -mcpu=mvp and only the features it needs"
                }
            },
        });
    }
    let sections = Sections::read(original)?;
    for import in &sections.imports {
        let kind = match import.ty {
            TypeRef::Func(_) | TypeRef::FuncExact(_) => continue,
            TypeRef::Memory(_) => "memory",
            TypeRef::Table(_) => "table",
            TypeRef::Global(_) => "global",
            TypeRef::Tag(_) => "tag",
        };
        let import = format!("{}.{}", import.module, import.name);
        return Err(Error::ForeignImport { import, kind });
    }
    let is_memory = |export: &&wasmparser::Export<'_>| export.kind == ExternalKind::Memory;
    if !sections.exports.iter().filter(is_memory).any(|export| export.name == "memory") {
        return Err(Error::MemoryNotExported);
    }
    for (function, body) in (sections.imported()..).zip(&sections.bodies) {
        let ty = sections.signature(function)?;
        let mut cells: u64 = ty.params().iter().map(|ty| cells_of(*ty)).sum();
        for local in body.get_locals_reader()? {
            let (count, ty) = local?;
            cells += u64::from(count) * cells_of(ty);
        }
        if cells > MAX_CELLS {
            return Err(Error::Feature {
                feature: "a function with more than 65535 words of locals",
                who: WHO,
                advice: "build it with optimisation, or split the function",
            });
        }
    }
    Ok(())
}

/// The most words of parameters and locals that WAMR accepts.
const MAX_CELLS: u64 = 65_535;

/// The size of a local in words.
fn cells_of(ty: ValType) -> u64 {
    match ty {
        ValType::I64 | ValType::F64 => 2,
        ValType::V128 => 4,
        _ => 1,
    }
}

/// Slots of the table whose functions a worker can call: those with no parameter or one `i32`, and no result or one
/// `i32`. A worker also calls others, and then writes out of bounds.
///
/// # Errors
/// A module that is not valid.
pub fn enterable(wasm: &[u8]) -> Result<BTreeSet<u32>, Error> {
    let layout = Layout::read(wasm)?;
    let slots = layout.slots_of(0).filter(|(_, signature)| KINDS.contains(signature));
    Ok(slots.filter_map(|(slot, _)| u32::try_from(slot).ok()).collect())
}

/// Largest initial memory of a function, in bytes.
const MAX_FIRST_MEMORY: u64 = 1 << 30;

/// Largest initial size of a table, in elements.
const MAX_FIRST_TABLE: u64 = 1 << 20;

/// Exports that WAMR may call during instantiation.
const RUN_WHILE_LOADED: &[&str] = &["__post_instantiate", "_initialize", "__wasm_call_ctors"];

/// Rejects what WAMR compiles but cannot instantiate: it would terminate a worker at the first call.
///
/// # Errors
/// [`Error::NotLoadable`], with the reason.
pub fn check_loadable(original: &[u8]) -> Result<(), Error> {
    let refused = |what: String, advice| Err(Error::NotLoadable { what, advice });
    let sections = Sections::read(original)?;
    if sections.start.is_some() {
        let what = "it has a start function, which runs while it is loaded and may trap".to_owned();
        return refused(what, "link it as a command, whose entry is `_start`");
    }
    let mut memory = 0;
    for ty in sections.memories.clone().into_iter().flatten() {
        memory = ty?.initial.saturating_mul(PAGE_BYTES);
    }
    if memory > MAX_FIRST_MEMORY {
        let what = format!("its initial memory has {memory} bytes, more than {MAX_FIRST_MEMORY}");
        return refused(what, "let it grow its memory when it needs it");
    }
    let tables: Vec<u64> = sections
        .tables
        .clone()
        .into_iter()
        .flatten()
        .map(|table| Ok::<_, Error>(table?.ty.initial))
        .collect::<Result<_, _>>()?;
    if let [_, _, ..] = tables[..] {
        let what = format!("it has {} tables", tables.len());
        return refused(what, "build it for one table, as C, C++ and Rust do");
    }
    let table = tables.first().copied().unwrap_or(0);
    if table > MAX_FIRST_TABLE {
        let what = format!("its initial table has {table} elements, more than {MAX_FIRST_TABLE}");
        return refused(what, "build it with a smaller table");
    }
    let has_wasi = sections.imports.iter().any(|import| import.module.starts_with("wasi_"));
    for name in RUN_WHILE_LOADED {
        let is_run = match *name {
            "_initialize" => sections.exported("_start").is_some(),
            // Faasm itself calls it if WASI is imported.
            "__wasm_call_ctors" => !has_wasi,
            _ => true,
        };
        if is_run && sections.exported(name).is_some() {
            let what = format!("it exports `{name}`, which runs while it is loaded and may trap");
            return refused(what, "link it as a command, whose only entry is `_start`");
        }
    }
    let correct = "build it again; its segments were placed by hand, or the file is damaged";
    for segment in sections.data.clone().into_iter().flatten() {
        let segment = segment?;
        if let DataKind::Active { offset_expr, .. } = segment.kind {
            let end = constant(&offset_expr)?.map(|at| u64::from(at) + segment.data.len() as u64);
            if end.is_none_or(|end| end > memory) {
                return refused("a data segment lies beyond its memory".to_owned(), correct);
            }
        }
    }
    for segment in sections.elements.clone().into_iter().flatten() {
        let segment = segment?;
        let count = match &segment.items {
            ElementItems::Functions(items) => items.count(),
            ElementItems::Expressions(_, items) => items.count(),
        };
        if let ElementKind::Active { offset_expr, .. } = segment.kind {
            let end = constant(&offset_expr)?.map(|at| u64::from(at) + u64::from(count));
            if end.is_none_or(|end| end > table) {
                return refused("an element segment lies beyond its table".to_owned(), correct);
            }
        }
    }
    Ok(())
}

/// The value of an expression that consists of one constant.
fn constant(expression: &ConstExpr<'_>) -> Result<Option<u32>, Error> {
    Ok(match expression.get_operators_reader().read()? {
        Operator::I32Const { value } => Some(value.cast_unsigned()),
        _ => None,
    })
}

/// Names of functions that a function chains, if the calls pass them as constants: without duplicates, in order.
///
/// A name is the bytes up to the NUL. Invalid names are included, so that they can be rejected.
///
/// # Errors
/// A module that [`input::check`] would reject.
pub fn chained_names(wasm: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let sections = Sections::read(wasm)?;
    let is_chain = |function: u32| {
        sections.function_imports().any(|(index, import)| {
            index == function
                && host::classify(import.module, import.name)
                    == ImportClass::Known(HostCall::ChainName)
        })
    };
    let mut names = BTreeSet::new();
    for body in &sections.bodies {
        // The latest instructions that push one value each, and pop none.
        let mut pushed: Vec<Option<i32>> = Vec::new();
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            match reader.read()? {
                Operator::I32Const { value } => pushed.push(Some(value)),
                Operator::LocalGet { .. } | Operator::GlobalGet { .. } => pushed.push(None),
                Operator::Call { function_index } => {
                    if is_chain(function_index)
                        && let [.., Some(name), _, _] = pushed[..]
                        && let Some(name) = text_at(&sections, name.cast_unsigned())?
                    {
                        names.insert(name);
                    }
                    pushed.clear();
                }
                _ => pushed.clear(),
            }
        }
    }
    Ok(names.into_iter().collect())
}

/// The text at an address of initial memory, up to a NUL, cut at twice the length limit of names; `None` if no segment
/// covers the address.
fn text_at(sections: &Sections<'_>, address: u32) -> Result<Option<Vec<u8>>, Error> {
    let mut found = None;
    for segment in sections.data.clone().into_iter().flatten() {
        let segment = segment?;
        let DataKind::Active { offset_expr, .. } = segment.kind else { continue };
        let Operator::I32Const { value } = offset_expr.get_operators_reader().read()? else {
            continue;
        };
        let Some(at) = address.checked_sub(value.cast_unsigned()) else { continue };
        if let Some(text) = segment.data.get(at as usize..).filter(|text| !text.is_empty()) {
            let text = &text[..text.len().min(2 * MAX_NAME_BYTES)];
            // Memory after a segment is zero.
            let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
            found = Some(text[..end].to_vec());
        }
    }
    Ok(found)
}
