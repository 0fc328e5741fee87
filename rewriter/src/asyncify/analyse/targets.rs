//! The possible callees of a call by reference.

use crate::module::references::function_of;
use std::collections::{BTreeMap, BTreeSet};
use walrus::ir::{Instr, InstrLocId, Value, Visitor, dfs_in_order};
use walrus::{
    ConstExpr, ElementItems, ElementKind, ExportItem, FunctionId, GlobalKind, ImportKind, Module,
    RefType, TableId, TypeId, ValType,
};

/// The number of a signature, by structure as in `(i32) -> i32`: a module can declare equal types twice.
pub(super) type Signature = usize;

/// Functions by their signature.
type Grouped = BTreeMap<Signature, BTreeSet<FunctionId>>;

/// The signatures of a module.
#[derive(Debug, Default)]
struct Signatures {
    texts: Vec<String>,
    types: BTreeMap<TypeId, Signature>,
    functions: BTreeMap<FunctionId, Signature>,
}

impl Signatures {
    fn of(module: &Module) -> Self {
        let mut all = Self::default();
        let mut known: BTreeMap<String, Signature> = BTreeMap::new();
        for ty in module.types.iter().filter(|ty| ty.is_function()) {
            let text = crate::module::layout::signature(ty.params(), ty.results());
            let signature = *known.entry(text).or_insert_with_key(|text| {
                all.texts.push(text.clone());
                all.texts.len() - 1
            });
            all.types.insert(ty.id(), signature);
        }
        let functions = module.funcs.iter();
        all.functions = functions
            .filter_map(|function| Some((function.id(), *all.types.get(&function.ty())?)))
            .collect();
        all
    }

    fn grouped(&self, functions: impl IntoIterator<Item = FunctionId>) -> Grouped {
        let mut grouped = Grouped::new();
        for function in functions {
            if let Some(signature) = self.functions.get(&function) {
                grouped.entry(*signature).or_default().insert(function);
            }
        }
        grouped
    }
}

/// The functions that references can refer to, by the origin of a reference.
#[derive(Debug)]
pub(super) struct Targets {
    /// Tables that no instruction writes to.
    fixed: BTreeMap<TableId, Contents>,
    /// Tables with slots that an instruction can overwrite.
    overwritten: BTreeSet<TableId>,
    /// Functions that a reference can exist of: the possible contents of all other tables.
    referenced: Grouped,
    /// Functions that a reference on the operand stack can refer to.
    loose: Grouped,
    signatures: Signatures,
    /// Some type has subtypes, so that a function can be called with a signature other than its own.
    has_subtypes: bool,
}

/// The contents of a table that no instruction writes to.
#[derive(Debug, Default)]
struct Contents {
    functions: Grouped,
    /// By slot; `None` if the positions of some functions are unknown.
    slots: Option<BTreeMap<u64, Option<FunctionId>>>,
}

impl Targets {
    pub(super) fn of(module: &Module) -> Self {
        let uses = Uses::of(module);
        let signatures = Signatures::of(module);
        let mut loose = uses.references.clone();
        loose.extend(module.globals.iter().filter_map(|global| match &global.kind {
            GlobalKind::Local(value) => function_of(value),
            GlobalKind::Import(_) => None,
        }));
        let mut referenced = loose.clone();
        for element in module.elements.iter() {
            referenced.extend(items(&element.items).into_iter().flatten());
        }
        referenced
            .extend(module.tables.iter().filter_map(|table| function_of(table.init.as_ref()?)));
        if is_open(module) {
            referenced.extend(module.exports.iter().filter_map(|export| match export.item {
                ExportItem::Function(id) => Some(id),
                _ => None,
            }));
            referenced.extend(module.imports.iter().filter_map(|import| match import.kind {
                ImportKind::Function(id) => Some(id),
                _ => None,
            }));
        }
        if uses.reads_tables || is_open(module) {
            loose.clone_from(&referenced);
        }
        let fixed = module
            .tables
            .iter()
            .filter(|table| table.import.is_none())
            .filter(|table| {
                !uses.overwritten.contains(&table.id()) && !uses.grown.contains(&table.id())
            })
            .map(|table| (table.id(), Contents::of(module, table, &signatures)))
            .collect();
        Self {
            fixed,
            overwritten: uses.overwritten,
            referenced: signatures.grouped(referenced),
            loose: signatures.grouped(loose),
            signatures,
            has_subtypes: module.types.iter().any(|ty| ty.supertype.is_some()),
        }
    }

    pub(super) fn signature(&self, ty: TypeId) -> Option<Signature> {
        self.signatures.types.get(&ty).copied()
    }

