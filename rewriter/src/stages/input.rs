//! Admission: rejects modules that are not functions. Later stages may assume a valid core module with one memory of
//! its own.
//!
//! No later stage checks bytes again, and Binaryen's behaviour on a module that does not validate is undefined, so this
//! is the only gate.

use crate::Error;
use crate::module::layout::signature;
use crate::module::{features, imports};
use crate::stages::draft_exceptions;
use crate::stages::draft_simd::{self, Gone, Translated};
use faasm_bridge::entry::{self, MAIN, START, ZYGOTE};
use std::borrow::Cow;
use std::collections::BTreeMap;
use wasmparser::{
    BinaryReader, BinaryReaderError, Encoding, ExternalKind, FuncType, KnownCustom, MemoryType,
    Name, Parser, Payload, TypeRef, ValType, Validator,
};

/// What a WASI reactor has instead of an entry.
pub(crate) const INITIALIZE: &str = "_initialize";
const ENTRIES: [&str; 4] = [START, MAIN, INITIALIZE, ZYGOTE];

const MAGIC: &[u8] = b"\0asm";

/// Checks that `wasm` is a valid core module with the shape of a function, and returns it unchanged; or in the current
/// encoding, if it validates only with the draft's encoding of exceptions, or with the draft SIMD of 2019.
///
/// # Errors
/// An error that says what the bytes are instead, with the byte offset.
pub fn check(wasm: &[u8]) -> Result<Cow<'_, [u8]>, Error> {
    check_header(wasm)?;
    let Err(error) = validate(wasm) else { return Ok(Cow::Borrowed(wasm)) };
    if features::has_draft_exceptions(wasm)
        && let Some(today) = draft_exceptions::translate(wasm)
        && validate(&today).is_ok()
    {
        return Ok(Cow::Owned(today));
    }
    if let Some(features::Refused { name: feature, who, advice, .. }) = features::refused(wasm) {
        return Err(Error::Feature { feature, who, advice });
    }
    match draft_simd::translate(wasm).filter(|draft| validate(&draft.wasm).is_ok()) {
        None => Err(invalid(wasm, &error)),
        Some(Translated { wasm, gone: None }) => Ok(Cow::Owned(wasm)),
        Some(Translated { gone: Some(Gone { name, offset }), .. }) => {
            Err(Error::DraftSimd { offset, function: function_at(wasm, offset), instruction: name })
        }
    }
}

/// Checks all sections except the code: memories, imports and their types, exports, entries and their types.
///
/// It reads no code, so that a large module is rejected at once for one of these. A module that passes may still be
/// invalid.
///
/// # Errors
/// As [`check`].
pub fn check_header(wasm: &[u8]) -> Result<(), Error> {
    magic(wasm)?;
    shape(wasm)
}

fn validate(wasm: &[u8]) -> Result<(), BinaryReaderError> {
    Validator::new_with_features(features::accepted()).validate_all(wasm).map(drop)
}

fn magic(wasm: &[u8]) -> Result<(), Error> {
    if wasm.is_empty() {
        return Err(Error::Empty);
    }
    if !wasm.starts_with(MAGIC) {
        if MAGIC.starts_with(wasm) {
            return Err(Error::Truncated { offset: wasm.len() });
        }
        return Err(if is_text(wasm) {
            Error::Text
        } else {
            Error::NotWasm { found: first_bytes(wasm) }
        });
    }
    Ok(())
}

/// Text starts with an S-expression or a comment.
fn is_text(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    [&b"(module"[..], b"(component", b";;", b"(;"].iter().any(|start| text.starts_with(start))
}

fn first_bytes(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(4)];
    let hex: Vec<String> = shown.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("`{}` ({})", shown.escape_ascii(), hex.join(" "))
}

