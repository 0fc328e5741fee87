//! Parses a module, except its instructions and data. The browser validates it.

use super::code::{self, value_type};
use super::reader::{Problem, Reader, write_counted, write_u32};
use faasm_bridge::entry::ModuleView;
use faasm_bridge::sorted_map::SortedMap;

const MAGIC: &[u8] = b"\0asm\x01\0\0\0";
const I32: u8 = 0x7f;

/// Ids of sections.
mod section {
    pub(super) const CUSTOM: u8 = 0;
    pub(super) const TYPE: u8 = 1;
    pub(super) const IMPORT: u8 = 2;
    pub(super) const FUNCTION: u8 = 3;
    pub(super) const TABLE: u8 = 4;
    pub(super) const MEMORY: u8 = 5;
    pub(super) const EXPORT: u8 = 7;
    pub(super) const START: u8 = 8;
    pub(super) const CODE: u8 = 10;
}

/// Kinds of imports and exports.
pub(super) const FUNCTION: u8 = 0;
pub(super) const TABLE: u8 = 1;
pub(super) const MEMORY: u8 = 2;

/// Value types of parameters and results, one byte each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Signature {
    pub(super) params: Vec<u8>,
    pub(super) results: Vec<u8>,
}

impl Signature {
    /// Whether the signature has these numbers of parameters and results, all `i32`.
    pub(super) fn is_words(&self, params: usize, results: usize) -> bool {
        self.words() == Some((params, results))
    }

    /// How many parameters and results there are, where all of them are `i32`.
    fn words(&self) -> Option<(usize, usize)> {
        let mut all = self.params.iter().chain(&self.results);
        all.all(|ty| *ty == I32).then_some((self.params.len(), self.results.len()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) initial: u32,
    pub(super) maximum: Option<u32>,
}

#[derive(Clone, Debug)]
pub(super) struct Import<'a> {
    pub(super) module: &'a str,
    pub(super) name: &'a str,
    pub(super) what: Imported,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Imported {
    /// The index of its type.
    Function(u32),
    Table(Limits),
    Memory(Limits),
    Other,
}

#[derive(Clone, Debug)]
pub(super) struct Export {
    pub(super) name: String,
    pub(super) kind: u8,
    pub(super) index: u32,
}

/// A parsed module.
#[derive(Debug, Default)]
pub(super) struct Binary<'a> {
    sections: Vec<(u8, &'a [u8])>,
    types: Vec<Signature>,
    pub(super) imports: Vec<Import<'a>>,
    /// Type indices of all functions, imported ones first.
    functions: Vec<u32>,
    imported_functions: usize,
    pub(super) has_memory: bool,
    pub(super) has_table: bool,
    pub(super) exports: Vec<Export>,
    pub(super) start: Option<u32>,
    bodies: Vec<&'a [u8]>,
    names: SortedMap<u32, &'a str>,
}

impl<'a> Binary<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Problem> {
        let bytes = bytes.strip_prefix(MAGIC).ok_or("it is not a WebAssembly module")?;
        let mut binary = Self::default();
        let mut reader = Reader::new(bytes);
        while !reader.is_at_end() {
            let id = reader.byte()?;
            let content = reader.counted()?;
            binary.sections.push((id, content));
            binary.section(id, Reader::new(content))?;
        }
        Ok(binary)
    }

