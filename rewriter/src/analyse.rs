//! Which functions can be on the stack when the function suspends: exactly those that Asyncify has to instrument.
//!
//! One function too few is a crash, one too many costs size and time. So the answer is an over-approximation, as narrow as
//! can be proven on the bytes that Binaryen gets:
//!
//! * A function can suspend if it calls one that can, down to `faasm_bridge.suspend`.
//! * A direct call leads to its callee.
//! * An indirect call leads to every function of its signature that *a reference can exist of*: those in element segments,
//!   active, passive or declared, and those of `ref.func`, in code or in initialisers. Whatever `table.set`, `table.copy`,
//!   `table.init` and `table.grow` put into a table is one of these, so it does not matter which tables a module mutates.
//! * If references can come from outside (an imported table, an imported global or function with references in its type),
//!   exported and imported functions count too. Our own export of the table is no such way: the host only reads it.
//!
//! Function pointers in data segments, "never overwritten", would narrow further, but nothing proves that no store
//! reaches them; so they are not looked at.
//!
//! Each function that can suspend keeps the call by which it was found, which makes a witness path to the import.

use crate::{BRIDGE_MODULE, Error, SUSPEND, normalise::parse};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use walrus::ir::{Instr, InstrLocId, RefFunc, Visitor, dfs_in_order};
use walrus::{
    ConstExpr, ConstOp, ElementItems, ExportItem, FunctionId, GlobalKind, ImportKind, Module,
    RefType, TypeId, ValType,
};

/// How one call leads to another function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallKind {
    Direct,
    /// By a function pointer, to any function of the signature.
    Indirect,
}

/// One call of a witness path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    pub kind: CallKind,
    /// Name of the callee.
    pub callee: String,
}

/// What of a module can suspend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reach {
    /// Names of the functions that can be on the stack during a suspension, or `#index` without a name, sorted.
    pub functions: Vec<String>,
    /// Number of functions with a body.
    pub total: usize,
    /// How many it would be if every indirect call could lead anywhere, as Binaryen takes it.
    pub by_default: usize,
}

/// The result, on a module in memory.
pub(crate) struct Analysis {
    /// Each function that can suspend, with the call by which it can.
    found: BTreeMap<FunctionId, (CallKind, FunctionId)>,
    suspend: Option<FunctionId>,
    total: usize,
    by_default: usize,
}

impl Analysis {
    /// Analyses a shimmed module.
    pub(crate) fn of(module: &Module) -> Self {
        let calls: BTreeMap<FunctionId, Calls> =
            module.funcs.iter_local().map(|(id, _)| (id, Calls::of(module, id))).collect();
        let suspend = module.imports.iter().find_map(|import| match import.kind {
            ImportKind::Function(id)
                if import.module == BRIDGE_MODULE && import.name == SUSPEND =>
            {
                Some(id)
            }
            _ => None,
        });
        let total = calls.len();
        let Some(import) = suspend else {
            return Self { found: BTreeMap::new(), suspend, total, by_default: 0 };
        };
        let referenced = referenced(module, &calls);
        let found = search(module, &calls, import, |callee| referenced.contains(&callee));
        let anywhere: Vec<FunctionId> = calls
            .iter()
            .filter(|(_, calls)| !calls.indirect.is_empty())
            .map(|(id, _)| *id)
            .collect();
        let by_default = reach_back(&calls, anywhere.into_iter().chain([import])).len();
        Self { found, suspend, total, by_default }
    }

    pub(crate) fn suspending(&self) -> impl Iterator<Item = FunctionId> + '_ {
        self.found.keys().copied()
    }

    pub(crate) fn reach(&self, module: &Module) -> Reach {
        let mut functions: Vec<String> = self.suspending().map(|id| name(module, id)).collect();
        functions.sort();
        Reach { functions, total: self.total, by_default: self.by_default }
    }

    /// The calls from a function to the suspending import; none where it cannot suspend.
    fn witness(&self, module: &Module, from: FunctionId) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut at = from;
        // Each step was found before the one that leads to it, so the path has no cycle.
        while let Some((kind, callee)) = self.found.get(&at) {
            let suspends = Some(*callee) == self.suspend;
            let callee_name =
                if suspends { format!("{BRIDGE_MODULE}.{SUSPEND}") } else { name(module, *callee) };
            steps.push(Step { kind: *kind, callee: callee_name });
            at = *callee;
        }
        steps
    }
}

/// The witness path of a function given by name, in a shimmed module.
///
/// # Errors
/// A module that cannot be read, or a name that no function has.
pub fn why(shimmed: &[u8], function: &str) -> Result<Vec<Step>, Error> {
    let module = parse(shimmed)?;
    let found = module.funcs.iter().find(|f| name(&module, f.id()) == function).map(|f| f.id());
    let by_export = || module.exports.get_func(function).ok();
    let id = found
        .or_else(by_export)
        .ok_or_else(|| Error::NoFunction { function: function.to_owned() })?;
    Ok(Analysis::of(&module).witness(&module, id))
}

/// What of a shimmed module can suspend.
pub(crate) fn reach(shimmed: &[u8]) -> Result<Reach, Error> {
    let module = parse(shimmed)?;
    Ok(Analysis::of(&module).reach(&module))
}

/// A function's debug name, or its index.
pub(crate) fn name(module: &Module, id: FunctionId) -> String {
    module.funcs.get(id).name.clone().unwrap_or_else(|| format!("#{}", id.index()))
}

