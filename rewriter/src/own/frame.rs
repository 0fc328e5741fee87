//! What a function leaves in the unwind buffer, and the functions and globals that put it there.
//!
//! The buffer begins with two addresses that the host writes: where the next frame goes, and the end. Frames follow each
//! other without gaps; the innermost function's comes first. Each holds the function's saved locals in one order, whatever
//! the call that it waits in, so that its size is known:
//!
//! ```text
//! data: next | end | frame | frame | …        frame: i64 … | f64 … | f32 … | v128 … | i32 … | number of the call
//! ```
//!
//! A frame is written from its beginning and read from its end. Before anything is written, the end of the buffer is
//! looked at: a stack that does not fit is a trap, and no byte lies outside.
//!
//! References cannot lie in memory. They go to tables that only these functions know, one for each type, as onto a stack:
//! what unwinding puts there last, rewinding takes first. What is taken is cleared, so that nothing is kept alive.

use super::types::{Types, inconsistent, storable};
use crate::Error;
use std::collections::BTreeMap;
use wasm_encoder::{BlockType, Function, HeapType, Instruction as I, MemArg, RefType};
use wasmparser::ValType;

/// Phases of a module.
const NORMAL: i32 = 0;
const UNWINDING: i32 = 1;
const REWINDING: i32 = 2;

/// So many saved numbers at most are given to one call.
const GROUPS: [usize; 3] = [4, 2, 1];

/// A function that the pass adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    /// Writes so many values of a type.
    Save(ValType, usize),
    Restore(ValType),
}

/// A table of references, and the global with the number of those in it.
#[derive(Clone, Copy, Debug)]
struct Stack {
    table: u32,
    depth: u32,
}

/// A function that the pass adds.
#[derive(Debug)]
pub(super) struct Added {
    pub(super) ty: u32,
    pub(super) name: String,
    /// What the host calls it by.
    pub(super) export: Option<&'static str>,
    pub(super) body: Function,
}

/// All that the pass adds to a module besides code in its functions.
pub(super) struct Additions {
    pub(super) types: Types,
    pub(super) functions: Vec<Added>,
    /// Types of tables.
    pub(super) tables: Vec<wasmparser::RefType>,
    /// How many globals: all are `i32`, can be written, and begin with 0.
    pub(super) globals: u32,
    first: First,
    tasks: BTreeMap<Task, u32>,
    stacks: BTreeMap<wasmparser::RefType, Stack>,
}

/// The first free index of each kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct First {
    pub(super) function: u32,
    pub(super) global: u32,
    pub(super) table: u32,
}

impl Additions {
    pub(super) fn new(types: Types, first: First) -> Self {
        let mut additions = Self {
            types,
            functions: Vec::new(),
            tables: Vec::new(),
            globals: 3,
            first,
            tasks: BTreeMap::new(),
            stacks: BTreeMap::new(),
        };
        additions.controls();
        additions
    }

    /// The global with the phase.
    pub(super) fn state(&self) -> u32 {
        self.first.global
    }

    /// The global with the address of the next frame.
    fn next(&self) -> u32 {
        self.first.global + 1
    }

    /// The global with the address of the buffer.
    fn data(&self) -> u32 {
        self.first.global + 2
    }

    fn add(
        &mut self,
        name: String,
        export: Option<&'static str>,
        (params, results): (&[ValType], &[ValType]),
        body: Function,
    ) -> u32 {
        let ty = self.types.add(params, results);
        self.functions.push(Added { ty, name, export, body });
        // A module has at most a million functions.
        self.first.function + self.functions.len() as u32 - 1
    }

