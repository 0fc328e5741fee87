//! Stage 3: Asyncify, by a pass of our own ([`crate::own`]) or by Binaryen in a child process; of the latter is the rest.
//!
//! Before:
//!
//! ```wat
//! (func $f (call $g) (call $h))
//! ```
//!
//! After, in outline: while unwinding, each function on the stack saves its locals and the index of the call into the
//! unwind buffer, and returns. While rewinding it restores them and jumps to that call.
//!
//! ```wat
//! (func $f
//!   (if (rewinding) (then restore locals and index))
//!   (if (or (normal) (at 0)) (then (call $g) (if (unwinding) (then save locals and 0; return))))
//!   (if (or (normal) (at 1)) (then (call $h) (if (unwinding) (then save locals and 1; return)))))
//! ```
//!
//! Why it is safe: only `faasm_bridge.suspend` may start an unwinding; every function on a path to it is instrumented
//! ([`crate::asyncify::analyse`], checked on Binaryen's output); and the host starts and ends both phases between two
//! returns to it.
//!
//! Binaryen takes the functions to instrument as a list of names with wildcards and commas, in which an empty list
//! means all functions. Source names can contain any character and need not be unique, so functions get unique names
//! for this stage. If nothing suspends, Binaryen does not run at all.
//!
//! The steps, in order: remove what is unreachable ([`reachable`]); assign unique names; fold a long chain of functions
//! into few ([`fold`]); outline calls that Asyncify must not see ([`crate::asyncify::outline`]); analyse exactly the
//! bytes that Binaryen receives, because optimising in between would create functions that no list contains; run
//! Asyncify; measure each frame ([`crate::asyncify::frames`]), restore the outlined calls and add the unwind
//! [`buffer`]; run `-O2`, which recovers most of the cost.
//! won back.

use crate::asyncify::analyse::{Analysis, Bound, Labels};
use crate::asyncify::frames::{self, State};
use crate::asyncify::outline::Outlined;
use crate::asyncify::{buffer, polish, unsupported};
use crate::binaryen::{Binaryen, BinaryenProcess};
use crate::module::encode::encode;
use crate::module::features::Feature;
use crate::stages::normalise::parse;
use crate::{Error, own};
use faasm_bridge::manifest::{Pass, UnwindBuffer};
use std::collections::{BTreeMap, BTreeSet};
use walrus::{FunctionId, Memory, Module};

/// How to instrument.
#[derive(Clone, Copy, Debug, Default)]
pub struct Instrumentation {
    pub pass: Pass,
    /// Bytes for the unwound stack; else as many as it can become, or [`Instrumentation::STACK_SIZE`] where that has no
    /// bound.
    pub stack_size: Option<u32>,
    /// Functions that are not instrumented trap when they observe a suspension. For tests: it is slow.
    pub asserts: bool,
    /// What the own pass makes is compared with what came, as debug builds always do.
    pub verify: bool,
}

impl Instrumentation {
    /// 256 KiB: 60 times Emscripten's default, for recursion such as an interpreter's.
    pub const STACK_SIZE: u32 = 256 * 1024;
}

/// A function that runs in every engine.
#[derive(Clone, Debug)]
pub struct Instrumented {
    pub wasm: Vec<u8>,
    /// `None` if nothing suspends; the module is then unchanged.
    pub unwinding: Option<Unwinding>,
}

/// How the function unwinds.
#[derive(Clone, Debug)]
pub struct Unwinding {
    pub buffer: UnwindBuffer,
    /// Upper bound of the buffer's contents.
    pub bound: Bound,
    /// Functions whose tail calls became plain calls, because they can suspend.
    pub lowered: Vec<String>,
    /// Functions that hold references while they wait, which lie in tables and not in the buffer.
    pub hold_references: Vec<String>,
}

