//! The entry points of host calls: functions of numbers, which `glue/host.js` calls without wasm-bindgen's glue.

use crate::host::{Bindings, Called, Raise, find_run, uncatchable};
use faasm_bridge::guest::{Fault, MAX_PARAMS};
use faasm_bridge::host::{HostCall, ImportClass, classify};
use std::cell::Cell;
use wasm_bindgen::prelude::*;

/// The maximum number of arguments passed directly; all must be `i32`.
const WORDS: usize = 7;

/// A flag in the row number: the arguments are in [`WIDE_ARGUMENTS`].
const WIDE: u32 = 1 << 31;

thread_local! {
    /// Arguments of a call that has other types than `i32`, or more than [`WORDS`]; written by JavaScript.
    static WIDE_ARGUMENTS: [Cell<u64>; MAX_PARAMS] = const { [const { Cell::new(0) }; MAX_PARAMS] };
}

/// The address of [`WIDE_ARGUMENTS`].
pub(crate) fn wide_arguments() -> *const u64 {
    WIDE_ARGUMENTS.with(|slots| slots.as_ptr().cast())
}

fn arguments(row: u32, words: [u32; WORDS]) -> [u64; MAX_PARAMS] {
    if row & WIDE != 0 {
        return WIDE_ARGUMENTS.with(|slots| std::array::from_fn(|slot| slots[slot].get()));
    }
    std::array::from_fn(|slot| words.get(slot).map_or(0, |word| u64::from(*word)))
}

/// Performs a host call; an error is thrown through the guest.
fn enter(run: u32, act: impl FnOnce(&Bindings) -> Result<i32, Raise>) -> i32 {
    let thrown = match find_run(run) {
        None => uncatchable(),
        Some(bindings) => match act(&bindings) {
            Ok(value) => return value,
            Err(raise) => bindings.throw(raise),
        },
    };
    // Throwing skips destructors; nothing here needs one.
    wasm_bindgen::throw_val(thrown)
}

fn known(row: u32) -> Result<HostCall, Fault> {
    let call = HostCall::from_index(row & !WIDE);
    call.ok_or(Fault::Order { call: "a row that is not in the table" })
}

/// A host call that never blocks.
#[allow(clippy::too_many_arguments, reason = "the arguments of a host call")]
#[wasm_bindgen(skip_typescript)]
pub fn host_call(
    run: u32,
    row: u32,
    a: u32,
    b: u32,
    c: u32,
    d: u32,
    e: u32,
    f: u32,
    g: u32,
) -> i32 {
    enter(run, |bindings| bindings.call(known(row)?, &arguments(row, [a, b, c, d, e, f, g])))
}

/// First half of a host call that may block: returns 1 if the guest has to suspend before the second half.
#[allow(clippy::too_many_arguments, reason = "the arguments of a host call")]
#[wasm_bindgen(skip_typescript)]
pub fn host_begin(
    run: u32,
    row: u32,
    a: u32,
    b: u32,
    c: u32,
    d: u32,
    e: u32,
    f: u32,
    g: u32,
) -> i32 {
    enter(run, |bindings| bindings.begin(known(row)?, &arguments(row, [a, b, c, d, e, f, g])))
}

/// Second half of a host call that may block.
#[wasm_bindgen(skip_typescript)]
pub fn host_finish(run: u32, row: u32) -> i32 {
    enter(run, |bindings| bindings.finish(known(row)?))
}

/// Describes the guest function that a host call calls: the number of arguments (0), an argument (1), the function (2).
#[wasm_bindgen(skip_typescript)]
pub fn host_called(run: u32, what: u32, position: u32) -> i32 {
    let what = match what {
        0 => Called::Count,
        1 => Called::Argument,
        _ => Called::Function,
    };
    enter(run, |bindings| bindings.called(what, position))
}

/// A host call that returns an `f64`.
#[wasm_bindgen(skip_typescript)]
pub fn host_number(run: u32, row: u32) -> f64 {
    let mut value = 0.0;
    enter(run, |bindings| {
        value = bindings.number(known(row)?)?;
        Ok(0)
    });
    value
}

/// An import that traps: an unsupported one.
#[wasm_bindgen(skip_typescript)]
pub fn host_trap(run: u32, position: u32) -> i32 {
    enter(run, |bindings| {
        let import = bindings.traps.borrow().get(position as usize).cloned().unwrap_or_default();
        let (module, name) = import.split_once('.').unwrap_or_default();
        Err(match classify(module, name) {
            ImportClass::Family(_) => Fault::ClusterOnly { import },
            _ => Fault::UnknownImport { import },
        }
        .into())
    })
}