/// Breadth first from the import backwards, so that witness paths are shortest.
fn search(
    module: &Module,
    calls: &BTreeMap<FunctionId, Calls>,
    import: FunctionId,
    referenced: impl Fn(FunctionId) -> bool,
) -> BTreeMap<FunctionId, (CallKind, FunctionId)> {
    let mut direct: BTreeMap<FunctionId, Vec<FunctionId>> = BTreeMap::new();
    let mut indirect: BTreeMap<Signature, Vec<FunctionId>> = BTreeMap::new();
    for (caller, calls) in calls {
        for callee in &calls.direct {
            direct.entry(*callee).or_default().push(*caller);
        }
        for signature in &calls.indirect {
            indirect.entry(signature.clone()).or_default().push(*caller);
        }
    }
    let mut found = BTreeMap::new();
    let mut pending = VecDeque::from([import]);
    let mut exhausted = BTreeSet::new();
    while let Some(callee) = pending.pop_front() {
        let mut add = |kind, callers: Option<&Vec<FunctionId>>| {
            for caller in callers.into_iter().flatten() {
                found.entry(*caller).or_insert_with(|| {
                    pending.push_back(*caller);
                    (kind, callee)
                });
            }
        };
        add(CallKind::Direct, direct.get(&callee));
        if referenced(callee) {
            let signature = Signature::of(module, module.funcs.get(callee).ty());
            if exhausted.insert(signature.clone()) {
                add(CallKind::Indirect, indirect.get(&signature));
            }
        }
    }
    found
}

/// Everything that leads to one of these by direct calls, themselves included if they have a body.
fn reach_back(
    calls: &BTreeMap<FunctionId, Calls>,
    from: impl Iterator<Item = FunctionId>,
) -> BTreeSet<FunctionId> {
    let mut callers: BTreeMap<FunctionId, Vec<FunctionId>> = BTreeMap::new();
    for (caller, calls) in calls {
        for callee in &calls.direct {
            callers.entry(*callee).or_default().push(*caller);
        }
    }
    let mut reached = BTreeSet::new();
    let mut pending: Vec<FunctionId> = from.collect();
    while let Some(function) = pending.pop() {
        if reached.insert(function) {
            pending.extend(callers.get(&function).into_iter().flatten());
        }
    }
    reached.retain(|function| calls.contains_key(function));
    reached
}

/// Functions that a reference can exist of.
fn referenced(module: &Module, calls: &BTreeMap<FunctionId, Calls>) -> BTreeSet<FunctionId> {
    let mut functions: BTreeSet<FunctionId> =
        calls.values().flat_map(|calls| calls.references.iter().copied()).collect();
    for element in module.elements.iter() {
        match &element.items {
            ElementItems::Functions(items) => functions.extend(items),
            ElementItems::Expressions(_, items) => {
                functions.extend(items.iter().filter_map(function_of));
            }
        }
    }
    for global in module.globals.iter() {
        if let GlobalKind::Local(value) = &global.kind {
            functions.extend(function_of(value));
        }
    }
    functions.extend(module.tables.iter().filter_map(|table| function_of(table.init.as_ref()?)));
    if is_open(module) {
        functions.extend(module.exports.iter().filter_map(|export| match export.item {
            ExportItem::Function(id) => Some(id),
            _ => None,
        }));
        functions.extend(module.imports.iter().filter_map(|import| match import.kind {
            ImportKind::Function(id) => Some(id),
            _ => None,
        }));
    }
    functions
}

fn function_of(value: &ConstExpr) -> Option<FunctionId> {
    match value {
        ConstExpr::RefFunc(id) => Some(*id),
        ConstExpr::Extended(ops) => ops.iter().find_map(|op| match op {
            ConstOp::RefFunc(id) => Some(*id),
            _ => None,
        }),
        _ => None,
    }
}

/// Whether references to functions can come from outside.
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

/// A signature by its structure: two equal types can be written down twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Signature(String);

impl Signature {
    fn of(module: &Module, ty: TypeId) -> Self {
        let ty = module.types.get(ty);
        Self(format!("{:?} -> {:?}", ty.params(), ty.results()))
    }
}

/// What one function calls.
#[derive(Default)]
struct Calls {
    direct: BTreeSet<FunctionId>,
    indirect: BTreeSet<Signature>,
    /// Functions it takes a reference of.
    references: BTreeSet<FunctionId>,
    tail: bool,
}

impl Calls {
    fn of(module: &Module, id: FunctionId) -> Self {
        let mut collect = Collect { module, calls: Calls::default() };
        let function = module.funcs.get(id).kind.unwrap_local();
        dfs_in_order(&mut collect, function, function.entry_block());
        collect.calls
    }
}

struct Collect<'a> {
    module: &'a Module,
    calls: Calls,
}

impl<'instr> Visitor<'instr> for Collect<'_> {
    fn visit_instr(&mut self, instr: &'instr Instr, _: &'instr InstrLocId) {
        let calls = &mut self.calls;
        let mut indirect = |ty: TypeId| calls.indirect.insert(Signature::of(self.module, ty));
        match instr {
            Instr::Call(call) => drop(calls.direct.insert(call.func)),
            Instr::CallIndirect(call) => drop(indirect(call.ty)),
            Instr::CallRef(call) => drop(indirect(call.ty)),
            Instr::ReturnCall(call) => {
                calls.direct.insert(call.func);
                calls.tail = true;
            }
            Instr::ReturnCallIndirect(call) => {
                indirect(call.ty);
                calls.tail = true;
            }
            Instr::ReturnCallRef(call) => {
                indirect(call.ty);
                calls.tail = true;
            }
            Instr::RefFunc(RefFunc { func }) => drop(calls.references.insert(*func)),
            _ => {}
        }
    }
}

/// Names of the functions with tail calls.
#[cfg(feature = "cli")]
pub(crate) fn tail_callers(module: &Module) -> Vec<String> {
    let functions = module.funcs.iter_local();
    functions
        .filter(|(id, _)| Calls::of(module, *id).tail)
        .map(|(id, _)| name(module, id))
        .collect()
}
