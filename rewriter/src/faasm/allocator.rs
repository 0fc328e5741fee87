//! Checks the results of the exported `malloc` of a guarded function, which the worker calls to allocate outputs.
//!
//! Faasm copies an output to the address that the function's `malloc` returns, without checking that it is in memory.
//! So the address is checked before the worker receives it:
//!
//! ```wat
//! (export "malloc" (func $checked))
//! (func $checked (param $bytes i32) (result i32) (local $at i32)
//!   (local.set $at (call $malloc (local.get $bytes)))
//!   (if (i64.gt_u (i64.add (i64.extend_i32_u (local.get $at)) (i64.extend_i32_u (local.get $bytes)))
//!         (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16)))
//!     (then unreachable))
//!   (local.get $at))
//! ```
//!
//! `$malloc` is the allocator itself, not the linker's wrapper around it, which would run constructors each time.

use crate::Error;
use crate::stages::{constructors, normalise};
use faasm_bridge::entry::START;
use walrus::ir::{BinaryOp, UnaryOp};
use walrus::{ExportItem, FunctionBuilder, Module, ValType};

/// Names by which WAMR looks for an allocator.
const NAMES: [&str; 2] = ["malloc", "__new"];

const PAGE_BITS: i64 = 16;

/// The same module, with exported allocators that return no address outside memory.
///
/// # Errors
/// A module that is not valid.
pub(super) fn checked(wasm: &[u8]) -> Result<Vec<u8>, Error> {
    let mut module = normalise::parse(wasm)?;
    let Some(memory) = module.memories.iter().next().map(walrus::Memory::id) else {
        return Ok(wasm.to_vec());
    };
    let mut settled = normalise::parse(wasm)?;
    constructors::settle(&mut settled, &[START]);
    let mut is_changed = false;
    for name in NAMES {
        let export = module.exports.iter().find(|export| export.name == name);
        let Some((id, ExportItem::Function(exported))) = export.map(|it| (it.id(), it.item)) else {
            continue;
        };
        // Both modules were read from the same bytes, so a function has the same index in both.
        let number = inner(&settled, name).unwrap_or_else(|| exported.index());
        let malloc = module.funcs.iter().find(|function| function.id().index() == number);
        let malloc = malloc.map_or(exported, |function| function.id());
        let ty = module.types.get(module.funcs.get(malloc).ty());
        // WAMR calls no other signature.
        let [ValType::I32, rest @ ..] = ty.params() else { continue };
        if !rest.is_empty() || ty.results() != [ValType::I32] {
            continue;
        }
        let [bytes, at] = std::array::from_fn(|_| module.locals.add(ValType::I32));
        let (params, results) = ([ValType::I32], [ValType::I32]);
        let mut function = FunctionBuilder::new(&mut module.types, &params, &results);
        let mut body = function.name(format!("faasm:checked {name}")).func_body();
        body.local_get(bytes).call(malloc).local_tee(at).unop(UnaryOp::I64ExtendUI32);
        body.local_get(bytes).unop(UnaryOp::I64ExtendUI32).binop(BinaryOp::I64Add);
        body.memory_size(memory).unop(UnaryOp::I64ExtendUI32);
        body.i64_const(PAGE_BITS).binop(BinaryOp::I64Shl).binop(BinaryOp::I64GtU);
        body.if_else(
            None,
            |then| {
                then.unreachable();
            },
            |_| {},
        );
        body.local_get(at);
        let checked = function.finish(vec![bytes], &mut module.funcs);
        module.exports.get_mut(id).item = ExportItem::Function(checked);
        is_changed = true;
    }
    Ok(if is_changed { module.emit_wasm() } else { wasm.to_vec() })
}

/// The index of an exported function.
fn inner(settled: &Module, name: &str) -> Option<usize> {
    let export = settled.exports.iter().find(|export| export.name == name)?;
    match export.item {
        ExportItem::Function(function) => Some(function.index()),
        _ => None,
    }
}
