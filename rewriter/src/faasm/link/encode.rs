//! Writes the linked module, section by section.

use super::super::generated::{self, Types};
use super::code::{Guest, SupportCode};
use super::{Added, Linker, MORE_PAGES, Replacement, reencoded};
use crate::Error;
use crate::module::layout::Layout;
use wasm_encoder::reencode::Reencode;
use wasm_encoder::{
    CodeSection, CustomSection, ElementSection, Elements, EntityType, ExportSection,
    FunctionSection, GlobalSection, ImportSection, IndirectNameMap, MemorySection, MemoryType,
    Module, NameMap, NameSection, StartSection, TableSection, TableType,
};
use wasmparser::{FuncType, TypeRef};

impl Linker<'_, '_> {
    pub(super) fn encode(
        &mut self,
        wasm: &[u8],
        replacements: &[Option<u32>],
        finish: Option<(u32, u32, u32)>,
        entry: Option<(u32, u32)>,
        memory: Option<[u32; 2]>,
        more_memory: bool,
    ) -> Result<Vec<u8>, Error> {
        let original = self.original;
        self.raw.sort_unstable();
        let kept = replacements.iter().filter(|replacement| replacement.is_none()).count() as u32;
        let imports = kept + self.raw.len() as u32;
        let defined = original.function_count() - original.imported();
        let first_added = imports + defined;
        // New indices of the original's functions, by their old indices.
        let mut functions = Vec::new();
        let mut next = 0;
        for replacement in replacements {
            functions.push(match replacement {
                Some(number) => first_added + number,
                None => {
                    next += 1;
                    next - 1
                }
            });
        }
        functions.extend((0..defined).map(|function| imports + function));
        let mut guest = Guest {
            functions,
            memory: memory.map(|numbers| numbers.map(|number| first_added + number)),
        };
        let mut types = Types::new(original);
        let mut code = SupportCode::new(self, kept, first_added, &guest.functions, &mut types)?;
        let signatures = self
            .added
            .iter()
            .map(|added| Ok(types.index(&self.signature(added)?)))
            .collect::<Result<Vec<u32>, Error>>()?;

        let mut import_section = ImportSection::new();
        let mut position = 0;
        for import in &original.imports {
            if matches!(import.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)) {
                position += 1;
                if replacements[position - 1].is_some() {
                    continue;
                }
            }
            guest.parse_import(&mut import_section, *import).map_err(reencoded)?;
        }
        for raw in &self.raw {
            let sections = &self.support.sections;
            let import = sections.function_imports().find(|(index, _)| index == raw);
            if let Some((index, import)) = import {
                let ty = types.index(sections.signature(index)?);
                import_section.import(import.module, import.name, EntityType::Function(ty));
            }
        }
        let mut function_section = FunctionSection::new();
        for function in original.imported()..original.function_count() {
            function_section.function(original.type_of(function).unwrap_or_default());
        }
        for ty in signatures {
            function_section.function(ty);
        }
        let mut code_section = CodeSection::new();
        for body in &original.bodies {
            guest.parse_function_body(&mut code_section, body.clone()).map_err(reencoded)?;
        }
        for added in &self.added {
            self.body(added, wasm, &mut code, &guest, finish, first_added, &mut code_section)?;
        }

