//! Stage 3: Asyncify, by Binaryen in a child process.
//!
//! Before:
//!
//! ```wat
//! (func $f (call $g) (call $h))
//! ```
//!
//! After, in outline: while unwinding, each function on the stack saves its locals and the place of the call into the
//! unwind buffer and returns; while rewinding it restores them and goes straight to that call.
//!
//! ```wat
//! (func $f
//!   (if (rewinding) (then restore locals and $place))
//!   (if (or (normal) (at 0)) (then (call $g) (if (unwinding) (then save locals and 0; return))))
//!   (if (or (normal) (at 1)) (then (call $h) (if (unwinding) (then save locals and 1; return)))))
//! ```
//!
//! Why it is safe: only `faasm_bridge.suspend` may begin an unwinding, every function on a path to it is instrumented
//! ([`crate::asyncify::analyse`], checked on what Binaryen made), and the host begins and ends both phases between two returns to it.
//!
//! Binaryen takes the functions to instrument by name, in a list with wildcards and commas, where an empty list means all
//! of them. Source names can be anything and need not be unique, so functions get names of ours for the journey; and where
//! nothing suspends, Binaryen is not asked at all.
//!
//! The order: what nothing can reach goes ([`reachable`]); names of ours; a long chain of functions becomes few
//! ([`fold`]); calls that Asyncify must not see are outlined ([`crate::asyncify::outline`]); the analysis, on exactly the bytes that
//! Binaryen gets, for optimising between the two would make functions that no list has; Asyncify; what each function saves
//! is measured ([`crate::asyncify::frames`]), the outlined calls restored and the unwind [`buffer`] added; then `-O2`, where most of the cost is
//! won back.

use crate::Error;
use crate::asyncify::analyse::{Analysis, Bound, Labels};
use crate::asyncify::frames::{self, State};
use crate::asyncify::outline::Outlined;
use crate::asyncify::{buffer, polish, unsupported};
use crate::binaryen::{Binaryen, BinaryenProcess};
use crate::module::encode::encode;
use crate::module::features::Feature;
use crate::stages::normalise::parse;
use faasm_bridge::manifest::UnwindBuffer;
use std::collections::{BTreeMap, BTreeSet};
use walrus::{FunctionId, Memory, Module};

/// How to instrument.
#[derive(Clone, Copy, Debug, Default)]
pub struct Instrumentation {
    /// Bytes for the unwound stack; else as many as it can become, or [`Instrumentation::STACK_SIZE`] where that has no
    /// bound.
    pub stack_size: Option<u32>,
    /// Functions that are not instrumented trap when they see the function suspend. For tests: it is slow.
    pub asserts: bool,
}

impl Instrumentation {
    /// 256 KiB: 60 times what Emscripten gives, for recursion such as an interpreter's.
    pub const STACK_SIZE: u32 = 256 * 1024;
}

/// A function for every engine.
#[derive(Clone, Debug)]
pub struct Instrumented {
    pub wasm: Vec<u8>,
    /// None where nothing suspends: the module is then as it came.
    pub unwinding: Option<Unwinding>,
}

/// How the function unwinds.
#[derive(Clone, Debug)]
pub struct Unwinding {
    pub buffer: UnwindBuffer,
    /// What the buffer would have to hold at most.
    pub bound: Bound,
    /// Functions in which tail calls became plain ones, for they can suspend.
    pub lowered: Vec<String>,
}

