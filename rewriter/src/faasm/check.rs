//! What can be said of a function before it goes to a Faasm cluster.

use super::module::Sections;
use crate::{Error, features, input};
use faasm_bridge::host::{self, HostCall, ImportClass};
use faasm_bridge::wire::MAX_NAME_BYTES;
use std::borrow::Cow;
use std::collections::BTreeSet;
use wasmparser::{DataKind, ExternalKind, Operator, TypeRef};

/// Proposals that WAMR, as Faasm builds it, does not compile.
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

const WHO: &str = "Faasm's WAMR";

/// Refuses what WAMR cannot compile: Faasm's upload server ends over it.
///
/// # Errors
/// What [`input::check`] refuses; a proposal, an import or a missing export, with what to do.
pub fn check(original: &[u8]) -> Result<(), Error> {
    if let Cow::Owned(_) = input::check(original)? {
        return Err(Error::Feature {
            feature: "the draft SIMD of 2019",
            who: WHO,
            advice: "build the function again with a current toolchain",
        });
    }
    let refused = |feature: &features::Feature| REFUSED.contains(&feature.name);
    if let Some(feature) = features::used(original).into_iter().find(refused) {
        return Err(Error::Feature {
            feature: feature.name,
            who: WHO,
            advice: "build the function for a cluster without it",
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
    Ok(())
}

/// Names of functions that a function chains, as far as its calls give them as constants: each once, in order.
///
/// They are bytes up to their NUL; a name that is not valid is there, too, so that it can be refused.
///
/// # Errors
/// On a module that [`input::check`] would refuse.
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
        // The last instructions that push one value each, and pop none.
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

/// What memory has at first at an address, up to a NUL; none where it does not end within a name's length and some.
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
            // Memory behind a segment is zero.
            let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
            found = Some(text[..end].to_vec());
        }
    }
    Ok(found)
}
