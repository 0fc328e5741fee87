//! Finds the functions that can be on the stack during a suspension: exactly those that Asyncify has to instrument.
//!
//! A missing function causes a crash, a superfluous one costs size and time. So the analysis over-approximates, as
//! narrowly as can be proven from the bytes that Binaryen receives:
//!
//! * A function can suspend if it calls one that can, down to `faasm_bridge.suspend`.
//! * A direct call leads to its callee. So does a tail call, because it is lowered to a plain call in a function that
//!   can suspend.
//! * A call through a table leads to the functions of its signature in that table. If no instruction writes to the
//!   table, these are the functions of its element segments, and a constant index selects the one in its slot.
//! * Any other table can hold every function of the signature *that a reference can exist of*: those in element
//!   segments (active, passive or declared), and those of `ref.func`, in code or in initialisers. `table.set`,
//!   `table.copy`, `table.init`, `table.fill` and `table.grow` can put only these into a table.
//! * A call through a reference leads to the functions of the signature that `ref.func` takes, or to all of the above
//!   if the module reads references from tables.
//! * If references can enter from outside (an imported table, an imported global or function with references in its
//!   type), exported and imported functions count too. Our own export of the table does not matter, because the host
//!   only reads it.
//!
//! Function pointers in data segments that are never overwritten would narrow the result further, but nothing proves
//! that no store reaches them, so the analysis ignores them.
//!
//! Each function that can suspend records the call by which it was found; these calls form a witness path to the
//! import.

mod bound;
mod calls;
mod targets;

pub use bound::Bound;
pub(crate) use calls::{CallSite, Called, call_sites, constant};

use crate::stages::normalise::parse;
use crate::{BRIDGE_MODULE, Error, SUSPEND};
use calls::{CallGraph, Site};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use walrus::{ExportItem, FunctionId, ImportKind, Module};

/// How one call leads to another function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallKind {
    Direct,
    /// By a constant index into a table that no instruction writes to.
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

/// The functions and exports of a module that can suspend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reach {
    /// Names of the functions that can be on the stack during a suspension, sorted; else of their exports, else
    /// `#index`.
    pub functions: Vec<String>,
    /// Names of the exports that can suspend, sorted.
    pub exports: Vec<String>,
    /// Number of functions with a body.
    pub total: usize,
    /// How many it would be if every indirect call could reach any function, as Binaryen assumes.
    pub by_default: usize,
}

/// An edge of the call graph.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Edge {
    pub(crate) caller: FunctionId,
    pub(crate) callee: FunctionId,
    pub(crate) kind: CallKind,
    /// The signature of a call by pointer or reference, as `(i32) -> i32`.
    pub(crate) signature: Option<String>,
}

/// A node of a path of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Node {
    Function(FunctionId),
    /// Any function of a class; its index.
    Class(usize),
}

