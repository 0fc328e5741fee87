//! Shortens Asyncify's output.
//!
//! **Phase tests.** Asyncify tests `phase == 2` (rewinding) at the beginning of a function, and `phase == 1`
//! (unwinding) after each call. Only three phases exist, and one of them is impossible at each of these positions:
//!
//! ```wat
//! (if (i32.eq (global.get $phase) (i32.const 2)) …)      ;; before, at the beginning
//! (if (global.get $phase) …)                             ;; after
//! (i32.eq (global.get $phase) (i32.const 1))             ;; before, after a call
//! (global.get $phase)                                    ;; after
//! ```
//!
//! Why it is safe: no guest function is called during an unwinding, because an instrumented function makes no more
//! calls once the phase is 1, and no other function is on the stack. So a function begins in phase 0 or 2. A call that
//! returns was either not rewound, or was rewound down to `suspend`, where the host ends the rewinding before it
//! returns, or suspends again. So it returns in phase 0 or 1, in which `phase == 1` and `phase` are equal. The test for
//! phase 2 is shortened only where it decides an `if`.
//!
//! ```wat
//! (select (i32.eq (local.get $place) (i32.const 3)) (i32.const 1) (global.get $phase))      ;; before, around each call
//! (i32.eqz (i32.mul (i32.xor (local.get $place) (i32.const 3)) (global.get $phase)))        ;; after
//! ```
//!
//! Both are equal for every phase 0, 1 or 2: a product of 32-bit numbers with at most 2 is zero only if one is zero, or
//! if the other is 0x80000000, and indices of calls count from zero.
//!
//! **The buffer pointer.** Each function moves it four times to unwind or rewind; helper functions replace this code.
//!
//! ```wat
//! (i32.store (i32.load (global.get $data)) (local.get $place))                              ;; before, at the end
//! (i32.store (global.get $data) (i32.add (i32.load (global.get $data)) (i32.const 4)))
//! (local.set $at (i32.load (global.get $data))) …saves 28 bytes from $at on…
//! (i32.store (global.get $data) (i32.add (i32.load (global.get $data)) (i32.const 28)))
//! (local.set $at (call $faasm:save (local.get $place) (i32.const 28))) …saves…             ;; after
//!
//! (i32.store (global.get $data) (i32.sub (i32.load (global.get $data)) (i32.const 28)))     ;; before, at the beginning
//! (local.set $at (i32.load (global.get $data)))
//! (local.set $at (call $faasm:restore (i32.const 28)))                                      ;; after
//! ```
//!
//! Why it is safe: what the function saves or restores does not depend on the pointer in between, and no other code
//! reads the pointer before the function returns or makes a call.
//!
//! This runs between Asyncify and the last optimisation.

use crate::asyncify::analyse::constant;
use crate::asyncify::frames::State;
use std::collections::BTreeSet;
use walrus::ir::{
    BinaryOp, Binop, Call, Const, Drop, Instr, InstrSeq, LoadKind, MemArg, StoreKind, UnaryOp,
    Unop, Value, VisitorMut, dfs_pre_order_mut,
};
use walrus::{FunctionBuilder, FunctionId, MemoryId, Module, ValType};

const UNWINDING: i32 = 1;
const REWINDING: i32 = 2;
/// The index of the call, which a function saves besides its locals.
const PLACE_BYTES: i32 = 4;
const WORD: MemArg = MemArg { align: 4, offset: 0 };

/// Polishes the instrumented functions of a module with this memory.
pub(crate) fn polish(
    module: &mut Module,
    memory: MemoryId,
    state: State,
    functions: &BTreeSet<FunctionId>,
) {
    let (save, restore) = (save(module, memory, state), restore(module, memory, state));
    let mut shorten = Shorten { state, save, restore };
    for (id, function) in module.funcs.iter_local_mut() {
        if functions.contains(&id) {
            let entry = function.entry_block();
            dfs_pre_order_mut(&mut shorten, function, entry);
        }
    }
}

/// `restore(bytes)` moves the buffer pointer back, and returns it.
fn restore(module: &mut Module, memory: MemoryId, state: State) -> FunctionId {
    let [bytes, at] = std::array::from_fn(|_| module.locals.add(ValType::I32));
    let mut function = FunctionBuilder::new(&mut module.types, &[ValType::I32], &[ValType::I32]);
    let mut body = function.name("faasm:restore".to_owned()).func_body();
    body.global_get(state.data).global_get(state.data);
    body.load(memory, LoadKind::I32 { atomic: false }, WORD);
    body.local_get(bytes).binop(BinaryOp::I32Sub).local_tee(at);
    body.store(memory, StoreKind::I32 { atomic: false }, WORD);
    body.local_get(at);
    function.finish(vec![bytes], &mut module.funcs)
}

/// `save(place, bytes)` writes the index of the call, reserves so many bytes after it, and returns their address.
fn save(module: &mut Module, memory: MemoryId, state: State) -> FunctionId {
    let [place, bytes, at] = std::array::from_fn(|_| module.locals.add(ValType::I32));
    let params = [ValType::I32, ValType::I32];
    let mut function = FunctionBuilder::new(&mut module.types, &params, &[ValType::I32]);
    let mut body = function.name("faasm:save".to_owned()).func_body();
    body.global_get(state.data).load(memory, LoadKind::I32 { atomic: false }, WORD).local_tee(at);
    body.local_get(place).store(memory, StoreKind::I32 { atomic: false }, WORD);
    body.global_get(state.data);
    body.local_get(at).i32_const(PLACE_BYTES).binop(BinaryOp::I32Add).local_tee(at);
    body.local_get(bytes).binop(BinaryOp::I32Add);
    body.store(memory, StoreKind::I32 { atomic: false }, WORD);
    body.local_get(at);
    function.finish(vec![place, bytes], &mut module.funcs)
}