    /// A signature as `(i32) -> i32`.
    pub(super) fn shown(&self, signature: Option<Signature>) -> &str {
        signature
            .and_then(|signature| self.signatures.texts.get(signature))
            .map_or("", String::as_str)
    }

    /// The function in a slot: `None` if it is unknown, `Some(None)` if calling it traps.
    pub(super) fn in_slot(
        &self,
        table: TableId,
        ty: TypeId,
        slot: i32,
    ) -> Option<Option<FunctionId>> {
        let slots = self.fixed.get(&table)?.slots.as_ref()?;
        let function = slots.get(&u64::from(slot.cast_unsigned())).copied().flatten();
        Some(function.filter(|function| self.has_signature(*function, ty)))
    }

    /// Possible callees of a `call_indirect` or `call_ref` of this type.
    pub(super) fn of_signature(&self, table: Option<TableId>, ty: TypeId) -> BTreeSet<FunctionId> {
        let all = match table {
            None => &self.loose,
            Some(table) => {
                self.fixed.get(&table).map_or(&self.referenced, |fixed| &fixed.functions)
            }
        };
        if self.has_subtypes {
            return all.values().flatten().copied().collect();
        }
        self.signature(ty).and_then(|signature| all.get(&signature)).cloned().unwrap_or_default()
    }

    /// Whether an instruction can overwrite slots of this table.
    pub(super) fn is_overwritten(&self, table: TableId) -> bool {
        self.overwritten.contains(&table)
    }

    fn has_signature(&self, function: FunctionId, ty: TypeId) -> bool {
        self.has_subtypes || self.signatures.functions.get(&function).copied() == self.signature(ty)
    }
}

impl Contents {
    fn of(module: &Module, table: &walrus::Table, signatures: &Signatures) -> Self {
        let initial = table.init.as_ref();
        let mut functions: BTreeSet<FunctionId> =
            initial.and_then(function_of).into_iter().collect();
        let mut slots = initial.is_none().then(BTreeMap::new);
        // In the order of the module: later segments overwrite earlier ones.
        for element in module.elements.iter() {
            let ElementKind::Active { table: into, offset } = &element.kind else { continue };
            if *into != table.id() {
                continue;
            }
            let items = items(&element.items);
            functions.extend(items.iter().flatten());
            match (offset, &mut slots) {
                (ConstExpr::Value(Value::I32(start)), Some(slots)) => {
                    slots.extend((u64::from(start.cast_unsigned())..).zip(items));
                }
                _ => slots = None,
            }
        }
        Self { functions: signatures.grouped(functions), slots }
    }
}

/// How the code of a module uses tables and references.
#[derive(Default)]
struct Uses {
    overwritten: BTreeSet<TableId>,
    grown: BTreeSet<TableId>,
    reads_tables: bool,
    /// Functions whose reference it takes.
    references: BTreeSet<FunctionId>,
}

impl Uses {
    fn of(module: &Module) -> Self {
        let mut uses = Self::default();
        for (_, function) in module.funcs.iter_local() {
            dfs_in_order(&mut uses, function, function.entry_block());
        }
        uses
    }
}

impl<'instr> Visitor<'instr> for Uses {
    fn visit_instr(&mut self, instr: &'instr Instr, _: &'instr InstrLocId) {
        match instr {
            Instr::TableSet(set) => drop(self.overwritten.insert(set.table)),
            Instr::TableGrow(grow) => drop(self.grown.insert(grow.table)),
            Instr::TableFill(fill) => drop(self.overwritten.insert(fill.table)),
            Instr::TableInit(init) => drop(self.overwritten.insert(init.table)),
            Instr::TableCopy(copy) => drop(self.overwritten.insert(copy.dst)),
            Instr::TableGet(_) => self.reads_tables = true,
            Instr::RefFunc(function) => drop(self.references.insert(function.func)),
            _ => {}
        }
    }
}

fn items(items: &ElementItems) -> Vec<Option<FunctionId>> {
    match items {
        ElementItems::Functions(functions) => functions.iter().copied().map(Some).collect(),
        ElementItems::Expressions(_, values) => values.iter().map(function_of).collect(),
    }
}

/// Whether references to functions can enter from outside.
fn is_open(module: &Module) -> bool {
    let is_reference = |ty: &ValType| matches!(ty, ValType::Ref(ty) if *ty != RefType::EXTERNREF);
    module.imports.iter().any(|import| match import.kind {
        ImportKind::Table(_) => true,
        ImportKind::Global(id) => is_reference(&module.globals.get(id).ty),
        ImportKind::Function(id) => {
            let ty = module.types.get(module.funcs.get(id).ty());
            ty.params().iter().chain(ty.results()).any(is_reference)
        }
        ImportKind::Memory(_) | ImportKind::Tag(_) => false,
    })
}
