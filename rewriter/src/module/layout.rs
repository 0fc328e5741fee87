//! The invariants of all stages: exports, the function table by slot and signature, and the initial contents of memory.
//!
//! A function pointer is an index into the table, and means the same in the cluster and in the browser, because chained
//! calls pass it between them. Identical functions may be merged, so slots are compared by signature, not by body. Data
//! is compared as the bytes that it puts into memory, because optimisers split segments and omit zeros.

use crate::Error;
use std::collections::BTreeMap;
use std::fmt::Display;
use wasmparser::{
    BinaryReaderError, ConstExpr, DataKind, ElementItems, ElementKind, ExternalKind, FuncType,
    Operator, Parser, Payload, TypeRef,
};

/// Memory is stored in blocks of this many bytes, so that the gap before a far segment costs nothing.
const BLOCK: u64 = 256;

type Result<T> = std::result::Result<T, BinaryReaderError>;

/// The parts of a module that others rely on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Exported name, to kind and type.
    pub(crate) exports: BTreeMap<String, String>,
    /// Function import as `module.name`, to type.
    pub(crate) imports: BTreeMap<String, String>,
    /// Table and slot, to the signature of the function there.
    slots: BTreeMap<(u32, u64), String>,
    /// Exported name of a table, to its index.
    tables: BTreeMap<String, u32>,
    /// Initial memory, without blocks of zeros.
    memory: BTreeMap<u64, [u8; BLOCK as usize]>,
    /// Bytes of passive segments, which only the module's own instructions read.
    pub(crate) passive: Vec<Vec<u8>>,
}

impl Layout {
    /// Reads a module that is known to be valid.
    pub(crate) fn read(wasm: &[u8]) -> std::result::Result<Layout, Error> {
        Reader::default().read(wasm).map_err(|error| Error::Rewrite { message: error.to_string() })
    }

    /// Reduces the layout to exported tables, numbered by their names: an optimiser drops other tables, and renumbers.
    pub(crate) fn exported_tables(mut self) -> Layout {
        let mut slots = BTreeMap::new();
        for (number, index) in (0..).zip(self.tables.values_mut()) {
            let of_table = self.slots.range((*index, 0)..=(*index, u64::MAX));
            slots.extend(of_table.map(|((_, slot), function)| ((number, *slot), function.clone())));
            *index = number;
        }
        self.slots = slots;
        self
    }

    /// Slots of a table and the signatures of the functions there, in order.
    pub(crate) fn slots_of(&self, table: u32) -> impl Iterator<Item = (u64, &str)> {
        let slots = self.slots.range((table, 0)..=(table, u64::MAX));
        slots.map(|((_, slot), signature)| (*slot, signature.as_str()))
    }

    /// Checks that `after` preserves this layout; it may have more exports.
    pub(crate) fn kept_by(
        &self,
        after: &Layout,
        stage: &'static str,
    ) -> std::result::Result<(), Error> {
        for (name, kind) in &self.exports {
            match after.exports.get(name) {
                Some(now) if now == kind => {}
                Some(now) => {
                    return Err(Error::changed(
                        stage,
                        format!("export `{name}` from {kind} to {now}"),
                    ));
                }
                None => return Err(Error::changed(stage, format!("export `{name}` (it is gone)"))),
            }
        }
        if self.slots != after.slots {
            return Err(Error::changed(stage, self.changed_slot(after)));
        }
        if self.memory != after.memory || self.passive != after.passive {
            return Err(Error::changed(stage, "the initial contents of memory"));
        }
        Ok(())
    }

    fn changed_slot(&self, after: &Layout) -> String {
        let slots = self.slots.keys().chain(after.slots.keys());
        let first = slots.filter(|slot| self.slots.get(slot) != after.slots.get(slot)).min();
        let Some(slot) = first else { return "the function table".to_owned() };
        let show =
            |layout: &Layout| layout.slots.get(slot).map_or("empty", String::as_str).to_owned();
        format!("function table slot {} from {} to {}", slot.1, show(self), show(after))
    }
}

/// A signature as `(i32, i32) -> i32`.
pub(crate) fn signature<T: Display>(params: &[T], results: &[T]) -> String {
    let list = |types: &[T]| types.iter().map(T::to_string).collect::<Vec<_>>().join(", ");
    let results = match results {
        [] => "nothing".to_owned(),
        [one] => one.to_string(),
        many => format!("({})", list(many)),
    };
    format!("({}) -> {results}", list(params))
}

/// The index spaces read so far.
#[derive(Default)]
struct Reader {
    layout: Layout,
    types: Vec<FuncType>,
    functions: Vec<u32>,
    globals: Vec<Option<u64>>,
}