/// The analysis of a module in memory.
pub(crate) struct Analysis {
    graph: CallGraph,
    /// Each function that can suspend, with the call that leads to the suspension.
    found: BTreeMap<FunctionId, (CallKind, FunctionId)>,
    suspend: Option<FunctionId>,
    /// By class index: the functions of the class that can suspend, or the import.
    classes: Vec<Vec<FunctionId>>,
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
        let suspends = |id: &FunctionId| found.contains_key(id) || Some(*id) == suspend;
        let classes = graph.classes();
        let classes =
            classes.map(|targets| targets.iter().copied().filter(suspends).collect()).collect();
        Self { graph, found, suspend, classes }
    }

    pub(crate) fn suspending(&self) -> impl Iterator<Item = FunctionId> + '_ {
        self.found.keys().copied()
    }

    /// Whether a call can lead to a suspension.
    pub(crate) fn leads_to_suspension(&self, site: Site) -> bool {
        match site {
            Site::Function(function) => self.suspends(function),
            Site::Slot(function) => function.is_some_and(|function| self.suspends(function)),
            Site::Class(class) => self.classes.get(class).is_some_and(|class| !class.is_empty()),
        }
    }

    /// Whether a function can suspend, or is the suspending import.
    pub(crate) fn suspends(&self, function: FunctionId) -> bool {
        self.found.contains_key(&function) || Some(function) == self.suspend
    }

    /// Functions that can suspend below a call through a table in which the module overwrites slots.
    pub(crate) fn suspend_through_overwritten(&self) -> impl Iterator<Item = FunctionId> + '_ {
        let is_one =
            |site| self.graph.is_through_overwritten(site) && self.leads_to_suspension(site);
        self.suspending().filter(move |id| self.graph.sites(*id).any(is_one))
    }

    /// The number of functions that can suspend, have a single direct caller, and are referenced nowhere else.
    pub(crate) fn called_once(&self, module: &Module) -> usize {
        let callers = self.graph.callers();
        let exported = module.exports.iter().filter_map(|export| match export.item {
            ExportItem::Function(function) => Some(function),
            _ => None,
        });
        let exported: BTreeSet<FunctionId> = exported.collect();
        let is_one = |function: &FunctionId| {
            let mut sites =
                self.graph.sites_to(*function).filter_map(|(site, _)| callers.get(&site));
            !exported.contains(function)
                && sites.next().is_some_and(|callers| callers.len() == 1)
                && sites.next().is_none()
        };
        self.suspending().filter(is_one).count()
    }

    pub(crate) fn graph(&self) -> &CallGraph {
        &self.graph
    }

    pub(crate) fn reach(&self, module: &Module) -> Reach {
        let labels = Labels::of(module);
        let mut functions: Vec<String> = self.suspending().map(|id| labels.get(id)).collect();
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

    /// The largest number of bytes that all functions on the stack save; `frames` gives the frame size of each.
    pub(crate) fn bound(&self, frames: &BTreeMap<FunctionId, u32>) -> Result<u64, Vec<FunctionId>> {
        let starts = frames.keys().map(|function| Node::Function(*function));
        let frame = |node| match node {
            Node::Function(function) => frames.get(&function).copied().unwrap_or(0),
            Node::Class(_) => 0,
        };
        let longest = bound::longest_path(starts, frame, |node| self.next(node));
        longest.map_err(|cycle| {
            let functions = cycle.into_iter().filter_map(|node| match node {
                Node::Function(function) => Some(function),
                Node::Class(_) => None,
            });
            functions.collect()
        })
    }

    /// The successors of a node that can suspend. A class is a node of its own, because it can have as many callers as
    /// functions.
    fn next(&self, node: Node) -> Vec<Node> {
        let function = |id: FunctionId| self.found.contains_key(&id).then_some(Node::Function(id));
        match node {
            Node::Class(class) => {
                let class = self.classes.get(class).into_iter().flatten();
                class.filter_map(|id| function(*id)).collect()
            }
            Node::Function(caller) => {
                let next = self.graph.sites(caller).filter_map(|site| match site {
                    Site::Function(id) => function(id),
                    Site::Slot(id) => function(id?),
                    Site::Class(class) => {
                        self.leads_to_suspension(site).then_some(Node::Class(class))
                    }
                });
                let next: BTreeSet<Node> = next.collect();
                next.into_iter().collect()
            }
        }
    }

    /// The witness path from a function to the suspending import; empty if the function cannot suspend.
    fn witness(&self, labels: &Labels<'_>, from: FunctionId) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut at = from;
        // Each step was found before the one that leads to it, so the path has no cycle.
        while let Some((kind, callee)) = self.found.get(&at) {
            let suspends = Some(*callee) == self.suspend;
            let callee_name =
                if suspends { format!("{BRIDGE_MODULE}.{SUSPEND}") } else { labels.get(*callee) };
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
    let labels = Labels::of(&module);
    let found = module.funcs.iter().map(|f| f.id()).find(|id| labels.get(*id) == function);
    let by_export = || module.exports.get_func(function).ok();
    let id = found
        .or_else(by_export)
        .ok_or_else(|| Error::NoFunction { function: function.to_owned() })?;
    Ok(Analysis::of(&module).witness(&labels, id))
}

/// The functions and exports of a shimmed module that can suspend.
pub(crate) fn reach(shimmed: &[u8]) -> Result<Reach, Error> {
    let module = parse(shimmed)?;
    Ok(Analysis::of(&module).reach(&module))
}

/// All edges of the call graph, without duplicates.
pub(crate) fn edges(module: &Module) -> BTreeSet<Edge> {
    CallGraph::of(module).edges().collect()
}

/// Names of functions in messages and reports.
pub(crate) struct Labels<'a> {
    module: &'a Module,
    /// The first export of each function.
    exports: HashMap<FunctionId, &'a str>,
}

impl<'a> Labels<'a> {
    pub(crate) fn of(module: &'a Module) -> Self {
        let mut exports = HashMap::new();
        for export in module.exports.iter() {
            if let ExportItem::Function(function) = export.item {
                exports.entry(function).or_insert(export.name.as_str());
            }
        }
        Self { module, exports }
    }

    /// A function's debug name, else the name of its first export, else its index.
    pub(crate) fn get(&self, id: FunctionId) -> String {
        let name = self.module.funcs.get(id).name.as_deref();
        let name = name.or_else(|| self.exports.get(&id).copied());
        name.map_or_else(|| format!("#{}", id.index()), str::to_owned)
    }
}

/// Searches breadth first from the import backwards, so that witness paths are shortest.
fn search(graph: &CallGraph, import: FunctionId) -> BTreeMap<FunctionId, (CallKind, FunctionId)> {
    let callers = graph.callers();
    let mut found = BTreeMap::new();
    let mut pending = VecDeque::from([import]);
    // The first callee found of a class yields all callers of the class.
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

/// The number of functions from which direct calls lead to the import or to any indirect call.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` functions that call through the table, and `count` functions in the table.
    fn through_table(count: usize) -> String {
        let callers =
            "(func (call_indirect (type $t) (i32.const 0) (global.get $g)))".repeat(count);
        let callees = "(func (param i32) (call $suspend))".repeat(count);
        let indices: Vec<String> = (1 + count..=2 * count).map(|index| index.to_string()).collect();
        format!(
            r#"(module (import "faasm_bridge" "suspend" (func $suspend)) (memory 1)
            (type $t (func (param i32))) (global $g (mut i32) (i32.const 0))
            (table {count} funcref) (elem (i32.const 0) func {}) {callers} {callees})"#,
            indices.join(" ")
        )
    }

    #[test]
    fn functions_with_one_caller_are_counted() {
        let wat = r#"(module
            (import "faasm_bridge" "suspend" (func $suspend))
            (memory 1) (table 1 funcref) (elem (i32.const 0) $pointed)
            (func $one (call $suspend))
            (func $two (call $suspend))
            (func $calm)
            (func $exported (export "f") (call $suspend))
            (func $pointed (call $suspend))
            (func $b (call $two))
            (func (export "_start")
              (call $one) (call $two) (call $b) (call $calm) (call $exported) (call $pointed)
              (call_indirect (i32.load (i32.const 0)))))"#;
        let module = parse(&wat::parse_str(wat).unwrap()).unwrap();
        // `one` and `b`.
        assert_eq!(Analysis::of(&module).called_once(&module), 2);
    }

    #[test]
    fn edges_grow_linearly_with_the_number_of_functions() {
        let steps = |count| {
            let module = parse(&wat::parse_str(through_table(count)).unwrap()).unwrap();
            let analysis = Analysis::of(&module);
            assert_eq!(analysis.suspending().count(), 2 * count);
            let frames = analysis.suspending().map(|function| (function, 8)).collect();
            assert_eq!(analysis.bound(&frames), Ok(16));
            let nodes = analysis.suspending().map(Node::Function).chain([Node::Class(0)]);
            nodes.map(|node| analysis.next(node).len()).sum::<usize>()
        };
        assert_eq!((steps(50), steps(100)), (100, 200));
    }
}
