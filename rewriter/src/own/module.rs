//! The module around the functions: what of it is read, and how it is put together again.
//!
//! Nothing that is there changes its index: types, functions, tables, globals and exports are appended, and every section
//! but these and the code is copied as it is.

use super::code::value_type;
use super::frame::{Additions, First};
use super::types::{Types, inconsistent};
use crate::Error;
use crate::stages::input::MADE_BY;
use std::ops::Range;
use wasm_encoder::{Encode, ExportKind};
use wasmparser::{
    BinaryReader, BinaryReaderError, CustomSectionReader, ExternalKind, FuncToValidate,
    FunctionBody, Parser, Payload, TypeRef, ValidPayload, Validator, ValidatorResources,
    WasmFeatures,
};

const TYPES: u8 = 1;
const FUNCTIONS: u8 = 3;
const TABLES: u8 = 4;
const GLOBALS: u8 = 6;
const EXPORTS: u8 = 7;
const CODE: u8 = 10;
/// In this order, those with contents lie in a module.
const ORDER: [u8; 13] = [TYPES, 2, FUNCTIONS, TABLES, 5, 13, GLOBALS, EXPORTS, 8, 9, 12, CODE, 11];
const CUSTOM: u8 = 0;
const NAMES: &str = "name";
const FUNCTION_NAMES: u8 = 1;
const LABEL_NAMES: u8 = 3;

/// A function with a body, which has not been validated yet.
pub(super) type Function<'a> = (FuncToValidate<ValidatorResources>, FunctionBody<'a>);

/// What is read of a module.
pub(super) struct Module<'a> {
    wasm: &'a [u8],
    sections: Vec<Section<'a>>,
    pub(super) types: Types,
    /// In order, those with a body; the first has the index `imported`.
    pub(super) functions: Vec<Function<'a>>,
    pub(super) imported: u32,
    pub(super) first: First,
}

struct Section<'a> {
    id: u8,
    range: Range<usize>,
    custom: Option<CustomSectionReader<'a>>,
}

fn unread(error: BinaryReaderError) -> Error {
    Error::Rewrite { message: error.to_string() }
}

