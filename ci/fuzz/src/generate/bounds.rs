//! Makes every run terminate: functions and loops consume one budget.
//!
//! At the start of each function and of each loop's body:
//!
//! ```wat
//! (global.set $budget (i32.sub (global.get $budget) (i32.const 1)))
//! (if (i32.lt_s (global.get $budget) (i32.const 0)) (then …zeros…  (return)))
//! ```
//!
//! An endless loop would use up the whole budget, so loops also count their iterations.
//!
//! ```wat
//! (local.set $turns (i32.add (local.get $turns) (i32.const 1)))
//! (if (i32.gt_s (local.get $turns) (i32.const 9)) (then …zeros…  (return)))
//! ```

use walrus::ir::{
    BinaryOp, Binop, Const, GlobalGet, GlobalSet, IfElse, Instr, InstrSeqId, InstrSeqType,
    LocalGet, LocalSet, Loop, RefNull, Return, Value, Visitor, dfs_in_order,
};
use walrus::{FunctionBuilder, FunctionId, GlobalId, LocalFunction, Module, ValType};

/// Maximum number of iterations of a loop in one call of its function.
const MOST_TURNS: i32 = 9;

/// Adds the limits to one function.
pub(super) fn limit(module: &mut Module, function: FunctionId, budget: GlobalId) {
    let results = module.types.results(module.funcs.get(function).ty()).to_vec();
    let function = module.funcs.get_mut(function).kind.unwrap_local_mut();
    let entry = function.entry_block();
    for place in loops(function) {
        let turns = module.locals.add(ValType::I32);
        let counted: [Instr; 7] = [
            LocalGet { local: turns }.into(),
            Const { value: Value::I32(1) }.into(),
            Binop { op: BinaryOp::I32Add }.into(),
            LocalSet { local: turns }.into(),
            LocalGet { local: turns }.into(),
            Const { value: Value::I32(MOST_TURNS) }.into(),
            Binop { op: BinaryOp::I32GtS }.into(),
        ];
        insert(function.builder_mut(), place, counted, &results);
        insert(function.builder_mut(), place, drawn(budget), &results);
    }
    insert(function.builder_mut(), entry, drawn(budget), &results);
}

/// Decrements the budget, and tests whether it is used up.
fn drawn(budget: GlobalId) -> [Instr; 7] {
    [
        GlobalGet { global: budget }.into(),
        Const { value: Value::I32(1) }.into(),
        Binop { op: BinaryOp::I32Sub }.into(),
        GlobalSet { global: budget }.into(),
        GlobalGet { global: budget }.into(),
        Const { value: Value::I32(0) }.into(),
        Binop { op: BinaryOp::I32LtS }.into(),
    ]
}

fn loops(function: &LocalFunction) -> Vec<InstrSeqId> {
    #[derive(Default)]
    struct Loops(Vec<InstrSeqId>);
    impl<'instr> Visitor<'instr> for Loops {
        fn visit_loop(&mut self, instr: &Loop) {
            self.0.push(instr.seq);
        }
    }
    let mut loops = Loops::default();
    dfs_in_order(&mut loops, function, function.entry_block());
    loops.0
}

/// Inserts a return at a position, taken if a condition holds.
fn insert(
    function: &mut FunctionBuilder,
    place: InstrSeqId,
    condition: [Instr; 7],
    results: &[ValType],
) {
    let mut leave = function.dangling_instr_seq(InstrSeqType::Simple(None));
    for result in results {
        leave.instr(zero(*result));
    }
    leave.instr(Return {});
    let consequent = leave.id();
    let alternative = function.dangling_instr_seq(InstrSeqType::Simple(None)).id();
    let bound = condition.into_iter().chain([IfElse { consequent, alternative }.into()]);
    let mut place = function.instr_seq(place);
    for (position, instr) in bound.enumerate() {
        place.instr_at(position, instr);
    }
}

/// The value that a local has at first.
fn zero(ty: ValType) -> Instr {
    let value = match ty {
        ValType::I32 => Value::I32(0),
        ValType::I64 => Value::I64(0),
        ValType::F32 => Value::F32(0.0),
        ValType::F64 => Value::F64(0.0),
        ValType::V128 => Value::V128(0),
        ValType::Ref(ty) => return RefNull { ty }.into(),
    };
    Const { value }.into()
}
