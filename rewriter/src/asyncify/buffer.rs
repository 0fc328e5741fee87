//! The unwind buffer: the last pages of memory, which are hidden from the guest.
//!
//! With a buffer of `N` pages, the guest always sees a memory that is `N` pages smaller than the real one:
//!
//! ```wat
//! ;; before               ;; after
//! (memory.size)           (call $faasm:memory.size)
//! (memory.grow (n))       (call $faasm:memory.grow (n))
//!
//! (func $faasm:memory.size (result i32) (i32.sub (memory.size) (i32.const N)))
//! (func $faasm:memory.grow (param $by i32) (result i32) (local $old i32)
//!   (local.set $old (memory.grow (local.get $by)))
//!   (if (i32.eq (local.get $old) (i32.const -1)) (then (return (i32.const -1))))
//!   (if (local.get $by) (then …zero [old - N, old)…))        ;; the buffer's old pages become the guest's new ones
//!   (i32.sub (local.get $old) (i32.const N)))
//! ```
//!
//! The host grows memory through the same function, which is exported.
//!
//! Why it is safe. The initial memory is larger by `N` pages, and every size reported to the guest is smaller by `N`
//! pages. So the guest sees the memory of the original, which grows without a gap and by zeroed pages. No allocator can
//! take the buffer, neither one that claims everything up to `memory.size` at its first use (an old dlmalloc) nor one
//! that tracks the end of memory itself (Emscripten's `sbrk`). The buffer is in use only while the function is
//! suspended; the guest does not run then, and memory does not grow.
//!
//! What differs: an access past the guest's memory traps `N` pages late. Until then it reaches only the buffer, and
//! nothing reads what it stored there: the host writes Asyncify's two pointers anew for each suspension, unwinding
//! writes every word that rewinding reads, from the first suspended function's to the last, and the guest executes no
//! instruction of its own between the two. Growing clears the pages that become the guest's. The runtime checks the
//! pointers passed to host calls against the size that the guest sees.

use crate::Error;
use crate::module::encode::encode;
use crate::module::layout::Layout;
use crate::stages::normalise::parse;
use faasm_bridge::manifest::{GROW_EXPORT, UnwindBuffer};
use walrus::ir::{
    BinaryOp, Call, Instr, InstrLocId, MemArg, MemoryGrow, MemorySize, StoreKind, VisitorMut,
    dfs_pre_order_mut,
};
use walrus::{FunctionBuilder, FunctionId, MemoryId, Module, ValType};

const PAGE: u64 = 64 * 1024;
/// Pages of a full 32-bit memory.
const MOST_PAGES: u64 = 65536;
/// Asyncify's two pointers, which precede the saved frames.
pub(crate) const HEADER_BYTES: u32 = 8;
/// The header and one saved word.
pub(crate) const LEAST_BYTES: u32 = 16;
const MOST_BYTES: u32 = 1 << 30;

/// Appends a buffer of at least `bytes` to the memory and hides it from the guest.
///
/// # Errors
/// An invalid size, or a memory without space for the buffer.
pub fn add(wasm: &[u8], bytes: u32) -> Result<(Vec<u8>, UnwindBuffer), Error> {
    let mut module = parse(wasm)?;
    let buffer = append(&mut module, bytes)?;
    let buffered = encode(&mut module);
    Layout::read(wasm)?.kept_by(&Layout::read(&buffered)?, "buffer")?;
    Ok((buffered, buffer))
}

/// [`add`], on a module in memory.
pub(crate) fn append(module: &mut Module, bytes: u32) -> Result<UnwindBuffer, Error> {
    if !(LEAST_BYTES..=MOST_BYTES).contains(&bytes) {
        return Err(Error::StackSize { bytes });
    }
    let pages = u64::from(bytes).div_ceil(PAGE);
    let memory = module.memories.iter_mut().next().ok_or(Error::NoMemory)?;
    let initial = memory.initial;
    // The address of the buffer's end must fit in an `i32`, so the memory must stay below 4 GiB.
    if initial + pages >= MOST_PAGES {
        return Err(Error::NoRoom { initial, pages });
    }
    memory.initial += pages;
    memory.maximum = memory.maximum.map(|maximum| (maximum + pages).min(MOST_PAGES));
    let memory = memory.id();
    hide(module, memory, pages);
    // No overflow: fewer than MOST_PAGES pages are below 4 GiB.
    Ok(UnwindBuffer { bytes: (pages * PAGE) as u32 })
}

