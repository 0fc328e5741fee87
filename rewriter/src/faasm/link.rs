//! Links support functions into an original.
//!
//! Before:
//!
//! ```wat
//! (import "env" "__faasm_push_state" (func $push (param i32) (result i32)))
//! (elem (i32.const 1) $push)
//! (func (export "_start") (drop (call $push (i32.const 8))))
//! ```
//!
//! After:
//!
//! ```wat
//! (import "env" "__faasm_read_state" (func $raw_read_state …))       ;; what the support calls, with the types Faasm has
//! (import "env" "__faasm_push_state" (func $raw_push_state (param i32)))
//! (elem (i32.const 1) $push)
//! (func (export "_start") (drop (call $push (i32.const 8))))
//! (func $push …)                                                       ;; of the support, and all that it can reach
//! ```
//!
//! Why it is safe: a function of the support has the place of the import everywhere, in calls, tables, exports and as start
//! function, and its type (where the import's type differs, an adapter has it). Code, data and table slots of the original stay
//! as they are. What is made is validated.

use super::generated::{self, POINTER_KIND, Types};
use super::module::Sections;
use crate::Error;
use crate::layout::Layout;
use std::collections::{BTreeSet, HashMap};
use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{
    CodeSection, CustomSection, ElementSection, Elements, EntityType, ExportSection, Function,
    FunctionSection, GlobalSection, ImportSection, IndirectNameMap, Instruction, MemorySection,
    MemoryType, Module, NameMap, NameSection, StartSection, TableSection, TableType,
};
use wasmparser::{FuncType, Operator, TypeRef, Validator};

const SUPPORT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/support.wasm"));

/// Pages that memory may have beyond the original's maximum, for the support.
const MORE_PAGES: u64 = 1024;

/// What to put in the place of what.
pub(super) struct Plan<'a> {
    /// Choose among several functions of the support.
    pub(super) tags: Vec<&'static str>,
    /// Values of the constants that the support imports from `link`.
    pub(super) constants: Vec<(&'static str, i32)>,
    /// By imported function of the original.
    pub(super) imports: Vec<Place<'a>>,
    /// The exported function whose result is a return value.
    pub(super) main: Option<u32>,
    /// The original's allocator, unwrapped.
    pub(super) malloc: Option<(u32, u32)>,
    /// Index of a table slot for the function that enters pointers.
    pub(super) entry_slot: Option<u32>,
    /// A custom section to add.
    pub(super) section: Option<(&'static str, Vec<u8>)>,
}

/// What an import of the original becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    Import,
    /// The function of the support that takes the place of this import.
    Support(&'a str),
    /// Ends the run, by a fault with this code and text where it is not a trap.
    Stop(Option<String>),
}

/// A function that is added.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Added {
    /// Of the support.
    Support(u32),
    /// Of the support, and only traps.
    Trap(u32),
    Text(String),
    PointerKind,
    /// Has the type of this import of the original, and calls a function of the support.
    Adapter {
        import: u32,
        to: u32,
    },
    /// Takes the place of this import, and ends the run.
    Stop {
        import: u32,
    },
    /// In place of an exported function of the original.
    Main(u32),
}

/// Where an imported function of the support leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Target {
    /// An import of the support, by its function index there.
    Raw(u32),
    /// A function of the original.
    Guest(u32),
    Added(Added),
}

/// The support, with what this link makes of its imports.
pub(super) struct Support {
    sections: Sections<'static>,
}

impl Support {
    pub(super) fn read() -> Result<Self, Error> {
        Ok(Self { sections: Sections::read(SUPPORT)? })
    }

    /// The function that takes the place of an import, of those for these tags.
    pub(super) fn find(&self, tags: &[&str], name: &str) -> Option<u32> {
        let tagged = tags.iter().find_map(|tag| self.sections.exported(&format!("{tag}/{name}")));
        tagged.or_else(|| self.sections.exported(name))
    }

    /// Its own name of a function, or one by which it exports it.
    fn name(&self, function: u32) -> &str {
        let named = self.sections.names.iter().find(|(index, _)| *index == function);
        let mut exports = self.sections.exports.iter();
        let exported = || exports.find(|export| export.index == function).map(|export| export.name);
        named.map(|(_, name)| *name).or_else(exported).unwrap_or_default()
    }