    /// What the host calls: the same functions as Binaryen's Asyncify has.
    fn controls(&mut self) {
        let (state, next, data) = (self.state(), self.next(), self.data());
        let word = memarg(0);
        for (name, phase) in
            [("asyncify_start_unwind", UNWINDING), ("asyncify_start_rewind", REWINDING)]
        {
            let body = function(
                &[],
                &[
                    I::I32Const(phase),
                    I::GlobalSet(state),
                    I::LocalGet(0),
                    I::GlobalSet(data),
                    I::LocalGet(0),
                    I::I32Load(word),
                    I::GlobalSet(next),
                ],
            );
            self.add(name.to_owned(), Some(name), (&[ValType::I32], &[]), body);
        }
        for name in ["asyncify_stop_unwind", "asyncify_stop_rewind"] {
            let body = function(
                &[],
                &[
                    I::I32Const(NORMAL),
                    I::GlobalSet(state),
                    I::GlobalGet(data),
                    I::GlobalGet(next),
                    I::I32Store(word),
                ],
            );
            self.add(name.to_owned(), Some(name), (&[], &[]), body);
        }
        let name = "asyncify_get_state";
        let body = function(&[], &[I::GlobalGet(state)]);
        self.add(name.to_owned(), Some(name), (&[], &[ValType::I32]), body);
    }

    /// The function that saves so many values of a type, which it takes as arguments.
    pub(super) fn save(&mut self, ty: ValType, count: usize) -> Result<u32, Error> {
        self.task(Task::Save(ty, count))
    }

    /// The function that gives the last value saved, of a type.
    pub(super) fn restore(&mut self, ty: ValType) -> Result<u32, Error> {
        self.task(Task::Restore(storable(ty)))
    }

    fn task(&mut self, task: Task) -> Result<u32, Error> {
        if let Some(index) = self.tasks.get(&task) {
            return Ok(*index);
        }
        let index = match task {
            Task::Save(ValType::Ref(ty), _) => {
                let body = self.save_reference(ty)?;
                self.add("faasm:save.ref".to_owned(), None, (&[ValType::Ref(ty)], &[]), body)
            }
            Task::Restore(ValType::Ref(ty)) => {
                let body = self.restore_reference(ty)?;
                self.add("faasm:restore.ref".to_owned(), None, (&[], &[ValType::Ref(ty)]), body)
            }
            Task::Save(ty, count) => {
                let name = match count {
                    1 => format!("faasm:save.{ty}"),
                    _ => format!("faasm:save.{ty}x{count}"),
                };
                let body = self.save_numbers(ty, count);
                self.add(name, None, (&vec![ty; count], &[]), body)
            }
            Task::Restore(ty) => {
                let body = self.restore_number(ty);
                self.add(format!("faasm:restore.{ty}"), None, (&[], &[ty]), body)
            }
        };
        self.tasks.insert(task, index);
        Ok(index)
    }

    fn save_numbers(&self, ty: ValType, count: usize) -> Function {
        let (next, data) = (self.next(), self.data());
        let size = bytes(ty);
        // At most four values.
        let total = size as i32 * count as i32;
        let mut code = vec![
            I::GlobalGet(data),
            I::I32Load(memarg(4)),
            I::GlobalGet(next),
            I::I32Sub,
            I::I32Const(total),
            I::I32LtU,
            I::If(BlockType::Empty),
            I::Unreachable,
            I::End,
        ];
        for (value, offset) in (0..count as u32).map(|value| (value, u64::from(value * size))) {
            code.extend([I::GlobalGet(next), I::LocalGet(value), store(ty, offset)]);
        }
        code.extend([I::GlobalGet(next), I::I32Const(total), I::I32Add, I::GlobalSet(next)]);
        function(&[], &code)
    }

    fn restore_number(&self, ty: ValType) -> Function {
        let next = self.next();
        function(
            &[],
            &[
                I::GlobalGet(next),
                I::I32Const(bytes(ty) as i32),
                I::I32Sub,
                I::GlobalSet(next),
                I::GlobalGet(next),
                load(ty),
            ],
        )
    }

    fn stack(&mut self, ty: wasmparser::RefType) -> Stack {
        if let Some(stack) = self.stacks.get(&ty) {
            return *stack;
        }
        self.tables.push(ty);
        let table = self.first.table + self.tables.len() as u32 - 1;
        let stack = Stack { table, depth: self.first.global + self.globals };
        self.globals += 1;
        self.stacks.insert(ty, stack);
        stack
    }

