//! Asyncify, by a pass of our own: functions that can suspend unwind their stack into memory, and rewind it later.
//!
//! Before:
//!
//! ```wat
//! (func $f (param $n i32) (result i32) (local $sum i32)
//!   (loop $next
//!     (local.set $sum (i32.add (local.get $sum) (call $wait (local.get $n))))
//!     (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
//!   (i32.mul (local.get $sum) (call $wait (i32.const 7))))
//! ```
//!
//! After; `$state` is 0, or 1 while the stack unwinds, or 2 while it is rewound:
//!
//! ```wat
//! (func $f (param $n i32) (result i32) (local $sum i32) (local $call i32)
//!   (block $save
//!     (block $second
//!       (block $loop
//!         (if (global.get $state) (then                       ;; rewound: it had called
//!           (local.set $call (call $restore.i32)) (local.set $sum …) (local.set $n …)
//!           (br_table $loop $second (local.get $call)))))
//!       (loop $next
//!         (block $first (br_if $first (global.get $state)))   ;; on the way to a call inside
//!         (local.set $call (i32.const 0))
//!         (local.get $sum)
//!         (call $wait (local.get $n))
//!         (br_if $save (global.get $state))                   ;; unwinding
//!         (local.set $sum (i32.add))
//!         (br_if $next …)))
//!     (local.set $call (i32.const 1))
//!     (local.get $sum)
//!     (call $wait (i32.const 7))
//!     (br_if $save (global.get $state))
//!     (return (i32.mul)))
//!   (call $save.i32x2 (local.get $n) (local.get $sum)) (call $save.i32 (local.get $call))
//!   (i32.const 0))                                            ;; nobody looks at it
//! ```
//!
//! Each call that can suspend, as [`crate::asyncify::analyse`] has it on exactly these bytes, is a *site* with a number and a label
//! before it. What makes this cheap:
//!
//! * **All instructions are copied**, in order; only depths of labels change. What is added is a number set before a site
//!   and a question after it, and nothing where no site is. Functions that cannot suspend are copied byte for byte.
//! * **Blocks that hold sites are dissolved.** Such a `block` begins where its *region* does, which is the innermost loop,
//!   `try` or the function; an `if` becomes a branch. So one branch leads from the region's beginning to any site, and only
//!   loops ask again on the way ([`region`], [`emit`]).
//! * **What can be done again is not saved.** A label lies before the last run of instructions without effect (arithmetic that
//!   cannot trap, numbers, reads of locals); what these gave is made again. The arguments of the call, too, and it does
//!   not matter what they become: the callee takes its own parameters from its own frame.
//! * **One set of locals for a function** is saved and restored, whatever the site: those that live after any of its sites
//!   ([`liveness`]), and what is kept of the operand stack ([`operands`]). It is restored in the function's beginning, where
//!   it costs nothing while nothing suspends.
//!
//! # Why it is safe
//!
//! 1. *Phases.* The host starts an unwinding only in `suspend`, and ends it when the outermost function has returned; it
//!    starts a rewinding only before it calls that function again, and `suspend` ends it. No function is called while the
//!    stack unwinds: after a site, a function does nothing but save and return. So a function begins in phase 0 or 2, a site
//!    returns in phase 0 or 1, and a loop begins in 0, or in 2 on the way to a site.
//! 2. *The way back.* From the function's beginning to the site there are only: what restores locals; branches of ours; and
//!    from the label on, instructions without effect. No store, no trap, no other call. Parameters of a loop or `try` are set on
//!    this way to whatever there is, into locals that nothing else uses, which the code after the label does not read.
//! 3. *What is right again.* At the site, all locals that live after it are what they were, since between the label and the
//!    question nothing writes a local but the number. Operands below the arguments are made again from locals that are saved,
//!    numbers, and locals of ours, which are saved. What a call is *by*, an index or a reference, is among them. A block that
//!    keeps operands below it keeps them where nothing inside writes, and they are saved with every site inside.
//!    A call by an index finds the same function if the slot has not changed meanwhile: where the module overwrites slots, such a
//!    function is refused before.
//! 4. *Dissolved blocks.* Only the scope of a label changes. At every end of a label nothing lies on the region's operand stack
//!    but the label's results, for everything else has been kept in locals before. The validator checks this.
//! 5. *Handlers.* A `try` is a region: an exception that a site throws after it was rewound meets the same handlers. What
//!    handlers read lives across the site, and is saved. A site inside a handler of a legacy `catch` cannot be entered
//!    again, and is refused; handlers of `try_table` are blocks like others.
//! 6. *Room.* A frame has a fixed size, so the sum along the longest path of calls is exactly what the stack can take; each
//!    write looks at the end of the buffer before ([`frame`]).
//!
//! # What it cannot do
//!
//! A function that returns a reference that is never null, for a function that unwinds returns nothing of use; sites in
//! handlers of legacy exceptions; 64-bit or several memories; garbage collection. These are refused by name.
//!
//! The same input gives the same bytes.

