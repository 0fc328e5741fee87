//! The call graph: every call of every function, and its possible callees.

use super::targets::{Signature, Targets};
use super::{CallKind, Edge};
use std::collections::{BTreeMap, BTreeSet};
use walrus::ir::{Instr, InstrLocId, InstrSeq, InstrSeqId, Value, Visitor, dfs_in_order};
use walrus::{FunctionId, LocalFunction, Module, TableId, TypeId};

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
            let calls = call_sites(function);
            let sites = calls.iter().map(|call| graph.enter(call)).collect();
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

    /// Where a call of the module leads; none for one that the graph was not made of.
    pub(crate) fn site(&self, call: &CallSite) -> Option<Site> {
        match call.called {
            Called::Function(function) => Some(Site::Function(function)),
            Called::Through(table, ty) => match self.slot(table, ty, call.index) {
                Some(slot) => Some(Site::Slot(slot)),
                None => {
                    let signature = self.targets.signature(ty);
                    self.class.get(&(table, signature)).copied().map(Site::Class)
                }
            },
        }
    }

    /// The same, with its class.
    fn enter(&mut self, call: &CallSite) -> Site {
        match (self.site(call), call.called) {
            (Some(site), _) => site,
            (None, Called::Function(function)) => Site::Function(function),
            (None, Called::Through(table, ty)) => Site::Class(self.add_class(table, ty)),
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

    fn add_class(&mut self, table: Option<TableId>, ty: TypeId) -> usize {
        let signature = self.targets.signature(ty);
        let kind = if table.is_some() { CallKind::Indirect } else { CallKind::Reference };
        let targets = self.targets.of_signature(table, ty);
        let index = self.classes.len();
        for function in &targets {
            self.classes_of.entry(*function).or_default().push(index);
        }
        self.class.insert((table, signature), index);
        let signature = self.targets.shown(signature).to_owned();
        self.classes.push(Class { table, kind, signature, targets });
        index
    }
}

/// What an instruction calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Called {
    Function(FunctionId),
    /// Any function of the type, from a table or on the operand stack.
    Through(Option<TableId>, TypeId),
}

/// A call in the code of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallSite {
    /// The sequence of instructions that it is in.
    pub(crate) sequence: InstrSeqId,
    /// Which one of these it is.
    pub(crate) position: usize,
    pub(crate) called: Called,
    pub(crate) is_tail: bool,
    /// The constant just before it in its sequence.
    index: Option<i32>,
}

impl CallSite {
    fn of(
        instr: &Instr,
        (sequence, position): (InstrSeqId, usize),
        index: Option<i32>,
    ) -> Option<Self> {
        let (called, is_tail) = match instr {
            Instr::Call(call) => (Called::Function(call.func), false),
            Instr::ReturnCall(call) => (Called::Function(call.func), true),
            Instr::CallIndirect(call) => (Called::Through(Some(call.table), call.ty), false),
            Instr::ReturnCallIndirect(call) => (Called::Through(Some(call.table), call.ty), true),
            Instr::CallRef(call) => (Called::Through(None, call.ty), false),
            Instr::ReturnCallRef(call) => (Called::Through(None, call.ty), true),
            _ => return None,
        };
        Some(Self { sequence, position, called, is_tail, index })
    }
}

/// Every call of a function, in the order of its code. **This is the one place that finds calls, and the constant before each**: what
/// may suspend and what is hidden from Asyncify are decided on the same list.
pub(crate) fn call_sites(function: &LocalFunction) -> Vec<CallSite> {
    let mut calls = Calls::default();
    dfs_in_order(&mut calls, function, function.entry_block());
    calls.found
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

/// Collects [`call_sites`].
#[derive(Default)]
struct Calls {
    found: Vec<CallSite>,
    /// The sequences around the next instruction, each with its position there.
    places: Vec<(InstrSeqId, usize)>,
    /// The constant just before, in the same sequence.
    index: Option<i32>,
}

impl<'instr> Visitor<'instr> for Calls {
    fn start_instr_seq(&mut self, sequence: &'instr InstrSeq) {
        self.places.push((sequence.id(), 0));
        self.index = None;
    }

    fn end_instr_seq(&mut self, _: &'instr InstrSeq) {
        self.places.pop();
        self.index = None;
    }

    fn visit_instr(&mut self, instr: &'instr Instr, _: &'instr InstrLocId) {
        let index = std::mem::replace(&mut self.index, constant(instr));
        let Some(place) = self.places.last_mut() else { return };
        self.found.extend(CallSite::of(instr, *place, index));
        place.1 += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::normalise::parse;

    #[test]
    fn a_call_is_where_its_place_says_and_only_the_constant_before_it_in_its_sequence_counts() {
        let wat = r#"(module (memory 1) (type $t (func)) (table 1 funcref) (elem (i32.const 0) $f) (func $f)
            (func (export "main") (local $i i32)
                i32.const 0
                call_indirect (type $t)
                i32.const 0
                if (result i32) call $f i32.const 2 else i32.const 3 end
                call_indirect (type $t)
                i32.const 4
                block call $f i32.const 5 return_call_indirect (type $t) end
                call_indirect (type $t)))"#;
        let module = parse(&wat::parse_str(wat).unwrap()).unwrap();
        let main = module.exports.get_func("main").unwrap();
        let function = module.funcs.get(main).kind.unwrap_local();
        let calls = call_sites(function);
        for call in &calls {
            let (instr, _) = &function.block(call.sequence).instrs[call.position];
            let place = (call.sequence, call.position);
            assert_eq!(CallSite::of(instr, place, call.index), Some(*call));
        }
        let seen: Vec<_> = calls.iter().map(|call| (call.is_tail, call.index)).collect();
        let plain = |index| (false, index);
        assert_eq!(
            seen,
            [plain(Some(0)), plain(None), plain(None), plain(None), (true, Some(5)), plain(None)]
        );
    }
}