fn hide(module: &mut Module, memory: MemoryId, pages: u64) {
    // No overflow: fewer than MOST_PAGES.
    let pages = pages as i32;
    let mut size = FunctionBuilder::new(&mut module.types, &[], &[ValType::I32]);
    size.name("faasm:memory.size".to_owned())
        .func_body()
        .memory_size(memory)
        .i32_const(pages)
        .binop(BinaryOp::I32Sub);
    let size = size.finish(Vec::new(), &mut module.funcs);
    let grow = grow(module, memory, pages);
    module.exports.add(GROW_EXPORT, grow);

    let mut rewrite = Hide { size, grow };
    for (id, function) in module.funcs.iter_local_mut() {
        if id != size && id != grow {
            let entry = function.entry_block();
            dfs_pre_order_mut(&mut rewrite, function, entry);
        }
    }
}

/// The guest's `memory.grow`.
fn grow(module: &mut Module, memory: MemoryId, pages: i32) -> FunctionId {
    const FAILED: i32 = -1;
    const PAGE_BITS: i32 = 16;
    let [by, old, at] = std::array::from_fn(|_| module.locals.add(ValType::I32));
    let word = MemArg { align: 8, offset: 0 };
    let mut grow = FunctionBuilder::new(&mut module.types, &[ValType::I32], &[ValType::I32]);
    let mut body = grow.name(GROW_EXPORT.to_owned()).func_body();
    body.local_get(by).memory_grow(memory).local_tee(old);
    body.i32_const(FAILED).binop(BinaryOp::I32Eq).if_else(
        None,
        |then| {
            then.i32_const(FAILED).return_();
        },
        |_| {},
    );
    body.local_get(by).if_else(
        None,
        |zero| {
            zero.local_get(old).i32_const(pages).binop(BinaryOp::I32Sub);
            zero.i32_const(PAGE_BITS).binop(BinaryOp::I32Shl).local_set(at);
            zero.loop_(None, |next| {
                let again = next.id();
                next.local_get(at).i64_const(0);
                next.store(memory, StoreKind::I64 { atomic: false }, word);
                next.local_get(at).i32_const(8).binop(BinaryOp::I32Add).local_tee(at);
                next.local_get(old).i32_const(PAGE_BITS).binop(BinaryOp::I32Shl);
                next.binop(BinaryOp::I32Ne).br_if(again);
            });
        },
        |_| {},
    );
    body.local_get(old).i32_const(pages).binop(BinaryOp::I32Sub);
    grow.finish(vec![by], &mut module.funcs)
}

struct Hide {
    size: FunctionId,
    grow: FunctionId,
}

impl VisitorMut for Hide {
    fn visit_instr_mut(&mut self, instr: &mut Instr, _: &mut InstrLocId) {
        match instr {
            Instr::MemorySize(MemorySize { .. }) => *instr = Call { func: self.size }.into(),
            Instr::MemoryGrow(MemoryGrow { .. }) => *instr = Call { func: self.grow }.into(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wasm(wat: &str) -> Vec<u8> {
        wat::parse_str(wat).unwrap()
    }

    #[test]
    fn the_buffer_makes_the_memory_larger() {
        let (wasm, buffer) = add(&wasm("(module (memory 3 10))"), 100_000).unwrap();
        assert_eq!(buffer, UnwindBuffer { bytes: 2 * 65536 });
        let module = parse(&wasm).unwrap();
        let memory = module.memories.iter().next().unwrap();
        assert_eq!((memory.initial, memory.maximum), (5, Some(12)));
    }

    #[test]
    fn the_maximum_stays_within_four_gigabytes() {
        let (wasm, _) = add(&wasm("(module (memory 1 65535))"), 4 * 65536).unwrap();
        let module = parse(&wasm).unwrap();
        assert_eq!(module.memories.iter().next().unwrap().maximum, Some(65536));
    }

    #[test]
    fn a_full_memory_is_rejected() {
        let error = add(&wasm("(module (memory 65535))"), 65536).unwrap_err().to_string();
        assert!(error.contains("65535 pages") && error.contains("--stack-size"), "{error}");
        assert!(matches!(add(&wasm("(module (memory 1))"), 8), Err(Error::StackSize { bytes: 8 })));
    }
}
