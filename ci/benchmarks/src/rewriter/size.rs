//! The size of a module without sections that no engine needs.

use super::artefact::read;
use anyhow::{Context as _, Result};

/// Magic number and version.
const HEADER: usize = 8;
const CUSTOM: u8 = 0;

/// Bytes without names and other custom sections, in the encoding of one writer for all columns.
pub(crate) fn of(wasm: &[u8]) -> Result<usize> {
    sections(&read(wasm)?.emit_wasm()).context("parsing a module that walrus wrote")
}

fn sections(wasm: &[u8]) -> Option<usize> {
    let mut total = HEADER;
    let mut at = HEADER;
    while at < wasm.len() {
        let (length, body) = leb128(wasm, at + 1)?;
        let end = body.checked_add(length)?;
        if wasm[at] != CUSTOM {
            total += end - at;
        }
        at = end;
    }
    Some(total)
}

/// A LEB128 number, and the position after it.
fn leb128(bytes: &[u8], start: usize) -> Option<(usize, usize)> {
    let mut value = 0usize;
    for (i, byte) in bytes.get(start..)?.iter().enumerate() {
        value |= usize::from(byte & 0x7f).checked_shl(7 * u32::try_from(i).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((value, start + i + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_count() {
        let size = |wat| of(&wat::parse_str(wat).unwrap()).unwrap();
        let named =
            size("(module $m (func $a_long_name (export \"f\")) (@custom \"c\" \"content\"))");
        assert_eq!(named, size("(module (func (export \"f\")))"));
        assert!(named > HEADER);
    }
}
