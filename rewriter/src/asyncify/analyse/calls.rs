//! The call graph: every call of every function, and its possible callees.

use super::targets::{Signature, Targets};
use super::{CallKind, Edge};
use std::collections::{BTreeMap, BTreeSet};
use walrus::ir::{Instr, InstrLocId, InstrSeq, Value, Visitor, dfs_in_order};
use walrus::{FunctionId, Module, TableId, TypeId};

/// Where one call can lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Site {
    /// A call of one function.
    Function(FunctionId),
    /// A call by a constant index whose slot is known; nowhere if the call traps.
    Slot(Option<FunctionId>),
    /// A call of any function of a class; the index of the class.
    Class(usize),
}

/// Calls that lead to the same functions: those of one signature through one table, or through references.
#[derive(Debug)]
struct Class {
    table: Option<TableId>,
    kind: CallKind,
    signature: String,
    targets: BTreeSet<FunctionId>,
}

/// The calls of a module.
#[derive(Debug)]
pub(crate) struct CallGraph {
    targets: Targets,
    classes: Vec<Class>,
    /// Index of the class by its table, if any, and its signature.
    class: BTreeMap<(Option<TableId>, Option<Signature>), usize>,
    /// The classes that a function is in.
    classes_of: BTreeMap<FunctionId, Vec<usize>>,
    /// The calls of each function with a body.
    sites: BTreeMap<FunctionId, BTreeSet<Site>>,
}

impl CallGraph {
    pub(crate) fn of(module: &Module) -> Self {
        let mut graph = Self {
            targets: Targets::of(module),
            classes: Vec::new(),
            class: BTreeMap::new(),
            classes_of: BTreeMap::new(),
            sites: BTreeMap::new(),
        };
        for (id, function) in module.funcs.iter_local() {
            let mut collect = Collect::new(&mut graph);
            dfs_in_order(&mut collect, function, function.entry_block());
            let sites = collect.sites;
            graph.sites.insert(id, sites);
        }
        graph
    }

    /// Functions with a body.
    pub(crate) fn functions(&self) -> impl Iterator<Item = FunctionId> + '_ {
        self.sites.keys().copied()
    }

    /// The calls of a function.
    pub(crate) fn sites(&self, function: FunctionId) -> impl Iterator<Item = Site> + '_ {
        self.sites.get(&function).into_iter().flatten().copied()
    }

    /// The functions that a call can lead to.
    pub(crate) fn targets_of(&self, site: Site) -> impl Iterator<Item = FunctionId> + '_ {
        let (one, class) = match site {
            Site::Function(function) => (Some(function), None),
            Site::Slot(function) => (function, None),
            Site::Class(class) => (None, self.classes.get(class)),
        };
        one.into_iter().chain(class.into_iter().flat_map(|class| class.targets.iter().copied()))
    }

    /// The functions of each class, by its index.
    pub(super) fn classes(&self) -> impl Iterator<Item = &BTreeSet<FunctionId>> {
        self.classes.iter().map(|class| &class.targets)
    }

    /// The calls that can lead to a function.
    pub(super) fn sites_to(
        &self,
        callee: FunctionId,
    ) -> impl Iterator<Item = (Site, CallKind)> + '_ {
        let classes = self.classes_of.get(&callee).into_iter().flatten();
        [(Site::Function(callee), CallKind::Direct), (Site::Slot(Some(callee)), CallKind::Table)]
            .into_iter()
            .chain(classes.map(|index| (Site::Class(*index), self.classes[*index].kind)))
    }

    /// The functions with such a call, for every call that occurs.
    pub(super) fn callers(&self) -> BTreeMap<Site, Vec<FunctionId>> {
        let mut callers: BTreeMap<Site, Vec<FunctionId>> = BTreeMap::new();
        for (caller, sites) in &self.sites {
            for site in sites {
                callers.entry(*site).or_default().push(*caller);
            }
        }
        callers
    }

    pub(super) fn edges(&self) -> impl Iterator<Item = Edge> + '_ {
        let sites = self
            .sites
            .iter()
            .flat_map(|(caller, sites)| sites.iter().map(move |site| (*caller, *site)));
        sites.flat_map(|(caller, site)| {
            let (kind, signature) = match site {
                Site::Function(_) => (CallKind::Direct, None),
                Site::Slot(_) => (CallKind::Table, None),
                Site::Class(class) => {
                    let class = &self.classes[class];
                    (class.kind, Some(class.signature.clone()))
                }
            };
            let edge = move |callee| Edge { caller, callee, kind, signature: signature.clone() };
            self.targets_of(site).map(edge)
        })
    }

    /// The call site of an instruction, if it is a call; `index` is the constant that directly precedes it, if any.
    pub(crate) fn site(&self, instr: &Instr, index: Option<i32>) -> Option<Site> {
        match Called::by(instr)? {
            Called::Function(function) => Some(Site::Function(function)),
            Called::Through(table, ty) => {
                if let Some(slot) = self.slot(table, ty, index) {
                    return Some(Site::Slot(slot));
                }
                let signature = self.targets.signature(ty);
                self.class.get(&(table, signature)).copied().map(Site::Class)
            }
        }
    }

    /// Whether a call goes through a table in which slots can be overwritten.
    pub(super) fn is_through_overwritten(&self, site: Site) -> bool {
        let class = match site {
            Site::Class(class) => self.classes.get(class),
            Site::Function(_) | Site::Slot(_) => None,
        };
        class.and_then(|class| class.table).is_some_and(|table| self.targets.is_overwritten(table))
    }

    fn slot(
        &self,
        table: Option<TableId>,
        ty: TypeId,
        index: Option<i32>,
    ) -> Option<Option<FunctionId>> {
        self.targets.in_slot(table?, ty, index?)
    }

    fn class(&mut self, table: Option<TableId>, ty: TypeId) -> usize {
        let signature = self.targets.signature(ty);
        *self.class.entry((table, signature)).or_insert_with(|| {
            let kind = if table.is_some() { CallKind::Indirect } else { CallKind::Reference };
            let targets = self.targets.of_signature(table, ty);
            let index = self.classes.len();
            for function in &targets {
                self.classes_of.entry(*function).or_default().push(index);
            }
            let signature = self.targets.shown(signature).to_owned();
            self.classes.push(Class { table, kind, signature, targets });
            index
        })
    }
}

