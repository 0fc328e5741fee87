//! Functions generated for one link: texts, adapters, and code that depends on the function table.

use super::link::function;
use super::module::Sections;
use crate::Error;
use std::collections::HashMap;
use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{BlockType, Function, Instruction, MemArg, TypeSection};
use wasmparser::{FuncType, ValType};

/// The support's import for the kind of a function pointer.
pub(super) const POINTER_KIND: &str = "pointer kind";

/// Slots of a table that are examined; engines limit the length of a `br_table`.
const MOST_SLOTS: u64 = 100_000;

/// Signatures of pointers that can be chained; their kinds are 1, 2 and 3.
pub(super) const KINDS: [&str; 3] = ["() -> nothing", "() -> i32", "(i32) -> i32"];

/// The types of the linked module: those of the original, then those of added functions.
pub(super) struct Types {
    first: u32,
    known: HashMap<FuncType, u32>,
    list: Vec<FuncType>,
}

impl Types {
    pub(super) fn new(original: &Sections<'_>) -> Self {
        let first = original.type_count();
        let mut known = HashMap::new();
        for ty in 0..first {
            if let Some(signature) = original.signature_of_type(ty) {
                known.entry(signature.clone()).or_insert(ty);
            }
        }
        Self { first, known, list: Vec::new() }
    }

    pub(super) fn index(&mut self, ty: &FuncType) -> u32 {
        if let Some(index) = self.known.get(ty) {
            return *index;
        }
        let index = self.first + self.list.len() as u32;
        self.list.push(ty.clone());
        self.known.insert(ty.clone(), index);
        index
    }

    pub(super) fn write(&self, section: &mut TypeSection) -> Result<(), Error> {
        for ty in &self.list {
            let ty = RoundtripReencoder
                .func_type(ty.clone())
                .map_err(|error| Error::Rewrite { message: error.to_string() })?;
            section.ty().func_type(&ty);
        }
        Ok(())
    }
}

pub(super) fn number_to_number() -> FuncType {
    FuncType::new([ValType::I32], [ValType::I32])
}

pub(super) fn trap() -> Function {
    function(&[Instruction::Unreachable])
}

/// `(to) -> end`: writes a text, and returns the address after it.
pub(super) fn text(text: &str) -> Function {
    let mut instructions = Vec::new();
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let at = MemArg { offset: (text.len() - rest.len()) as u64, align: 0, memory_index: 0 };
        instructions.push(Instruction::LocalGet(0));
        let length = match rest {
            [a, b, c, d, e, f, g, h, ..] => {
                let word = i64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
                instructions.extend([Instruction::I64Const(word), Instruction::I64Store(at)]);
                8
            }
            [a, b, c, d, ..] => {
                let word = i32::from_le_bytes([*a, *b, *c, *d]);
                instructions.extend([Instruction::I32Const(word), Instruction::I32Store(at)]);
                4
            }
            _ => {
                let byte = i32::from(rest[0]);
                instructions.extend([Instruction::I32Const(byte), Instruction::I32Store8(at)]);
                1
            }
        };
        rest = &rest[length..];
    }
    instructions.push(Instruction::LocalGet(0));
    instructions.push(Instruction::I32Const(text.len() as i32));
    instructions.push(Instruction::I32Add);
    function(&instructions)
}

/// `(pointer) -> kind`, one of [`KINDS`] from 1, or 0.
pub(super) fn pointer_kind<'a>(slots: impl Iterator<Item = (u64, &'a str)>) -> Function {
    let kind =
        |signature| KINDS.iter().position(|kind| *kind == signature).map(|kind| kind as u32 + 1);
    let mut targets = Vec::new();
    for (slot, signature) in slots.take_while(|(slot, _)| *slot < MOST_SLOTS) {
        // Pointer 0 is the null pointer, whatever slot 0 holds.
        if let Some(kind) = kind(signature).filter(|_| slot > 0) {
            targets.resize(slot as usize, 0);
            targets.push(kind);
        }
    }
    let mut instructions = vec![Instruction::Block(BlockType::Empty); KINDS.len() + 1];
    instructions.push(Instruction::LocalGet(0));
    instructions.push(Instruction::BrTable(targets.into(), 0));
    for kind in 0..=KINDS.len() {
        instructions.push(Instruction::End);
        instructions.push(Instruction::I32Const(kind as i32));
        instructions.push(Instruction::Return);
    }
    instructions.push(Instruction::Unreachable);
    function(&instructions)
}

/// A function of type `from` that calls `to`, of type `ty`: toolchains declare more parameters, or another result.
pub(super) fn adapter(from: &FuncType, ty: &FuncType, to: u32) -> Function {
    let mut instructions: Vec<Instruction<'_>> =
        (0..ty.params().len() as u32).map(Instruction::LocalGet).collect();
    instructions.push(Instruction::Call(to));
    match (from.results().len(), ty.results().len()) {
        (0, 1) => instructions.push(Instruction::Drop),
        (1, 0) => instructions.push(Instruction::I32Const(0)),
        _ => {}
    }
    function(&instructions)
}

/// Ends the run with a text as its fault.
pub(super) fn stop(begin: u32, text: u32, end: u32) -> Function {
    function(&[
        Instruction::Call(begin),
        Instruction::Call(text),
        Instruction::Call(end),
        Instruction::Unreachable,
    ])
}

/// A `main` that passes its result to `finish`.
pub(super) fn main(params: u32, inner: u32, finish: u32) -> Function {
    let mut instructions: Vec<Instruction<'_>> = (0..params).map(Instruction::LocalGet).collect();
    instructions.extend([
        Instruction::Call(inner),
        Instruction::Call(finish),
        Instruction::I32Const(0),
    ]);
    function(&instructions)
}