/// Adds Asyncify and the unwind buffer to a shimmed module.
///
/// # Errors
/// A construct that Asyncify does not support ([`Error::Unsupported`], [`Error::Feature`]), no space for the buffer, or
/// an error of Binaryen.
pub fn instrument(
    shimmed: &[u8],
    features: &[Feature],
    how: Instrumentation,
    binaryen: &Binaryen,
) -> Result<Instrumented, Error> {
    let module = reachable(shimmed)?;
    let analysis = Analysis::of(&module);
    if analysis.suspending().next().is_none() {
        return Ok(Instrumented { wasm: shimmed.to_vec(), unwinding: None });
    }
    match how.pass {
        Pass::Own => by_own_pass(shimmed, module, analysis, features, how),
        Pass::Binaryen => by_binaryen(module, analysis, features, how, binaryen),
    }
}

/// By the pass in [`crate::own`], on exactly the bytes that the buffer was added to: what comes out of it is the artefact.
fn by_own_pass(
    shimmed: &[u8],
    module: Module,
    analysis: Analysis,
    features: &[Feature],
    how: Instrumentation,
) -> Result<Instrumented, Error> {
    unsupported::check_tables(&Labels::of(&module), &analysis)?;
    // How large the buffer has to be, the pass tells; its code does not depend on that.
    let least = analysis.suspending().map(|function| (function, 0)).collect();
    let mut bytes = match analysis.bound(&least) {
        Ok(_) => stack_size(how, &Bound::Bytes(0)),
        Err(_) => stack_size(how, &Bound::Recursion(Vec::new())),
    };
    drop((module, analysis));
    let verify = how.verify || cfg!(debug_assertions);
    let checked = own::Checked { asserts: how.asserts, verify };
    loop {
        let mut module = reachable(shimmed)?;
        let buffer = buffer::append(&mut module, bytes)?;
        let buffered = encode(&mut module);
        let module = parse(&buffered)?;
        let analysis = Analysis::of(&module);
        let output = own::instrument(&buffered, &module, &analysis, features, checked)?;
        let labels = Labels::of(&module);
        let bound = match analysis.bound(&output.frames) {
            Ok(bytes) => Bound::Bytes(bytes + u64::from(buffer::HEADER_BYTES)),
            Err(cycle) => Bound::Recursion(cycle.into_iter().map(|id| labels.get(id)).collect()),
        };
        let needed = stack_size(how, &bound);
        if needed > buffer.bytes {
            bytes = needed;
            continue;
        }
        let named = |ids: BTreeSet<FunctionId>| ids.into_iter().map(|id| labels.get(id)).collect();
        let unwinding = Unwinding {
            buffer,
            bound,
            lowered: named(output.lowered),
            hold_references: named(output.hold_references),
        };
        return Ok(Instrumented { wasm: output.wasm, unwinding: Some(unwinding) });
    }
}