        let mut module = Module::new();
        let mut type_section = wasm_encoder::TypeSection::new();
        if let Some(section) = original.types.clone() {
            guest.parse_type_section(&mut type_section, section).map_err(reencoded)?;
        }
        types.write(&mut type_section)?;
        module.section(&type_section);
        module.section(&import_section);
        module.section(&function_section);
        self.tables(&mut module, &mut guest, entry)?;
        self.memories(&mut module, more_memory)?;
        if let Some(section) = original.tags.clone() {
            let mut tags = wasm_encoder::TagSection::new();
            guest.parse_tag_section(&mut tags, section).map_err(reencoded)?;
            module.section(&tags);
        }
        let mut globals = GlobalSection::new();
        if let Some(section) = original.globals.clone() {
            guest.parse_global_section(&mut globals, section).map_err(reencoded)?;
        }
        code.write_globals(&self.support.sections, &mut globals)?;
        module.section(&globals);
        let mut exports = ExportSection::new();
        for export in &original.exports {
            match finish {
                Some((main, number, _)) if export.name == "main" && export.index == main => {
                    let function = first_added + number;
                    exports.export(export.name, wasm_encoder::ExportKind::Func, function);
                }
                _ => guest.parse_export(&mut exports, *export).map_err(reencoded)?,
            }
        }
        module.section(&exports);
        if let Some(start) = original.start {
            let function_index = guest.functions.get(start as usize).copied().unwrap_or_default();
            module.section(&StartSection { function_index });
        }
        let mut elements = ElementSection::new();
        if let Some(section) = original.elements.clone() {
            guest.parse_element_section(&mut elements, section).map_err(reencoded)?;
        }
        if let Some((slot, number)) = entry {
            let offset = wasm_encoder::ConstExpr::i32_const(slot.cast_signed());
            let function = [first_added + number];
            elements.active(None, &offset, Elements::Functions((&function[..]).into()));
        }
        if !elements.is_empty() {
            module.section(&elements);
        }
        if let Some(count) = original.data_count {
            module.section(&wasm_encoder::DataCountSection { count });
        }
        module.section(&code_section);
        if let Some(section) = original.data.clone() {
            let mut data = wasm_encoder::DataSection::new();
            guest.parse_data_section(&mut data, section).map_err(reencoded)?;
            module.section(&data);
        }
        self.names(&mut module, &guest, first_added);
        if let Some((name, data)) = &self.plan.section {
            module.section(&CustomSection { name: (*name).into(), data: data.into() });
        }
        Ok(module.finish())
    }

    fn tables(
        &self,
        module: &mut Module,
        guest: &mut Guest,
        entry: Option<(u32, u32)>,
    ) -> Result<(), Error> {
        let mut section = TableSection::new();
        for table in self.original.tables.clone().into_iter().flatten() {
            let mut table = table?;
            if let (true, Some((slot, _))) = (section.is_empty(), entry) {
                table.ty.initial = u64::from(slot) + 1;
                table.ty.maximum = table.ty.maximum.map(|most| most.max(table.ty.initial));
            }
            guest.parse_table(&mut section, table).map_err(reencoded)?;
        }
        if let (true, Some((slot, _))) = (section.is_empty(), entry) {
            section.table(TableType {
                element_type: wasm_encoder::RefType::FUNCREF,
                table64: false,
                minimum: u64::from(slot) + 1,
                maximum: None,
                shared: false,
            });
        }
        if !section.is_empty() {
            module.section(&section);
        }
        Ok(())
    }

    fn memories(&self, module: &mut Module, more: bool) -> Result<(), Error> {
        let mut section = MemorySection::new();
        for memory in self.original.memories.clone().into_iter().flatten() {
            let memory = memory?;
            let most = |most: u64| if more { (most + MORE_PAGES).min(65_536) } else { most };
            section.memory(MemoryType {
                minimum: memory.initial,
                maximum: memory.maximum.map(most),
                memory64: memory.memory64,
                shared: memory.shared,
                page_size_log2: memory.page_size_log2,
            });
        }
        if !section.is_empty() {
            module.section(&section);
        }
        Ok(())
    }

    /// The type of a function that is added.
    fn signature(&self, added: &Added) -> Result<FuncType, Error> {
        Ok(match added {
            Added::Support(function) | Added::Trap(function) => {
                self.support.sections.signature(*function)?.clone()
            }
            Added::Text(_) | Added::PointerKind => generated::number_to_number(),
            Added::Adapter { import, .. } | Added::Stop { import } => {
                self.original.signature(*import)?.clone()
            }
            Added::Main(function) => self.original.signature(*function)?.clone(),
        })
    }

    #[allow(clippy::too_many_arguments, reason = "these are the index spaces")]
    fn body(
        &self,
        added: &Added,
        wasm: &[u8],
        code: &mut SupportCode,
        guest: &Guest,
        finish: Option<(u32, u32, u32)>,
        first_added: u32,
        section: &mut CodeSection,
    ) -> Result<(), Error> {
        let number = |added: Added| first_added + self.numbers.get(&added).copied().unwrap_or(0);
        let function = match added {
            Added::Support(function) => {
                if let Some(body) = self.support.sections.body(*function) {
                    code.parse_function_body(section, body.clone()).map_err(reencoded)?;
                }
                return Ok(());
            }
            Added::Trap(_) => generated::trap(),
            Added::Text(text) => generated::text(text),
            Added::PointerKind => {
                let layout = Layout::read(wasm)?;
                generated::pointer_kind(layout.slots_of(0))
            }
            Added::Adapter { import, to } => generated::adapter(
                self.original.signature(*import)?,
                self.support.sections.signature(*to)?,
                code.function(*to),
            ),
            Added::Stop { import } => match &self.plan.imports[*import as usize] {
                Replacement::Stop(Some(text)) => {
                    let begin = self.support.need(&[], "fault.begin")?;
                    let end = self.support.need(&[], "fault.end")?;
                    generated::stop(
                        code.function(begin),
                        number(Added::Text(text.clone())),
                        code.function(end),
                    )
                }
                _ => generated::trap(),
            },
            Added::Main(main) => {
                let finish = finish.map_or(0, |(_, _, finish)| code.function(finish));
                let inner = guest.functions.get(*main as usize).copied().unwrap_or_default();
                generated::main(
                    self.original.signature(*main)?.params().len() as u32,
                    inner,
                    finish,
                )
            }
        };
        section.function(&function);
        Ok(())
    }

    /// Writes the names of functions, and no other names.
    fn names(&self, module: &mut Module, guest: &Guest, first_added: u32) {
        let of_guest = self.original.names.iter().filter_map(|(index, name)| {
            let is_own = *index >= self.original.imported();
            let mapped = guest.functions.get(*index as usize)?;
            // Of imports, only those that remain imports.
            (is_own || *mapped < first_added).then(|| (*mapped, (*name).to_owned()))
        });
        let of_support = (first_added..).zip(&self.added).map(|(index, added)| {
            let name = match added {
                Added::Support(function) | Added::Trap(function) => {
                    format!("faasm:{}", self.support.name(*function))
                }
                Added::Text(_) => "faasm:write_text".to_owned(),
                Added::PointerKind => "faasm:pointer_kind".to_owned(),
                Added::Adapter { import, .. } => format!("faasm:adapter.{import}"),
                Added::Stop { import } => format!("faasm:stop.{import}"),
                Added::Main(_) => "faasm:main".to_owned(),
            };
            (index, name)
        });
        if self.original.names.is_empty() {
            return;
        }
        let mut named: Vec<(u32, String)> = of_guest.chain(of_support).collect();
        named.sort();
        named.dedup_by_key(|(index, _)| *index);
        let mut map = NameMap::new();
        for (index, name) in &named {
            map.append(*index, name);
        }
        let mut section = NameSection::new();
        section.functions(&map);
        section.locals(&IndirectNameMap::new());
        module.section(&section);
    }
}
