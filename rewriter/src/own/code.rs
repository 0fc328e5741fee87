//! Code as it is put together: parts of the input and instructions of our own, with labels instead of depths.

use super::tree::Label;
use super::types::inconsistent;
use crate::Error;
use wasm_encoder::Encode;
use wasmparser::{Catch, ValType};

/// What goes into the new body.
#[derive(Clone, Debug)]
pub(super) enum Part {
    /// Bytes of the input.
    Copy {
        start: usize,
        end: usize,
    },
    /// A tail call of the input, as a call.
    Lowered {
        start: usize,
        end: usize,
    },
    Get(u32),
    Set(u32),
    Number(i32),
    Global(u32),
    Call(u32),
    /// An instruction without operands in its encoding.
    Simple(Simple),
    /// What a function returns while it unwinds.
    Nothing(ValType),
    Open(Opcode, Type, Label),
    TryTable(Type, Label, Vec<(Catch, Label)>),
    Else,
    End,
    /// Ends a legacy `try`, which is the innermost block.
    Delegate(Label),
    /// Any instruction whose one operand is a label, by its opcode.
    Branch(u8, Label),
    Table(Vec<Label>, Label),
}

#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Simple {
    Unreachable = 0x00,
    Return = 0x0f,
    Drop = 0x1a,
    IsZero = 0x45,
    IsEqual = 0x46,
    IsAtMost = 0x4d,
    Subtract = 0x6b,
    AsNonNull = 0xd4,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Opcode {
    Block = 0x02,
    Loop = 0x03,
    If = 0x04,
    LegacyTry = 0x06,
}

pub(super) const BR: u8 = 0x0c;
pub(super) const BR_IF: u8 = 0x0d;
pub(super) const RETHROW: u8 = 0x09;

/// A block's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Empty,
    Value(ValType),
    Function(u32),
}

/// Writes a value's type.
pub(super) fn value_type(ty: ValType, out: &mut Vec<u8>) -> Result<(), Error> {
    let ty = wasm_encoder::ValType::try_from(ty)
        .map_err(|_| inconsistent("a type that cannot be written"))?;
    ty.encode(out);
    Ok(())
}

/// Writes a body's code, with the depths of its labels; label 0 is the function. The end is not in it.
pub(super) fn encode(
    wasm: &[u8],
    parts: &[Part],
    labels: Label,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    // How deep the block of each label lies, from outside.
    let mut heights = vec![None; labels as usize];
    heights[0] = Some(0);
    let mut open = vec![0];
    for part in parts {
        let opened = match part {
            Part::Open(_, _, label) | Part::TryTable(_, label, _) => Some(*label),
            _ => None,
        };
        let depth = |label: Label| -> Result<u32, Error> {
            let height = heights.get(label as usize).copied().flatten();
            let depth = height.and_then(|height: usize| (open.len() - 1).checked_sub(height));
            // A block lies at a depth below the number of instructions.
            depth.map(|depth| depth as u32).ok_or_else(|| inconsistent("a branch out of scope"))
        };
        match part {
            Part::Copy { start, end } => out.extend_from_slice(&wasm[*start..*end]),
            Part::Lowered { start, end } => {
                out.push(match wasm[*start] {
                    0x12 => 0x10,
                    0x13 => 0x11,
                    0x15 => 0x14,
                    _ => return Err(inconsistent("a tail call that is none")),
                });
                out.extend_from_slice(&wasm[*start + 1..*end]);
            }
            Part::Get(local) => operand(0x20, *local, out),
            Part::Set(local) => operand(0x21, *local, out),
            Part::Number(number) => {
                out.push(0x41);
                number.encode(out);
            }
            Part::Global(global) => operand(0x23, *global, out),
            Part::Call(function) => operand(0x10, *function, out),
            Part::Simple(simple) => out.push(*simple as u8),
            Part::Nothing(ty) => nothing(*ty, out)?,
            Part::Open(opcode, ty, _) => {
                out.push(*opcode as u8);
                block_type(*ty, out)?;
            }
            Part::TryTable(ty, _, catches) => {
                out.push(0x1f);
                block_type(*ty, out)?;
                catches.len().encode(out);
                for (catch, label) in catches {
                    let (code, tag) = match catch {
                        Catch::One { tag, .. } => (0, Some(tag)),
                        Catch::OneRef { tag, .. } => (1, Some(tag)),
                        Catch::All { .. } => (2, None),
                        Catch::AllRef { .. } => (3, None),
                    };
                    out.push(code);
                    if let Some(tag) = tag {
                        tag.encode(out);
                    }
                    depth(*label)?.encode(out);
                }
            }
            Part::Else => out.push(0x05),
            Part::End => out.push(0x0b),
            Part::Delegate(label) => {
                // Counted from outside of the block that it ends.
                let depth = depth(*label)?.checked_sub(1);
                operand(0x18, depth.ok_or_else(|| inconsistent("a handler of itself"))?, out);
            }
            Part::Branch(opcode, label) => operand(*opcode, depth(*label)?, out),
            Part::Table(labels, otherwise) => {
                out.push(0x0e);
                labels.len().encode(out);
                for label in labels {
                    depth(*label)?.encode(out);
                }
                depth(*otherwise)?.encode(out);
            }
        }
        if let Some(label) = opened {
            let height = heights.get_mut(label as usize);
            *height.ok_or_else(|| inconsistent("an unknown label"))? = Some(open.len());
            open.push(label);
        } else if matches!(part, Part::End | Part::Delegate(_)) {
            let closed = open.pop().filter(|label| *label != 0);
            heights[closed.ok_or_else(|| inconsistent("an end of nothing"))? as usize] = None;
        }
    }
    match open.len() {
        1 => Ok(()),
        _ => Err(inconsistent("a block without an end")),
    }
}

fn operand(opcode: u8, number: u32, out: &mut Vec<u8>) {
    out.push(opcode);
    number.encode(out);
}

fn block_type(ty: Type, out: &mut Vec<u8>) -> Result<(), Error> {
    match ty {
        Type::Empty => out.push(0x40),
        Type::Value(ty) => value_type(ty, out)?,
        Type::Function(index) => i64::from(index).encode(out),
    }
    Ok(())
}

/// A value of a type, whichever.
fn nothing(ty: ValType, out: &mut Vec<u8>) -> Result<(), Error> {
    match ty {
        ValType::I32 => out.extend([0x41, 0]),
        ValType::I64 => out.extend([0x42, 0]),
        ValType::F32 => out.extend([0x43, 0, 0, 0, 0]),
        ValType::F64 => {
            out.push(0x44);
            out.extend([0; 8]);
        }
        ValType::V128 => {
            out.extend([0xfd, 0x0c]);
            out.extend([0; 16]);
        }
        ValType::Ref(reference) => {
            out.push(0xd0);
            let heap = wasm_encoder::HeapType::try_from(reference.heap_type())
                .map_err(|_| inconsistent("a type that cannot be written"))?;
            heap.encode(out);
        }
    }
    Ok(())
}