fn by_binaryen(
    mut module: Module,
    mut analysis: Analysis,
    features: &[Feature],
    how: Instrumentation,
    binaryen: &Binaryen,
) -> Result<Instrumented, Error> {
    unsupported::check(&module, &analysis, features, binaryen.external.is_some())?;
    let names = Names::ours(&mut module);
    if analysis.called_once(&module) > MOST_CALLED_ONCE {
        module = fold(&mut module, features, binaryen)?;
        analysis = Analysis::of(&module);
    }
    let (outlined_calls, lowered) = Outlined::apply(&mut module, &analysis);
    let lowered = lowered.into_iter().filter_map(|id| names.shown(&module, id)).collect();
    let before = in_order(&module, &analysis);
    let outlined = encode(&mut module);
    drop((module, analysis));

    // On exactly the bytes that Binaryen receives.
    let module = parse(&outlined)?;
    let analysis = Analysis::of(&module);
    let only = in_order(&module, &analysis);
    // Never more functions; fewer if an outlined tail call has made code unreachable.
    let before: BTreeSet<&String> = before.values().collect();
    if !only.values().all(|name| before.contains(name)) {
        return Err(Error::changed("instrument", "the set of functions that can suspend"));
    }
    let work = BinaryenProcess::new(binaryen, features, &module)?;
    let wasm = match work.asyncify(&outlined, Some(&only), how.asserts) {
        // Binaryen's message may be truncated, because one of several threads ends the process.
        Err(error @ Error::Binaryen { .. }) => {
            return Err(references(&outlined, &module, &analysis, &names, &work).unwrap_or(error));
        }
        Err(Error::Unreadable { message, who }) => {
            return Err(unreadable(message, who, &module, &names));
        }
        result => result?,
    };

    let mut instrumented = parse(&wasm)?;
    let (state, functions) = check_instrumented(&instrumented, &only)?;
    let bound = match frames::measure(&instrumented, &only).map(|frames| analysis.bound(&frames)) {
        Ok(Ok(bytes)) => Bound::Bytes(bytes + u64::from(buffer::HEADER_BYTES)),
        Ok(Err(cycle)) => {
            let named = cycle.into_iter().filter_map(|id| names.shown(&module, id));
            Bound::Recursion(named.collect())
        }
        Err(function) => Bound::Unknown(names.shown_by_name(&function).unwrap_or(function)),
    };
    let memory = instrumented.memories.iter().next().map(Memory::id).ok_or(Error::NoMemory)?;
    polish::polish(&mut instrumented, memory, state, &functions);
    outlined_calls.restore(&mut instrumented)?;
    let buffer = buffer::append(&mut instrumented, stack_size(how, &bound))?;
    let wasm = encode(&mut instrumented);
    drop((instrumented, module, analysis));
    let optimized = work.optimize(&wasm)?;
    let unwinding = Unwinding { buffer, bound, lowered, hold_references: Vec::new() };
    Ok(Instrumented { wasm: names.restore(&optimized)?, unwinding: Some(unwinding) })
}

/// Removes what no export, start function, table or data segment of a shimmed module needs. Binaryen would read and
/// write it four times before its last optimisation removes it.
fn reachable(shimmed: &[u8]) -> Result<Module, Error> {
    let mut module = parse(shimmed)?;
    walrus::passes::gc::run(&mut module);
    Ok(module)
}

/// A module is folded if more functions than this can suspend and have a single caller each. An optimising compiler
/// does not leave so many.
const MOST_CALLED_ONCE: usize = 1000;

/// Runs `-O2` before Asyncify, to inline functions with a single caller. Once instrumented, each function of a chain is
/// small enough to be inlined into its caller and too large to be inlined further, and Binaryen's inlining of 20 000
/// such functions takes thirty times as long as that of the original functions.
fn fold(module: &mut Module, features: &[Feature], binaryen: &Binaryen) -> Result<Module, Error> {
    let work = BinaryenProcess::new(binaryen, features, module)?;
    parse(&work.optimize(&encode(module))?)
}

/// The size of a shimmed module if Asyncify instrumented its default: every function that makes an indirect call.
///
/// # Errors
/// As for [`instrument`]; also any tail call, which Asyncify rejects.
pub fn by_default(shimmed: &[u8], features: &[Feature], binaryen: &Binaryen) -> Result<u64, Error> {
    let mut module = parse(shimmed)?;
    let names = Names::ours(&mut module);
    let work = BinaryenProcess::new(binaryen, features, &module)?;
    let wasm = work.asyncify(&encode(&mut module), None, false)?;
    let mut instrumented = parse(&wasm)?;
    buffer::append(&mut instrumented, Instrumentation::STACK_SIZE)?;
    let wasm = names.restore(&work.optimize(&encode(&mut instrumented))?)?;
    Ok(wasm.len() as u64)
}

/// Runs `-O2` on a module.
///
/// # Errors
/// A module that the Binaryen in use cannot read, or an error of Binaryen.
pub fn optimize(wasm: &[u8], features: &[Feature], binaryen: &Binaryen) -> Result<Vec<u8>, Error> {
    crate::module::features::instrumentable(features, binaryen.external.is_some())?;
    let mut module = parse(wasm)?;
    let names = Names::ours(&mut module);
    let work = BinaryenProcess::new(binaryen, features, &module)?;
    let optimized = work.optimize(&encode(&mut module))?;
    names.restore(&optimized)
}

