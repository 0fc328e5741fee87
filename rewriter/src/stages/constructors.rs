//! Determines where the constructors run, and removes wrappers that would run them again.
//!
//! Linkers and C libraries disagree. `wasm-ld` synthesises `__wasm_call_ctors`. If the library's start file calls it,
//! nothing else happens. If no start file does and it is not exported either, `wasm-ld` takes every export for a whole
//! program and wraps it:
//!
//! ```wat
//! (func $malloc.command_export (param i32) (result i32)
//!   (call $__wasm_call_ctors)
//!   (call $malloc (local.get 0))
//!   (call $__wasm_call_dtors))
//! ```
//!
//! Each call of that `malloc` by the host would reset the guest's globals. So its export is redirected to the inner
//! function. That is safe because an export is reached only from outside, and the host calls the entry first, which
//! runs the constructors once. `_start` keeps its wrapper, which is the program there. If there are no constructors the
//! first call is missing, and a wrapper still runs the destructors.
//!
//! Emscripten's start file always calls the constructors, and its optimiser may inline them there, so that no call
//! remains. An Emscripten command is therefore recognised by its other exports or its imports.
//!
//! A wrapper is recognised by its name, `*.command_export`; if names were stripped, by *every* exported function having
//! this shape around one and the same pair. A program's own function that calls three others in a row is unchanged.

use faasm_bridge::entry::{self, CONSTRUCTORS, ModuleView, WRAPPED};
use std::collections::BTreeSet;
use std::convert::Infallible;
use walrus::ir::{
    Call, Instr, ReturnCall, Value, Visitor, VisitorMut, dfs_in_order, dfs_pre_order_mut,
};
use walrus::{
    ConstExpr, ExportId, ExportItem, FunctionBuilder, FunctionId, FunctionKind, Module, ValType,
};

/// A module, as the rules of [`faasm_bridge::entry`] look at it.
pub(crate) struct View<'a>(pub(crate) &'a Module);

impl ModuleView for View<'_> {
    type Function = FunctionId;
    type Error = Infallible;

    fn exported(&self, name: &str) -> Option<FunctionId> {
        exported_function(self.0, name)
    }

    fn exports(&self) -> impl Iterator<Item = &str> {
        self.0.exports.iter().map(|export| export.name.as_str())
    }

    fn imports_of_env(&self) -> impl Iterator<Item = &str> {
        let from_env = self.0.imports.iter().filter(|import| import.module == "env");
        from_env.map(|import| import.name.as_str())
    }

    fn words(&self, function: FunctionId) -> Option<(usize, usize)> {
        let (params, results) = self.0.types.params_results(self.0.funcs.get(function).ty());
        let is_word = |ty: &ValType| *ty == ValType::I32;
        params.iter().chain(results).all(is_word).then_some((params.len(), results.len()))
    }

    fn callees(&self, function: FunctionId) -> Result<Vec<FunctionId>, Infallible> {
        let mut callees = Callees::default();
        if let FunctionKind::Local(function) = &self.0.funcs.get(function).kind {
            dfs_in_order(&mut callees, function, function.entry_block());
        }
        Ok(callees.0.into_iter().collect())
    }
}

/// The constructors of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Constructors {
    /// The function that runs them; `None` if there are no constructors, or if they cannot be identified.
    pub(crate) function: Option<FunctionId>,
    /// Whether `None` means that there are no constructors.
    pub(crate) certain: bool,
}

