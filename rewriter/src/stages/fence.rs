//! A fence between the pages of the guest and the host, in a module that grows its memory itself.
//!
//! The host allocates outputs, mapped state and the break at the end of linear memory (`bridge/src/guest/heap`). A
//! guest that reads `memory.size` may claim all memory below it, even if the host has grown it: Emscripten's `sbrk`
//! does, and allocators that claim everything up to the end at their first use. So the host's pages have to lie above
//! every size that the guest reads:
//!
//! ```text
//! before the host's first page          after it
//! ├─ guest ─┤                           ├─ guest ─┬──── reserve ─────┼─ host ─┤
//!           memory.size                           $pages             $limit   memory.size
//! ```
//!
//! ```wat
//! (global $pages (export "faasm:guest.pages") (mut i32) (i32.const -1))  ;; pages of the guest; -1: all pages
//! (global $limit (export "faasm:guest.limit") (mut i32) (i32.const 0))   ;; the first page of the host
//!
//! (func $faasm:guest.size (result i32)                           ;; for (memory.size)
//!   (if (i32.eq (global.get $pages) (i32.const -1)) (then (return (memory.size))))
//!   (global.get $pages))
//! (func $faasm:guest.grow (param $by i32) (result i32)           ;; for (memory.grow)
//!   (local $old i32)
//!   (local.set $old (global.get $pages))
//!   (if (i32.eq (local.get $old) (i32.const -1)) (then (return (memory.grow (local.get $by)))))
//!   (if (i32.gt_u (local.get $by) (i32.sub (global.get $limit) (local.get $old))) (then (return (i32.const -1))))
//!   (global.set $pages (i32.add (local.get $old) (local.get $by)))
//!   (local.get $old))
//! ```
//!
//! The host sets up the fence once, before it takes its first page: it grows memory by the reserve, and sets both
//! globals.
//!
//! Why it is safe. Until then nothing changes. From then on the guest reads `$pages`, which starts as the last size
//! that it could read, grows without a gap, by zeroed pages, and never exceeds `$limit`; the host's pages are at and
//! above `$limit`. So no host page lies below a size that the guest reads. The specification allows a growth to fail at
//! any time, even if there is memory.
//!
//! The cost: such a guest can then grow by no more than the reserve (64 MiB, if there is as much), and its memory
//! cannot become a snapshot. Only modules for which the host may have to allocate memory get a fence. Untouched pages
//! take no physical memory.

use faasm_bridge::manifest::{GUEST_LIMIT_EXPORT, GUEST_PAGES_EXPORT};
use walrus::ir::{
    BinaryOp, Call, Instr, InstrLocId, MemoryGrow, MemorySize, Value, Visitor, VisitorMut,
    dfs_in_order, dfs_pre_order_mut,
};
use walrus::{ConstExpr, FunctionBuilder, FunctionId, GlobalId, MemoryId, Module, ValType};

/// The value of `$pages` without a fence, and the result of a failed growth.
const NONE: i32 = -1;

/// Adds the fence.
pub(crate) fn add(module: &mut Module) {
    let Some(memory) = module.memories.iter().next().map(walrus::Memory::id) else { return };
    let mut global = |name: &str, value| {
        let value = ConstExpr::Value(Value::I32(value));
        let global = module.globals.add_local(ValType::I32, true, false, value);
        module.exports.add(name, global);
        global
    };
    let pages = global(GUEST_PAGES_EXPORT, NONE);
    let limit = global(GUEST_LIMIT_EXPORT, 0);
    let size = guest_size(module, memory, pages);
    let grow = guest_grow(module, memory, pages, limit);
    let mut answer = Answer { size, grow };
    for (id, function) in module.funcs.iter_local_mut() {
        if id != size && id != grow {
            let entry = function.entry_block();
            dfs_pre_order_mut(&mut answer, function, entry);
        }
    }
}

