//! Writes code into a function: what [`super::values`], [`super::statements`] and [`super::calls`] have in common.

use super::world::World;
use crate::random::Rng;
use walrus::ir::{
    BinaryOp, Const, Instr, InstrSeqId, InstrSeqType, LocalGet, LocalSet, UnaryOp, Value,
};
use walrus::{FunctionBuilder, InstrSeqBuilder, LocalId, ModuleLocals, ModuleTypes, ValType};

/// A position in a function, and what code there may use.
pub(super) struct Coder<'a> {
    pub(super) function: &'a mut FunctionBuilder,
    /// The sequence to which instructions are appended.
    pub(super) at: InstrSeqId,
    pub(super) locals: &'a mut ModuleLocals,
    pub(super) types: &'a mut ModuleTypes,
    pub(super) rng: &'a mut Rng,
    pub(super) world: &'a World,
    /// Locals with values.
    pub(super) variables: Vec<(LocalId, ValType)>,
    /// The function's result types.
    pub(super) results: Vec<ValType>,
    /// Number of nodes that the code may still have.
    pub(super) room: usize,
    pub(super) habits: Habits,
}

/// How a function makes calls. If all were alike, every function would suspend in every way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    /// Percentage of its expressions that are calls.
    pub(super) calls: usize,
    /// Percentage of its calls that go to the host.
    pub(super) to_host: usize,
    /// Percentage of its calls that go through a table slot, if there is one.
    pub(super) indirect: usize,
}

impl Habits {
    pub(super) fn random(rng: &mut Rng) -> Self {
        let calls = [10, 25, 40][rng.below(3)];
        let to_host = [0, 30, 50, 70][rng.below(4)];
        let indirect = [0, 40, 100, 100][rng.below(4)];
        Self { calls, to_host, indirect }
    }

    /// For a function that calls the host even if no other function does.
    pub(super) fn of_last(rng: &mut Rng) -> Self {
        Self { calls: 40, to_host: 80, ..Self::random(rng) }
    }

    /// For a function that makes no calls.
    pub(super) fn of_leaf() -> Self {
        Self { calls: 0, to_host: 0, indirect: 0 }
    }

    /// For an entry, which calls the module's own functions so that they are on the stack.
    pub(super) fn of_entry(rng: &mut Rng) -> Self {
        Self { calls: 30, to_host: 0, ..Self::random(rng) }
    }
}

impl Coder<'_> {
    pub(super) fn instrs(&mut self) -> InstrSeqBuilder<'_> {
        self.function.instr_seq(self.at)
    }

    pub(super) fn push(&mut self, instr: impl Into<Instr>) {
        self.instrs().instr(instr);
    }

    pub(super) fn constant(&mut self, value: Value) {
        self.push(Const { value });
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.constant(Value::I32(value));
    }

    pub(super) fn binary(&mut self, op: BinaryOp) {
        self.instrs().binop(op);
    }

    pub(super) fn unary(&mut self, op: UnaryOp) {
        self.instrs().unop(op);
    }

    pub(super) fn get(&mut self, local: LocalId) {
        self.push(LocalGet { local });
    }

    pub(super) fn set(&mut self, local: LocalId) {
        self.push(LocalSet { local });
    }

    /// A new local, which no code reads until it becomes a variable.
    pub(super) fn local(&mut self, ty: ValType) -> LocalId {
        self.locals.add(ty)
    }

    pub(super) fn any_type(&mut self) -> ValType {
        let types = self.world.types();
        types[self.rng.below(types.len())]
    }

    /// Writes a nested sequence: the body of a block, a loop or an arm.
    ///
    /// Variables that are added inside are removed afterwards, because they might not have been set.
    pub(super) fn sequence(
        &mut self,
        ty: InstrSeqType,
        write: impl FnOnce(&mut Self),
    ) -> InstrSeqId {
        let inside = self.function.dangling_instr_seq(ty).id();
        let outside = std::mem::replace(&mut self.at, inside);
        let known = self.variables.len();
        write(self);
        self.variables.truncate(known);
        self.at = outside;
        inside
    }

    /// Converts the value on the stack to an `i64` without loss of information.
    pub(super) fn widen(&mut self, from: ValType) {
        match from {
            ValType::I32 => self.unary(UnaryOp::I64ExtendUI32),
            ValType::F32 => {
                self.unary(UnaryOp::I32ReinterpretF32);
                self.unary(UnaryOp::I64ExtendUI32);
            }
            ValType::F64 => self.unary(UnaryOp::I64ReinterpretF64),
            ValType::V128 => {
                let idx = self.rng.below(2) as u8;
                self.unary(UnaryOp::I64x2ExtractLane { idx });
            }
            ValType::I64 | ValType::Ref(_) => {}
        }
    }

    /// Converts the `i64` on the stack to a value of a type. Floats get arbitrary bit patterns, including NaNs: no code
    /// computes with them, so they must not change.
    pub(super) fn narrow(&mut self, to: ValType) {
        match to {
            ValType::I32 => self.unary(UnaryOp::I32WrapI64),
            ValType::F32 => {
                self.unary(UnaryOp::I32WrapI64);
                self.unary(UnaryOp::F32ReinterpretI32);
            }
            ValType::F64 => self.unary(UnaryOp::F64ReinterpretI64),
            ValType::V128 => self.unary(UnaryOp::I64x2Splat),
            ValType::I64 | ValType::Ref(_) => {}
        }
    }

    pub(super) fn convert(&mut self, from: ValType, to: ValType) {
        if from != to {
            self.widen(from);
            self.narrow(to);
        }
    }
}
