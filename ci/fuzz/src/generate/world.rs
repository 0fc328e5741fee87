//! The items that generated code can refer to: imports, functions, table slots, globals.

use super::smith::Profile;
use crate::random::Rng;
use faasm_asyncify::BRIDGE_MODULE;
use faasm_bridge::host::{self, HostCall, Returns, Suspends};
use std::collections::BTreeMap;
use walrus::{
    ConstExpr, ElementItems, ElementKind, FunctionBuilder, FunctionId, GlobalId, MemoryId, Module,
    RefType, TableId, TypeId, ValType, ir::Value,
};

/// A function that generated code can call.
#[derive(Clone, Debug)]
pub(super) struct Callee {
    pub(super) id: FunctionId,
    pub(super) ty: TypeId,
    pub(super) params: Vec<ValType>,
    pub(super) results: Vec<ValType>,
}

/// Slots by type.
pub(super) type Slots = BTreeMap<TypeId, Vec<(u32, FunctionId)>>;

/// All items that generated code can refer to.
#[derive(Debug)]
pub(super) struct World {
    pub(super) memory: MemoryId,
    /// Accumulates the results of calls: an exported global.
    pub(super) mixed: GlobalId,
    pub(super) budget: GlobalId,
    pub(super) table: TableId,
    /// Host calls that may wait, and those that never do.
    pub(super) waiting: Vec<Callee>,
    pub(super) immediate: Vec<Callee>,
    /// The module's own functions.
    pub(super) functions: Vec<Callee>,
    /// Members of [`World::functions`] without a body so far.
    pub(super) unwritten: Vec<FunctionId>,
    /// Slots of [`World::table`], and the functions there, by their type.
    pub(super) slots: Slots,
    pub(super) profile: Profile,
}

/// Imports that no host provides in a page, which trap by name.
const UNANSWERED: [&str; 2] = ["mystery", "MPI_Barrier"];

impl World {
    /// Adds all items to a module that has a memory.
    pub(super) fn settle(module: &mut Module, profile: &Profile, rng: &mut Rng) -> Option<World> {
        let memory = module.memories.iter_mut().next()?;
        memory.initial = memory.initial.max(1);
        memory.maximum = memory.maximum.map(|maximum| maximum.max(memory.initial));
        let memory = memory.id();

        let mut functions: Vec<Callee> = module
            .funcs
            .iter_local()
            .map(|(id, _)| callee(module, id))
            .filter(|callee| callee.params.iter().chain(&callee.results).all(is_number))
            .collect();
        let (waiting, immediate) = host_calls(module, profile, rng);
        let unwritten = own_functions(module, &waiting, profile, rng);
        // Three times each: calls of these lead further than calls of the original functions.
        for _ in 0..3 {
            functions.extend(unwritten.iter().map(|id| callee(module, *id)));
        }

        let start = |value| ConstExpr::Value(value);
        let first = start(Value::I64(rng.number() as i64));
        let mixed = module.globals.add_local(ValType::I64, true, false, first);
        let budget = start(Value::I32(profile.budget));
        let budget = module.globals.add_local(ValType::I32, true, false, budget);
        export_free(module, "mixed", mixed);
        let all = waiting.iter().chain(&immediate).chain(&functions);
        let (table, slots) = fill_table(module, all, rng);
        let profile = profile.clone();
        Some(World {
            memory,
            mixed,
            budget,
            table,
            waiting,
            immediate,
            functions,
            unwritten,
            slots,
            profile,
        })
    }

    /// The number types of a module with this profile.
    pub(super) fn types(&self) -> &'static [ValType] {
        number_types(&self.profile)
    }
}

fn number_types(profile: &Profile) -> &'static [ValType] {
    const TYPES: [ValType; 5] =
        [ValType::I32, ValType::I64, ValType::F32, ValType::F64, ValType::V128];
    if profile.simd { &TYPES } else { &TYPES[..4] }
}

pub(super) fn is_number(ty: &ValType) -> bool {
    !matches!(ty, ValType::Ref(_))
}

/// Exports an item, replacing another export of this name.
pub(super) fn export_free(module: &mut Module, name: &str, item: impl Into<walrus::ExportItem>) {
    // It fails if the export does not exist.
    let _ = module.exports.remove(name);
    module.exports.add(name, item);
}

fn callee(module: &Module, id: FunctionId) -> Callee {
    let ty = module.funcs.get(id).ty();
    let (params, results) = module.types.params_results(ty);
    Callee { id, ty, params: params.to_vec(), results: results.to_vec() }
}