/// Whether the guest's code reads the size of memory, or grows it.
pub(crate) fn sees_memory(module: &Module) -> bool {
    let mut sees = Sees(false);
    for (_, function) in module.funcs.iter_local() {
        dfs_in_order(&mut sees, function, function.entry_block());
    }
    sees.0
}

struct Sees(bool);

impl<'instr> Visitor<'instr> for Sees {
    fn visit_memory_size(&mut self, _: &MemorySize) {
        self.0 = true;
    }

    fn visit_memory_grow(&mut self, _: &MemoryGrow) {
        self.0 = true;
    }
}

struct Answer {
    size: FunctionId,
    grow: FunctionId,
}

impl VisitorMut for Answer {
    fn visit_instr_mut(&mut self, instr: &mut Instr, _: &mut InstrLocId) {
        match instr {
            Instr::MemorySize(_) => *instr = Call { func: self.size }.into(),
            Instr::MemoryGrow(_) => *instr = Call { func: self.grow }.into(),
            _ => {}
        }
    }
}

fn guest_size(module: &mut Module, memory: MemoryId, pages: GlobalId) -> FunctionId {
    let mut size = FunctionBuilder::new(&mut module.types, &[], &[ValType::I32]);
    let mut body = size.name("faasm:guest.size".to_owned()).func_body();
    body.global_get(pages).i32_const(NONE).binop(BinaryOp::I32Eq).if_else(
        None,
        |all| {
            all.memory_size(memory).return_();
        },
        |_| {},
    );
    body.global_get(pages);
    size.finish(Vec::new(), &mut module.funcs)
}

fn guest_grow(
    module: &mut Module,
    memory: MemoryId,
    pages: GlobalId,
    limit: GlobalId,
) -> FunctionId {
    let [by, old] = std::array::from_fn(|_| module.locals.add(ValType::I32));
    let mut grow = FunctionBuilder::new(&mut module.types, &[ValType::I32], &[ValType::I32]);
    let mut body = grow.name("faasm:guest.grow".to_owned()).func_body();
    body.global_get(pages).local_tee(old);
    body.i32_const(NONE).binop(BinaryOp::I32Eq).if_else(
        None,
        |all| {
            all.local_get(by).memory_grow(memory).return_();
        },
        |_| {},
    );
    body.local_get(by).global_get(limit).local_get(old).binop(BinaryOp::I32Sub);
    body.binop(BinaryOp::I32GtU).if_else(
        None,
        |full| {
            full.i32_const(NONE).return_();
        },
        |_| {},
    );
    body.local_get(old).local_get(by).binop(BinaryOp::I32Add).global_set(pages);
    body.local_get(old);
    grow.finish(vec![by], &mut module.funcs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::layout::Layout;

    fn is_fenced(rest: &str, code: &str) -> bool {
        let wat = format!(r#"(module {rest} (memory 1) (func (export "_start") {code}))"#);
        let normalised = crate::normalise(&wat::parse_str(wat).unwrap()).unwrap();
        Layout::read(&normalised.wasm).unwrap().exports.contains_key(GUEST_LIMIT_EXPORT)
    }

    #[test]
    fn only_what_needs_a_fence_gets_one() {
        let output =
            r#"(import "env" "__faasm_await_call_output" (func (param i32 i32 i32) (result i32)))"#;
        let other = r#"(import "env" "__faasm_await_call" (func (param i32) (result i32)))"#;
        let sbrk = r#"(import "env" "__sbrk" (func (param i32) (result i32)))"#;
        let malloc = r#"(func (export "malloc") (param i32) (result i32) local.get 0)"#;
        let size = "(drop (memory.size))";
        assert!(is_fenced(output, size));
        assert!(is_fenced(output, "(drop (memory.grow (i32.const 1)))"));
        assert!(!is_fenced(output, ""), "the guest never reads the size");
        assert!(!is_fenced(other, size), "the host takes nothing");
        assert!(!is_fenced(&format!("{output} {malloc}"), size), "the guest allocates");
        assert!(is_fenced(&format!("{sbrk} {malloc}"), size), "the guest takes from the break");
    }
}
