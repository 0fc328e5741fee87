//! Stage 0: exceptions in the encoding of the draft become those of the standard.
//!
//! Compilers wrote the draft's until 2025, and many do unless they are told otherwise. Engines of today either read both and
//! not in one module, or the standard's only, as the cluster's.
//!
//! ```wat
//! (try (result i32)                      (block $outside (result i32)
//!   (do                                    (block $any (result exnref)
//!     call $f)                               (block $number (result i32)
//!   (catch $number                             (try_table (result i32) (catch $number $number)
//!     ;; its value is on the stack                                     (catch_all_ref $any)
//!     ...)                                       call $f)
//!   (catch_all                                 br $outside)
//!     call $clean                            ...
//!     rethrow 0))                            br $outside)
//!                                          local.set $held
//!                                          call $clean
//!                                          local.get $held   throw_ref)
//!
//! (try (do                               (block $to (result exnref)     ;; around the body that it delegates to, which a
//!   (try (do                               (try_table (catch_all_ref $to)   ;; `throw_ref` follows: there the exception
//!     call $f)                               call $f)                       ;; is thrown again
//!     delegate 0))                         br $outside)
//!   ...                                  throw_ref
//! ```
//!
//! Bytes are read and written operator by operator: all but what is above and the depths of branches is copied. What refers to
//! code by offset (DWARF, branch hints) is wrong afterwards, and is dropped by [`crate::normalise()`] or not read.
//!
//! Why it is safe. A body is followed by a branch to the end of all, so code of a handler is reached by an exception only, and
//! with the values of its tag on the stack, as before. Each open label of the original has one here, and branches are counted anew
//! with those that were added. `rethrow` names a handler that it is in; what that one caught is in a local of its own, which is written
//! at the handler's begin and by no handler within. A `delegate` to a block that is no `try`, or to a handler, goes to the next body of a
//! `try` around, or out of the function, as the draft says. [`crate::stages::input`] comes here only with a module that is valid with the
//! draft's encoding, and takes the result only if it is valid without.

mod body;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use wasm_encoder::{Encode, Module, RawSection};
use wasmparser::{FuncType, Parser, Payload, TypeRef};

/// Translates a valid module; none if something in it cannot be read.
pub(crate) fn translate(wasm: &[u8]) -> Option<Vec<u8>> {
    let mut declared = Declared::default();
    let mut bodies = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.ok()? {
            Payload::TypeSection(section) => {
                for ty in section.into_iter_err_on_gc_types() {
                    declared.types.push(ty.ok()?);
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    if let TypeRef::Tag(tag) = import.ok()?.ty {
                        declared.tags.push(tag.func_type_idx);
                    }
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    declared.functions.push(ty.ok()?);
                }
            }
            Payload::TagSection(section) => {
                for tag in section {
                    declared.tags.push(tag.ok()?.func_type_idx);
                }
            }
            Payload::CodeSectionEntry(entry) => {
                let parameters = declared.parameters(bodies.len())?;
                bodies.push(body::translate(wasm, &entry, parameters, &mut declared)?);
            }
            _ => {}
        }
    }
    write(wasm, &declared, &bodies)
}

/// What bodies refer to by index.
#[derive(Default)]
struct Declared {
    types: Vec<FuncType>,
    /// The types of defined functions, and of all tags.
    functions: Vec<u32>,
    tags: Vec<u32>,
    /// Types that blocks need, after those that were there.
    added: Vec<FuncType>,
    known: HashMap<FuncType, u32>,
}

impl Declared {
    fn parameters(&self, function: usize) -> Option<usize> {
        let ty = *self.functions.get(function)? as usize;
        Some(self.types.get(ty)?.params().len())
    }

    fn tag(&self, tag: u32) -> Option<&FuncType> {
        self.types.get(*self.tags.get(tag as usize)? as usize)
    }

    fn index(&mut self, ty: FuncType) -> u32 {
        // Types of a module have at most 32 bits.
        let next = (self.types.len() + self.added.len()) as u32;
        *self.known.entry(ty).or_insert_with_key(|ty| {
            self.added.push(ty.clone());
            next
        })
    }
}

/// The module with more types and other code.
fn write(wasm: &[u8], declared: &Declared, bodies: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut module = Module::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.ok()?;
        let Some((id, range)) = payload.as_section() else { continue };
        let content = wasm.get(range)?;
        let made = match payload {
            Payload::TypeSection(_) => types(content, declared)?,
            Payload::CodeSectionStart { .. } => {
                let mut made = Vec::with_capacity(content.len());
                bodies.len().encode(&mut made);
                for body in bodies {
                    body.as_slice().encode(&mut made);
                }
                made
            }
            _ => {
                module.section(&RawSection { id, data: content });
                continue;
            }
        };
        module.section(&RawSection { id, data: &made });
    }
    Some(module.finish())
}

fn types(content: &[u8], declared: &Declared) -> Option<Vec<u8>> {
    // The number of types comes first. A number may have been written with more bytes than it takes.
    let written = content.iter().position(|byte| byte & 0x80 == 0)? + 1;
    let mut made = Vec::with_capacity(content.len());
    (declared.types.len() + declared.added.len()).encode(&mut made);
    made.extend(content.get(written..)?);
    for ty in &declared.added {
        let ty = wasm_encoder::FuncType::try_from(ty.clone()).ok()?;
        made.push(FUNCTION_TYPE);
        ty.params().encode(&mut made);
        ty.results().encode(&mut made);
    }
    Some(made)
}

const FUNCTION_TYPE: u8 = 0x60;