mod code;
mod emit;
mod frame;
mod liveness;
mod module;
mod operands;
mod region;
mod sites;
mod tree;
mod types;
mod validate;

#[cfg(test)]
mod tests;

use crate::Error;
use crate::asyncify::analyse::{Analysis, Labels};
use crate::module::features::Feature;
use frame::Additions;
use module::Module;
use sites::Sites;
use std::collections::{BTreeMap, BTreeSet};
use walrus::FunctionId;

/// An instrumented module.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) wasm: Vec<u8>,
    /// Exactly what each function saves when it unwinds, in bytes.
    pub(crate) frames: BTreeMap<FunctionId, u32>,
    /// Functions in which tail calls became plain ones, since they can suspend.
    pub(crate) lowered: BTreeSet<FunctionId>,
    /// Functions that hold references while they wait.
    pub(crate) hold_references: BTreeSet<FunctionId>,
}

/// What is checked besides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checked {
    /// Functions that cannot suspend trap where they see that the function does.
    pub(crate) asserts: bool,
    /// What is made is compared with what came.
    pub(crate) verify: bool,
}

/// Instruments a shimmed module, which was parsed from exactly these bytes and analysed.
///
/// # Errors
/// [`Error::Unsupported`] or [`Error::Feature`] with what cannot be instrumented, and where.
pub(crate) fn instrument(
    wasm: &[u8],
    parsed: &walrus::Module,
    analysis: &Analysis,
    features: &[Feature],
    how: Checked,
) -> Result<Output, Error> {
    let typed_references = features.iter().any(|feature| feature.name == "function-references");
    let sites = Sites::of(parsed, analysis);
    let labels = Labels::of(parsed);
    let mut module = Module::read(wasm, typed_references)?;
    let types = std::mem::replace(&mut module.types, types::Types::new(Vec::new(), None, false));
    let mut additions = Additions::new(types, module.first);
    let mut output = Output {
        wasm: Vec::new(),
        frames: BTreeMap::new(),
        lowered: BTreeSet::new(),
        hold_references: BTreeSet::new(),
    };
    let mut found = 0;
    let functions = std::mem::take(&mut module.functions);
    let mut bodies = Vec::with_capacity(functions.len());
    for (index, (function, body)) in (module.imported..).zip(functions) {
        let id = sites.functions.get(&index).copied();
        if id.is_none() && !how.asserts {
            bodies.push(module::unchanged(&module, &body));
            continue;
        }
        let name = id.map(|id| labels.get(id)).unwrap_or_default();
        let tree = tree::read(wasm, function, &body, &additions.types, &sites.calls, &name)?;
        found += tree.sites.len() + tree.dead_sites;
        match id {
            Some(id) if !tree.sites.is_empty() => {
                let emitted = emit::function(wasm, &tree, &mut additions, how.asserts, &name)?;
                output.frames.insert(id, emitted.frame);
                if emitted.holds_references {
                    output.hold_references.insert(id);
                }
                if tree.sites.iter().any(|site| site.is_tail) {
                    output.lowered.insert(id);
                }
                bodies.push(emitted.body);
            }
            _ if how.asserts => bodies.push(emit::asserting(wasm, &tree, &mut additions)?),
            _ => bodies.push(module::unchanged(&module, &body)),
        }
    }
    if found != sites.calls.len() {
        return Err(module::misplaced());
    }
    output.wasm = module.with(&bodies, &additions)?;
    if how.verify {
        let functions = sites.functions.keys().copied().collect();
        validate::check(wasm, &output.wasm, &functions, &sites.calls, how.asserts)?;
    }
    Ok(output)
}

/// What the pass cannot do, in a function.
fn unsupported(what: &'static str, function: &str, advice: &'static str) -> Error {
    let functions = crate::asyncify::unsupported::list(&[function.to_owned()]);
    Error::Unsupported { what, functions, advice }
}