/// Adds Asyncify to a shimmed module, and room for the unwound stack.
///
/// # Errors
/// What Asyncify cannot do ([`Error::Unsupported`], [`Error::Feature`]), no room for the buffer, or Binaryen's own.
pub fn instrument(
    shimmed: &[u8],
    features: &[Feature],
    how: Instrumentation,
    binaryen: &Binaryen,
) -> Result<Instrumented, Error> {
    let mut module = reachable(shimmed)?;
    let mut analysis = Analysis::of(&module);
    if analysis.suspending().next().is_none() {
        return Ok(Instrumented { wasm: shimmed.to_vec(), unwinding: None });
    }
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

    // On exactly the bytes that Binaryen gets.
    let module = parse(&outlined)?;
    let analysis = Analysis::of(&module);
    let only = in_order(&module, &analysis);
    // Not more; fewer where a outlined tail call has uncovered code that nothing reaches.
    let before: BTreeSet<&String> = before.values().collect();
    if !only.values().all(|name| before.contains(name)) {
        return Err(Error::changed("instrument", "which functions can suspend"));
    }
    let work = BinaryenProcess::new(binaryen, features, &module)?;
    let wasm = match work.asyncify(&outlined, Some(&only), how.asserts) {
        // It may be cut short what Binaryen says, for it ends in one of several threads.
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
    let unwinding = Unwinding { buffer, bound, lowered };
    Ok(Instrumented { wasm: names.restore(&optimized)?, unwinding: Some(unwinding) })
}

/// A shimmed module without what no export, start function, table or data needs: Binaryen would read and write it four
/// times before its last optimisation leaves it out.
fn reachable(shimmed: &[u8]) -> Result<Module, Error> {
    let mut module = parse(shimmed)?;
    walrus::passes::gc::run(&mut module);
    Ok(module)
}

/// With more functions than these that can suspend and have one caller each, a module is folded. No compiler that
/// optimises leaves so many.
const MOST_CALLED_ONCE: usize = 1000;

/// `-O2` ahead of Asyncify, which puts functions with one caller into that. Instrumented, each of a chain is small enough
/// to be put into its caller and too large to go further, and Binaryen's inlining of 20 000 such takes thirty times as long
/// as that of the functions as they came.
fn fold(module: &mut Module, features: &[Feature], binaryen: &Binaryen) -> Result<Module, Error> {
    let work = BinaryenProcess::new(binaryen, features, module)?;
    parse(&work.optimize(&encode(module))?)
}

/// The size of a shimmed module if Asyncify instrumented what it would by default: whatever makes an indirect call.
///
/// # Errors
/// As for [`instrument`]; also a tail call anywhere, which Asyncify refuses.
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

/// `-O2` on a module as it is.
///
/// # Errors
/// What the Binaryen in use cannot read, or its own.
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

/// Why Asyncify failed, if it was for references that live across a wait: without the functions that have references it
/// does not fail. Those are to blame with which alone it fails again, or all of them, where it takes several together.
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
        // An empty list would mean everything.
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

/// Most runs of Binaryen to find out which functions are to blame.
const MOST_TRIALS: usize = 32;

/// Of some functions, which together fail, those with which alone it `fails`; as many as the trials give.
fn alone(suspected: &[FunctionId], fails: impl Fn(&[FunctionId]) -> bool) -> Vec<FunctionId> {
    let (mut held, mut trials) = (Vec::new(), 0);
    // The first half of each comes first, so that what is found is in order.
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

/// What Binaryen could not read: blocks with parameters, as far as we know.
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

/// Source names of functions by the names they have for Binaryen, and what messages call them.
struct Names(BTreeMap<String, (Option<String>, String)>);

impl Names {
    /// Gives every function a name that is unique and has no meaning.
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
        // Binaryen cannot read a name section in which only some data segments have names.
        let segments: Vec<_> = module.data.iter().map(|data| data.id()).collect();
        for segment in segments {
            module.data.get_mut(segment).name = None;
        }
        Self(names)
    }

    /// What messages call a function that has a name of ours.
    fn shown(&self, module: &Module, id: FunctionId) -> Option<String> {
        self.shown_by_name(module.funcs.get(id).name.as_ref()?)
    }

    fn shown_by_name(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|(_, shown)| shown.clone())
    }

    /// Functions that Binaryen made keep its names.
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

/// Every function that can suspend has to be instrumented. Gives these, and how Asyncify keeps its state.
fn check_instrumented(
    module: &Module,
    only: &BTreeMap<FunctionId, String>,
) -> Result<(State, BTreeSet<FunctionId>), Error> {
    let left = |name: &String| Error::NotInstrumented { function: name.clone() };
    let state = State::of(module);
    let state = state.ok_or_else(|| Error::changed("instrument", "what Asyncify exports"))?;
    let named = frames::by_name(module);
    let mut functions = BTreeSet::new();
    for name in only.values() {
        let found = named.get(name).copied().filter(|id| state.is_asked_by(module, *id));
        functions.insert(found.ok_or_else(|| left(name))?);
    }
    Ok((state, functions))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::features;

    #[test]
    fn those_to_blame_are_found_by_halves() {
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
    fn what_nothing_reaches_is_not_instrumented() {
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
    fn what_never_waits_is_left_alone() {
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