/// Rejects what a valid module may have and a function may not, according to all sections except the code: they may be
/// all that is read of a hundred megabytes.
fn shape(wasm: &[u8]) -> Result<(), Error> {
    let mut memories = 0;
    let mut entries: BTreeMap<&str, u32> = BTreeMap::new();
    let mut types = Types::default();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(|error| invalid(wasm, &error))? {
            Payload::Version { encoding: Encoding::Component, .. } => return Err(Error::Component),
            Payload::Version { num, .. } if num != 1 => {
                return Err(Error::Version { version: num });
            }
            Payload::TypeSection(section) => {
                // Types of garbage collection are rejected with the proposal.
                let all = section.into_iter_err_on_gc_types().collect::<Result<_, _>>();
                types.types = all.unwrap_or_default();
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    types.functions.push(ty.map_err(|error| invalid(wasm, &error))?);
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports_with_offsets() {
                    let (offset, import) = import.map_err(|error| invalid(wasm, &error))?;
                    let name = format!("{}.{}", import.module, import.name);
                    if import.module == crate::BRIDGE_MODULE {
                        let evidence = format!("imports `{name}`{}", by_own_pass(wasm));
                        return Err(Error::AlreadyInstrumented { evidence });
                    }
                    let foreign = |kind| Err(Error::ForeignImport { import: name.clone(), kind });
                    match import.ty {
                        TypeRef::Memory(memory) => {
                            memory_kind(memory, offset)?;
                            memories += 1;
                        }
                        TypeRef::Global(_) => return foreign("global"),
                        TypeRef::Tag(_) => return foreign("tag"),
                        TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                            types.functions.push(ty);
                            if let Some(ty) = types.types.get(ty as usize) {
                                imports::check_signature(import.module, import.name, ty)?;
                            }
                        }
                        TypeRef::Table(_) => {}
                    }
                }
            }
            Payload::MemorySection(section) => {
                for memory in section.into_iter_with_offsets() {
                    let (offset, memory) = memory.map_err(|error| invalid(wasm, &error))?;
                    memory_kind(memory, offset)?;
                    memories += 1;
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.map_err(|error| invalid(wasm, &error))?;
                    // The host recognises the rewriter's additions by such names.
                    let is_ours = export.name.starts_with("faasm:")
                        || export.kind == ExternalKind::Func
                            && export.name == "asyncify_start_unwind";
                    if is_ours {
                        let evidence = format!("exports `{}`{}", export.name, by_own_pass(wasm));
                        return Err(Error::AlreadyInstrumented { evidence });
                    }
                    if matches!(export.kind, ExternalKind::Func | ExternalKind::FuncExact) {
                        let entry = ENTRIES.into_iter().find(|entry| *entry == export.name);
                        entries.extend(entry.map(|entry| (entry, export.index)));
                    }
                }
            }
            _ => {}
        }
    }
    match memories {
        0 => return Err(Error::NoMemory),
        1 => {}
        count => return Err(Error::Memories { count }),
    }
    let has = |entry| entries.contains_key(entry);
    match () {
        () if !has(START) && has(INITIALIZE) => return Err(Error::Reactor),
        () if !has(START) && !has(MAIN) => return Err(Error::NoEntry),
        () => {}
    }
    let program = if has(START) { START } else { MAIN };
    for entry in [program, ZYGOTE] {
        if let Some(ty) = entries.get(entry).and_then(|function| types.of(*function)) {
            check_entry(entry, ty)?;
        }
    }
    Ok(())
}

/// The types of functions read so far.
#[derive(Default)]
struct Types {
    types: Vec<FuncType>,
    functions: Vec<u32>,
}

impl Types {
    /// Of a function by its index.
    fn of(&self, function: u32) -> Option<&FuncType> {
        self.types.get(*self.functions.get(function as usize)? as usize)
    }
}

/// Checks that the host can call an entry or the zygote.
fn check_entry(name: &str, ty: &FuncType) -> Result<(), Error> {
    let (fitting, expected) = entry::signatures_of(name);
    let is_word = |ty: &ValType| *ty == ValType::I32;
    let are_words = ty.params().iter().chain(ty.results()).all(is_word);
    if are_words && fitting.contains(&(ty.params().len(), ty.results().len())) {
        return Ok(());
    }
    let found = signature(ty.params(), ty.results());
    Err(Error::EntrySignature { export: name.to_owned(), found, expected })
}

fn memory_kind(memory: MemoryType, offset: usize) -> Result<(), Error> {
    if memory.memory64 {
        return Err(Error::Memory64 { offset });
    }
    if memory.shared {
        return Err(Error::SharedMemory { offset });
    }
    Ok(())
}

pub(crate) fn invalid(wasm: &[u8], error: &BinaryReaderError) -> Error {
    let offset = error.offset();
    let message = error.message().to_owned();
    if is_cut_off(wasm) {
        return Error::Truncated { offset: wasm.len() };
    }
    Error::Invalid { offset, function: function_at(wasm, offset), message }
}

/// Whether the last section claims bytes beyond the end of the file.
fn is_cut_off(wasm: &[u8]) -> bool {
    let Some(mut rest) = wasm.get(8..) else { return true };
    while let [_id, tail @ ..] = rest {
        let mut reader = BinaryReader::new(tail, 0);
        let Ok(size) = reader.read_var_u32() else { return tail.len() < 5 };
        match tail.get(reader.original_position() + size as usize..) {
            Some(next) => rest = next,
            None => return true,
        }
    }
    false
}

/// The function whose body contains the byte, by its debug name or else by its index.
pub(crate) fn function_at(wasm: &[u8], offset: usize) -> Option<String> {
    let mut next = 0;
    let mut found = None;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.ok()? {
            Payload::ImportSection(section) => {
                let imports = section.into_imports().filter_map(Result::ok);
                next = imports.filter(|import| matches!(import.ty, TypeRef::Func(_))).count();
            }
            Payload::CodeSectionEntry(body) => {
                if body.range().contains(&offset) {
                    found = Some(next);
                }
                next += 1;
            }
            Payload::CustomSection(section) => {
                if let (Some(index), KnownCustom::Name(names)) = (found, section.as_known()) {
                    for names in names.into_iter().filter_map(Result::ok) {
                        if let Name::Function(map) = names
                            && let Some(name) = map
                                .into_iter()
                                .filter_map(Result::ok)
                                .find(|n| n.index as usize == index)
                        {
                            return Some(name.name.to_owned());
                        }
                    }
                }
            }
            _ => {}
        }
    }
    found.map(|index| format!("#{index}"))
}

