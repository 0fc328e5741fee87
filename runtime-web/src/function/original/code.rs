//! Scans a function's instructions for direct calls, for `memory.size` and `memory.grow`, and for a constant result.

use super::reader::{Problem, Reader};

/// The functions that a body calls directly, without duplicates.
pub(super) fn calls(body: &[u8]) -> Result<Vec<u32>, Problem> {
    let mut scan = Scan::of(body)?;
    scan.calls.sort_unstable();
    scan.calls.dedup();
    Ok(scan.calls)
}

/// Whether a body uses `memory.size` or `memory.grow`.
pub(super) fn uses_memory_size(body: &[u8]) -> Result<bool, Problem> {
    Ok(Scan::of(body)?.memory)
}

/// The `i32` that a body returns if it does nothing else.
pub(super) fn constant(body: &[u8]) -> Option<u32> {
    const I32_CONST: u8 = 0x41;
    let number = body.strip_prefix(&[0, I32_CONST])?.strip_suffix(&[0x0b])?;
    let (last, rest) = number.split_last()?;
    if number.len() > 5 || last & 0x80 != 0 || rest.iter().any(|byte| byte & 0x80 == 0) {
        return None;
    }
    let bits = number.iter().rev().fold(0_u64, |value, byte| value << 7 | u64::from(byte & 0x7f));
    let unused = 64 - 7 * number.len() as u32;
    Some((((bits << unused) as i64) >> unused) as u32)
}

/// The result of a scan.
#[derive(Default)]
struct Scan {
    calls: Vec<u32>,
    memory: bool,
}

impl Scan {
    fn of(body: &[u8]) -> Result<Self, Problem> {
        let mut reader = Reader::new(body);
        reader.each(|reader| {
            reader.u32()?;
            value_type(reader)
        })?;
        let mut scan = Self::default();
        while !reader.is_at_end() {
            instruction(&mut reader, &mut scan)?;
        }
        Ok(scan)
    }
}

fn instruction(reader: &mut Reader<'_>, scan: &mut Scan) -> Result<(), Problem> {
    match reader.byte()? {
        // Calls and tail calls.
        0x10 | 0x12 => scan.calls.push(reader.u32()?),
        // `memory.size` and `memory.grow`.
        0x3f | 0x40 => {
            scan.memory = true;
            reader.u32()?;
        }
        0x00 | 0x01 | 0x05 | 0x0b | 0x0f | 0x1a | 0x1b | 0x45..=0xc4 | 0xd1 => {}
        // Blocks, constants, and instructions with one index.
        0x02..=0x04 | 0x0c | 0x0d | 0x20..=0x26 | 0x41 | 0x42 | 0xd0 | 0xd2 => {
            reader.skip_number()?;
        }
        // `throw`, `throw_ref` and `try_table` with its handlers.
        0x08 => drop(reader.u32()?),
        0x0a => {}
        0x1f => {
            reader.skip_number()?;
            reader.each(handler)?;
        }
        0x0e => {
            reader.each(Reader::u32)?;
            reader.u32()?;
        }
        0x11 | 0x13 => {
            reader.u32()?;
            reader.u32()?;
        }
        0x1c => drop(reader.each(value_type)?),
        0x28..=0x3e => memory_argument(reader)?,
        0x43 => drop(reader.bytes(4)?),
        0x44 => drop(reader.bytes(8)?),
        0xfc => match reader.u32()? {
            0..=7 => {}
            8 | 10 | 12 | 14 => {
                reader.u32()?;
                reader.u32()?;
            }
            9 | 11 | 13 | 15..=17 => drop(reader.u32()?),
            other => return Err(unknown(0xfc, other)),
        },
        0xfd => match reader.u32()? {
            0..=11 | 92 | 93 => memory_argument(reader)?,
            12 | 13 => drop(reader.bytes(16)?),
            21..=34 => drop(reader.byte()?),
            84..=91 => {
                memory_argument(reader)?;
                reader.byte()?;
            }
            _ => {}
        },
        // Atomic instructions; 3 is the fence.
        0xfe => match reader.u32()? {
            3 => drop(reader.byte()?),
            _ => memory_argument(reader)?,
        },
        other => return Err(unknown(other, 0)),
    }
    Ok(())
}

/// An exception handler: its tag, unless it catches all, and its label.
fn handler(reader: &mut Reader<'_>) -> Result<(), Problem> {
    match reader.byte()? {
        0 | 1 => drop(reader.u32()?),
        2 | 3 => {}
        other => return Err(format!("it has an exception handler 0x{other:02x}")),
    }
    reader.u32().map(drop)
}

fn memory_argument(reader: &mut Reader<'_>) -> Result<(), Problem> {
    const NAMES_A_MEMORY: u32 = 0x40;
    if reader.u32()? & NAMES_A_MEMORY != 0 {
        reader.u32()?;
    }
    reader.skip_number()
}

/// A numeric type, a vector type or a plain reference type.
pub(super) fn value_type(reader: &mut Reader<'_>) -> Result<u8, Problem> {
    match reader.byte()? {
        known @ (0x69 | 0x6f | 0x70 | 0x7b..=0x7f) => Ok(known),
        other => Err(format!("it has a type 0x{other:02x}")),
    }
}

fn unknown(opcode: u8, further: u32) -> Problem {
    format!("it has an instruction 0x{opcode:02x} {further}")
}
