//! Measures the frame that each function saves when it unwinds, from Asyncify's output.
//!
//! Binaryen's flattening and coalescing decide which values live across a call, so frames are measured, not estimated.
//! To save, a function advances the pointer into the unwind buffer by two constants: 4 bytes for the index of the call,
//! and the size of all saved locals. At its beginning, to rewind, it moves the pointer back by the same constants.
//!
//! ```wat
//! (i32.store (global.get $__asyncify_data) (i32.add (i32.load (global.get $__asyncify_data)) (i32.const 28)))
//! ```
//!
//! The last optimisation may share this code between functions, so the measurement comes before it.

use std::collections::{BTreeMap, HashMap};
use walrus::ir::{
    BinaryOp, GlobalGet, GlobalSet, Instr, InstrLocId, InstrSeq, LoadKind, StoreKind, Visitor,
    dfs_in_order,
};
use walrus::{FunctionId, GlobalId, Module};

use crate::asyncify::analyse::constant;

/// The globals in which Asyncify keeps its state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    /// 1 while unwinding, 2 while rewinding.
    pub(crate) phase: GlobalId,
    /// Address of the unwind buffer.
    pub(crate) data: GlobalId,
}

impl State {
    /// Finds the globals through Asyncify's exports: one reads the phase, another sets the phase and the address.
    pub(crate) fn of(module: &Module) -> Option<Self> {
        let globals = |export| Some(Globals::of(module, module.exports.get_func(export).ok()?));
        let phase = *globals("asyncify_get_state")?.read.first()?;
        let set = globals("asyncify_start_unwind")?.set;
        let data = set.into_iter().find(|global| *global != phase)?;
        Some(Self { phase, data })
    }

    /// Whether a function is instrumented; only instrumented functions read the phase.
    pub(crate) fn is_read_by(self, module: &Module, function: FunctionId) -> bool {
        Globals::of(module, function).read.contains(&self.phase)
    }

    /// Bytes that a function saves; `None` if they cannot be determined.
    pub(crate) fn frame(self, module: &Module, function: FunctionId) -> Option<u32> {
        let mut moves = Moves { state: self, by: Vec::new() };
        let function = module.funcs.get(function).kind.unwrap_local();
        dfs_in_order(&mut moves, function, function.entry_block());
        let sum = |sign: i64| -> i64 {
            let by = moves.by.iter().map(|by| i64::from(*by) * sign);
            by.filter(|by| *by > 0).sum()
        };
        let (saved, restored) = (sum(1), sum(-1));
        (saved > 0 && saved == restored).then(|| u32::try_from(saved).ok()).flatten()
    }

    /// The distance by which `[global.get, global.get, i32.load, i32.const, i32.add, i32.store]` moves the buffer
    /// pointer.
    pub(crate) fn moves_by(self, [at, from, load, by, op, store]: [&Instr; 6]) -> Option<i32> {
        let is_data =
            |instr: &Instr| matches!(instr, Instr::GlobalGet(get) if get.global == self.data);
        let stores = matches!(store, Instr::Store(store)
            if matches!(store.kind, StoreKind::I32 { .. }) && store.arg.offset == 0);
        if !(is_data(at) && self.fetches_pointer([from, load]) && stores) {
            return None;
        }
        let by = constant(by)?;
        match op {
            Instr::Binop(binop) => match binop.op {
                BinaryOp::I32Add => Some(by),
                BinaryOp::I32Sub => by.checked_neg(),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether `[global.get, i32.load]` loads the buffer pointer.
    pub(crate) fn fetches_pointer(self, [from, load]: [&Instr; 2]) -> bool {
        matches!(from, Instr::GlobalGet(get) if get.global == self.data)
            && matches!(load, Instr::Load(load)
                if matches!(load.kind, LoadKind::I32 { .. }) && load.arg.offset == 0)
    }
}

#[derive(Default)]
struct Globals {
    read: Vec<GlobalId>,
    set: Vec<GlobalId>,
}

impl Globals {
    fn of(module: &Module, function: FunctionId) -> Self {
        let mut globals = Self::default();
        if let walrus::FunctionKind::Local(function) = &module.funcs.get(function).kind {
            dfs_in_order(&mut globals, function, function.entry_block());
        }
        globals
    }
}

impl<'instr> Visitor<'instr> for Globals {
    fn visit_global_get(&mut self, instr: &GlobalGet) {
        self.read.push(instr.global);
    }

    fn visit_global_set(&mut self, instr: &GlobalSet) {
        self.set.push(instr.global);
    }
}

/// All distances by which a function moves the buffer pointer.
struct Moves {
    state: State,
    by: Vec<i32>,
}

impl<'instr> Visitor<'instr> for Moves {
    fn start_instr_seq(&mut self, seq: &'instr InstrSeq) {
        let windows = seq.instrs.array_windows();
        self.by.extend(
            windows.filter_map(|window| {
                self.state.moves_by(window.each_ref().map(|(instr, _)| instr))
            }),
        );
    }

    fn visit_instr(&mut self, _: &'instr Instr, _: &'instr InstrLocId) {}
}

/// The functions of a module by their names.
pub(crate) fn by_name(module: &Module) -> HashMap<String, FunctionId> {
    let functions = module.funcs.iter();
    functions.filter_map(|function| Some((function.name.clone()?, function.id()))).collect()
}

/// The frame size of each of these functions.
///
/// # Errors
/// The name of a function whose frame size cannot be determined.
pub(crate) fn measure(
    module: &Module,
    functions: &BTreeMap<FunctionId, String>,
) -> Result<BTreeMap<FunctionId, u32>, String> {
    let state = State::of(module);
    let named = by_name(module);
    let mut frames = BTreeMap::new();
    for (id, name) in functions {
        let found = named.get(name);
        let frame = found.and_then(|found| state?.frame(module, *found));
        frames.insert(*id, frame.ok_or_else(|| name.clone())?);
    }
    Ok(frames)
}
