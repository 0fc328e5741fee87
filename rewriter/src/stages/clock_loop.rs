//! Replaces Emscripten's sleep, a loop that polls the clock, by a wait.
//!
//! A standalone program of Emscripten has no import for sleeping. `sleep`, `usleep` and `nanosleep` end in this loop,
//! which the optimiser inlines into callers. The function that reads the clock remains separate:
//!
//! ```wat
//! (local.set $start (call $now))
//! (loop $again
//!   (br_if $again (f64.lt (f64.sub (call $now) (local.get $start)) (local.get $milliseconds))))
//! ```
//!
//! In a page this blocks the thread all the time. After, where `$left` is a new local:
//!
//! ```wat
//! (loop $again
//!   (local.set $left (f64.min
//!     (f64.sub (local.get $milliseconds) (f64.sub (call $now) (local.get $start)))
//!     (local.get $milliseconds)))
//!   (if (f64.gt (local.get $left) (f64.const 0))
//!     (then (call $sleep (i64.trunc_f64_s (f64.min
//!       (f64.mul (local.get $left) (f64.const 1e6)) (f64.const 9e18)))))))
//! ```
//!
//! where `$sleep` is `faasm_bridge.sleep`, in nanoseconds. The loop is recognised by its instructions, because release
//! builds have no names of functions.
//!
//! Why it is safe: such a loop can only wait. `$now` only computes, and the only host call that it reaches is that of
//! the clock; it ends by multiplying by 1000 and dividing by 1 000 000, so its result is in milliseconds. After the
//! wait the clock has advanced by the remaining time. Not reading it again also avoids a defect: Emscripten 3.1.6
//! multiplies in 32 bits, so that its clock jumps back by 4.3 s every 4.3 s, and a longer sleep may never end. No
//! product or conversion traps: the remaining time is above 0 and bounded, and if it is NaN nothing happens, as before.

use crate::BRIDGE_MODULE;
use faasm_bridge::host::HostCall;
use std::collections::{BTreeMap, BTreeSet};
use walrus::ir::{
    BinaryOp, Binop, BrIf, Call, Const, Instr, InstrSeqId, LocalGet, Loop, UnaryOp, Unop, Value,
    Visitor, dfs_in_order,
};
use walrus::{FunctionId, FunctionKind, LocalFunction, LocalId, Module, ValType};

const NANOSECONDS_PER_MILLISECOND: f64 = 1e6;
/// Longer than any sleep, and within the range of an `i64`.
const LONGEST: f64 = 9e18;

/// Limit of functions that are checked for reading the clock, because each check searches all that the function calls.
/// A C library has one such function.
const MOST_CLOCKS: usize = 16;

/// A loop that waits until `milliseconds` have passed since `start`.
struct Wait {
    function: FunctionId,
    body: InstrSeqId,
    now: FunctionId,
    start: LocalId,
    milliseconds: LocalId,
}

/// Makes loops that poll the clock wait; returns their number.
pub(crate) fn settle(module: &mut Module) -> usize {
    let waits = find(module);
    if waits.is_empty() {
        return 0;
    }
    let sleep = HostCall::Sleep.row();
    debug_assert_eq!(sleep.module, BRIDGE_MODULE);
    let ty = module.types.add(&[ValType::I64], &[]);
    let (sleep, _) = module.add_import_func(sleep.module, sleep.name, ty);
    module.funcs.get_mut(sleep).name = Some(HostCall::Sleep.to_string());
    for wait in &waits {
        let left = module.locals.add(ValType::F64);
        replace(module, wait, left, sleep);
    }
    waits.len()
}

fn find(module: &Module) -> Vec<Wait> {
    let mut waits = Vec::new();
    // A module can poll the same function in every loop.
    let mut clocks: BTreeMap<FunctionId, bool> = BTreeMap::new();
    for (function, local) in module.funcs.iter_local() {
        let mut loops = Loops::default();
        dfs_in_order(&mut loops, local, local.entry_block());
        for body in loops.0 {
            let Some((now, start, milliseconds)) = polls(local, body) else { continue };
            if clocks.len() >= MOST_CLOCKS && !clocks.contains_key(&now) {
                continue;
            }
            let is_clock = clocks
                .entry(now)
                .or_insert_with(|| gives_milliseconds(module, now) && reads_the_clock(module, now));
            if *is_clock {
                waits.push(Wait { function, body, now, start, milliseconds });
            }
        }
    }
    waits
}

/// The bodies of a function's loops.
#[derive(Default)]
struct Loops(Vec<InstrSeqId>);

impl<'instr> Visitor<'instr> for Loops {
    fn visit_loop(&mut self, instr: &Loop) {
        self.0.push(instr.seq);
    }
}

