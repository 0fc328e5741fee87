//! Beside the stages: an original for clusters that carry outputs as text only.
//!
//! The planner of a Faasm cluster keeps outputs in a field that has to be UTF-8, and ends when one is not. What this makes of an
//! original runs there in its place: it encodes what it outputs, and decodes the outputs of calls it awaits
//! ([`faasm_bridge::output`]). Everything else is as the toolchain made it.
//!
//! Before:
//!
//! ```wat
//! (import "env" "__faasm_write_output" (func $write (param i32 i32)))
//! (import "env" "__faasm_await_call_output" (func $await (param i32 i32 i32) (result i32)))
//! ```
//!
//! After:
//!
//! ```wat
//! (import "env" "__faasm_write_output" (func $raw_write (param i32 i32)))
//! (import "env" "__faasm_await_call_output" (func $raw_await (param i32 i32 i32) (result i32)))
//! (func $write (param $bytes i32) (param $length i32)
//!   (local $text i32)
//!   (local.set $text (call $malloc ...))         ;; or new pages, where no `malloc` is exported
//!   ...                                          ;; the prefix
//!   (call $encode ...)                           ;; base64
//!   (call $raw_write (local.get $text) ...)
//!   (call $free (local.get $text)))              ;; where it is exported
//! (func $await (param $call i32) (param $output i32) (param $length i32) (result i32)
//!   (call $raw_await (local.get $call) (local.get $output) (local.get $length))
//!   ...)                                         ;; where the output has the prefix: decoded in its place
//! ```
//!
//! Why it is safe: the new functions have the types of the imports they replace and are the same functions to everyone who
//! names them, so that calls and table slots mean what they meant. Text takes a third more room than what it encodes, so
//! decoding writes only where it has read. Pages that are made for a text are never used again: an allocator that begins later
//! takes them for its own.

use crate::layout::Layout;
use crate::normalise::{drop_sections, parse};
use crate::{Error, input};
use faasm_bridge::faasm::BYTES as ENCODED;
use faasm_bridge::host::{self, HostCall, ImportClass};
use std::borrow::Cow;
use walrus::ir::{BinaryOp, LoadKind, MemArg, StoreKind};
use walrus::ir::{ExtendedLoad, UnaryOp};
use walrus::{
    ExportItem, FunctionBuilder, FunctionId, ImportKind, InstrSeqBuilder, LocalId, MemoryId,
    Module, ValType,
};

/// Longest output, bytes: its text has to fit into memory with it.
const MOST_BYTES: i32 = 1 << 30;

const BYTE: MemArg = MemArg { align: 1, offset: 0 };
const WORD: LoadKind = LoadKind::I32 { atomic: false };

/// What an original becomes for such a cluster; none where it neither outputs nor awaits outputs, and can go there as it is.
///
/// # Errors
/// What [`input::check`] refuses, and draft SIMD, which such a cluster may not run in today's encoding.
pub fn text_output(original: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    if let Cow::Owned(_) = input::check(original)? {
        return Err(Error::Feature {
            feature: "the draft SIMD of 2019",
            who: "an encoded output",
            advice: "build the function again with a current toolchain",
        });
    }
    let mut module = parse(original)?;
    drop_sections(&mut module);
    let memory = module.memories.iter().next().ok_or(Error::NoMemory)?.id();
    let write = find(&module, HostCall::WriteOutput);
    let awaited = find(&module, HostCall::AwaitCallOutput);
    if write.is_empty() && awaited.is_empty() {
        return Ok(None);
    }
    if !write.is_empty() {
        let encode = encode(&mut module, memory);
        let allocator = Allocator::find(&module);
        for import in write {
            encoded_write(&mut module, memory, import, encode, allocator)?;
        }
    }
    if !awaited.is_empty() {
        let decode = decode(&mut module, memory);
        for import in awaited {
            decoded_await(&mut module, memory, import, decode)?;
        }
    }
    let made = module.emit_wasm();
    Layout::read(original)?.kept_by(&Layout::read(&made)?, "text output")?;
    Ok(Some(made))
}

/// The imports of a host call; normally one.
fn find(module: &Module, call: HostCall) -> Vec<FunctionId> {
    let is_it = |import: &&walrus::Import| matches!(host::classify(&import.module, &import.name), ImportClass::Known(known) if known == call);
    let function = |import: &walrus::Import| match import.kind {
        ImportKind::Function(function) => Some(function),
        _ => None,
    };
    module.imports.iter().filter(is_it).filter_map(function).collect()
}