/// Imports some rows of the host interface.
fn host_calls(module: &mut Module, profile: &Profile, rng: &mut Rng) -> (Vec<Callee>, Vec<Callee>) {
    let rows = |may: bool| {
        // Excludes rows that call the guest or have floating-point results, which the fuzzer's host does not support,
        // and rows that only the rewriter imports.
        let wanted = if may { Suspends::May } else { Suspends::Never };
        let fits = move |call: &&HostCall| {
            let row = call.row();
            row.suspends == wanted && row.returns != Returns::F64 && row.module != BRIDGE_MODULE
        };
        HostCall::ALL.iter().filter(fits).collect::<Vec<_>>()
    };
    let mut import = |call: HostCall, rng: &mut Rng| {
        let row = call.row();
        let params: Vec<ValType> = row
            .params
            .iter()
            .map(|ty| match ty {
                host::ValType::I32 => ValType::I32,
                host::ValType::I64 => ValType::I64,
                host::ValType::F64 => ValType::F64,
            })
            .collect();
        let gives = match row.returns {
            Returns::Nothing | Returns::F64 => false,
            Returns::I32 => true,
            Returns::I32OrNothing => rng.chance(50),
        };
        let results: &[ValType] = if gives { &[ValType::I32] } else { &[] };
        let ty = module.types.add(&params, results);
        let (id, _) = module.add_import_func(row.module, row.name, ty);
        callee(module, id)
    };
    let mut waiting = vec![import(HostCall::AwaitCall, rng)];
    for _ in 0..rng.below(4) {
        waiting.extend(rng.pick(&rows(true)).map(|call| import(**call, rng)));
    }
    let mut immediate = Vec::new();
    for _ in 0..rng.below(3) {
        let call = rng.pick(&rows(false)).map(|call| import(**call, rng));
        immediate.extend(call);
    }
    if profile.traps && rng.chance(40) {
        let name = UNANSWERED[rng.below(UNANSWERED.len())];
        let ty = module.types.add(&[ValType::I32], &[ValType::I32]);
        let (id, _) = module.add_import_func("env", name, ty);
        immediate.push(callee(module, id));
    }
    (waiting, immediate)
}

/// Declares functions without bodies. Some have the type of a host call, some share a type with each other, which makes
/// the callee of an indirect call ambiguous.
fn own_functions(
    module: &mut Module,
    waiting: &[Callee],
    profile: &Profile,
    rng: &mut Rng,
) -> Vec<FunctionId> {
    let count = 2 + rng.below(5);
    let mut types: Vec<(Vec<ValType>, Vec<ValType>)> = Vec::new();
    for _ in 0..count {
        let known = rng.chance(45).then(|| rng.pick(&types)).flatten().cloned();
        let host = rng.chance(35).then(|| rng.pick(waiting)).flatten();
        let host = host.map(|host| (host.params.clone(), host.results.clone()));
        types.push(known.or(host).unwrap_or_else(|| {
            let numbers = number_types(profile);
            let mut draw = |end| {
                let count = rng.below(end);
                (0..count).map(|_| numbers[rng.below(numbers.len())]).collect::<Vec<_>>()
            };
            (draw(4), draw(if profile.multi_value { 4 } else { 2 }))
        }));
    }
    let declare = |(params, results): (Vec<ValType>, Vec<ValType>)| {
        let function = FunctionBuilder::new(&mut module.types, &params, &results);
        let arguments = params.iter().map(|ty| module.locals.add(*ty)).collect();
        function.finish(arguments, &mut module.funcs)
    };
    types.into_iter().map(declare).collect()
}

/// Puts functions into a table, some of them twice.
fn fill_table<'a>(
    module: &mut Module,
    callees: impl Iterator<Item = &'a Callee>,
    rng: &mut Rng,
) -> (TableId, Slots) {
    let existing = module.tables.iter().find(|table| table.element_ty == RefType::FUNCREF);
    let table = match existing.map(walrus::Table::id) {
        Some(table) => table,
        None => module.tables.add_local(false, rng.below(3) as u64, None, RefType::FUNCREF),
    };
    let mut functions = Vec::new();
    let mut slots = Slots::new();
    let here = module.tables.get_mut(table);
    let first = here.initial as u32;
    for callee in callees {
        for _ in 0..rng.below(3) {
            let slot = first + functions.len() as u32;
            slots.entry(callee.ty).or_default().push((slot, callee.id));
            functions.push(callee.id);
        }
    }
    here.initial += functions.len() as u64;
    here.maximum = here.maximum.map(|maximum| maximum.max(here.initial));
    put(module, table, first, functions);
    if rng.chance(25) {
        write_over(module, table, &slots, rng);
    }
    (table, slots)
}

fn put(module: &mut Module, table: TableId, slot: u32, functions: Vec<FunctionId>) {
    let offset = ConstExpr::Value(Value::I32(slot.cast_signed()));
    let kind = ElementKind::Active { table, offset };
    let element = module.elements.add(kind, ElementItems::Functions(functions));
    module.tables.get_mut(table).elem_segments.insert(element);
}

/// A segment that overwrites a slot of another one, mostly with a function of the same type; otherwise calls trap.
fn write_over(module: &mut Module, table: TableId, slots: &Slots, rng: &mut Rng) {
    let all: Vec<&Vec<(u32, FunctionId)>> = slots.values().collect();
    let (Some(into), Some(other)) = (rng.pick(&all).copied(), rng.pick(&all).copied()) else {
        return;
    };
    let from = if rng.chance(85) { into } else { other };
    if let (Some((slot, _)), Some((_, function))) = (rng.pick(into), rng.pick(from)) {
        put(module, table, *slot, vec![*function]);
    }
}