/// How a module was instrumented, where it says so.
fn by_own_pass(wasm: &[u8]) -> &'static str {
    let mut sections = Parser::new(0).parse_all(wasm);
    let says_so = sections.any(|payload| {
        matches!(payload, Ok(Payload::CustomSection(section))
            if section.name() == MADE_BY && section.data() == b"own")
    });
    if says_so { " and is the work of `--asyncify own`" } else { "" }
}

/// The custom section in which our own Asyncify pass leaves word.
pub(crate) const MADE_BY: &str = "faasm.asyncify";

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(wat: &str) -> String {
        check(&wat::parse_str(wat).unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn a_function_passes() {
        check(&wat::parse_str("(module (memory 1) (func (export \"_start\")))").unwrap()).unwrap();
    }

    #[test]
    fn other_modules_are_rejected_by_kind() {
        assert!(refuse("(module (memory i64 1))").contains("64-bit"));
        assert!(refuse("(module (memory 1 1 shared))").contains("shared"));
        assert!(
            refuse("(module (import \"env\" \"memory\" (memory 1 1 shared)))").contains("shared")
        );
        assert!(
            refuse("(module (import \"env\" \"memory\" (memory 1)) (memory 1))")
                .contains("2 memories")
        );
        assert!(refuse("(module (memory 1) (memory 1))").contains("2 memories"));
        assert!(refuse("(component)").contains("core module"));
        assert!(refuse("(module)").contains("no memory"));
    }

    #[test]
    fn header_errors_are_reported_without_reading_code() {
        // Not valid: the function returns nothing.
        let with =
            |exports| refuse(&format!("(module (memory 1) (func $broken {exports} (result i32)))"));
        assert!(with("").contains("nothing to run"));
        assert!(with("(export \"_initialize\")").contains("reactor"));
        assert!(with("(export \"_start\") (export \"_initialize\")").contains("has to be"));
        assert!(with("(export \"_start\")").contains("has to be () -> nothing"));
        let with_import = |ty| {
            refuse(&format!(
                "(module (import \"env\" \"__faasm_await_call\" (func {ty})) (memory 1)
                (func $broken (result i32)) (func (export \"_start\")))"
            ))
        };
        assert!(with_import("(param i64)").contains("host interface has (i32) -> i32"));
        assert!(with_import("(param i32) (result i32)").contains("not valid"));
        let zygote = "(module (memory 1) (func $broken (result i32)) (func (export \"_start\"))
            (func (export \"_faasm_zygote\") (param i32)))";
        assert!(refuse(zygote).contains("has to be () -> i32"));
        let global = "(module (memory 1) (global (export \"_start\") i32 (i32.const 0)))";
        assert!(refuse(global).contains("nothing to run"));
    }

    /// A module with these imports and code.
    fn new_module(imports: &[u8], code: &[u8]) -> Vec<u8> {
        let mut module = wasm_encoder::Module::new();
        let exports = b"\x02\x06memory\x02\0\x06_start\0\x01";
        let sections: [(u8, &[u8]); 6] = [
            (1, b"\x01\x60\0\0"),
            (2, imports),
            (3, b"\x01\0"),
            (5, b"\x01\0\x01"),
            (7, exports),
            (10, code),
        ];
        for (id, data) in sections {
            module.section(&wasm_encoder::RawSection { id, data });
        }
        module.finish()
    }

    #[test]
    fn a_module_that_is_too_new_is_not_reported_as_too_old() {
        const EMPTY: &[u8] = b"\x01\x02\0\x0b";
        let import = b"\x01\x03env\x01f\0\0";
        check(&new_module(import, EMPTY)).unwrap();
        // The two encodings in which imports of one module share its name.
        for compact in [&b"\x01\x03env\0\x7f\x01\x01f\0\0"[..], b"\x01\x03env\0\x7e\0\0\x01\x01f"] {
            let message = check(&new_module(compact, EMPTY)).unwrap_err().to_string();
            assert!(
                message.contains("compact imports") && message.contains("not finished"),
                "{message}"
            );
            assert!(!message.contains("toolchain"), "{message}");
        }
        // An unknown instruction.
        let message = check(&new_module(import, b"\x01\x03\0\xf0\x0b")).unwrap_err().to_string();
        assert!(message.contains("0xf0") && message.contains("does not have yet"), "{message}");
    }

    #[test]
    fn every_truncation_is_detected() {
        let wasm = wat::parse_str("(module (memory 1) (func (export \"_start\")))").unwrap();
        for end in 1..wasm.len() {
            let error = check(&wasm[..end]).unwrap_err();
            // A cut between two sections leaves a complete module with fewer sections.
            assert!(
                matches!(error, Error::Truncated { .. }) || !is_cut_off(&wasm[..end]),
                "{end}: {error}"
            );
        }
    }

    #[test]
    fn an_invalid_function_is_named() {
        let message =
            refuse("(module (memory 1) (func $broken (result i32)) (func (export \"_start\")))");
        assert!(message.contains("`broken`"), "{message}");
    }
}
