//! The sections of a module and the types of its functions: for originals, and for the support.

use crate::Error;
use wasmparser::{
    CodeSectionReader, CompositeInnerType, DataSectionReader, ElementSectionReader, Export,
    ExportSectionReader, FuncType, FunctionBody, GlobalSectionReader, Import, KnownCustom,
    MemorySectionReader, Name, Parser, Payload, TableSectionReader, TagSectionReader, TypeRef,
    TypeSectionReader,
};

/// Sections, and the index spaces that linking needs.
#[derive(Default)]
pub(super) struct Sections<'a> {
    pub(super) types: Option<TypeSectionReader<'a>>,
    pub(super) tables: Option<TableSectionReader<'a>>,
    pub(super) memories: Option<MemorySectionReader<'a>>,
    pub(super) tags: Option<TagSectionReader<'a>>,
    pub(super) globals: Option<GlobalSectionReader<'a>>,
    pub(super) elements: Option<ElementSectionReader<'a>>,
    pub(super) data: Option<DataSectionReader<'a>>,
    pub(super) data_count: Option<u32>,
    pub(super) start: Option<u32>,
    pub(super) imports: Vec<Import<'a>>,
    pub(super) exports: Vec<Export<'a>>,
    /// One for each function that is not imported.
    pub(super) bodies: Vec<FunctionBody<'a>>,
    /// Names of functions, by index.
    pub(super) names: Vec<(u32, &'a str)>,
    /// Custom sections by name.
    pub(super) customs: Vec<(&'a str, &'a [u8])>,
    /// Signatures by type index; `None` for types of other kinds.
    signatures: Vec<Option<FuncType>>,
    /// Type index of each function, the imported ones first.
    functions: Vec<u32>,
}

impl<'a> Sections<'a> {
    /// Reads a module that is known to be valid.
    pub(super) fn read(wasm: &'a [u8]) -> Result<Self, Error> {
        let mut sections = Self::default();
        for payload in Parser::new(0).parse_all(wasm) {
            sections.add(payload?, wasm)?;
        }
        Ok(sections)
    }

    fn add(&mut self, payload: Payload<'a>, wasm: &'a [u8]) -> Result<(), Error> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section.clone() {
                    for ty in group?.into_types() {
                        self.signatures.push(match ty.composite_type.inner {
                            CompositeInnerType::Func(signature) => Some(signature),
                            _ => None,
                        });
                    }
                }
                self.types = Some(section);
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    if let TypeRef::Func(ty) | TypeRef::FuncExact(ty) = import.ty {
                        self.functions.push(ty);
                    }
                    self.imports.push(import);
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    self.functions.push(ty?);
                }
            }
            Payload::TableSection(section) => self.tables = Some(section),
            Payload::MemorySection(section) => self.memories = Some(section),
            Payload::TagSection(section) => self.tags = Some(section),
            Payload::GlobalSection(section) => self.globals = Some(section),
            Payload::ExportSection(section) => self.exports = exports(section)?,
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::ElementSection(section) => self.elements = Some(section),
            Payload::DataCountSection { count, .. } => self.data_count = Some(count),
            Payload::DataSection(section) => self.data = Some(section),
            Payload::CodeSectionStart { range, .. } => {
                let bytes = wasm.get(range.clone()).unwrap_or_default();
                let reader = wasmparser::BinaryReader::new(bytes, range.start);
                for body in CodeSectionReader::new(reader)? {
                    self.bodies.push(body?);
                }
            }
            Payload::CustomSection(section) => {
                self.customs.push((section.name(), section.data()));
                if let KnownCustom::Name(names) = section.as_known() {
                    // Invalid names are skipped: they are only for people.
                    for names in names.into_iter().filter_map(Result::ok) {
                        if let Name::Function(map) = names {
                            let names = map.into_iter().filter_map(Result::ok);
                            self.names.extend(names.map(|naming| (naming.index, naming.name)));
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The number of imported functions.
    pub(super) fn imported(&self) -> u32 {
        self.function_imports().count() as u32
    }

    /// Imported functions, by index.
    pub(super) fn function_imports(&self) -> impl Iterator<Item = (u32, &Import<'a>)> {
        let is_function =
            |import: &&Import<'a>| matches!(import.ty, TypeRef::Func(_) | TypeRef::FuncExact(_));
        (0..).zip(self.imports.iter().filter(is_function))
    }

    /// The number of imported globals.
    pub(super) fn imported_globals(&self) -> u32 {
        let is_global = |import: &&Import<'a>| matches!(import.ty, TypeRef::Global(_));
        self.imports.iter().filter(is_global).count() as u32
    }

    pub(super) fn type_count(&self) -> u32 {
        self.signatures.len() as u32
    }

    pub(super) fn function_count(&self) -> u32 {
        self.functions.len() as u32
    }

    pub(super) fn type_of(&self, function: u32) -> Option<u32> {
        self.functions.get(function as usize).copied()
    }

    pub(super) fn signature_of_type(&self, ty: u32) -> Option<&FuncType> {
        self.signatures.get(ty as usize)?.as_ref()
    }

    pub(super) fn signature(&self, function: u32) -> Result<&FuncType, Error> {
        self.type_of(function)
            .and_then(|ty| self.signature_of_type(ty))
            .ok_or_else(|| Error::Rewrite { message: format!("function {function} has no type") })
    }

    pub(super) fn body(&self, function: u32) -> Option<&FunctionBody<'a>> {
        self.bodies.get(function.checked_sub(self.imported())? as usize)
    }

    /// The function that is exported under a name.
    pub(super) fn exported(&self, name: &str) -> Option<u32> {
        let is_it = |export: &&Export<'a>| {
            export.name == name && matches!(export.kind, FUNCTION | FUNCTION_EXACT)
        };
        self.exports.iter().find(is_it).map(|export| export.index)
    }

    pub(super) fn custom(&self, name: &str) -> Option<&'a [u8]> {
        self.customs.iter().find(|(other, _)| *other == name).map(|(_, data)| *data)
    }
}

const FUNCTION: wasmparser::ExternalKind = wasmparser::ExternalKind::Func;
const FUNCTION_EXACT: wasmparser::ExternalKind = wasmparser::ExternalKind::FuncExact;

fn exports(section: ExportSectionReader<'_>) -> Result<Vec<Export<'_>>, Error> {
    Ok(section.into_iter().collect::<Result<_, _>>()?)
}

impl From<wasmparser::BinaryReaderError> for Error {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Error::Rewrite { message: error.to_string() }
    }
}
