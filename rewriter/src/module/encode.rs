//! Encodes a module, without the empty `else` branches that walrus writes.
//!
//! walrus gives each `if` an `else`, even if the source has none. That costs one byte each; and Asyncify, which assumes
//! that every `else` is needed, keeps the condition of each such `if` in a local of its own. A function of 2000 nested
//! `if` then takes it fifty times as long, and saves locals that hold nothing.
//!
//! ```wat
//! (if (local.get 0) (then (call $f)) (else))      ;; before
//! (if (local.get 0) (then (call $f)))             ;; after
//! ```
//!
//! Why it is safe: by its definition, an `if` without `else` is one with an empty `else`.

use walrus::Module;
use wasmparser::{BinaryReader, BinaryReaderError, CodeSectionReader, Operator};

const HEADER_BYTES: usize = 8;
const CODE_SECTION: u8 = 10;

/// The module as bytes.
pub(crate) fn encode(module: &mut Module) -> Vec<u8> {
    let wasm = module.emit_wasm();
    // wasmparser can read what walrus wrote; if not, the module stays as it is.
    without_empty_else(&wasm).unwrap_or(wasm)
}

fn without_empty_else(wasm: &[u8]) -> Result<Vec<u8>, BinaryReaderError> {
    let mut sections = BinaryReader::new(wasm, 0);
    let mut out = sections.read_bytes(HEADER_BYTES)?.to_vec();
    out.reserve(wasm.len());
    while !sections.eof() {
        let id = sections.read_u8()?;
        let size = sections.read_var_u32()? as usize;
        let content = sections.read_bytes(size)?;
        out.push(id);
        if id == CODE_SECTION {
            sized(&mut out, &code(content)?);
        } else {
            sized(&mut out, content);
        }
    }
    Ok(out)
}

/// The code section's content.
fn code(content: &[u8]) -> Result<Vec<u8>, BinaryReaderError> {
    let bodies = CodeSectionReader::new(BinaryReader::new(content, 0))?;
    let mut out = Vec::with_capacity(content.len());
    leb(&mut out, bodies.count() as usize);
    let mut kept = Vec::new();
    for body in bodies {
        let body = body?;
        let range = body.range();
        kept.clear();
        let mut from = range.start;
        let mut reader = body.get_operators_reader()?;
        let mut empty_else_at = None;
        while !reader.eof() {
            let (operator, at) = reader.read_with_offset()?;
            if let (Some(empty), Operator::End) = (empty_else_at, &operator) {
                kept.extend_from_slice(&content[from..empty]);
                from = at;
            }
            empty_else_at = matches!(operator, Operator::Else).then_some(at);
        }
        kept.extend_from_slice(&content[from..range.end]);
        sized(&mut out, &kept);
    }
    Ok(out)
}

/// Writes bytes after their length.
fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    leb(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn leb(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::normalise::parse;

    fn encoded(wat: &str) -> String {
        let mut module = parse(&wat::parse_str(wat).unwrap()).unwrap();
        let wasm = encode(&mut module);
        wasmparser::validate(&wasm).unwrap();
        wasmprinter::print_bytes(&wasm).unwrap()
    }

    #[test]
    fn an_if_without_else_stays_without() {
        let text = encoded(
            "(module (memory 1) (func $f (param i32) (result i32)
               (if (local.get 0) (then (if (local.get 0) (then (call $g)))))
               (local.get 0) (if (param i32) (result i32) (local.get 0) (then (i32.eqz)))
               (drop) (i32.const 0x050b050b))
             (func $g))",
        );
        assert!(!text.contains("else"), "{text}");
        assert_eq!(text.matches("if").count(), 3, "{text}");
        assert!(text.contains(&format!("i32.const {}", 0x050b_050b)), "{text}");
    }

    #[test]
    fn an_else_that_is_not_empty_stays() {
        let text = encoded(
            "(module (memory 1) (func $f (param i32)
               (if (local.get 0) (then) (else (call $f (i32.const 1))))
               (if (local.get 0) (then) (else (block)))))",
        );
        assert_eq!(text.matches("else").count(), 2, "{text}");
    }
}