struct Shorten {
    state: State,
    save: FunctionId,
    restore: FunctionId,
}

/// The length of a sequence of instructions, and its replacement.
type Shorter = (usize, Vec<Instr>);

impl Shorten {
    fn shorter(&self, instrs: &[&Instr]) -> Option<Shorter> {
        let test = || self.phase_test(instrs).or_else(|| self.guard(instrs));
        test().or_else(|| self.restoring(instrs))
    }

    /// `phase == 1`, or `if (phase == 2)`.
    fn phase_test(&self, instrs: &[&Instr]) -> Option<Shorter> {
        let [get, number, op, rest @ ..] = instrs else { return None };
        let asks = self.is_phase(get) && is_op(op, |op| matches!(op, BinaryOp::I32Eq));
        let is_long = match constant(number)? {
            UNWINDING => true,
            REWINDING => matches!(rest.first(), Some(Instr::IfElse(_))),
            _ => false,
        };
        (asks && is_long).then(|| (3, vec![(*get).clone()]))
    }

    /// `select(place == k, 1, phase)`.
    fn guard(&self, instrs: &[&Instr]) -> Option<Shorter> {
        let [place, number, eq, one, phase, select, ..] = instrs else { return None };
        let guards = matches!(place, Instr::LocalGet(_))
            && constant(number)? >= 0
            && is_op(eq, |op| matches!(op, BinaryOp::I32Eq))
            && constant(one)? == 1
            && self.is_phase(phase)
            && matches!(select, Instr::Select(_));
        let binop = |op| Instr::from(Binop { op });
        guards.then(|| {
            let kept = [place, number].map(|instr| (*instr).clone());
            let rest = [
                binop(BinaryOp::I32Xor),
                (*phase).clone(),
                binop(BinaryOp::I32Mul),
                Unop { op: UnaryOp::I32Eqz }.into(),
            ];
            (6, kept.into_iter().chain(rest).collect())
        })
    }

    /// Moving the pointer back, and loading it.
    fn restoring(&self, instrs: &[&Instr]) -> Option<Shorter> {
        let by = self.state.moves_by(*instrs.first_chunk()?)?;
        let value = Value::I32(by.checked_neg().filter(|bytes| *bytes > 0)?);
        self.state
            .fetches_pointer([instrs.get(6)?, instrs.get(7)?])
            .then(|| (8, vec![Const { value }.into(), Call { func: self.restore }.into()]))
    }

    /// The end of a function: writing the index of the call, and advancing the pointer past it and, finally, past all
    /// locals.
    fn saving(&self, seq: &mut InstrSeq) {
        const LENGTH: usize = 10;
        let instrs: Vec<&Instr> = seq.instrs.iter().map(|(instr, _)| instr).collect();
        let moves_at = |at: usize| {
            let window = instrs.get(at..)?.first_chunk()?;
            self.state.moves_by(*window).filter(|by| *by > 0)
        };
        let writes = |at: &usize| match &instrs[*at..] {
            [from, load, Instr::LocalGet(_), Instr::Store(store), ..] => {
                self.state.fetches_pointer([from, load])
                    && store.arg.offset == 0
                    && matches!(store.kind, StoreKind::I32 { .. })
                    && moves_at(at + 4) == Some(PLACE_BYTES)
            }
            _ => false,
        };
        let Some(start) = (0..instrs.len()).find(writes) else { return };
        let after = start + LENGTH;
        let fetches = instrs
            .get(after..after + 2)
            .is_some_and(|next| self.state.fetches_pointer([next[0], next[1]]));
        let moves: Vec<(usize, i32)> =
            (after..instrs.len()).filter_map(|at| Some((at, moves_at(at)?))).collect();
        let (last, bytes) = match moves.as_slice() {
            [] if !fetches => (None, 0),
            [(at, bytes)] if fetches => (Some(*at), *bytes),
            _ => return,
        };
        let end = if fetches { after + 2 } else { after };
        let call = Call { func: self.save }.into();
        let mut save =
            vec![instrs[start + 2].clone(), Const { value: Value::I32(bytes) }.into(), call];
        if !fetches {
            save.push(Drop {}.into());
        }
        let at = seq.instrs[start].1;
        if let Some(last) = last {
            seq.instrs.drain(last..last + 6);
        }
        seq.instrs.splice(start..end, save.into_iter().map(|instr| (instr, at)));
    }

    fn is_phase(&self, instr: &Instr) -> bool {
        matches!(instr, Instr::GlobalGet(get) if get.global == self.state.phase)
    }
}

fn is_op(instr: &Instr, is: impl Fn(BinaryOp) -> bool) -> bool {
    matches!(instr, Instr::Binop(binop) if is(binop.op))
}

impl VisitorMut for Shorten {
    fn start_instr_seq_mut(&mut self, seq: &mut InstrSeq) {
        self.saving(seq);
        let instrs: Vec<&Instr> = seq.instrs.iter().map(|(instr, _)| instr).collect();
        let mut polished = Vec::with_capacity(instrs.len());
        let mut at = 0;
        while at < instrs.len() {
            let place = seq.instrs[at].1;
            let (length, shorter) =
                self.shorter(&instrs[at..]).unwrap_or_else(|| (1, vec![instrs[at].clone()]));
            polished.extend(shorter.into_iter().map(|instr| (instr, place)));
            at += length;
        }
        seq.instrs = polished;
    }
}