/// The functions that can suspend, with their names.
fn in_order(module: &Module, analysis: &Analysis) -> BTreeMap<FunctionId, String> {
    let labels = Labels::of(module);
    analysis.suspending().map(|id| (id, labels.get(id))).collect()
}

fn stack_size(how: Instrumentation, bound: &Bound) -> u32 {
    let needed = match bound {
        Bound::Bytes(bytes) => u32::try_from(*bytes).unwrap_or(u32::MAX).max(buffer::LEAST_BYTES),
        Bound::Recursion(_) | Bound::Unknown(_) => Instrumentation::STACK_SIZE,
    };
    how.stack_size.unwrap_or(needed)
}

/// Checks whether Asyncify failed because of references that live across a wait: it then succeeds without the functions
/// that have references. Bisect: blames each suspect that fails on its own; if none does, blames all.
fn references(
    outlined: &[u8],
    module: &Module,
    analysis: &Analysis,
    names: &Names,
    work: &BinaryenProcess<'_>,
) -> Option<Error> {
    let suspected = unsupported::holds_references(module, analysis);
    let fails_with = |with: &[FunctionId]| {
        let mut only = in_order(module, analysis);
        only.retain(|other, _| with.contains(other) || !suspected.contains(other));
        // An empty list would mean all functions.
        !only.is_empty() && work.asyncify(outlined, Some(&only), false).is_err()
    };
    if suspected.is_empty() || fails_with(&[]) {
        return None;
    }
    let mut held = alone(&suspected, fails_with);
    if held.is_empty() {
        held.clone_from(&suspected);
    }
    let held: Vec<String> = held.into_iter().filter_map(|id| names.shown(module, id)).collect();
    Some(Error::Unsupported {
        what: "references that are held while the function waits, which Asyncify cannot save,",
        functions: unsupported::list(&held),
        advice: "keep an index into a table instead of the reference",
    })
}

/// Limit of Binaryen runs to find the functions to blame.
const MOST_TRIALS: usize = 32;

/// Of functions that fail together, those for which `fails` on their own; as many as the limit of trials allows.
fn alone(suspected: &[FunctionId], fails: impl Fn(&[FunctionId]) -> bool) -> Vec<FunctionId> {
    let (mut held, mut trials) = (Vec::new(), 0);
    // The first half is tried first, so that the result is in order.
    let mut pending = vec![suspected];
    while let Some(some) = pending.pop() {
        if trials == MOST_TRIALS {
            break;
        }
        trials += 1;
        if !fails(some) {
            continue;
        }
        match some {
            [one] => held.push(*one),
            several => {
                let (first, second) = several.split_at(several.len() / 2);
                pending.extend([second, first]);
            }
        }
    }
    held
}

/// The reason why Binaryen could not read a module: blocks with parameters, as far as we know.
fn unreadable(message: String, who: &'static str, module: &Module, names: &Names) -> Error {
    let blamed = unsupported::have_block_parameters(module).into_iter();
    let blamed: Vec<String> = blamed.filter_map(|id| names.shown(module, id)).collect();
    if blamed.is_empty() {
        return Error::Unreadable { message, who };
    }
    Error::Unsupported {
        what: "blocks with parameters, which the Binaryen in use cannot read,",
        functions: unsupported::list(&blamed),
        advice: "build without `-mmultivalue`, or give a newer Binaryen with `--wasm-opt`",
    }
}

/// By the name that Binaryen sees: a function's source name, and its name in messages.
struct Names(BTreeMap<String, (Option<String>, String)>);

impl Names {
    /// Gives every function a unique name without meaning.
    fn ours(module: &mut Module) -> Self {
        let labels = Labels::of(module);
        let mut shown: BTreeMap<FunctionId, String> =
            module.funcs.iter().map(|f| (f.id(), labels.get(f.id()))).collect();
        let mut names = BTreeMap::new();
        for (position, function) in module.funcs.iter_mut().enumerate() {
            let name = format!("faasm{position}");
            let shown = shown.remove(&function.id()).unwrap_or_default();
            names.insert(name.clone(), (function.name.replace(name), shown));
        }
        // Binaryen cannot read a name section that names only some data segments.
        let segments: Vec<_> = module.data.iter().map(|data| data.id()).collect();
        for segment in segments {
            module.data.get_mut(segment).name = None;
        }
        Self(names)
    }

