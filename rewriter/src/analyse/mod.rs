//! Which functions can be on the stack when the function suspends: exactly those that Asyncify has to instrument.
//!
//! One function too few is a crash, one too many costs size and time. So the answer is an over-approximation, as narrow as
//! can be proven on the bytes that Binaryen gets:
//!
//! * A function can suspend if it calls one that can, down to `faasm_bridge.suspend`.
//! * A direct call leads to its callee; so does a tail call, for it becomes a plain one where its function can suspend.
//! * A call through a table leads to the functions of its signature that are in that table. Where no instruction writes to
//!   the table, those are the functions of its element segments, and a constant index leads to the one in its slot.
//! * What is in any other table is a function of the signature that *a reference can exist of*: those in element segments,
//!   active, passive or declared, and those of `ref.func`, in code or in initialisers. Whatever `table.set`, `table.copy`,
//!   `table.init`, `table.fill` and `table.grow` put into a table is one of these.
//! * A call through a reference leads to the functions of the signature that `ref.func` takes, or to all of the above where
//!   the module reads references from tables.
//! * If references can come from outside (an imported table, an imported global or function with references in its type),
//!   exported and imported functions count too. Our own export of the table is no such way: the host only reads it.
//!
//! Function pointers in data segments, "never overwritten", would narrow further, but nothing proves that no store
//! reaches them; so they are not looked at.
//!
//! Each function that can suspend keeps the call by which it was found, which makes a witness path to the import.

mod bound;
mod calls;
mod targets;

pub use bound::Bound;
pub(crate) use calls::constant;

use crate::{BRIDGE_MODULE, Error, SUSPEND, normalise::parse};
use calls::{CallGraph, Site};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use walrus::{ExportItem, FunctionId, ImportKind, Module};

/// How one call leads to another function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallKind {
    Direct,
    /// By a constant index into a table that nobody writes to.
    Table,
    /// By a function pointer, to any function of the signature in its table.
    Indirect,
    /// By a reference on the operand stack, to any function of the signature.
    Reference,
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
    /// Names of the functions that can be on the stack during a suspension, else of their exports, else `#index`; sorted.
    pub functions: Vec<String>,
    /// Names of the exports that can suspend, sorted.
    pub exports: Vec<String>,
    /// Number of functions with a body.
    pub total: usize,
    /// How many it would be if every indirect call could lead anywhere, as Binaryen takes it.
    pub by_default: usize,
}

/// One way from a function to another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Edge {
    pub(crate) caller: FunctionId,
    pub(crate) callee: FunctionId,
    pub(crate) kind: CallKind,
    /// Of a call by pointer or reference, as `(i32) -> i32`.
    pub(crate) signature: Option<String>,
}

/// The result, on a module in memory.
pub(crate) struct Analysis {
    graph: CallGraph,
    /// Each function that can suspend, with the call by which it can.
    found: BTreeMap<FunctionId, (CallKind, FunctionId)>,
    suspend: Option<FunctionId>,
}

impl Analysis {
    /// Analyses a shimmed module.
    pub(crate) fn of(module: &Module) -> Self {
        let graph = CallGraph::of(module);
        let suspend = module.imports.iter().find_map(|import| match import.kind {
            ImportKind::Function(id)
                if import.module == BRIDGE_MODULE && import.name == SUSPEND =>
            {
                Some(id)
            }
            _ => None,
        });
        let found = suspend.map_or_else(BTreeMap::new, |import| search(&graph, import));
        Self { graph, found, suspend }
    }