    fn save_reference(&mut self, ty: wasmparser::RefType) -> Result<Function, Error> {
        let Stack { table, depth } = self.stack(ty);
        // The table doubles, so that it seldom grows.
        Ok(function(
            &[],
            &[
                I::GlobalGet(depth),
                I::TableSize(table),
                I::I32GeU,
                I::If(BlockType::Empty),
                I::RefNull(heap_type(ty)?),
                I::TableSize(table),
                I::I32Const(8),
                I::I32Add,
                I::TableGrow(table),
                I::I32Const(-1),
                I::I32Eq,
                I::If(BlockType::Empty),
                I::Unreachable,
                I::End,
                I::End,
                I::GlobalGet(depth),
                I::LocalGet(0),
                I::TableSet(table),
                I::GlobalGet(depth),
                I::I32Const(1),
                I::I32Add,
                I::GlobalSet(depth),
            ],
        ))
    }

    fn restore_reference(&mut self, ty: wasmparser::RefType) -> Result<Function, Error> {
        let Stack { table, depth } = self.stack(ty);
        let local = RefType { nullable: true, heap_type: heap_type(ty)? };
        Ok(function(
            &[wasm_encoder::ValType::Ref(local)],
            &[
                I::GlobalGet(depth),
                I::I32Const(1),
                I::I32Sub,
                I::GlobalSet(depth),
                I::GlobalGet(depth),
                I::TableGet(table),
                I::LocalSet(0),
                I::GlobalGet(depth),
                I::RefNull(heap_type(ty)?),
                I::TableSet(table),
                I::LocalGet(0),
            ],
        ))
    }
}

fn heap_type(ty: wasmparser::RefType) -> Result<HeapType, Error> {
    HeapType::try_from(ty.heap_type()).map_err(|_| inconsistent("a type that cannot be written"))
}

fn function(locals: &[wasm_encoder::ValType], code: &[I<'_>]) -> Function {
    let mut function = Function::new_with_locals_types(locals.iter().copied());
    for instruction in code {
        function.instruction(instruction);
    }
    function.instruction(&I::End);
    function
}

/// Frames lie at multiples of four.
fn memarg(offset: u64) -> MemArg {
    MemArg { offset, align: 2, memory_index: 0 }
}

fn store(ty: ValType, offset: u64) -> I<'static> {
    let to = memarg(offset);
    match ty {
        ValType::I64 => I::I64Store(to),
        ValType::F32 => I::F32Store(to),
        ValType::F64 => I::F64Store(to),
        ValType::V128 => I::V128Store(to),
        ValType::I32 | ValType::Ref(_) => I::I32Store(to),
    }
}

fn load(ty: ValType) -> I<'static> {
    let from = memarg(0);
    match ty {
        ValType::I64 => I::I64Load(from),
        ValType::F32 => I::F32Load(from),
        ValType::F64 => I::F64Load(from),
        ValType::V128 => I::V128Load(from),
        ValType::I32 | ValType::Ref(_) => I::I32Load(from),
    }
}

/// Bytes of a value in the buffer.
pub(super) fn bytes(ty: ValType) -> u32 {
    match ty {
        ValType::I32 | ValType::F32 => 4,
        ValType::I64 | ValType::F64 => 8,
        ValType::V128 => 16,
        ValType::Ref(_) => 0,
    }
}

/// Locals in the order of a frame, as groups that are saved by one call each.
pub(super) fn groups(locals: &mut [u32], ty: impl Fn(u32) -> ValType) -> Vec<(ValType, Vec<u32>)> {
    // Words last, for the number of the call is one.
    locals.sort_by_key(|local| (ty(*local) == ValType::I32, ty(*local), *local));
    let mut groups = Vec::new();
    for same in locals.chunk_by(|one, two| ty(*one) == ty(*two)) {
        let ty = ty(same[0]);
        let mut rest = same;
        while !rest.is_empty() {
            let fits = |size: &usize| *size == 1 || (ty == ValType::I32 && *size <= rest.len());
            let size = GROUPS.into_iter().find(fits).unwrap_or(1);
            let (group, others) = rest.split_at(size);
            groups.push((ty, group.to_vec()));
            rest = others;
        }
    }
    groups
}