impl<'a> Module<'a> {
    /// Reads a module; its functions are validated as they are rewritten.
    pub(super) fn read(wasm: &'a [u8], typed_references: bool) -> Result<Self, Error> {
        let mut validator = Validator::new_with_features(
            crate::module::features::accepted()
            | WasmFeatures::LEGACY_EXCEPTIONS
            // To be refused by their names.
            | WasmFeatures::MEMORY64
            | WasmFeatures::MULTI_MEMORY,
        );
        let mut module = Self {
            wasm,
            sections: Vec::new(),
            types: Types::new(Vec::new(), None, typed_references),
            functions: Vec::new(),
            imported: 0,
            first: First::default(),
        };
        let mut types = Vec::new();
        let (mut memories, mut is_wide) = (0, false);
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload.map_err(unread)?;
            let valid = validator.payload(&payload).map_err(unread)?;
            if let ValidPayload::Func(function, body) = valid {
                module.functions.push((function, body));
                continue;
            }
            let custom = match &payload {
                Payload::CustomSection(custom) => Some(custom.clone()),
                _ => None,
            };
            if let Some((id, range)) = payload.as_section() {
                module.sections.push(Section { id, range, custom });
            }
            match payload {
                Payload::TypeSection(section) => {
                    types = section
                        .into_iter_err_on_gc_types()
                        .collect::<Result<_, _>>()
                        .map_err(|_| garbage_collected())?;
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        match import.map_err(unread)?.ty {
                            TypeRef::Func(_) | TypeRef::FuncExact(_) => module.imported += 1,
                            TypeRef::Global(_) => module.first.global += 1,
                            TypeRef::Table(table) => {
                                module.first.table += 1;
                                is_wide |= table.table64;
                            }
                            TypeRef::Memory(memory) => {
                                memories += 1;
                                is_wide |= memory.memory64;
                            }
                            TypeRef::Tag(_) => {}
                        }
                    }
                }
                Payload::TableSection(section) => {
                    for table in section {
                        module.first.table += 1;
                        is_wide |= table.map_err(unread)?.ty.table64;
                    }
                }
                Payload::MemorySection(section) => {
                    for memory in section {
                        memories += 1;
                        is_wide |= memory.map_err(unread)?.memory64;
                    }
                }
                Payload::GlobalSection(section) => module.first.global += section.count(),
                Payload::CodeSectionStart { .. } => {
                    let types = std::mem::take(&mut types);
                    module.types = Types::new(types, validator.types(0), typed_references);
                }
                _ => {}
            }
        }
        module.first.function = module.imported + module.functions.len() as u32;
        match memories {
            _ if is_wide => Err(Error::Feature {
                feature: "64-bit addresses",
                who: WHO,
                advice: "build the function for wasm32",
            }),
            0 => Err(Error::NoMemory),
            1 => Ok(module),
            count => Err(Error::Memories { count }),
        }
    }

    /// The bytes of a body, with its locals.
    pub(super) fn bytes(&self, body: &FunctionBody<'_>) -> &'a [u8] {
        &self.wasm[body.range()]
    }

    /// The module with these bodies, and what is added.
    pub(super) fn with(&self, bodies: &[Vec<u8>], additions: &Additions) -> Result<Vec<u8>, Error> {
        let mut out = self.wasm[..8].to_vec();
        out.reserve(self.wasm.len() + self.wasm.len() / 2);
        let mut missing: Vec<u8> = ORDER.to_vec();
        missing.retain(|id| !self.sections.iter().any(|section| section.id == *id));
        for section in &self.sections {
            let content = &self.wasm[section.range.clone()];
            if let Some(custom) = &section.custom {
                let named = (custom.name() == NAMES).then(|| self.names(custom, additions));
                match named.transpose()? {
                    Some(content) => write_section(CUSTOM, &content, &mut out),
                    None => write_section(CUSTOM, content, &mut out),
                }
                continue;
            }
            let place = ORDER.iter().position(|id| *id == section.id);
            while let Some(id) = missing.first().copied()
                && ORDER.iter().position(|other| *other == id) < place
            {
                missing.remove(0);
                if let Some(content) = self.appended(id, &[], bodies, additions)? {
                    write_section(id, &content, &mut out);
                }
            }
            match self.appended(section.id, content, bodies, additions)? {
                Some(content) => write_section(section.id, &content, &mut out),
                None => write_section(section.id, content, &mut out),
            }
        }
        let mut made_by = Vec::new();
        MADE_BY.encode(&mut made_by);
        made_by.extend_from_slice(b"own");
        write_section(CUSTOM, &made_by, &mut out);
        Ok(out)
    }

    /// A section's content with what comes to it, if anything does.
    fn appended(
        &self,
        id: u8,
        content: &[u8],
        bodies: &[Vec<u8>],
        additions: &Additions,
    ) -> Result<Option<Vec<u8>>, Error> {
        let mut more = Vec::new();
        let count = match id {
            TYPES => {
                let types = additions.types.appended();
                for ty in types {
                    more.push(0x60);
                    for list in [ty.params(), ty.results()] {
                        list.len().encode(&mut more);
                        for ty in list {
                            value_type(*ty, &mut more)?;
                        }
                    }
                }
                types.len()
            }
            FUNCTIONS => {
                additions.functions.iter().for_each(|function| function.ty.encode(&mut more));
                additions.functions.len()
            }
            TABLES => {
                for ty in &additions.tables {
                    value_type(wasmparser::ValType::Ref(*ty), &mut more)?;
                    // From none on, without an end.
                    more.extend([0x00, 0x00]);
                }
                additions.tables.len()
            }
            GLOBALS => {
                for _ in 0..additions.globals {
                    // (mut i32) (i32.const 0)
                    more.extend([0x7f, 0x01, 0x41, 0x00, 0x0b]);
                }
                additions.globals as usize
            }
            EXPORTS => {
                let functions = (additions_start(self)..).zip(&additions.functions);
                let mut count = 0;
                for (index, name) in
                    functions.filter_map(|(index, function)| Some((index, function.export?)))
                {
                    name.encode(&mut more);
                    ExportKind::from(ExternalKind::Func).encode(&mut more);
                    u32::encode(&index, &mut more);
                    count += 1;
                }
                count
            }
            CODE => {
                let mut out = Vec::with_capacity(content.len() * 2);
                (bodies.len() + additions.functions.len()).encode(&mut out);
                for body in bodies {
                    body.as_slice().encode(&mut out);
                }
                for function in &additions.functions {
                    function.body.encode(&mut out);
                }
                return Ok(Some(out));
            }
            _ => 0,
        };
        if count == 0 {
            return Ok(None);
        }
        let mut reader = BinaryReader::new(content, 0);
        let before = if content.is_empty() { 0 } else { reader.read_var_u32().map_err(unread)? };
        let mut out = Vec::with_capacity(content.len() + more.len() + 8);
        (before as usize + count).encode(&mut out);
        out.extend_from_slice(&content[reader.original_position()..]);
        out.extend(more);
        Ok(Some(out))
    }

    /// The names, with those of the functions that are added, where functions have names at all.
    fn names(
        &self,
        custom: &CustomSectionReader<'_>,
        additions: &Additions,
    ) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        NAMES.encode(&mut out);
        let data = custom.data();
        let mut reader = BinaryReader::new(data, 0);
        while !reader.eof() {
            let id = reader.read_u8().map_err(unread)?;
            let size = reader.read_var_u32().map_err(unread)? as usize;
            let content = reader.read_bytes(size).map_err(unread)?;
            if id == LABEL_NAMES {
                // Labels have other numbers now.
                continue;
            }
            if id != FUNCTION_NAMES {
                write_section(id, content, &mut out);
                continue;
            }
            let mut entries = BinaryReader::new(content, 0);
            let before = entries.read_var_u32().map_err(unread)? as usize;
            let mut names = Vec::new();
            (before + additions.functions.len()).encode(&mut names);
            names.extend_from_slice(&content[entries.original_position()..]);
            for (index, function) in (additions_start(self)..).zip(&additions.functions) {
                u32::encode(&index, &mut names);
                function.name.as_str().encode(&mut names);
            }
            write_section(id, &names, &mut out);
        }
        Ok(out)
    }
}

/// Who cannot handle something, in messages.
pub(super) const WHO: &str = "the Asyncify pass";

fn garbage_collected() -> Error {
    Error::Feature {
        feature: "garbage collection",
        who: WHO,
        advice: "build the function for linear memory, as C, C++ and Rust do",
    }
}

/// The index of the first function that is added.
fn additions_start(module: &Module<'_>) -> u32 {
    module.first.function
}

fn write_section(id: u8, content: &[u8], out: &mut Vec<u8>) {
    out.push(id);
    content.encode(out);
}

/// A body as it was.
pub(super) fn unchanged(module: &Module<'_>, body: &FunctionBody<'_>) -> Vec<u8> {
    module.bytes(body).to_vec()
}

/// A module whose function indices do not fit together with the analysis.
pub(super) fn misplaced() -> Error {
    inconsistent("a call where the analysis sees none, or the other way round")
}