/// The function, the start and the duration that a loop polls; `None` for any other loop.
fn polls(function: &LocalFunction, body: InstrSeqId) -> Option<(FunctionId, LocalId, LocalId)> {
    let instructions: Vec<&Instr> =
        function.block(body).instrs.iter().map(|(instr, _)| instr).collect();
    match instructions.as_slice() {
        [
            Instr::Call(Call { func }),
            Instr::LocalGet(LocalGet { local: start }),
            Instr::Binop(Binop { op: BinaryOp::F64Sub }),
            Instr::LocalGet(LocalGet { local: milliseconds }),
            Instr::Binop(Binop { op: BinaryOp::F64Lt }),
            Instr::BrIf(BrIf { block }),
        ] if *block == body => Some((*func, *start, *milliseconds)),
        _ => None,
    }
}

/// Whether the last step of a function converts microseconds to milliseconds: `1000 * n / 1e6`.
fn gives_milliseconds(module: &Module, function: FunctionId) -> bool {
    let (params, results) = module.types.params_results(module.funcs.get(function).ty());
    if !params.is_empty() || results != [ValType::F64] {
        return false;
    }
    let FunctionKind::Local(local) = &module.funcs.get(function).kind else { return false };
    let instructions: Vec<&Instr> =
        local.block(local.entry_block()).instrs.iter().map(|(instr, _)| instr).collect();
    matches!(
        instructions.as_slice(),
        [
            ..,
            Instr::Const(Const { value: Value::I32(1000) }),
            Instr::Binop(Binop { op: BinaryOp::I32Mul }),
            Instr::Unop(Unop { op: UnaryOp::F64ConvertSI32 }),
            Instr::Const(Const { value: Value::F64(divisor) }),
            Instr::Binop(Binop { op: BinaryOp::F64Div }),
        ] | [
            ..,
            Instr::Const(Const { value: Value::I64(1000) }),
            Instr::Binop(Binop { op: BinaryOp::I64Mul }),
            Instr::Unop(Unop { op: UnaryOp::F64ConvertSI64 }),
            Instr::Const(Const { value: Value::F64(divisor) }),
            Instr::Binop(Binop { op: BinaryOp::F64Div }),
        ] if *divisor == 1e6
    )
}

/// Whether the only effect of a function and its callees outside memory is to read the clock.
fn reads_the_clock(module: &Module, function: FunctionId) -> bool {
    let (mut seen, mut rest, mut reads) = (BTreeSet::new(), vec![function], false);
    while let Some(function) = rest.pop() {
        if !seen.insert(function) {
            continue;
        }
        match &module.funcs.get(function).kind {
            FunctionKind::Import(import) => {
                let import = module.imports.get(import.import);
                let row = HostCall::ClockTimeGet.row();
                if (import.module.as_str(), import.name.as_str()) != (row.module, row.name) {
                    return false;
                }
                reads = true;
            }
            FunctionKind::Local(local) => {
                let mut calls = Calls::default();
                dfs_in_order(&mut calls, local, local.entry_block());
                if calls.others {
                    return false;
                }
                rest.extend(calls.callees);
            }
            FunctionKind::Uninitialized(_) => return false,
        }
    }
    reads
}

/// The callees of a function, and whether it has instructions that are not analysed.
#[derive(Default)]
struct Calls {
    callees: Vec<FunctionId>,
    others: bool,
}

impl<'instr> Visitor<'instr> for Calls {
    fn visit_instr(&mut self, instr: &'instr Instr, _: &'instr walrus::ir::InstrLocId) {
        match instr {
            Instr::Call(Call { func }) => self.callees.push(*func),
            Instr::Block(_)
            | Instr::Loop(_)
            | Instr::IfElse(_)
            | Instr::Br(_)
            | Instr::BrIf(_)
            | Instr::Const(_)
            | Instr::Binop(_)
            | Instr::Unop(_)
            | Instr::Select(_)
            | Instr::Drop(_)
            | Instr::Return(_)
            | Instr::LocalGet(_)
            | Instr::LocalSet(_)
            | Instr::LocalTee(_)
            | Instr::GlobalGet(_)
            | Instr::GlobalSet(_)
            | Instr::Load(_)
            | Instr::Store(_) => {}
            _ => self.others = true,
        }
    }
}

fn replace(module: &mut Module, wait: &Wait, left: LocalId, sleep: FunctionId) {
    let Wait { function, body, now, start, milliseconds } = *wait;
    let FunctionKind::Local(local) = &mut module.funcs.get_mut(function).kind else { return };
    let mut body = local.builder_mut().instr_seq(body);
    body.instrs_mut().clear();
    body.local_get(milliseconds)
        .call(now)
        .local_get(start)
        .binop(BinaryOp::F64Sub)
        .binop(BinaryOp::F64Sub)
        .local_get(milliseconds)
        .binop(BinaryOp::F64Min)
        .local_tee(left)
        .f64_const(0.0)
        .binop(BinaryOp::F64Gt)
        .if_else(
            None,
            |then| {
                then.local_get(left)
                    .f64_const(NANOSECONDS_PER_MILLISECOND)
                    .binop(BinaryOp::F64Mul)
                    .f64_const(LONGEST)
                    .binop(BinaryOp::F64Min)
                    .unop(UnaryOp::I64TruncSF64)
                    .call(sleep);
            },
            |_| {},
        );
}
