//! What the functions do that save and restore: read off their instructions, one by one.

use super::Fault;
use wasmparser::{FunctionBody, MemArg, Operator as O, ValType};

/// Where values of a type are saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the buffer.
    Buffer(ValType),
    /// In a table, of which a global has the number of entries.
    Table { table: u32, depth: u32 },
}

/// A function that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Save(Place, usize),
    Restore(Place),
    Other,
}

impl Task {
    /// Reads a function; `state` is the global with the phase, after which those with the two addresses come.
    pub(super) fn of(body: &FunctionBody<'_>, state: u32) -> Result<Self, Fault> {
        let reader = body.get_operators_reader()?;
        let operators = reader.into_iter().collect::<Result<Vec<_>, _>>()?;
        let (next, data) = (state + 1, state + 2);
        let is = |operator: &O<'_>, global: u32| matches!(operator, O::GlobalGet { global_index } if *global_index == global);
        let sets = |operator: &O<'_>, global: u32| matches!(operator, O::GlobalSet { global_index } if *global_index == global);
        Ok(match operators.as_slice() {
            [one, O::I32Const { value }, O::I32Sub, two, three, load, O::End]
                if is(one, next) && sets(two, next) && is(three, next) =>
            {
                match loaded(load) {
                    Some((ty, 0)) if bytes(ty) == i64::from(*value) => {
                        Task::Restore(Place::Buffer(ty))
                    }
                    _ => Task::Other,
                }
            }
            [
                one,
                O::I32Load { memarg },
                two,
                O::I32Sub,
                O::I32Const { value: total },
                O::I32LtU,
                O::If { .. },
                O::Unreachable,
                O::End,
                rest @ ..,
            ] if is(one, data) && memarg.offset == 4 && is(two, next) => {
                let Some((stores, [last, O::I32Const { value }, O::I32Add, end, O::End])) =
                    rest.split_last_chunk()
                else {
                    return Ok(Task::Other);
                };
                let count = stores.len() / 3;
                let ty = stores.get(2).and_then(stored).map(|(ty, _)| ty);
                let is_store = |(index, ops): (usize, &[O<'_>])| {
                    let [at, O::LocalGet { local_index }, store] = ops else { return false };
                    let offset = ty.map(|ty| bytes(ty) as u64 * index as u64);
                    is(at, next)
                        && *local_index as usize == index
                        && stored(store).map(|(ty, at)| (Some(ty), Some(at))) == Some((ty, offset))
                };
                let fits = ty.is_some_and(|ty| i64::from(*total) == bytes(ty) * count as i64)
                    && value == total
                    && is(last, next)
                    && sets(end, next)
                    && stores.chunks(3).enumerate().all(is_store);
                match ty {
                    Some(ty) if fits => Task::Save(Place::Buffer(ty), count),
                    _ => Task::Other,
                }
            }
            [
                O::GlobalGet { global_index: depth },
                O::I32Const { value: 1 },
                O::I32Sub,
                one,
                two,
                O::TableGet { table },
                O::LocalSet { local_index: 0 },
                three,
                O::RefNull { .. },
                O::TableSet { table: cleared },
                O::LocalGet { local_index: 0 },
                O::End,
            ] if sets(one, *depth)
                && is(two, *depth)
                && is(three, *depth)
                && table == cleared
                && *depth > data =>
            {
                Task::Restore(Place::Table { table: *table, depth: *depth })
            }
            [
                O::GlobalGet { global_index: depth },
                O::TableSize { table },
                O::I32GeU,
                O::If { .. },
                O::RefNull { .. },
                O::TableSize { .. },
                O::I32Const { value: 8 },
                O::I32Add,
                O::TableGrow { table: grown },
                O::I32Const { value: -1 },
                O::I32Eq,
                O::If { .. },
                O::Unreachable,
                O::End,
                O::End,
                one,
                O::LocalGet { local_index: 0 },
                O::TableSet { table: set },
                two,
                O::I32Const { value: 1 },
                O::I32Add,
                three,
                O::End,
            ] if is(one, *depth)
                && is(two, *depth)
                && sets(three, *depth)
                && table == grown
                && table == set
                && *depth > data =>
            {
                Task::Save(Place::Table { table: *table, depth: *depth }, 1)
            }
            _ => Task::Other,
        })
    }
}

fn bytes(ty: ValType) -> i64 {
    match ty {
        ValType::I32 | ValType::F32 => 4,
        ValType::I64 | ValType::F64 => 8,
        ValType::V128 => 16,
        ValType::Ref(_) => 0,
    }
}

fn loaded(operator: &O<'_>) -> Option<(ValType, u64)> {
    let at = |ty, memarg: &MemArg| Some((ty, memarg.offset));
    match operator {
        O::I32Load { memarg } => at(ValType::I32, memarg),
        O::I64Load { memarg } => at(ValType::I64, memarg),
        O::F32Load { memarg } => at(ValType::F32, memarg),
        O::F64Load { memarg } => at(ValType::F64, memarg),
        O::V128Load { memarg } => at(ValType::V128, memarg),
        _ => None,
    }
}

fn stored(operator: &O<'_>) -> Option<(ValType, u64)> {
    let at = |ty, memarg: &MemArg| Some((ty, memarg.offset));
    match operator {
        O::I32Store { memarg } => at(ValType::I32, memarg),
        O::I64Store { memarg } => at(ValType::I64, memarg),
        O::F32Store { memarg } => at(ValType::F32, memarg),
        O::F64Store { memarg } => at(ValType::F64, memarg),
        O::V128Store { memarg } => at(ValType::V128, memarg),
        _ => None,
    }
}