    fn need(&self, tags: &[&str], name: &str) -> Result<u32, Error> {
        self.find(tags, name)
            .ok_or_else(|| Error::Rewrite { message: format!("the support has no `{name}`") })
    }
}

/// Links.
pub(super) fn link(
    wasm: &[u8],
    original: &Sections<'_>,
    support: &Support,
    plan: &Plan<'_>,
) -> Result<Vec<u8>, Error> {
    let mut linker = Linker {
        original,
        support,
        plan,
        added: Vec::new(),
        numbers: HashMap::new(),
        raw: Vec::new(),
        targets: HashMap::new(),
    };
    let made = linker.run(wasm)?;
    Validator::new_with_features(crate::features::accepted()).validate_all(&made).map_err(
        |error| Error::Rewrite { message: format!("what was linked is invalid: {error}") },
    )?;
    Ok(made)
}

struct Linker<'a, 'w> {
    original: &'a Sections<'w>,
    support: &'a Support,
    plan: &'a Plan<'a>,
    /// In the order in which they are found.
    added: Vec<Added>,
    numbers: HashMap<Added, u32>,
    /// Imports of the support that are needed.
    raw: Vec<u32>,
    /// Of the functions of the support that are needed.
    targets: HashMap<u32, Target>,
}

impl Linker<'_, '_> {
    fn run(&mut self, wasm: &[u8]) -> Result<Vec<u8>, Error> {
        let places = self.places()?;
        let finish = match self.plan.main {
            Some(main) => {
                let finish = self.support.need(&[], "finish")?;
                self.reach(finish)?;
                Some((main, self.add(Added::Main(main)), finish))
            }
            None => None,
        };
        let entry = match self.plan.entry_slot {
            Some(slot) => {
                let enter = self.support.need(&[], "enter")?;
                self.reach(enter)?;
                Some((slot, self.add(Added::Support(enter))))
            }
            None => None,
        };
        // Where pages of the support can lie between those of the guest, its instructions see its own only.
        let takes_pages = self.support.find(&self.plan.tags, "pages");
        let hides_pages = self.plan.tags.contains(&"grow")
            && takes_pages.is_some_and(|pages| self.numbers.contains_key(&Added::Support(pages)));
        let memory = if hides_pages {
            let functions = ["guest.memory.size", "guest.memory.grow"];
            let mut numbers = [0; 2];
            for (number, name) in numbers.iter_mut().zip(functions) {
                let function = self.support.need(&[], name)?;
                self.reach(function)?;
                *number = self.add(Added::Support(function));
            }
            Some(numbers)
        } else {
            None
        };
        self.encode(wasm, &places, finish, entry, memory, hides_pages)
    }

    /// Which function each import of the original becomes, where it is added.
    fn places(&mut self) -> Result<Vec<Option<u32>>, Error> {
        let mut places = Vec::new();
        for (index, _) in self.original.function_imports() {
            places.push(match &self.plan.imports[index as usize] {
                Place::Import => None,
                Place::Support(name) => {
                    let function = self.support.need(&self.plan.tags, name)?;
                    self.reach(function)?;
                    let is_same = self.original.signature(index)?
                        == self.support.sections.signature(function)?;
                    Some(if is_same {
                        self.add(Added::Support(function))
                    } else {
                        self.add(Added::Adapter { import: index, to: function })
                    })
                }
                Place::Stop(text) => {
                    if let Some(text) = text {
                        for name in ["fault.begin", "fault.end"] {
                            let function = self.support.need(&[], name)?;
                            self.reach(function)?;
                        }
                        self.add(Added::Text(text.clone()));
                    }
                    Some(self.add(Added::Stop { import: index }))
                }
            });
        }
        Ok(places)
    }

    fn add(&mut self, added: Added) -> u32 {
        if let Some(number) = self.numbers.get(&added) {
            return *number;
        }
        let number = self.added.len() as u32;
        self.added.push(added.clone());
        self.numbers.insert(added, number);
        number
    }