    pub(crate) fn suspending(&self) -> impl Iterator<Item = FunctionId> + '_ {
        self.found.keys().copied()
    }

    /// Whether a call can lead to a suspension.
    pub(crate) fn leads_to_suspension(&self, site: Site) -> bool {
        self.graph.targets_of(site).any(|callee| self.suspends(callee))
    }

    /// Whether a function can suspend, or is what suspends.
    pub(crate) fn suspends(&self, function: FunctionId) -> bool {
        self.found.contains_key(&function) || Some(function) == self.suspend
    }

    /// Functions that can suspend below a call through a table in which the module overwrites slots.
    pub(crate) fn suspend_through_overwritten(&self) -> impl Iterator<Item = FunctionId> + '_ {
        let is_one =
            |site| self.graph.is_through_overwritten(site) && self.leads_to_suspension(site);
        self.suspending().filter(move |id| self.graph.sites(*id).any(is_one))
    }

    pub(crate) fn graph(&self) -> &CallGraph {
        &self.graph
    }

    pub(crate) fn reach(&self, module: &Module) -> Reach {
        let mut functions: Vec<String> = self.suspending().map(|id| name(module, id)).collect();
        functions.sort();
        let exports = module.exports.iter();
        let mut exports: Vec<String> = exports
            .filter(|export| matches!(export.item, ExportItem::Function(id) if self.suspends(id)))
            .map(|export| export.name.clone())
            .collect();
        exports.sort();
        let by_default = self.suspend.map_or(0, |import| by_default(&self.graph, import));
        Reach { functions, exports, total: self.graph.functions().count(), by_default }
    }

    /// The worst case of what all functions on the stack save, where `frames` says what each does.
    pub(crate) fn bound(&self, frames: &BTreeMap<FunctionId, u32>) -> Result<u64, Vec<FunctionId>> {
        bound::longest_path(frames, |function| {
            let sites = self.graph.sites(function);
            let callees = sites.flat_map(|site| self.graph.targets_of(site));
            let suspending: BTreeSet<FunctionId> =
                callees.filter(|callee| self.found.contains_key(callee)).collect();
            suspending.into_iter().collect()
        })
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

/// All ways from function to function, each once.
pub(crate) fn edges(module: &Module) -> BTreeSet<Edge> {
    CallGraph::of(module).edges().collect()
}

/// A function's debug name, else what it is exported as, else its index.
pub(crate) fn name(module: &Module, id: FunctionId) -> String {
    let exported = || {
        let mut exports = module.exports.iter();
        let export =
            exports.find(|export| matches!(export.item, ExportItem::Function(f) if f == id));
        export.map(|export| export.name.clone())
    };
    let name = module.funcs.get(id).name.clone().or_else(exported);
    name.unwrap_or_else(|| format!("#{}", id.index()))
}

/// Breadth first from the import backwards, so that witness paths are shortest.
fn search(graph: &CallGraph, import: FunctionId) -> BTreeMap<FunctionId, (CallKind, FunctionId)> {
    let callers = graph.callers();
    let mut found = BTreeMap::new();
    let mut pending = VecDeque::from([import]);
    // All callers of a class are found at its first callee.
    let mut exhausted = BTreeSet::new();
    while let Some(callee) = pending.pop_front() {
        for (site, kind) in graph.sites_to(callee) {
            if matches!(site, Site::Class(_)) && !exhausted.insert(site) {
                continue;
            }
            for caller in callers.get(&site).into_iter().flatten() {
                found.entry(*caller).or_insert_with(|| {
                    pending.push_back(*caller);
                    (kind, callee)
                });
            }
        }
    }
    found
}

/// How many functions lead by direct calls to the import or to any indirect call.
fn by_default(graph: &CallGraph, import: FunctionId) -> usize {
    let callers = graph.callers();
    let is_indirect = |site: &Site| !matches!(site, Site::Function(_));
    let anywhere =
        callers.iter().filter(|(site, _)| is_indirect(site)).flat_map(|(_, callers)| callers);
    let mut reached = BTreeSet::new();
    let mut pending: Vec<FunctionId> = anywhere.copied().collect();
    pending.extend(callers.get(&Site::Function(import)).into_iter().flatten());
    while let Some(function) = pending.pop() {
        if reached.insert(function) {
            pending.extend(callers.get(&Site::Function(function)).into_iter().flatten());
        }
    }
    reached.len()
}