/// What an instruction calls.
enum Called {
    Function(FunctionId),
    /// Any function of the type, from a table or on the operand stack.
    Through(Option<TableId>, TypeId),
}

impl Called {
    fn by(instr: &Instr) -> Option<Self> {
        Some(match instr {
            Instr::Call(call) => Self::Function(call.func),
            Instr::ReturnCall(call) => Self::Function(call.func),
            Instr::CallIndirect(call) => Self::Through(Some(call.table), call.ty),
            Instr::ReturnCallIndirect(call) => Self::Through(Some(call.table), call.ty),
            Instr::CallRef(call) => Self::Through(None, call.ty),
            Instr::ReturnCallRef(call) => Self::Through(None, call.ty),
            _ => return None,
        })
    }
}

/// The value of an instruction that is an `i32` constant.
pub(crate) fn constant(instr: &Instr) -> Option<i32> {
    match instr {
        Instr::Const(constant) => match constant.value {
            Value::I32(value) => Some(value),
            _ => None,
        },
        _ => None,
    }
}

/// The calls of one function.
struct Collect<'a> {
    graph: &'a mut CallGraph,
    sites: BTreeSet<Site>,
    /// The constant just before, in the same sequence.
    index: Option<i32>,
}

impl<'a> Collect<'a> {
    fn new(graph: &'a mut CallGraph) -> Self {
        Self { graph, sites: BTreeSet::new(), index: None }
    }
}

impl<'instr> Visitor<'instr> for Collect<'_> {
    fn start_instr_seq(&mut self, _: &'instr InstrSeq) {
        self.index = None;
    }

    fn end_instr_seq(&mut self, _: &'instr InstrSeq) {
        self.index = None;
    }

    fn visit_instr(&mut self, instr: &'instr Instr, _: &'instr InstrLocId) {
        let index = std::mem::replace(&mut self.index, constant(instr));
        match Called::by(instr) {
            None => {}
            Some(Called::Function(function)) => drop(self.sites.insert(Site::Function(function))),
            Some(Called::Through(table, ty)) => {
                let site = match self.graph.slot(table, ty, index) {
                    Some(slot) => Site::Slot(slot),
                    None => Site::Class(self.graph.class(table, ty)),
                };
                self.sites.insert(site);
            }
        }
    }
}