    /// The name in messages of a function that has a name of ours.
    fn shown(&self, module: &Module, id: FunctionId) -> Option<String> {
        self.shown_by_name(module.funcs.get(id).name.as_ref()?)
    }

    fn shown_by_name(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|(_, shown)| shown.clone())
    }

    /// Restores source names. Functions that Binaryen created keep its names.
    fn restore(&self, wasm: &[u8]) -> Result<Vec<u8>, Error> {
        let mut module = parse(wasm)?;
        for function in module.funcs.iter_mut() {
            let name = function.name.as_ref().and_then(|name| self.0.get(name));
            if let Some((source, _)) = name {
                function.name.clone_from(source);
            }
        }
        Ok(encode(&mut module))
    }
}

/// Checks that every function that can suspend is instrumented. Returns these functions, and Asyncify's state.
fn check_instrumented(
    module: &Module,
    only: &BTreeMap<FunctionId, String>,
) -> Result<(State, BTreeSet<FunctionId>), Error> {
    let left = |name: &String| Error::NotInstrumented { function: name.clone() };
    let state = State::of(module);
    let state = state.ok_or_else(|| Error::changed("instrument", "Asyncify's exports"))?;
    let named = frames::by_name(module);
    let mut functions = BTreeSet::new();
    for name in only.values() {
        let found = named.get(name).copied().filter(|id| state.is_read_by(module, *id));
        functions.insert(found.ok_or_else(|| left(name))?);
    }
    Ok((state, functions))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::features;

    #[test]
    fn culprits_are_found_by_bisection() {
        let wat = format!("(module (memory 1) {})", "(func)".repeat(1000));
        let module = parse(&wat::parse_str(wat).unwrap()).unwrap();
        let all: Vec<FunctionId> = module.funcs.iter().map(walrus::Function::id).collect();
        let trials = std::cell::Cell::new(0);
        let fails = |with: &[FunctionId]| {
            trials.set(trials.get() + 1);
            with.contains(&all[700])
        };
        assert_eq!(alone(&all, fails), [all[700]]);
        assert!(trials.get() <= 21, "{}", trials.get());
        assert!(alone(&all, |_| true).len() < MOST_TRIALS);
        assert!(alone(&all, |with| with.len() > 1).is_empty());
    }

    #[test]
    fn unreachable_functions_are_not_instrumented() {
        let wat = r#"(module
            (import "faasm_bridge" "suspend" (func $suspend))
            (import "env" "unused" (func $unused))
            (memory (export "memory") 1)
            (table (export "table") 2 funcref)
            (elem (i32.const 0) $in_table)
            (func $in_table (call $suspend))
            (func $dead (call $suspend) (call $unused))
            (func $called)
            (func (export "_start") (call $called) (call $suspend)))"#;
        let mut module = reachable(&wat::parse_str(wat).unwrap()).unwrap();
        let names: Vec<_> = module.funcs.iter().filter_map(|f| f.name.clone()).collect();
        assert_eq!(names, ["suspend", "in_table", "called"]);
        wasmparser::validate(&encode(&mut module)).unwrap();
    }

    #[test]
    fn a_module_that_never_waits_is_unchanged() {
        let wasm =
            wat::parse_str("(module (memory 1) (func $f (export \"_start\") return_call $f))")
                .unwrap();
        let how = Instrumentation::default();
        let binaryen = Binaryen::of("/nowhere/binaryen");
        let out = instrument(&wasm, &features::used(&wasm), how, &binaryen).unwrap();
        assert_eq!(out.wasm, wasm);
        assert!(out.unwinding.is_none());
    }
}
