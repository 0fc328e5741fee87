//! Calls in generated code: direct, and by a slot of the table. (Calls by reference run in no wasmtime without garbage
//! collection, so there is nothing to compare them with.)

use super::code::Coder;
use super::world::Callee;
use walrus::ir::{
    Call, CallIndirect, Drop, InstrSeqType, LocalTee, ReturnCall, ReturnCallIndirect, Value,
};
use walrus::{FunctionId, ValType};

impl Coder<'_> {
    /// A call that leaves a value of type `ty`.
    pub(super) fn call_for(&mut self, ty: ValType) {
        match self.callee(|callee| !callee.results.is_empty()) {
            None => self.leaf(ty),
            Some(callee) => {
                self.call(&callee);
                self.keep_first(&callee.results, ty);
            }
        }
    }

    /// A call that leaves nothing.
    pub(super) fn call_and_drop(&mut self) {
        let Some(callee) = self.callee(|_| true) else { return };
        self.call(&callee);
        for result in callee.results.iter().rev() {
            if self.rng.chance(50) {
                let kept = self.local(*result);
                self.set(kept);
                self.variables.push((kept, *result));
            } else {
                self.push(Drop {});
            }
        }
    }

    /// Ends the function with a tail call of a function with the same results.
    pub(super) fn tail_call(&mut self) {
        let results = self.results.clone();
        if let Some(callee) = self.callee(|callee| callee.results == results) {
            self.arguments(&callee);
            let slots = self.world.slots.get(&callee.ty).cloned().unwrap_or_default();
            if !slots.is_empty() && self.rng.chance(self.habits.indirect) {
                self.slot(&slots);
                self.push(ReturnCallIndirect { ty: callee.ty, table: self.world.table });
            } else {
                self.push(ReturnCall { func: callee.id });
            }
        }
    }

    fn callee(&mut self, fits: impl Fn(&Callee) -> bool) -> Option<Callee> {
        let world = self.world;
        let lists = [&world.waiting, &world.immediate, &world.functions];
        // If no function in this list fits, a function in the next one does.
        let first = match self.rng.below(100) {
            draw if draw < self.habits.to_host => 0,
            draw if draw < self.habits.to_host + 10 => 1,
            _ => 2,
        };
        (0..3).find_map(|next| {
            let list = lists[(first + next) % 3];
            let fitting: Vec<&Callee> = list.iter().filter(|callee| fits(callee)).collect();
            self.rng.pick(&fitting).map(|callee| (*callee).clone())
        })
    }

    fn arguments(&mut self, callee: &Callee) {
        for param in &callee.params {
            self.value(*param);
        }
    }

    fn call(&mut self, callee: &Callee) {
        self.arguments(callee);
        let slots = self.world.slots.get(&callee.ty).cloned().unwrap_or_default();
        if !slots.is_empty() && self.rng.chance(self.habits.indirect) {
            self.slot(&slots);
            self.push(CallIndirect { ty: callee.ty, table: self.world.table });
        } else {
            self.push(Call { func: callee.id });
        }
    }

    /// One of these slots, as a constant or computed at run time.
    fn slot(&mut self, slots: &[(u32, FunctionId)]) {
        let any = |coder: &mut Self| slots[coder.rng.below(slots.len())].0 as i32;
        if self.rng.chance(50) || self.room == 0 {
            let slot = any(self);
            return self.i32(slot);
        }
        let (one, other) = (any(self), any(self));
        let ty = InstrSeqType::Simple(Some(ValType::I32));
        self.value(ValType::I32);
        let consequent = self.sequence(ty, |coder| coder.i32(one));
        let alternative = self.sequence(ty, |coder| coder.constant(Value::I32(other)));
        self.push(walrus::ir::IfElse { consequent, alternative });
    }

    /// Leaves the first of these results, as another type; the others become variables.
    fn keep_first(&mut self, results: &[ValType], ty: ValType) {
        let Some((first, others)) = results.split_first() else { return };
        for other in others.iter().rev() {
            let kept = self.local(*other);
            self.set(kept);
            self.variables.push((kept, *other));
        }
        if self.rng.chance(30) {
            let kept = self.local(*first);
            self.push(LocalTee { local: kept });
            self.variables.push((kept, *first));
        }
        self.convert(*first, ty);
    }
}
