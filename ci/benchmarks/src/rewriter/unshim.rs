//! Restores the original imports of a shimmed module, so that any host can run it without suspending it.
//!
//! ```wat
//! ;; before                                             ;; after
//! (import "faasm_bridge" "begin:M.N" (func $begin …))    (import "M" "N" (func $call …))
//! (import "faasm_bridge" "finish:M.N" (func $finish …))  (global $result (mut i32) (i32.const 0))
//! (import "faasm_bridge" "suspend" (func $suspend))      (func $begin … (global.set $result (call $call …)) (i32.const 0))
//!                                                        (func $finish (result i32) (global.get $result))
//!                                                        (func $suspend unreachable)
//! ```
//!
//! The instrumented code is unchanged, and no engine can infer that the state is always "normal": it is in a mutable
//! global, and the functions that could change it are still present.

use super::artefact::read;
use anyhow::{Context as _, Result, anyhow, bail};
use faasm_asyncify::{BRIDGE_MODULE, SUSPEND};
use std::collections::BTreeMap;
use walrus::{ConstExpr, ExportItem, FunctionId, GlobalId, ImportKind, Module, ValType, ir::Value};

/// Rewrites the module. Removes names, and exported functions other than the entry: those of Asyncify, and
/// constructors, which Binaryen may have moved into the entry.
pub(crate) fn unshim(wasm: &[u8], entry: &[String]) -> Result<Vec<u8>> {
    let mut module = read(wasm)?;
    let bridge: BTreeMap<String, FunctionId> = module
        .imports
        .iter()
        .filter(|import| import.module == BRIDGE_MODULE)
        .filter_map(|import| match import.kind {
            ImportKind::Function(function) => Some((import.name.clone(), function)),
            _ => None,
        })
        .collect();
    for (name, function) in &bridge {
        match name.split_once(':') {
            Some(("begin", call)) => {
                let finish = bridge.get(&format!("finish:{call}"));
                let finish = *finish
                    .with_context(|| format!("the shim imports {name} without finish:{call}"))?;
                call_at_once(&mut module, call, *function, finish)?;
            }
            Some(("finish", _)) => {}
            Some(("trap", _)) => replace(&mut module, *function, |_, _| {})?,
            _ if name == SUSPEND => replace(&mut module, *function, |body, _| {
                body.unreachable();
            })?,
            _ => bail!("unknown import of the shim: `{name}`"),
        }
    }
    let exports: Vec<_> = module
        .exports
        .iter()
        .filter(|export| matches!(export.item, ExportItem::Function(_)))
        .filter(|export| !entry.contains(&export.name))
        .map(|export| export.id())
        .collect();
    for export in exports {
        module.exports.delete(export);
    }
    for function in module.funcs.iter_mut() {
        function.name = None;
    }
    Ok(module.emit_wasm())
}

/// `call` is `MODULE.NAME`.
fn call_at_once(
    module: &mut Module,
    call: &str,
    begin: FunctionId,
    finish: FunctionId,
) -> Result<()> {
    let (from, name) = call.split_once('.').with_context(|| format!("`{call}` has no module"))?;
    let (params, _) = module.types.params_results(module.funcs.get(begin).ty());
    let (_, results) = module.types.params_results(module.funcs.get(finish).ty());
    let (params, results) = (params.to_vec(), results.to_vec());
    let result: Option<GlobalId> = match results.as_slice() {
        [] => None,
        [ValType::I32] => Some(module.globals.add_local(
            ValType::I32,
            true,
            false,
            ConstExpr::Value(Value::I32(0)),
        )),
        _ => bail!("`{call}` does not return exactly one i32"),
    };
    let ty = module.types.add(&params, &results);
    let (original, _) = module.add_import_func(from, name, ty);
    replace(module, begin, |body, arguments| {
        for argument in arguments {
            body.local_get(*argument);
        }
        body.call(original);
        if let Some(result) = result {
            body.global_set(result);
        }
        body.i32_const(0);
    })?;
    replace(module, finish, |body, _| {
        if let Some(result) = result {
            body.global_get(result);
        }
    })
}

fn replace(
    module: &mut Module,
    import: FunctionId,
    build: impl FnOnce(&mut walrus::InstrSeqBuilder<'_>, &[walrus::LocalId]),
) -> Result<()> {
    module
        .replace_imported_func(import, |(body, arguments)| build(body, arguments))
        .map(drop)
        .map_err(|error| anyhow!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use faasm_asyncify::{normalise, shim};

    const WAITING: &str = r#"(module
        (import "env" "__faasm_await_call" (func $await (param i32) (result i32)))
        (import "env" "__faasm_pull_state" (func $pull (param i32 i32)))
        (import "env" "unknown" (func $unknown))
        (memory (export "memory") 1)
        (func (export "asyncify_get_state") (result i32) i32.const 0)
        (func (export "_start")
            (drop (call $await (i32.const 7)))
            (call $pull (i32.const 0) (i32.const 8))
            (if (i32.load (i32.const 0)) (then (call $unknown)))))"#;

    #[test]
    fn the_original_imports_are_back() {
        let original = wat::parse_str(WAITING).unwrap();
        let shimmed = shim(&normalise(&original).unwrap().wasm).unwrap();
        let unshimmed = unshim(&shimmed, &["_start".to_owned()]).unwrap();
        let module = read(&unshimmed).unwrap();
        let imports: Vec<_> = module
            .imports
            .iter()
            .map(|import| format!("{}.{}", import.module, import.name))
            .collect();
        assert_eq!(imports, ["env.__faasm_await_call", "env.__faasm_pull_state"]);
        let exports: Vec<_> = module.exports.iter().map(|export| export.name.as_str()).collect();
        assert_eq!(exports, ["memory", "_start"]);
        // The module is valid: `normalise` rejects invalid ones.
        normalise(&unshimmed).unwrap();
    }
}