/// The guest's own, as far as it exports it.
#[derive(Clone, Copy, Default)]
struct Allocator {
    malloc: Option<FunctionId>,
    free: Option<FunctionId>,
}

impl Allocator {
    fn find(module: &Module) -> Self {
        let exported = |name: &str, params: &[ValType], results: &[ValType]| {
            let export = module.exports.iter().find(|export| export.name == name)?;
            let ExportItem::Function(function) = export.item else { return None };
            let ty = module.types.params_results(module.funcs.get(function).ty());
            (ty == (params, results)).then_some(function)
        };
        let malloc = exported("malloc", &[ValType::I32], &[ValType::I32]);
        Self { malloc, free: malloc.and_then(|_| exported("free", &[ValType::I32], &[])) }
    }

    /// Leaves the address of so many bytes in `place`; without memory for them the guest traps.
    fn allocate(
        self,
        body: &mut InstrSeqBuilder<'_>,
        memory: MemoryId,
        bytes: LocalId,
        place: LocalId,
    ) {
        const PAGE_BITS: i32 = 16;
        body.local_get(bytes);
        let failed = match self.malloc {
            Some(malloc) => {
                body.call(malloc).local_tee(place);
                0
            }
            None => {
                body.i32_const((1 << PAGE_BITS) - 1).binop(BinaryOp::I32Add);
                body.i32_const(PAGE_BITS).binop(BinaryOp::I32ShrU).memory_grow(memory);
                body.local_tee(place);
                -1
            }
        };
        body.i32_const(failed).binop(BinaryOp::I32Eq).if_else(
            None,
            |then| {
                then.unreachable();
            },
            |_| {},
        );
        if self.malloc.is_none() {
            body.local_get(place).i32_const(PAGE_BITS).binop(BinaryOp::I32Shl).local_set(place);
        }
    }
}

/// The prefix in words of 8, 4 and 1 bytes, each with its offset.
fn prefix() -> Vec<(u64, Word)> {
    let mut words = Vec::new();
    let mut rest = ENCODED.as_bytes();
    while !rest.is_empty() {
        let offset = (ENCODED.len() - rest.len()) as u64;
        let (word, length) = match rest {
            [a, b, c, d, e, f, g, h, ..] => {
                (Word::Eight(i64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h])), 8)
            }
            [a, b, c, d, ..] => (Word::Four(i32::from_le_bytes([*a, *b, *c, *d])), 4),
            _ => (Word::One(i32::from(rest[0])), 1),
        };
        words.push((offset, word));
        rest = &rest[length..];
    }
    words
}

enum Word {
    Eight(i64),
    Four(i32),
    One(i32),
}

/// A copy of an import, for a function that takes the import's place.
fn again(module: &mut Module, import: FunctionId) -> Result<FunctionId, Error> {
    let missing = || Error::Rewrite { message: "an import is not there any more".into() };
    let entry = module.imports.get_imported_func(import).ok_or_else(missing)?;
    let (from, name) = (entry.module.clone(), entry.name.clone());
    let ty = module.funcs.get(import).ty();
    Ok(module.add_import_func(&from, &name, ty).0)
}

