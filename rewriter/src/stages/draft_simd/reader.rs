//! Reads function bodies of 2019, far enough to find the end of each instruction, and the SIMD instructions.
//!
//! A reader for current WebAssembly cannot, because draft SIMD desynchronises it. This one supports WebAssembly 1.0,
//! sign extension, saturating conversions, bulk memory, reference types and tail calls. It need not be strict, because
//! the result of a translation is validated.

use super::table::{self, Row};
use std::ops::Range;

/// The immediates of a SIMD instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Immediate {
    Nothing,
    /// Alignment and offset.
    Memarg,
    /// A lane index.
    Lane,
    /// A constant, or the lanes of a shuffle.
    Bytes16,
}

/// The longest encodings of 32-bit and 64-bit numbers.
const LEB32: usize = 5;
const LEB64: usize = 10;

/// A position in some bytes; no read passes their end.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

/// A draft SIMD instruction.
#[derive(Debug)]
pub(super) struct Simd {
    pub(super) row: &'static Row,
    /// The range of its number, after the prefix.
    pub(super) number: Range<usize>,
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from a position on.
    pub(super) fn new(bytes: &'a [u8], position: usize) -> Reader<'a> {
        Reader { bytes, position }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.position == self.bytes.len()
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.position)?;
        self.position += 1;
        Some(byte)
    }

    /// Skips bytes, and returns their range.
    pub(super) fn skip(&mut self, count: usize) -> Option<Range<usize>> {
        let end = self.position.checked_add(count).filter(|end| *end <= self.bytes.len())?;
        let start = std::mem::replace(&mut self.position, end);
        Some(start..end)
    }

    fn skip_bytes(&mut self, count: usize) -> Option<()> {
        self.skip(count).map(|_| ())
    }

    /// An unsigned number of 32 bits.
    pub(super) fn number(&mut self) -> Option<u32> {
        let mut value = 0;
        for group in 0..LEB32 {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << (7 * group);
            if byte < 0x80 {
                return u32::try_from(value).ok();
            }
        }
        None
    }

    /// The locals of a function body, which come before its instructions.
    pub(super) fn skip_locals(&mut self) -> Option<()> {
        for _ in 0..self.number()? {
            self.number()?;
            self.byte()?;
        }
        Some(())
    }

    /// Skips one instruction, and returns it if it is SIMD; the outer `None` is an unknown instruction.
    pub(super) fn instruction(&mut self) -> Option<Option<Simd>> {
        let opcode = self.byte()?;
        if opcode == 0xfd {
            return self.simd().map(Some);
        }
        match opcode {
            // Control without immediates, `drop`, `select`, all numeric instructions, `ref.is_null`.
            0x00 | 0x01 | 0x05 | 0x0b | 0x0f | 0x1a | 0x1b | 0x45..=0xc4 | 0xd1 => {}
            // `block`, `loop`, `if`: a type; `br`, `br_if`, `call`, `return_call`: an index.
            0x02..=0x04 | 0x0c | 0x0d | 0x10 | 0x12 => self.skip_numbers(1)?,
            0x0e => {
                let targets = self.number()? as usize;
                self.skip_numbers(targets.checked_add(1)?)?;
            }
            // `call_indirect`, `return_call_indirect`: a type and a table; loads and stores: alignment and offset.
            0x11 | 0x13 | 0x28..=0x3e => self.skip_numbers(2)?,
            // `select` with types.
            0x1c => {
                let types = self.number()? as usize;
                self.skip_bytes(types)?;
            }
            // Locals, globals, tables; `memory.size`, `memory.grow`; `i32.const`; `ref.null`, `ref.func`.
            0x20..=0x26 | 0x3f..=0x41 | 0xd0 | 0xd2 => self.skip_numbers(1)?,
            0x42 => self.skip_number(LEB64)?,
            0x43 => self.skip_bytes(4)?,
            0x44 => self.skip_bytes(8)?,
            0xfc => self.skip_miscellaneous()?,
            _ => return None,
        }
        Some(None)
    }

    fn simd(&mut self) -> Option<Simd> {
        let start = self.position;
        let row = table::row(self.number()?)?;
        let number = start..self.position;
        match row.immediate {
            Immediate::Nothing => {}
            Immediate::Memarg => self.skip_numbers(2)?,
            Immediate::Lane => self.skip_bytes(1)?,
            Immediate::Bytes16 => self.skip_bytes(16)?,
        }
        Some(Simd { row, number })
    }

    /// After the prefix `0xfc`.
    fn skip_miscellaneous(&mut self) -> Option<()> {
        match self.number()? {
            // Saturating conversions.
            0..=7 => Some(()),
            // `memory.init`, `memory.copy`, `table.init`, `table.copy`.
            8 | 10 | 12 | 14 => self.skip_numbers(2),
            // `data.drop`, `memory.fill`, `elem.drop`, `table.grow`, `table.size`, `table.fill`.
            9 | 11 | 13 | 15..=17 => self.skip_numbers(1),
            _ => None,
        }
    }

    /// Skips numbers of up to 32 bits (33 where they are signed), which have the same longest encoding.
    fn skip_numbers(&mut self, count: usize) -> Option<()> {
        (0..count).try_for_each(|_| self.skip_number(LEB32))
    }

    fn skip_number(&mut self, longest: usize) -> Option<()> {
        for _ in 0..longest {
            if self.byte()? < 0x80 {
                return Some(());
            }
        }
        None
    }
}
