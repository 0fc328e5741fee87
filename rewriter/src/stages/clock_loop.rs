//! Emscripten's sleep, which is a loop that reads the clock: it becomes a wait.
//!
//! A standalone program of Emscripten has no import to sleep by. `sleep`, `usleep` and `nanosleep` end in this loop, which its
//! optimiser moves into whatever calls it, with the function that reads the clock beside it:
//!
//! ```wat
//! (local.set $start (call $now))
//! (loop $again
//!   (br_if $again (f64.lt (f64.sub (call $now) (local.get $start)) (local.get $milliseconds))))
//! ```
//!
//! In a page it keeps the thread for all that time. After, where `$left` is a new local:
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
//! where `$sleep` is `faasm_bridge.sleep`, nanoseconds. It is found by what it does, since releases have no names of functions.
//!
//! Why it is safe: such a loop can do nothing but wait. `$now` only computes, and of all host calls reaches that of the clock
//! alone; it ends by multiplying by 1000 and dividing by 1 000 000, so that what it gives are milliseconds. After the wait the
//! clock has moved by what was left. That it is not read once more mends something, too: Emscripten 3.1.6 multiplies in 32
//! bits, so that its clock goes back by 4.3 s every 4.3 s, and a longer sleep may never end. No product or conversion traps:
//! what is left is above 0 and bounded, and where it is no number nothing is done, as before.

use crate::BRIDGE_MODULE;
use faasm_bridge::host::HostCall;
use std::collections::{BTreeMap, BTreeSet};
use walrus::ir::{
    BinaryOp, Binop, BrIf, Call, Const, Instr, InstrSeqId, LocalGet, Loop, UnaryOp, Unop, Value,
    Visitor, dfs_in_order,
};
use walrus::{FunctionId, FunctionKind, LocalFunction, LocalId, Module, ValType};

const NANOSECONDS_PER_MILLISECOND: f64 = 1e6;
/// More than any sleep, and less than an `i64` can have.
const LONGEST: f64 = 9e18;

/// Functions that are looked at whether they read the clock: each takes a search through all that it calls. A C library
/// has one.
const MOST_CLOCKS: usize = 16;

/// A loop that waits until `milliseconds` have passed since `start`.
struct Wait {
    function: FunctionId,
    body: InstrSeqId,
    now: FunctionId,
    start: LocalId,
    milliseconds: LocalId,
}

/// Has the loops of a module wait that poll the clock; how many there are.
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

/// What a loop polls, since when, and for how long; none where it is another loop.
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

/// Whether a function gives a number of microseconds as milliseconds: `1000 * n / 1e6` as its last step.
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

/// Whether a function, and all that it calls, does nothing outside its memory but read the clock.
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

/// What a function calls, and whether it does anything that is not looked through.
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
