//! Expressions: each writes instructions that leave one value of a given type.

use super::code::Coder;
use walrus::ValType;
use walrus::ir::{
    BinaryOp, Block, Br, BrIf, Drop, GlobalGet, IfElse, InstrSeqType, LoadKind, LocalTee, Loop,
    MemArg, MemoryGrow, MemorySize, Select, Value,
};

const ALIGNED: MemArg = MemArg { align: 1, offset: 0 };

impl Coder<'_> {
    pub(super) fn value(&mut self, ty: ValType) {
        if self.room == 0 {
            return self.leaf(ty);
        }
        self.room -= 1;
        if self.rng.chance(self.habits.calls) {
            return self.call_for(ty);
        }
        match self.rng.below(14) {
            0 | 1 => self.combination(ty),
            2 => self.arms(ty),
            3 => self.block(ty),
            4 => self.turns(ty),
            5 if self.world.profile.unreadable => self.with_params(ty),
            5 if self.world.profile.multi_value => self.two_results(ty),
            6 => {
                self.value(ty);
                self.value(ty);
                self.value(ValType::I32);
                self.push(Select { ty: None });
            }
            7 => {
                self.address();
                self.load(ty);
            }
            8 => {
                let from = self.any_type();
                self.value(from);
                self.convert(from, ty);
            }
            9 => self.memory_size(ty),
            10 => {
                self.value(ty);
                let kept = self.local(ty);
                self.push(LocalTee { local: kept });
                self.variables.push((kept, ty));
            }
            _ => self.leaf(ty),
        }
    }

    /// A value without computation.
    pub(super) fn leaf(&mut self, ty: ValType) {
        let known: Vec<_> = self.variables.iter().filter(|(_, other)| *other == ty).collect();
        if let Some((local, _)) = self.rng.pick(&known).copied().copied()
            && self.rng.chance(60)
        {
            return self.get(local);
        }
        if self.rng.chance(25) {
            self.push(GlobalGet { global: self.world.mixed });
            return self.narrow(ty);
        }
        let any = self.rng.number();
        let few = any as i32 >> (any >> 59);
        let value = match ty {
            ValType::I64 => Value::I64(any as i64 >> (any % 64)),
            ValType::F32 => Value::F32(f32::from_bits(any as u32)),
            ValType::F64 => Value::F64(f64::from_bits(any)),
            ValType::V128 => Value::V128(u128::from(any) << 64 | u128::from(any >> 7)),
            ValType::I32 | ValType::Ref(_) => Value::I32(few),
        };
        self.constant(value);
    }

    /// An address of eight bytes at least, in the first page.
    pub(super) fn address(&mut self) {
        self.value(ValType::I32);
        self.i32(0x7ff8);
        self.binary(BinaryOp::I32And);
    }

    fn load(&mut self, ty: ValType) {
        let kind = match ty {
            ValType::I64 => LoadKind::I64 { atomic: false },
            ValType::F32 => LoadKind::F32,
            ValType::F64 => LoadKind::F64,
            ValType::V128 => LoadKind::V128,
            ValType::I32 | ValType::Ref(_) => LoadKind::I32 { atomic: false },
        };
        let memory = self.world.memory;
        self.instrs().load(memory, kind, ALIGNED);
    }

    /// Combines two values on the stack. The first stays on the stack while the second is computed.
    fn combination(&mut self, ty: ValType) {
        self.value(ty);
        self.value(ty);
        self.combine(ty);
    }

    pub(super) fn combine(&mut self, ty: ValType) {
        const SMALL: [BinaryOp; 5] = [
            BinaryOp::I32Add,
            BinaryOp::I32Sub,
            BinaryOp::I32Mul,
            BinaryOp::I32Xor,
            BinaryOp::I32Rotl,
        ];
        const LARGE: [BinaryOp; 4] =
            [BinaryOp::I64Add, BinaryOp::I64Sub, BinaryOp::I64Xor, BinaryOp::I64Rotl];
        const VECTOR: [BinaryOp; 3] = [BinaryOp::V128Xor, BinaryOp::I32x4Add, BinaryOp::I64x2Add];
        let op = match ty {
            ValType::I32 => SMALL[self.rng.below(SMALL.len())],
            ValType::I64 => LARGE[self.rng.below(LARGE.len())],
            ValType::V128 => VECTOR[self.rng.below(VECTOR.len())],
            // These only change the sign, and keep the payload of a NaN.
            ValType::F32 => BinaryOp::F32Copysign,
            ValType::F64 | ValType::Ref(_) => BinaryOp::F64Copysign,
        };
        self.binary(op);
    }

    fn arms(&mut self, ty: ValType) {
        self.value(ValType::I32);
        let consequent = self.sequence(ty.into(), |coder| coder.value(ty));
        let alternative = self.sequence(ty.into(), |coder| coder.value(ty));
        self.push(IfElse { consequent, alternative });
    }

    /// A block with a result, which may be left early.
    fn block(&mut self, ty: ValType) {
        let always = self.rng.chance(20);
        let seq = self.sequence(ty.into(), |coder| {
            let block = coder.at;
            coder.value(ty);
            if always {
                return coder.push(Br { block });
            }
            coder.value(ValType::I32);
            coder.push(BrIf { block });
            coder.push(Drop {});
            coder.value(ty);
        });
        self.push(Block { seq });
    }

    /// A loop that uses the value of its previous iteration.
    fn turns(&mut self, ty: ValType) {
        let (left, sum) = (self.local(ValType::I32), self.local(ty));
        let turns = 1 + self.rng.below(4) as i32;
        self.i32(turns);
        self.set(left);
        self.leaf(ty);
        self.set(sum);
        let seq = self.sequence(ty.into(), |coder| {
            let block = coder.at;
            coder.variables.push((sum, ty));
            coder.get(sum);
            coder.value(ty);
            coder.combine(ty);
            coder.set(sum);
            coder.get(sum);
            coder.get(left);
            coder.i32(1);
            coder.binary(BinaryOp::I32Sub);
            coder.push(LocalTee { local: left });
            coder.push(BrIf { block });
        });
        self.push(Loop { seq });
    }

    /// A block or an arm with values on the stack as parameters.
    fn with_params(&mut self, ty: ValType) {
        let other = self.any_type();
        self.value(ty);
        self.value(other);
        let with_params = InstrSeqType::new(self.types, &[ty, other], &[ty]);
        let inside = |coder: &mut Self| {
            coder.convert(other, ty);
            coder.value(ty);
            coder.combine(ty);
            coder.combine(ty);
        };
        match self.rng.below(3) {
            0 => {
                let seq = self.sequence(with_params, inside);
                self.push(Block { seq });
            }
            1 => {
                let seq = self.sequence(with_params, inside);
                self.push(Loop { seq });
            }
            _ => {
                self.value(ValType::I32);
                let consequent = self.sequence(with_params, inside);
                let alternative = self.sequence(with_params, inside);
                self.push(IfElse { consequent, alternative });
            }
        }
    }

    /// A block with two results, both of which are used.
    fn two_results(&mut self, ty: ValType) {
        let other = self.any_type();
        let results = InstrSeqType::new(self.types, &[], &[ty, other]);
        let both = |coder: &mut Self| {
            coder.value(ty);
            coder.value(other);
        };
        if self.rng.chance(50) {
            self.value(ValType::I32);
            let consequent = self.sequence(results, both);
            let alternative = self.sequence(results, both);
            self.push(IfElse { consequent, alternative });
        } else {
            let seq = self.sequence(results, both);
            self.push(Block { seq });
        }
        self.convert(other, ty);
        self.combine(ty);
    }

    fn memory_size(&mut self, ty: ValType) {
        let memory = self.world.memory;
        if self.rng.chance(50) {
            self.push(MemorySize { memory });
        } else {
            let pages = self.rng.below(3) as i32;
            self.i32(pages);
            self.push(MemoryGrow { memory });
        }
        self.convert(ValType::I32, ty);
    }
}