    /// Adds a function of the support, and all that it can reach.
    fn reach(&mut self, function: u32) -> Result<(), Error> {
        let mut open = vec![function];
        while let Some(function) = open.pop() {
            if self.targets.contains_key(&function) {
                continue;
            }
            let target = self.resolve(function)?;
            self.targets.insert(function, target.clone());
            match target {
                Target::Raw(import) => {
                    if !self.raw.contains(&import) {
                        self.raw.push(import);
                    }
                }
                Target::Guest(_) => {}
                Target::Added(added) => {
                    if let Added::Support(own) = added
                        && let Some(body) = self.support.sections.body(own)
                    {
                        let mut reader = body.get_operators_reader()?;
                        let mut called = Vec::new();
                        while !reader.eof() {
                            if let Operator::Call { function_index } = reader.read()? {
                                called.push(function_index);
                            }
                        }
                        // In the order of the text, so that what is made is easy to read.
                        open.extend(called.into_iter().rev());
                        if own != function {
                            open.push(own);
                        }
                    }
                    self.add(added);
                }
            }
        }
        Ok(())
    }

    /// Where a function of the support leads, by what it is imported as.
    fn resolve(&self, function: u32) -> Result<Target, Error> {
        let sections = &self.support.sections;
        let Some((_, import)) = sections.function_imports().find(|(index, _)| *index == function)
        else {
            let is_fault = sections.exports.iter().any(|export| {
                export.index == function
                    && export.kind == wasmparser::ExternalKind::Func
                    && export.name.starts_with("fault.")
            });
            let traps = is_fault && self.plan.tags.contains(&"guarded");
            return Ok(Target::Added(if traps {
                Added::Trap(function)
            } else {
                Added::Support(function)
            }));
        };
        Ok(match (import.module, import.name) {
            ("text", text) => Target::Added(Added::Text(text.to_owned())),
            ("link", POINTER_KIND) => Target::Added(Added::PointerKind),
            ("link", name) => {
                Target::Added(Added::Support(self.support.need(&self.plan.tags, name)?))
            }
            ("guest", "malloc") => match self.plan.malloc {
                Some((malloc, _)) => Target::Guest(malloc),
                None => Target::Added(Added::Support(self.support.need(&[], "none.malloc")?)),
            },
            ("guest", "free") => match self.plan.malloc {
                Some((_, free)) => Target::Guest(free),
                None => Target::Added(Added::Support(self.support.need(&[], "none.free")?)),
            },
            _ => Target::Raw(function),
        })
    }

