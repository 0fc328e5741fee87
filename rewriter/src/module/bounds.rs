//! How large a function may be for whoever compiles the functions of others.
//!
//! A compiler's time grows faster than some of what it compiles: with the square of how deep loops are nested, and with each
//! body. What grows with the length of the file alone needs no bound but the file's.

use crate::Error;
use crate::stages::input::{function_at, invalid};
use wasmparser::{Operator, Parser, Payload};

/// Most of what a module may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Functions with a body.
    pub functions: u32,
    pub imports: u32,
    /// Bytes of any one body.
    pub body_bytes: usize,
    /// How deep blocks of any kind may be nested.
    pub blocks: usize,
    /// How deep loops may be nested.
    pub loops: usize,
}

impl Bounds {
    /// Checks a module, which need not be valid, in one pass. Of code that today's encoding does not have, only what comes
    /// before it.
    ///
    /// # Errors
    /// [`Error::Bound`] with what there is too much of, and in which function.
    pub fn check(&self, wasm: &[u8]) -> Result<(), Error> {
        let invalid = |error| invalid(wasm, &error);
        let over = |what, found: usize, most: usize, advice, at: Option<usize>| match found <= most
        {
            true => Ok(()),
            false => Err(Error::Bound {
                what,
                found,
                most,
                function: at.and_then(|offset| function_at(wasm, offset)),
                advice,
            }),
        };
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.map_err(invalid)? {
                Payload::ImportSection(section) => {
                    let (count, most) = (section.count() as usize, self.imports as usize);
                    over("imports", count, most, "link what defines them", None)?;
                }
                Payload::CodeSectionStart { count, .. } => {
                    let most = self.functions as usize;
                    over(
                        "functions",
                        count as usize,
                        most,
                        "leave out what it does not need",
                        None,
                    )?;
                }
                Payload::CodeSectionEntry(body) => {
                    let range = body.range();
                    let at = Some(range.start);
                    let split = "split it, or let less be inlined into it";
                    over("bytes of one function's code", range.len(), self.body_bytes, split, at)?;
                    let nested = Nested::of(body.get_operators_reader().map_err(invalid)?);
                    over("blocks inside each other", nested.blocks, self.blocks, split, at)?;
                    over("loops inside each other", nested.loops, self.loops, split, at)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// How deep a body is nested.
#[derive(Default)]
struct Nested {
    blocks: usize,
    loops: usize,
}

impl Nested {
    fn of(mut operators: wasmparser::OperatorsReader<'_>) -> Self {
        let mut deepest = Self::default();
        // Whether each open block is a loop; how many are.
        let (mut open, mut loops) = (Vec::new(), 0);
        // What cannot be read is not compiled either.
        while let Ok(operator) = operators.read() {
            match operator {
                Operator::Loop { .. } => {
                    open.push(true);
                    loops += 1;
                }
                Operator::Block { .. }
                | Operator::If { .. }
                | Operator::Try { .. }
                | Operator::TryTable { .. } => open.push(false),
                Operator::End | Operator::Delegate { .. } => {
                    if open.pop() == Some(true) {
                        loops -= 1;
                    }
                }
                _ => continue,
            }
            deepest.blocks = deepest.blocks.max(open.len());
            deepest.loops = deepest.loops.max(loops);
        }
        deepest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { functions: 2, imports: 1, body_bytes: 30, blocks: 4, loops: 2 };

    fn checked(wat: &str) -> Result<(), String> {
        BOUNDS.check(&wat::parse_str(wat).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_there_is_too_much_of_is_named_with_its_function() {
        let refused = |wat: &str, parts: &[&str]| {
            let error = checked(wat).unwrap_err();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        };
        refused("(module (func) (func) (func))", &["3 functions", "at most 2"]);
        refused(
            "(module (import \"env\" \"a\" (func)) (import \"env\" \"b\" (func)))",
            &["2 imports", "at most 1"],
        );
        let long = "(nop)".repeat(40);
        refused(&format!("(module (func) (func $long {long}))"), &["bytes of", "`long`", "30"]);
        refused(
            "(module (func $deep (block (block (loop (if (i32.const 1) (then (block))))))))",
            &["5 blocks", "`deep`"],
        );
        refused("(module (func $l (loop (loop (block (loop))))))", &["3 loops", "`l`"]);
    }

    #[test]
    fn what_is_within_passes() {
        checked(
            "(module (func (loop (loop)) (loop (loop)) (block (block (loop (block))))) (func))",
        )
        .unwrap();
    }
}