fn replace(
    module: &mut Module,
    import: FunctionId,
    build: impl FnOnce(&mut InstrSeqBuilder<'_>, &[LocalId]),
) -> Result<(), Error> {
    module
        .replace_imported_func(import, |(body, arguments)| build(body, arguments))
        .map(drop)
        .map_err(|error| Error::Rewrite { message: format!("{error:#}") })
}

fn encoded_write(
    module: &mut Module,
    memory: MemoryId,
    import: FunctionId,
    encode: FunctionId,
    allocator: Allocator,
) -> Result<(), Error> {
    let raw = again(module, import)?;
    let [bytes, text] = std::array::from_fn(|_| module.locals.add(ValType::I32));
    replace(module, import, |body, arguments| {
        let [source, length] = [arguments[0], arguments[1]];
        body.local_get(length).i32_const(MOST_BYTES).binop(BinaryOp::I32GtU).if_else(
            None,
            |then| {
                then.unreachable();
            },
            |_| {},
        );
        // Four characters for three bytes, or a part of them.
        body.local_get(length).i32_const(2).binop(BinaryOp::I32Add);
        body.i32_const(3).binop(BinaryOp::I32DivU).i32_const(2).binop(BinaryOp::I32Shl);
        body.i32_const(ENCODED.len() as i32).binop(BinaryOp::I32Add).local_set(bytes);
        allocator.allocate(body, memory, bytes, text);
        for (offset, word) in prefix() {
            let at = MemArg { align: 1, offset };
            body.local_get(text);
            match word {
                Word::Eight(word) => {
                    body.i64_const(word).store(memory, StoreKind::I64 { atomic: false }, at)
                }
                Word::Four(word) => {
                    body.i32_const(word).store(memory, StoreKind::I32 { atomic: false }, at)
                }
                Word::One(word) => {
                    body.i32_const(word).store(memory, StoreKind::I32_8 { atomic: false }, at)
                }
            };
        }
        body.local_get(source).local_get(length).local_get(text);
        body.i32_const(ENCODED.len() as i32).binop(BinaryOp::I32Add).call(encode);
        body.local_get(text).local_get(bytes).call(raw);
        if let Some(free) = allocator.free {
            body.local_get(text).call(free);
        }
    })
}

fn decoded_await(
    module: &mut Module,
    memory: MemoryId,
    import: FunctionId,
    decode: FunctionId,
) -> Result<(), Error> {
    let raw = again(module, import)?;
    let [result, text, bytes] = std::array::from_fn(|_| module.locals.add(ValType::I32));
    let word = MemArg { align: 4, offset: 0 };
    let length = ENCODED.len() as i32;
    replace(module, import, |body, arguments| {
        let [call, output, output_length] = [arguments[0], arguments[1], arguments[2]];
        body.local_get(call).local_get(output).local_get(output_length).call(raw);
        body.local_set(result);
        body.block(None, |rest| {
            let end = rest.id();
            rest.local_get(output_length).load(memory, WORD, word).local_tee(bytes);
            rest.i32_const(length).binop(BinaryOp::I32LtU).br_if(end);
            rest.local_get(output).load(memory, WORD, word).local_set(text);
            for (offset, word) in prefix() {
                let at = MemArg { align: 1, offset };
                rest.local_get(text);
                match word {
                    Word::Eight(word) => rest
                        .load(memory, LoadKind::I64 { atomic: false }, at)
                        .i64_const(word)
                        .binop(BinaryOp::I64Ne),
                    Word::Four(word) => {
                        rest.load(memory, WORD, at).i32_const(word).binop(BinaryOp::I32Ne)
                    }
                    Word::One(word) => rest
                        .load(memory, LoadKind::I32_8 { kind: ExtendedLoad::ZeroExtend }, at)
                        .i32_const(word)
                        .binop(BinaryOp::I32Ne),
                }
                .br_if(end);
            }
            rest.local_get(output_length);
            rest.local_get(text).i32_const(length).binop(BinaryOp::I32Add);
            rest.local_get(bytes).i32_const(length).binop(BinaryOp::I32Sub);
            rest.local_get(text).call(decode);
            rest.store(memory, StoreKind::I32 { atomic: false }, word);
        });
        body.local_get(result);
    })
}

/// `encode(source, length, target)`: base64, with padding.
fn encode(module: &mut Module, memory: MemoryId) -> FunctionId {
    let character = character(module);
    let [source, length, target, three] = std::array::from_fn(|_| module.locals.add(ValType::I32));
    let mut function = FunctionBuilder::new(&mut module.types, &[ValType::I32; 3], &[]);
    let mut body = function.name("faasm:encode".to_owned()).func_body();
    let byte = LoadKind::I32_8 { kind: ExtendedLoad::ZeroExtend };
    let stored = StoreKind::I32_8 { atomic: false };
    body.block(None, |block| {
        let end = block.id();
        block.loop_(None, |next| {
            let again = next.id();
            next.local_get(length).unop(UnaryOp::I32Eqz).br_if(end);
            // The next three bytes, zero where there are none.
            next.local_get(source).load(memory, byte, BYTE).i32_const(16).binop(BinaryOp::I32Shl);
            next.local_set(three);
            for (number, shift) in [(1, 8), (2, 0)] {
                next.local_get(length).i32_const(number).binop(BinaryOp::I32GtU).if_else(
                    None,
                    |then| {
                        let at = MemArg { align: 1, offset: number as u64 };
                        then.local_get(three).local_get(source).load(memory, byte, at);
                        then.i32_const(shift).binop(BinaryOp::I32Shl).binop(BinaryOp::I32Or);
                        then.local_set(three);
                    },
                    |_| {},
                );
            }
            for (position, shift) in [(0, 18), (1, 12), (2, 6), (3, 0)] {
                let at = MemArg { align: 1, offset: position as u64 };
                next.local_get(target);
                next.local_get(three).i32_const(shift).binop(BinaryOp::I32ShrU);
                next.i32_const(63).binop(BinaryOp::I32And).call(character);
                if position >= 2 {
                    next.i32_const(i32::from(b'='));
                    next.local_get(length).i32_const(position - 1).binop(BinaryOp::I32GtU);
                    next.select(None);
                }
                next.store(memory, stored, at);
            }
            // Fewer than three bytes were the last ones.
            next.local_get(length).i32_const(3).binop(BinaryOp::I32LtU).br_if(end);
            advance(next, length, -3);
            advance(next, source, 3);
            advance(next, target, 4);
            next.br(again);
        });
    });
    function.finish(vec![source, length, target], &mut module.funcs)
}

/// `decode(source, length, target) -> length`: of what `encode` made, to the first character that is none of its.
fn decode(module: &mut Module, memory: MemoryId) -> FunctionId {
    let value = value(module);
    let names: [LocalId; 6] = std::array::from_fn(|_| module.locals.add(ValType::I32));
    let [source, length, target, begin, bits, count] = names;
    let six = module.locals.add(ValType::I32);
    let mut function = FunctionBuilder::new(&mut module.types, &[ValType::I32; 3], &[ValType::I32]);
    let mut body = function.name("faasm:decode".to_owned()).func_body();
    let byte = LoadKind::I32_8 { kind: ExtendedLoad::ZeroExtend };
    body.local_get(target).local_set(begin);
    body.block(None, |block| {
        let end = block.id();
        block.loop_(None, |next| {
            let again = next.id();
            next.local_get(length).unop(UnaryOp::I32Eqz).br_if(end);
            next.local_get(source).load(memory, byte, BYTE).call(value).local_tee(six);
            next.i32_const(0).binop(BinaryOp::I32LtS).br_if(end);
            next.local_get(bits).i32_const(6).binop(BinaryOp::I32Shl);
            next.local_get(six).binop(BinaryOp::I32Or).local_set(bits);
            advance(next, count, 6);
            next.local_get(count).i32_const(8).binop(BinaryOp::I32GeU).if_else(
                None,
                |then| {
                    advance(then, count, -8);
                    then.local_get(target);
                    then.local_get(bits).local_get(count).binop(BinaryOp::I32ShrU);
                    then.store(memory, StoreKind::I32_8 { atomic: false }, BYTE);
                    advance(then, target, 1);
                },
                |_| {},
            );
            advance(next, source, 1);
            advance(next, length, -1);
            next.br(again);
        });
    });
    body.local_get(target).local_get(begin).binop(BinaryOp::I32Sub);
    function.finish(vec![source, length, target], &mut module.funcs)
}

fn advance(body: &mut InstrSeqBuilder<'_>, local: LocalId, by: i32) {
    body.local_get(local).i32_const(by).binop(BinaryOp::I32Add).local_set(local);
}

/// Where the alphabet of base64 goes on somewhere else: the first value, and what has to be added to such a value.
const ALPHABET: [(i32, i32); 5] = [(0, 65), (26, 71), (52, -4), (62, -19), (63, -16)];

/// `character(value)`, of a value below 64.
fn character(module: &mut Module) -> FunctionId {
    let value = module.locals.add(ValType::I32);
    let mut function = FunctionBuilder::new(&mut module.types, &[ValType::I32], &[ValType::I32]);
    let mut body = function.name("faasm:character".to_owned()).func_body();
    body.local_get(value).i32_const(ALPHABET[0].1);
    for (first, added) in &ALPHABET[1..] {
        // What it was, unless the value is in the next part.
        body.i32_const(*added);
        body.local_get(value).i32_const(*first).binop(BinaryOp::I32LtU);
        body.select(None);
    }
    body.binop(BinaryOp::I32Add);
    function.finish(vec![value], &mut module.funcs)
}

/// `value(character)`; -1 of what is not in the alphabet.
fn value(module: &mut Module) -> FunctionId {
    let [character, found] = std::array::from_fn(|_| module.locals.add(ValType::I32));
    let mut function = FunctionBuilder::new(&mut module.types, &[ValType::I32], &[ValType::I32]);
    let mut body = function.name("faasm:value".to_owned()).func_body();
    body.i32_const(-1).local_set(found);
    let ends = ALPHABET[1..].iter().map(|(first, _)| *first).chain([64]);
    for ((first, added), end) in ALPHABET.iter().zip(ends) {
        body.local_get(character).i32_const(first + added).binop(BinaryOp::I32Sub);
        body.i32_const(end - first).binop(BinaryOp::I32LtU).if_else(
            None,
            |then| {
                then.local_get(character).i32_const(*added).binop(BinaryOp::I32Sub);
                then.local_set(found);
            },
            |_| {},
        );
    }
    body.local_get(found);
    function.finish(vec![character], &mut module.funcs)
}