    fn encode(
        &mut self,
        wasm: &[u8],
        places: &[Option<u32>],
        finish: Option<(u32, u32, u32)>,
        entry: Option<(u32, u32)>,
        memory: Option<[u32; 2]>,
        more_memory: bool,
    ) -> Result<Vec<u8>, Error> {
        let original = self.original;
        self.raw.sort_unstable();
        let kept = places.iter().filter(|place| place.is_none()).count() as u32;
        let imports = kept + self.raw.len() as u32;
        let defined = original.function_count() - original.imported();
        let first_added = imports + defined;
        // The original's functions, by their index there.
        let mut functions = Vec::new();
        let mut next = 0;
        for place in places {
            functions.push(match place {
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
                if places[position - 1].is_some() {
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
                Place::Stop(Some(text)) => {
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

    /// Names of functions; of everything else none.
    fn names(&self, module: &mut Module, guest: &Guest, first_added: u32) {
        let of_guest = self.original.names.iter().filter_map(|(index, name)| {
            let is_own = *index >= self.original.imported();
            let mapped = guest.functions.get(*index as usize)?;
            // Of imports only those that are still there.
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

/// Reencodes the original.
struct Guest {
    /// New indices of its functions.
    functions: Vec<u32>,
    /// What `memory.size` and `memory.grow` become.
    memory: Option<[u32; 2]>,
}

impl Reencode for Guest {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, reencode::Error> {
        Ok(self.functions.get(function as usize).copied().unwrap_or(function))
    }

    fn instruction<'a>(
        &mut self,
        operator: Operator<'a>,
    ) -> Result<Instruction<'a>, reencode::Error> {
        match (operator, self.memory) {
            (Operator::MemorySize { .. }, Some([size, _])) => Ok(Instruction::Call(size)),
            (Operator::MemoryGrow { .. }, Some([_, grow])) => Ok(Instruction::Call(grow)),
            (operator, _) => reencode::utils::instruction(self, operator),
        }
    }
}

/// Reencodes functions of the support.
struct SupportCode {
    functions: HashMap<u32, u32>,
    /// New indices of its globals, of which the first are imported.
    globals: Vec<u32>,
    constants: Vec<Option<i32>>,
    /// New indices of the types of indirect calls.
    types: HashMap<u32, u32>,
    /// Those of its own that it can reach, in order.
    used: Vec<u32>,
}

impl SupportCode {
    fn new(
        linker: &Linker<'_, '_>,
        kept: u32,
        first_added: u32,
        guest: &[u32],
        types: &mut Types,
    ) -> Result<Self, Error> {
        let sections = &linker.support.sections;
        let mut functions = HashMap::new();
        for (function, target) in &linker.targets {
            let index = match target {
                Target::Raw(import) => {
                    let position = linker.raw.iter().position(|raw| raw == import);
                    kept + position.unwrap_or_default() as u32
                }
                Target::Guest(function) => {
                    guest.get(*function as usize).copied().unwrap_or_default()
                }
                Target::Added(added) => {
                    first_added + linker.numbers.get(added).copied().unwrap_or_default()
                }
            };
            functions.insert(*function, index);
        }
        let mut constants = Vec::new();
        for import in &sections.imports {
            if let TypeRef::Global(_) = import.ty {
                let known = linker.plan.constants.iter().find(|(name, _)| *name == import.name);
                constants.push(known.map(|(_, value)| *value));
            }
        }
        let imported = sections.imported_globals();
        let mut used = BTreeSet::new();
        let mut indirect = BTreeSet::new();
        for added in &linker.added {
            let Added::Support(function) = added else { continue };
            let Some(body) = sections.body(*function) else { continue };
            let mut reader = body.get_operators_reader()?;
            while !reader.eof() {
                match reader.read()? {
                    Operator::GlobalGet { global_index } | Operator::GlobalSet { global_index }
                        if global_index >= imported =>
                    {
                        used.insert(global_index);
                    }
                    Operator::CallIndirect { type_index, .. } => {
                        indirect.insert(type_index);
                    }
                    _ => {}
                }
            }
        }
        let own = linker.original.globals.as_ref().map_or(0, |section| section.count());
        let first = linker.original.imported_globals() + own;
        let used: Vec<u32> = used.into_iter().collect();
        let count = imported + sections.globals.as_ref().map_or(0, |section| section.count());
        let globals = (0..count)
            .map(|global| {
                let position = used.iter().position(|other| *other == global);
                first + position.unwrap_or_default() as u32
            })
            .collect();
        let of_call = |ty| Some((ty, types.index(sections.signature_of_type(ty)?)));
        let types = indirect.into_iter().filter_map(of_call).collect();
        Ok(Self { functions, globals, constants, types, used })
    }

    fn function(&self, function: u32) -> u32 {
        self.functions.get(&function).copied().unwrap_or_default()
    }

    fn write_globals(
        &mut self,
        sections: &Sections<'_>,
        section: &mut GlobalSection,
    ) -> Result<(), Error> {
        let imported = sections.imported_globals();
        for (index, global) in (imported..).zip(sections.globals.clone().into_iter().flatten()) {
            let global = global?;
            if self.used.contains(&index) {
                self.parse_global(section, global).map_err(reencoded)?;
            }
        }
        Ok(())
    }
}

impl Reencode for SupportCode {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, reencode::Error> {
        Ok(self.function(function))
    }

    fn global_index(&mut self, global: u32) -> Result<u32, reencode::Error> {
        Ok(self.globals.get(global as usize).copied().unwrap_or(global))
    }

    fn type_index(&mut self, ty: u32) -> Result<u32, reencode::Error> {
        Ok(self.types.get(&ty).copied().unwrap_or(ty))
    }

    fn instruction<'a>(
        &mut self,
        operator: Operator<'a>,
    ) -> Result<Instruction<'a>, reencode::Error> {
        if let Operator::GlobalGet { global_index } = operator
            && let Some(Some(value)) = self.constants.get(global_index as usize)
        {
            return Ok(Instruction::I32Const(*value));
        }
        reencode::utils::instruction(self, operator)
    }
}

fn reencoded(error: reencode::Error) -> Error {
    Error::Rewrite { message: error.to_string() }
}

/// The body of a function without locals.
pub(super) fn function(instructions: &[Instruction<'_>]) -> Function {
    let mut function = Function::new([]);
    for instruction in instructions {
        function.instruction(instruction);
    }
    function.instruction(&Instruction::End);
    function
}