    fn section(&mut self, id: u8, mut reader: Reader<'a>) -> Result<(), Problem> {
        match id {
            section::TYPE => self.types = reader.each(signature)?,
            section::IMPORT => {
                self.imports = reader.each(import)?;
                for import in &self.imports {
                    match import.what {
                        Imported::Function(ty) => self.functions.push(ty),
                        Imported::Memory(_) => self.has_memory = true,
                        Imported::Table(_) => self.has_table = true,
                        Imported::Other => {}
                    }
                }
                self.imported_functions = self.functions.len();
            }
            section::FUNCTION => self.functions.extend(reader.each(Reader::u32)?),
            section::TABLE => self.has_table |= reader.u32()? > 0,
            section::MEMORY => self.has_memory |= reader.u32()? > 0,
            section::EXPORT => self.exports = reader.each(export)?,
            section::START => self.start = Some(reader.u32()?),
            section::CODE => self.bodies = reader.each(Reader::counted)?,
            // The name section is optional: an unreadable one is ignored.
            section::CUSTOM if reader.name() == Ok("name") => {
                self.names = names(reader).unwrap_or_default();
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn signature(&self, function: u32) -> Result<&Signature, Problem> {
        let ty = self.functions.get(function as usize).ok_or("it refers to a missing function")?;
        self.signature_of_type(*ty)
    }

    pub(super) fn signature_of_type(&self, ty: u32) -> Result<&Signature, Problem> {
        self.types.get(ty as usize).ok_or_else(|| "it refers to a missing type".into())
    }

    /// Whether any function uses `memory.size` or `memory.grow`, or cannot be parsed.
    pub(super) fn uses_memory_size(&self) -> bool {
        self.bodies.iter().any(|body| code::uses_memory_size(body).unwrap_or(true))
    }

    /// The body of a function; `None` if it is imported.
    pub(super) fn body(&self, function: u32) -> Option<&'a [u8]> {
        let local = (function as usize).checked_sub(self.imported_functions)?;
        self.bodies.get(local).copied()
    }

    pub(super) fn has_names(&self) -> bool {
        !self.names.is_empty()
    }

    pub(super) fn name(&self, function: u32) -> Option<&'a str> {
        self.names.get(&function).copied()
    }

    pub(super) fn by_name(&self, wanted: &str) -> Option<u32> {
        self.names.iter().find(|(_, name)| **name == wanted).map(|(function, _)| *function)
    }

    /// The module with other exports, and without a start function: that is the host's to call.
    pub(super) fn with_exports(&self, exports: &[Export]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for (id, content) in &self.sections {
            match *id {
                section::START => {}
                section::EXPORT => {
                    let mut section = Vec::new();
                    write_u32(exports.len() as u32, &mut section);
                    for export in exports {
                        write_counted(export.name.as_bytes(), &mut section);
                        section.push(export.kind);
                        write_u32(export.index, &mut section);
                    }
                    bytes.push(*id);
                    write_counted(&section, &mut bytes);
                }
                _ => {
                    bytes.push(*id);
                    write_counted(content, &mut bytes);
                }
            }
        }
        bytes
    }
}

impl ModuleView for Binary<'_> {
    type Function = u32;
    type Error = Problem;

    fn exported(&self, name: &str) -> Option<u32> {
        let found =
            self.exports.iter().find(|export| export.name == name && export.kind == FUNCTION);
        found.map(|export| export.index)
    }

    fn exports(&self) -> impl Iterator<Item = &str> {
        self.exports.iter().map(|export| export.name.as_str())
    }

    fn imports_of_env(&self) -> impl Iterator<Item = &str> {
        let from_env = self.imports.iter().filter(|import| import.module == "env");
        from_env.map(|import| import.name)
    }

    fn words(&self, function: u32) -> Option<(usize, usize)> {
        self.signature(function).ok()?.words()
    }

    fn callees(&self, function: u32) -> Result<Vec<u32>, Problem> {
        self.body(function).map_or(Ok(Vec::new()), code::calls)
    }
}

fn signature(reader: &mut Reader<'_>) -> Result<Signature, Problem> {
    const FUNCTION_TYPE: u8 = 0x60;
    if reader.byte()? != FUNCTION_TYPE {
        return Err("it has non-function types".into());
    }
    Ok(Signature { params: reader.each(value_type)?, results: reader.each(value_type)? })
}

fn import<'a>(reader: &mut Reader<'a>) -> Result<Import<'a>, Problem> {
    let (module, name) = (reader.name()?, reader.name()?);
    let what = match reader.byte()? {
        FUNCTION => Imported::Function(reader.u32()?),
        TABLE => {
            reader.byte()?;
            Imported::Table(limits(reader)?)
        }
        MEMORY => Imported::Memory(limits(reader)?),
        3 => {
            reader.bytes(2)?;
            Imported::Other
        }
        4 => {
            reader.byte()?;
            reader.u32()?;
            Imported::Other
        }
        other => return Err(format!("it has an import of kind {other}")),
    };
    Ok(Import { module, name, what })
}

fn limits(reader: &mut Reader<'_>) -> Result<Limits, Problem> {
    let flags = reader.byte()?;
    let initial = reader.u32()?;
    match flags {
        0 => Ok(Limits { initial, maximum: None }),
        1 => Ok(Limits { initial, maximum: Some(reader.u32()?) }),
        _ => Err("it has a shared or 64-bit memory".into()),
    }
}

fn export(reader: &mut Reader<'_>) -> Result<Export, Problem> {
    let name = reader.name()?.to_owned();
    Ok(Export { name, kind: reader.byte()?, index: reader.u32()? })
}

fn names(mut reader: Reader<'_>) -> Result<SortedMap<u32, &str>, Problem> {
    const FUNCTIONS: u8 = 1;
    while !reader.is_at_end() {
        let (id, content) = (reader.byte()?, reader.counted()?);
        if id == FUNCTIONS {
            let pairs = Reader::new(content).each(|reader| Ok((reader.u32()?, reader.name()?)))?;
            return Ok(pairs.into_iter().collect());
        }
    }
    Ok(SortedMap::new())
}
