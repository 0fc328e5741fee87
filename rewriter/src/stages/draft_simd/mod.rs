//! Stage 0: re-encodes the draft SIMD of 2019.
//!
//! Functions of the 2019/20 toolchain use the proposal of that time: prefix and immediates are those of today, numbers
//! differ.
//!
//! ```text
//! before   fd 03 + 16 lanes  v8x16.shuffle       after   fd 0d + 16 lanes   i8x16.shuffle
//!          fd 57             i8x16.add                   fd 6e              i8x16.add
//!          fd 79             i32x4.add                   fd ae 01           i32x4.add
//! ```
//!
//! The bytes are patched, without a library that parses the module, because none can read draft code. A number from 128
//! on takes two bytes, so the sizes of bodies and of the code section are encoded again; every other byte stays.
//! References to code by offset (DWARF) are wrong afterwards, and are dropped by [`crate::normalise()`].
//!
//! Why it is safe. A binary does not state which SIMD it uses, so [`crate::stages::input`] runs this stage only on a
//! module that does *not* validate, and accepts the result only if it *does*. Every instruction with a counterpart has
//! the same operands in the same order, and the same result.
//!
//! One gap: a draft module that happens to validate unchanged stays unchanged, and means something else. For that, the
//! wrong reading of all its SIMD must be valid: code that only loads, compares and tests vectors (`i8x16.all_true` has
//! the number of `v128.any_true`), or zeros stored with less than full alignment and followed by a jump (their bytes
//! read as `unreachable`). Any other store, lane or constant in the module reveals the draft.

mod reader;
mod table;
#[cfg(test)]
mod tests;

use reader::Reader;
use table::Today;

const HEADER: usize = 8;
const CODE_SECTION: u8 = 10;

/// A module decoded as one of 2019.
#[derive(Debug)]
pub(crate) struct Translated {
    pub(crate) wasm: Vec<u8>,
    /// The first instruction without a counterpart; `wasm` then has substitutes, and only its validity is meaningful.
    pub(crate) gone: Option<Gone>,
}

/// An instruction that current WebAssembly does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone {
    pub(crate) name: &'static str,
    /// Offset in the original.
    pub(crate) offset: usize,
}

/// Translates a module, whose sections may be anything; `None` if its code cannot be read as draft code, or has no
/// SIMD.
pub(crate) fn translate(wasm: &[u8]) -> Option<Translated> {
    let mut out = wasm.get(..HEADER)?.to_vec();
    let mut gone = None;
    let mut found = false;
    let mut reader = Reader::new(wasm, HEADER);
    while !reader.is_at_end() {
        let start = reader.position();
        let id = reader.byte()?;
        let size = reader.number()? as usize;
        let content = reader.skip(size)?;
        if id == CODE_SECTION {
            let code = Reader::new(wasm.get(..content.end)?, content.start);
            let mut patch = Patch { wasm, gone, found };
            let section = patch.section(code)?;
            Patch { gone, found, .. } = patch;
            out.push(id);
            write_sized(&mut out, &section)?;
        } else {
            out.extend(&wasm[start..content.end]);
        }
    }
    found.then_some(Translated { wasm: out, gone })
}

struct Patch<'a> {
    wasm: &'a [u8],
    gone: Option<Gone>,
    /// Whether there was any SIMD.
    found: bool,
}

impl Patch<'_> {
    /// The code section: a number of bodies, each with its size.
    fn section(&mut self, mut code: Reader<'_>) -> Option<Vec<u8>> {
        let start = code.position();
        let count = code.number()?;
        let mut out = self.wasm[start..code.position()].to_vec();
        for _ in 0..count {
            let start = code.position();
            let size = code.number()? as usize;
            let body = code.skip(size)?;
            let instructions = Reader::new(self.wasm.get(..body.end)?, body.start);
            match self.body(instructions)? {
                Some(patched) => write_sized(&mut out, &patched)?,
                None => out.extend(&self.wasm[start..body.end]),
            }
        }
        code.is_at_end().then_some(out)
    }

    /// A function body: locals, and instructions to the end; the inner `None` is a body without SIMD.
    fn body(&mut self, mut code: Reader<'_>) -> Option<Option<Vec<u8>>> {
        let mut out = Vec::new();
        let mut copied = code.position();
        code.skip_locals()?;
        while !code.is_at_end() {
            let offset = code.position();
            let Some(simd) = code.instruction()? else { continue };
            let today = match simd.row.today {
                Today::Is(number) => number,
                Today::Gone { same_type } => {
                    self.gone.get_or_insert(Gone { name: simd.row.name, offset });
                    same_type
                }
            };
            out.extend(&self.wasm[copied..simd.number.start]);
            write_number(&mut out, today.into());
            copied = simd.number.end;
        }
        if out.is_empty() {
            return Some(None);
        }
        self.found = true;
        out.extend(&self.wasm[copied..code.position()]);
        Some(Some(out))
    }
}

fn write_sized(out: &mut Vec<u8>, content: &[u8]) -> Option<()> {
    write_number(out, u32::try_from(content.len()).ok()?);
    out.extend(content);
    Some(())
}

fn write_number(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
