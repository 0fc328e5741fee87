//! Size limits of functions, for hosts that compile the functions of others.
//!
//! The time of a compiler grows faster than some dimensions of its input: with the square of the nesting depth of
//! loops, and with each body. What grows only with the length of the file needs no limit but the file's.

use crate::Error;
use crate::stages::input::{function_at, invalid};
use wasmparser::{Operator, Parser, Payload};

/// The limits of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Functions with a body.
    pub functions: u32,
    pub imports: u32,
    /// Bytes of a single body.
    pub body_bytes: usize,
    /// Nesting depth of blocks of any kind.
    pub blocks: usize,
    /// Nesting depth of loops.
    pub loops: usize,
}

impl Bounds {
    /// Checks a module, which need not be valid, in one pass. Code that the current encoding does not have is checked
    /// only up to that point.
    ///
    /// # Errors
    /// [`Error::Bound`] with the exceeded limit, and the function.
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
                        "remove functions that it does not need",
                        None,
                    )?;
                }
                Payload::CodeSectionEntry(body) => {
                    let range = body.range();
                    let at = Some(range.start);
                    let split = "split it, or reduce inlining into it";
                    over("bytes of one function's code", range.len(), self.body_bytes, split, at)?;
                    let nested = Nested::of(body.get_operators_reader().map_err(invalid)?);
                    over("nested blocks", nested.blocks, self.blocks, split, at)?;
                    over("nested loops", nested.loops, self.loops, split, at)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// How deep blocks and loops of a body are nested.
#[derive(Default)]
struct Nested {
    blocks: usize,
    loops: usize,
}

impl Nested {
    fn of(mut operators: wasmparser::OperatorsReader<'_>) -> Self {
        let mut deepest = Self::default();
        // For each open block, whether it is a loop; and the number of open loops.
        let (mut open, mut loops) = (Vec::new(), 0);
        // Unreadable code is not compiled either.
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
    fn an_exceeded_limit_is_named_with_its_function() {
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
            &["5 nested blocks", "`deep`"],
        );
        refused("(module (func $l (loop (loop (block (loop))))))", &["3 nested loops", "`l`"]);
    }

    #[test]
    fn a_module_within_the_limits_passes() {
        checked(
            "(module (func (loop (loop)) (loop (loop)) (block (block (loop (block))))) (func))",
        )
        .unwrap();
    }
}