impl Reader {
    fn read(mut self, wasm: &[u8]) -> Result<Layout> {
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::TypeSection(types) => {
                    self.types = types.into_iter_err_on_gc_types().collect::<Result<_>>()?;
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        let import = import?;
                        match import.ty {
                            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                                self.functions.push(ty);
                                let name = format!("{}.{}", import.module, import.name);
                                self.layout.imports.insert(name, self.signature_of_type(ty));
                            }
                            TypeRef::Global(_) => self.globals.push(None),
                            _ => {}
                        }
                    }
                }
                Payload::FunctionSection(types) => {
                    self.functions.extend(types.into_iter().collect::<Result<Vec<_>>>()?);
                }
                Payload::GlobalSection(globals) => {
                    for global in globals {
                        let value = self.constant(&global?.init_expr)?;
                        self.globals.push(value);
                    }
                }
                Payload::ExportSection(exports) => {
                    for export in exports {
                        let export = export?;
                        let kind = match export.kind {
                            ExternalKind::Func | ExternalKind::FuncExact => {
                                format!("function {}", self.signature(export.index))
                            }
                            ExternalKind::Table => {
                                self.layout.tables.insert(export.name.to_owned(), export.index);
                                "table".to_owned()
                            }
                            ExternalKind::Memory => "memory".to_owned(),
                            ExternalKind::Global => "global".to_owned(),
                            ExternalKind::Tag => "tag".to_owned(),
                        };
                        self.layout.exports.insert(export.name.to_owned(), kind);
                    }
                }
                Payload::ElementSection(elements) => {
                    for element in elements {
                        self.element(element?)?;
                    }
                }
                Payload::DataSection(data) => {
                    for segment in data {
                        let segment = segment?;
                        match segment.kind {
                            DataKind::Passive => self.layout.passive.push(segment.data.to_vec()),
                            DataKind::Active { offset_expr, .. } => {
                                // The value of an offset that is not constant is unknown; no import provides one.
                                let offset = self.constant(&offset_expr)?.unwrap_or(u64::MAX / 2);
                                self.write(offset, segment.data);
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        self.layout.memory.retain(|_, block| block.iter().any(|byte| *byte != 0));
        Ok(self.layout)
    }

    fn element(&mut self, element: wasmparser::Element<'_>) -> Result<()> {
        let ElementKind::Active { table_index, offset_expr } = element.kind else { return Ok(()) };
        let table = table_index.unwrap_or(0);
        let start = self.constant(&offset_expr)?.unwrap_or(u64::MAX / 2);
        let functions: Vec<Option<u32>> = match element.items {
            ElementItems::Functions(functions) => {
                functions.into_iter().map(|function| function.map(Some)).collect::<Result<_>>()?
            }
            ElementItems::Expressions(_, expressions) => expressions
                .into_iter()
                .map(|expression| {
                    Ok(match expression?.get_operators_reader().read()? {
                        Operator::RefFunc { function_index } => Some(function_index),
                        _ => None,
                    })
                })
                .collect::<Result<_>>()?,
        };
        for (slot, function) in (start..).zip(functions) {
            match function {
                Some(function) => self.layout.slots.insert((table, slot), self.signature(function)),
                None => self.layout.slots.remove(&(table, slot)),
            };
        }
        Ok(())
    }

    fn constant(&self, expression: &ConstExpr<'_>) -> Result<Option<u64>> {
        Ok(match expression.get_operators_reader().read()? {
            Operator::I32Const { value } => Some(u64::from(value.cast_unsigned())),
            Operator::GlobalGet { global_index } => {
                self.globals.get(global_index as usize).copied().flatten()
            }
            _ => None,
        })
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        let (mut address, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let within = (address % BLOCK) as usize;
            let (now, later) = rest.split_at(rest.len().min(BLOCK as usize - within));
            let block = self.layout.memory.entry(address / BLOCK).or_insert([0; BLOCK as usize]);
            block[within..within + now.len()].copy_from_slice(now);
            (address, rest) = (address + now.len() as u64, later);
        }
    }

    fn signature(&self, function: u32) -> String {
        match self.functions.get(function as usize) {
            Some(ty) => self.signature_of_type(*ty),
            None => format!("unknown function {function}"),
        }
    }

    fn signature_of_type(&self, ty: u32) -> String {
        match self.types.get(ty as usize) {
            Some(ty) => signature(ty.params(), ty.results()),
            None => format!("unknown type {ty}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(wat: &str) -> Layout {
        Layout::read(&wat::parse_str(wat).unwrap()).unwrap()
    }

    #[test]
    fn slots_are_compared_by_signature() {
        let before =
            layout("(module (table 2 funcref) (elem (i32.const 1) $a) (func $a (param i32)))");
        let same = layout(
            "(module (table 2 funcref) (elem (i32.const 1) $b) (func) (func $b (param i32)))",
        );
        let other =
            layout("(module (table 2 funcref) (elem (i32.const 1) $a) (func $a (param i64)))");
        before.kept_by(&same, "test").unwrap();
        let error = before.kept_by(&other, "test").unwrap_err().to_string();
        assert!(error.contains("slot 1 from (i32) -> nothing to (i64) -> nothing"), "{error}");
    }

    #[test]
    fn memory_is_compared_by_its_bytes() {
        let whole = layout(r#"(module (memory 1) (data (i32.const 8) "ab\00\00cd"))"#);
        let split =
            layout(r#"(module (memory 1) (data (i32.const 12) "cd") (data (i32.const 8) "ab"))"#);
        let other = layout(r#"(module (memory 1) (data (i32.const 8) "ab"))"#);
        whole.kept_by(&split, "test").unwrap();
        whole.kept_by(&other, "test").unwrap_err();
    }

    #[test]
    fn data_is_the_same_however_it_is_cut_into_segments() {
        let text: String = (0..600).map(|at| char::from(b'a' + (at % 26) as u8)).collect();
        let at = |address: usize, text: &str| format!(r#"(data (i32.const {address}) "{text}")"#);
        let start = 250;
        let whole = layout(&format!("(module (memory 1) {})", at(start, &text)));
        for cut in [1, 5, 6, 7, 261, 262, 263, 599] {
            let (before, after) = text.split_at(cut);
            let parts = [at(start, before), at(start + cut, after)].concat();
            whole.kept_by(&layout(&format!("(module (memory 1) {parts})")), "test").unwrap();
            let other = format!("(module (memory 1) {parts} {})", at(start + cut, "!"));
            whole.kept_by(&layout(&other), "test").unwrap_err();
        }
    }
}
