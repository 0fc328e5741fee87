//! Statements: each writes instructions that leave the stack unchanged.

use super::code::Coder;
use super::world::is_number;
use walrus::ValType;
use walrus::ir::{
    BinaryOp, Block, BrIf, BrTable, GlobalGet, GlobalSet, IfElse, InstrSeqId, InstrSeqType,
    LocalTee, Loop, MemArg, MemoryCopy, MemoryFill, RefFunc, Return, StoreKind, TableGet, TableSet,
    Unreachable, Value,
};

const NOTHING: InstrSeqType = InstrSeqType::Simple(None);

impl Coder<'_> {
    pub(super) fn statement(&mut self) {
        self.room = self.room.saturating_sub(1);
        match self.rng.below(24) {
            0..6 => self.mix(),
            6 | 7 if self.rng.chance(2 * self.habits.calls) => self.call_and_drop(),
            8 | 9 => self.assign(),
            10 | 11 => self.store(),
            12 | 13 if self.room > 0 => self.condition(),
            14 | 15 if self.room > 0 => self.repeat(),
            16 if self.room > 0 => self.switch(),
            17 if self.room > 0 => self.skip(),
            18 => self.leave(),
            19 if self.world.profile.bulk => self.bulk(),
            20 if self.world.profile.traps => self.trap(),
            21 | 22 if self.world.profile.moves => self.move_slot(),
            23 if self.world.profile.tail_calls => self.leave_by_tail_call(),
            _ => self.mix(),
        }
    }

    pub(super) fn statements(&mut self, most: usize) {
        for _ in 0..1 + self.rng.below(most) {
            self.statement();
        }
    }

    /// Mixes a value into the global that the host compares at the end. The global's old value is on the stack
    /// meanwhile, or not.
    fn mix(&mut self) {
        let ty = self.any_type();
        self.mix_with(ty, |coder| coder.value(ty));
    }

    /// Like [`Self::mix`], with the result of a call.
    pub(super) fn call_and_mix(&mut self) {
        let ty = self.any_type();
        self.mix_with(ty, |coder| coder.call_for(ty));
    }

    fn mix_with(&mut self, ty: ValType, value: impl FnOnce(&mut Self)) {
        let global = self.world.mixed;
        let first = self.rng.chance(60);
        if first {
            self.push(GlobalGet { global });
        }
        value(self);
        self.widen(ty);
        if !first {
            self.push(GlobalGet { global });
        }
        self.constant(Value::I64(0x0100_0000_01b3));
        self.binary(BinaryOp::I64Mul);
        self.binary(BinaryOp::I64Xor);
        self.push(GlobalSet { global });
    }

    fn assign(&mut self) {
        let ty = self.any_type();
        self.value(ty);
        match self.rng.pick(&self.variables).copied().filter(|(_, known)| *known == ty) {
            Some((variable, _)) => self.set(variable),
            None => {
                let variable = self.local(ty);
                self.set(variable);
                self.variables.push((variable, ty));
            }
        }
    }

    fn store(&mut self) {
        let ty = self.any_type();
        self.address();
        self.value(ty);
        let kind = match ty {
            ValType::I64 => StoreKind::I64 { atomic: false },
            ValType::F32 => StoreKind::F32,
            ValType::F64 => StoreKind::F64,
            ValType::V128 => StoreKind::V128,
            ValType::I32 | ValType::Ref(_) => StoreKind::I32 { atomic: false },
        };
        let memory = self.world.memory;
        self.instrs().store(memory, kind, MemArg { align: 1, offset: 0 });
    }

    fn condition(&mut self) {
        self.value(ValType::I32);
        let consequent = self.sequence(NOTHING, |coder| coder.statements(2));
        let alternative = self.sequence(NOTHING, |coder| {
            if coder.rng.chance(60) {
                coder.statements(2);
            }
        });
        self.push(IfElse { consequent, alternative });
    }

    fn repeat(&mut self) {
        let left = self.local(ValType::I32);
        let turns = 1 + self.rng.below(5) as i32;
        self.i32(turns);
        self.set(left);
        let seq = self.sequence(NOTHING, |coder| {
            let block = coder.at;
            coder.statements(3);
            coder.get(left);
            coder.i32(1);
            coder.binary(BinaryOp::I32Sub);
            coder.push(LocalTee { local: left });
            coder.push(BrIf { block });
        });
        self.push(Loop { seq });
    }

    /// Nested blocks, one of which is left by a branch table.
    fn switch(&mut self) {
        let cases = 2 + self.rng.below(3);
        self.cases(cases, &mut Vec::new());
    }

    fn cases(&mut self, left: usize, around: &mut Vec<InstrSeqId>) {
        let seq = self.sequence(NOTHING, |coder| {
            around.push(coder.at);
            if left > 1 {
                coder.cases(left - 1, around);
                return coder.statement();
            }
            coder.value(ValType::I32);
            coder.i32(7);
            coder.binary(BinaryOp::I32And);
            let default = around[0];
            coder.push(BrTable { blocks: around.clone().into(), default });
        });
        self.push(Block { seq });
    }

    /// A block whose rest is conditionally skipped.
    fn skip(&mut self) {
        let seq = self.sequence(NOTHING, |coder| {
            let block = coder.at;
            coder.statement();
            coder.value(ValType::I32);
            coder.push(BrIf { block });
            coder.statement();
        });
        self.push(Block { seq });
    }

    /// Returns early, one time in sixteen.
    fn leave(&mut self) {
        let results = self.results.clone();
        if !results.iter().all(is_number) {
            return self.mix();
        }
        self.rarely(|coder| {
            for result in results {
                coder.value(result);
            }
            coder.push(Return {});
        });
    }

    fn leave_by_tail_call(&mut self) {
        self.rarely(Self::tail_call);
    }

    fn trap(&mut self) {
        self.rarely(|coder| match coder.rng.below(3) {
            0 => coder.push(Unreachable {}),
            1 => {
                coder.value(ValType::I32);
                coder.i32(0);
                coder.binary(BinaryOp::I32DivU);
                let quotient = coder.local(ValType::I32);
                coder.set(quotient);
                coder.variables.push((quotient, ValType::I32));
            }
            _ => {
                let ty = coder.types.add(&[], &[]);
                coder.i32(-2);
                coder.push(walrus::ir::CallIndirect { ty, table: coder.world.table });
            }
        });
    }

    /// Runs code for one in sixteen values of the mixed global.
    fn rarely(&mut self, write: impl FnOnce(&mut Self)) {
        self.push(GlobalGet { global: self.world.mixed });
        self.narrow(ValType::I32);
        let (bits, value) = (15, self.rng.below(16) as i32);
        self.i32(bits);
        self.binary(BinaryOp::I32And);
        self.i32(value);
        self.binary(BinaryOp::I32Eq);
        let consequent = self.sequence(NOTHING, write);
        let alternative = self.sequence(NOTHING, |_| {});
        self.push(IfElse { consequent, alternative });
    }

    fn bulk(&mut self) {
        let memory = self.world.memory;
        self.address();
        if self.rng.chance(50) {
            self.value(ValType::I32);
            self.i32(24);
            self.push(MemoryFill { memory });
        } else {
            self.address();
            self.i32(40);
            self.push(MemoryCopy { src: memory, dst: memory });
        }
    }

    /// Writes a function into a slot: one of the same type, or any, which makes calls trap.
    fn move_slot(&mut self) {
        let world = self.world;
        let all: Vec<_> = world.slots.values().collect();
        let (Some(into), Some(other)) = (self.rng.pick(&all), self.rng.pick(&all)) else { return };
        let from = if self.rng.chance(85) { into } else { other };
        let (Some((to, _)), Some((slot, function))) = (self.rng.pick(into), self.rng.pick(from))
        else {
            return;
        };
        self.i32(to.cast_signed());
        if self.rng.chance(50) {
            self.push(RefFunc { func: *function });
        } else {
            self.i32(slot.cast_signed());
            self.push(TableGet { table: world.table });
        }
        if self.rng.chance(5) {
            // The reference is live across a call.
            self.call_and_drop();
        }
        self.push(TableSet { table: world.table });
    }
}