impl Constructors {
    /// Whether calling `entry` runs the constructors.
    pub(crate) fn run_in(&self, module: &Module, entry: FunctionId) -> bool {
        self.function.is_some_and(|constructors| {
            let Ok(reaches) = entry::reaches(&View(module), entry, constructors);
            reaches
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wrapper {
    before: Option<FunctionId>,
    inner: FunctionId,
    after: Option<FunctionId>,
}

impl Wrapper {
    fn pair(&self) -> (Option<FunctionId>, Option<FunctionId>) {
        (self.before, self.after)
    }
}

/// Finds the constructors, and redirects wrapped exports, except those in `keep`, to the functions that they wrap.
pub(crate) fn settle(module: &mut Module, keep: &[&str]) -> Constructors {
    let exported = exported_function(module, CONSTRUCTORS).filter(|id| is_plain(module, *id));
    if exported.is_some() {
        // If it is exported by request, the linker wraps no exports.
        return Constructors { function: exported, certain: true };
    }
    let named = module.funcs.by_name(CONSTRUCTORS).filter(|id| is_plain(module, *id));
    let wrappers = wrappers(module);
    let function = named.or_else(|| wrappers.iter().find_map(|(_, wrapper)| wrapper.before));
    // The linker omits the function if nothing needs it; in a module with names, its absence is certain.
    let has_names = module.funcs.iter_local().any(|(id, _)| name(module, id).is_some());
    let certain = has_names || !wrappers.is_empty();
    for (export, wrapper) in wrappers {
        if !keep.contains(&module.exports.get(export).name.as_str()) {
            module.exports.get_mut(export).item = ExportItem::Function(wrapper.inner);
        }
    }
    Constructors { function, certain }
}

/// Makes the constructors run at their first call only, whoever calls them.
///
/// ```wat
/// (func $faasm:ctors.once
///   (if (global.get $ran) (then (return)))
///   (global.set $ran (i32.const 1))
///   (call $__wasm_call_ctors))
/// ```
///
/// Redirects every call and export of `ctors` there, and returns the new function. This is safe because a program
/// relies on its constructors having run, but not on their running twice.
pub(crate) fn run_once(module: &mut Module, ctors: FunctionId) -> FunctionId {
    let ran = module.globals.add_local(ValType::I32, true, false, ConstExpr::Value(Value::I32(0)));
    let mut once = FunctionBuilder::new(&mut module.types, &[], &[]);
    let mut body = once.name("faasm:ctors.once".to_owned()).func_body();
    body.global_get(ran).if_else(
        None,
        |then| {
            then.return_();
        },
        |_| {},
    );
    body.i32_const(1).global_set(ran).call(ctors);
    let once = once.finish(Vec::new(), &mut module.funcs);
    let mut redirect = Redirect { from: ctors, to: once };
    for (id, function) in module.funcs.iter_local_mut() {
        if id != once {
            let entry = function.entry_block();
            dfs_pre_order_mut(&mut redirect, function, entry);
        }
    }
    for export in module.exports.iter_mut() {
        if matches!(export.item, ExportItem::Function(function) if function == ctors) {
            export.item = ExportItem::Function(once);
        }
    }
    once
}

struct Redirect {
    from: FunctionId,
    to: FunctionId,
}

impl VisitorMut for Redirect {
    fn visit_call_mut(&mut self, call: &mut Call) {
        if call.func == self.from {
            call.func = self.to;
        }
    }
}

/// The function exported under a name.
pub(crate) fn exported_function(module: &Module, name: &str) -> Option<FunctionId> {
    module.exports.iter().find_map(|export| match export.item {
        ExportItem::Function(function) if export.name == name => Some(function),
        _ => None,
    })
}

fn name(module: &Module, id: FunctionId) -> Option<&str> {
    module.funcs.get(id).name.as_deref()
}

/// The exports that are wrappers.
fn wrappers(module: &Module) -> Vec<(ExportId, Wrapper)> {
    let exports: Vec<(ExportId, FunctionId)> = module
        .exports
        .iter()
        .filter_map(|export| match export.item {
            ExportItem::Function(function) => Some((export.id(), function)),
            _ => None,
        })
        .collect();
    let named: Vec<(ExportId, Wrapper)> = exports
        .iter()
        .filter_map(|(export, id)| Some((*export, named_wrapper(module, *id)?)))
        .collect();
    if !named.is_empty() || exports.iter().any(|(_, id)| name(module, *id).is_some()) {
        return named;
    }
    unnamed_wrappers(module, &exports).unwrap_or_default()
}

/// A function called `X.command_export` is a wrapper of the function `X`.
fn named_wrapper(module: &Module, id: FunctionId) -> Option<Wrapper> {
    let inner = name(module, id)?.strip_suffix(WRAPPED)?;
    let readings = readings(module, id);
    match readings.as_slice() {
        [only] => Some(*only),
        several => several.iter().find(|it| name(module, it.inner) == Some(inner)).copied(),
    }
}

/// Without names, either all exports are wrappers around one pair, or none is.
fn unnamed_wrappers(
    module: &Module,
    exports: &[(ExportId, FunctionId)],
) -> Option<Vec<(ExportId, Wrapper)>> {
    let readings: Vec<_> =
        exports.iter().map(|(export, id)| (*export, readings(module, *id))).collect();
    let clear = |(_, readings): &(ExportId, Vec<Wrapper>)| match readings.as_slice() {
        [only] => Some(only.pair()),
        _ => None,
    };
    let pair = readings.iter().find_map(clear).filter(|(_, after)| after.is_some())?;
    readings
        .into_iter()
        .map(|(export, readings)| {
            Some((export, readings.into_iter().find(|wrapper| wrapper.pair() == pair)?))
        })
        .collect()
}

/// Parses a function as `call before; local.get…; call inner; call after`, of which the first and last may be missing.
///
/// Two calls without arguments or results can be parsed in two ways.
fn readings(module: &Module, id: FunctionId) -> Vec<Wrapper> {
    let FunctionKind::Local(function) = &module.funcs.get(id).kind else { return Vec::new() };
    // Three calls and the arguments, and one more to detect a longer body. A module can export one long body many
    // times.
    let longest = function.args.len() + 4;
    let entry = function.block(function.entry_block());
    let body: Vec<&Instr> = entry.instrs.iter().take(longest).map(|(instr, _)| instr).collect();
    let rest = |body: &[&Instr], before: Option<FunctionId>| {
        let (arguments, calls) = body.split_at_checked(function.args.len())?;
        let passes_on = arguments
            .iter()
            .zip(&function.args)
            .all(|(instr, arg)| matches!(instr, Instr::LocalGet(get) if get.local == *arg));
        let (inner, after) = match calls {
            [Instr::Call(inner)] => (inner.func, None),
            [Instr::Call(inner), Instr::Call(after)] => (inner.func, Some(after.func)),
            _ => return None,
        };
        let fits = passes_on
            && before.is_none_or(|before| is_plain(module, before))
            && after.is_none_or(|after| is_plain(module, after))
            && module.funcs.get(inner).ty() == module.funcs.get(id).ty();
        fits.then_some(Wrapper { before, inner, after })
    };
    let without = rest(&body, None);
    let with = match body.split_first() {
        Some((Instr::Call(before), body)) => rest(body, Some(before.func)),
        _ => None,
    };
    with.into_iter().chain(without).collect()
}

fn is_plain(module: &Module, id: FunctionId) -> bool {
    entry::is_plain(&View(module), id)
}

/// The functions that one calls directly.
#[derive(Default)]
struct Callees(BTreeSet<FunctionId>);

impl<'instr> Visitor<'instr> for Callees {
    fn visit_call(&mut self, call: &Call) {
        self.0.insert(call.func);
    }

    fn visit_return_call(&mut self, call: &ReturnCall) {
        self.0.insert(call.func);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::normalise::parse;

    #[test]
    fn a_wrapper_is_recognised_by_its_first_instructions() {
        let body = "(call $inner) (call $after) (nop)".repeat(1000);
        let wat = format!("(module (memory 1) (func $inner) (func $after) (func $long {body}))");
        let module = parse(&wat::parse_str(wat).unwrap()).unwrap();
        assert!(readings(&module, module.funcs.by_name("long").unwrap()).is_empty());
    }
}
