//! Reduces the module of a finding as long as it shows the same finding.
//!
//! Removes items, large ones first: bodies, runs of instructions, segments, exports, names. An invalid module shows
//! another finding, so this module need not handle types.

use crate::finding::guarded;
use crate::random::hash;
use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use walrus::ir::{Instr, InstrSeqId, Unreachable, Visitor, dfs_in_order};
use walrus::{ElementItems, FunctionId, ImportKind, LocalFunction, Module, ModuleConfig};

/// One kind of reduction; returns whether it changed anything.
type Edit<'a> = &'a dyn Fn(&mut Module) -> bool;

/// The smallest module found for which `shows` still holds.
pub fn reduce(wasm: &[u8], shows: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut reducer = Reducer { best: wasm.to_vec(), tried: BTreeSet::new(), shows };
    loop {
        let before = reducer.best.len();
        reducer.round();
        if reducer.best.len() >= before {
            return reducer.best;
        }
    }
}

struct Reducer<F> {
    best: Vec<u8>,
    tried: BTreeSet<u64>,
    shows: F,
}

impl<F: Fn(&[u8]) -> bool> Reducer<F> {
    fn round(&mut self) {
        self.each(&empty_body);
        self.each(&drop_function);
        self.each(&drop_element);
        self.each(&drop_element_item);
        self.each(&drop_data);
        self.each(&drop_export);
        self.each(&drop_import);
        self.each(&drop_global);
        self.each(&drop_table);
        self.attempt(&|module| module.start.take().is_some());
        self.each(&drop_name);
        for length in [64, 16, 8, 4, 3, 2, 1] {
            self.each(&|module, nth| drop_instrs(module, nth, length));
        }
        self.each(&unwrap_block);
        self.attempt(&|module| {
            walrus::passes::gc::run(module);
            true
        });
    }

    /// Tries an edit at each of its positions.
    fn each(&mut self, edit: &dyn Fn(&mut Module, usize) -> bool) {
        let mut nth = 0;
        loop {
            let is_place = std::cell::Cell::new(true);
            let kept = self.attempt(&|module| {
                is_place.set(edit(module, nth));
                is_place.get()
            });
            if !is_place.get() {
                return;
            }
            // After a successful removal, the next item is at the same position.
            nth += usize::from(!kept);
        }
    }

    fn attempt(&mut self, edit: Edit<'_>) -> bool {
        // walrus panics if a removed item is still used.
        let edited = guarded(
            "reduce",
            AssertUnwindSafe(|| {
                let mut config = ModuleConfig::new();
                let mut module = config.generate_producers_section(false).parse(&self.best).ok()?;
                edit(&mut module).then(|| module.emit_wasm())
            }),
        );
        let Ok(Some(smaller)) = edited else { return false };
        let is_new = smaller.len() < self.best.len() && self.tried.insert(hash(&smaller));
        if is_new && wasmparser::validate(&smaller).is_ok() && (self.shows)(&smaller) {
            self.best = smaller;
            return true;
        }
        false
    }
}

fn drop_function(module: &mut Module, nth: usize) -> bool {
    let Some(id) = functions(module).get(nth).copied() else { return false };
    module.funcs.delete(id);
    true
}

fn drop_element(module: &mut Module, nth: usize) -> bool {
    let Some(element) = module.elements.iter().nth(nth).map(walrus::Element::id) else {
        return false;
    };
    for table in module.tables.iter_mut() {
        table.elem_segments.remove(&element);
    }
    module.elements.delete(element);
    true
}

fn drop_data(module: &mut Module, nth: usize) -> bool {
    let Some(data) = module.data.iter().nth(nth).map(walrus::Data::id) else { return false };
    for memory in module.memories.iter_mut() {
        memory.data_segments.remove(&data);
    }
    module.data.delete(data);
    true
}

fn drop_export(module: &mut Module, nth: usize) -> bool {
    let Some(id) = module.exports.iter().nth(nth).map(walrus::Export::id) else { return false };
    module.exports.delete(id);
    true
}

fn drop_import(module: &mut Module, nth: usize) -> bool {
    let Some(import) = module.imports.iter().nth(nth) else { return false };
    let (id, kind) = (import.id(), import.kind.clone());
    module.imports.delete(id);
    if let ImportKind::Function(function) = kind {
        module.funcs.delete(function);
    }
    true
}

fn drop_global(module: &mut Module, nth: usize) -> bool {
    let Some(id) = module.globals.iter().nth(nth).map(walrus::Global::id) else { return false };
    module.globals.delete(id);
    true
}

fn drop_table(module: &mut Module, nth: usize) -> bool {
    let Some(id) = module.tables.iter().nth(nth).map(walrus::Table::id) else { return false };
    module.tables.delete(id);
    true
}

fn drop_name(module: &mut Module, nth: usize) -> bool {
    let Some(function) = module.funcs.iter_mut().nth(nth) else { return false };
    function.name = None;
    true
}

fn functions(module: &Module) -> Vec<FunctionId> {
    module.funcs.iter_local().map(|(id, _)| id).collect()
}

fn empty_body(module: &mut Module, nth: usize) -> bool {
    let Some(id) = functions(module).get(nth).copied() else { return false };
    let function = module.funcs.get_mut(id).kind.unwrap_local_mut();
    let entry = function.entry_block();
    let body = &mut function.block_mut(entry).instrs;
    body.clear();
    body.push((Unreachable {}.into(), Default::default()));
    true
}

fn drop_element_item(module: &mut Module, nth: usize) -> bool {
    let mut left = nth;
    for element in module.elements.iter_mut() {
        let count = match &element.items {
            ElementItems::Functions(items) => items.len(),
            ElementItems::Expressions(_, items) => items.len(),
        };
        if left < count {
            match &mut element.items {
                ElementItems::Functions(items) => drop(items.remove(left)),
                ElementItems::Expressions(_, items) => drop(items.remove(left)),
            }
            return true;
        }
        left -= count;
    }
    false
}

/// Every sequence of every function, inner ones after outer ones.
fn sequences(module: &Module) -> Vec<(FunctionId, InstrSeqId, usize)> {
    struct Sequences(Vec<(InstrSeqId, usize)>);
    impl<'instr> Visitor<'instr> for Sequences {
        fn start_instr_seq(&mut self, seq: &'instr walrus::ir::InstrSeq) {
            self.0.push((seq.id(), seq.instrs.len()));
        }
    }
    let of = |(id, function): (FunctionId, &LocalFunction)| {
        let mut found = Sequences(Vec::new());
        dfs_in_order(&mut found, function, function.entry_block());
        found.0.into_iter().map(move |(seq, length)| (id, seq, length))
    };
    module.funcs.iter_local().flat_map(of).collect()
}

fn drop_instrs(module: &mut Module, nth: usize, length: usize) -> bool {
    let mut left = nth;
    for (id, seq, instrs) in sequences(module) {
        let places = (instrs + 1).saturating_sub(length);
        if left < places {
            let function = module.funcs.get_mut(id).kind.unwrap_local_mut();
            drop(function.block_mut(seq).instrs.drain(left..left + length));
            return true;
        }
        left -= places;
    }
    false
}

/// Replaces a block by its contents.
fn unwrap_block(module: &mut Module, nth: usize) -> bool {
    let mut left = nth;
    for (id, seq, _) in sequences(module) {
        let function = module.funcs.get_mut(id).kind.unwrap_local_mut();
        let inner = |instr: &Instr| match instr {
            Instr::Block(block) => Some(block.seq),
            Instr::Loop(block) => Some(block.seq),
            Instr::IfElse(arms) => Some(arms.consequent),
            _ => None,
        };
        let instrs = &function.block(seq).instrs;
        let blocks: Vec<(usize, InstrSeqId)> = instrs
            .iter()
            .enumerate()
            .filter_map(|(at, (instr, _))| Some((at, inner(instr)?)))
            .collect();
        if let Some((at, block)) = blocks.get(left).copied() {
            let inside = std::mem::take(&mut function.block_mut(block).instrs);
            function.block_mut(seq).instrs.splice(at..=at, inside).for_each(drop);
            return true;
        }
        left -= blocks.len();
    }
    false
}
