//! Builds the import object of a function's module.

use super::{Bindings, Called, RunNumber};
use crate::engine::Engine;
use crate::entry::wide_arguments;
use crate::error::{Code, FaasmError, describe};
use crate::function::Program;
use faasm_bridge::host::{HostCall, ImportClass, Returns, Suspends, ValType, classify};
use js_sys::{Function, Object, Reflect, WebAssembly};
use wasm_bindgen::prelude::*;

#[wasm_bindgen(module = "/glue/host.js")]
extern "C" {
    #[wasm_bindgen(js_name = useRuntime)]
    fn use_runtime(memory: &JsValue, exports: &JsValue, wide: *const u64);

    #[wasm_bindgen(js_name = importFunction)]
    fn import_function(kind: &str, run: u32, row: u32, params: &str) -> Function;

    #[wasm_bindgen(js_name = waitingFunction)]
    fn waiting_function(
        run: u32,
        begin: &Function,
        suspend: &Function,
        finish: &Function,
    ) -> Function;
}

/// The import module of the rewriter's shims.
pub(crate) const BRIDGE: &str = "faasm_bridge";

/// Builds the import object of a module.
pub(crate) fn import_object(
    program: &Program,
    bindings: &Bindings,
    run: &RunNumber,
    engine: &Engine,
) -> Result<Object, FaasmError> {
    use_runtime(&wasm_bindgen::memory(), &wasm_bindgen::exports(), wide_arguments());
    let suspending = |import: &Function| engine.suspending(import).map_err(cannot_provide);
    let imports = Object::new();
    for import in WebAssembly::Module::imports(&program.module).iter() {
        let field = |name: &str| {
            let value = Reflect::get(&import, &name.into()).ok().and_then(|v| v.as_string());
            value.unwrap_or_default()
        };
        let (from, name) = (field("module"), field("name"));
        let bind = |kind: &str, row: u32, params: &[ValType]| {
            import_function(kind, run.get(), row, &letters(params))
        };
        let begin = |call: HostCall| bind("host_begin", call.index(), call.row().params);
        let finish = |call: HostCall| bind("host_finish", call.index(), &[]);
        let trap = |import: String| {
            let mut names = bindings.traps.borrow_mut();
            names.push(import);
            bind("host_trap", names.len() as u32 - 1, &[])
        };
        let function: JsValue = if from == BRIDGE {
            match name.split_once(':') {
                None if name == "suspend" => suspending(&engine.suspend())?,
                Some(("begin", row)) => begin(row_named(row)?).into(),
                Some(("finish", row)) => finish(row_named(row)?).into(),
                Some(("trap", import)) => trap(import.to_owned()).into(),
                Some(("call", "arguments")) => {
                    bind("host_called", Called::Count as u32, &[]).into()
                }
                Some(("call", "argument")) => {
                    bind("host_called", Called::Argument as u32, &[ValType::I32]).into()
                }
                Some(("call", "function")) => {
                    bind("host_called", Called::Function as u32, &[]).into()
                }
                _ => return Err(unbound(&from, &name)),
            }
        } else if field("kind") == "function" {
            match classify(&from, &name) {
                ImportClass::Known(call) if call.row().returns == Returns::F64 => {
                    bind("host_number", call.index(), &[]).into()
                }
                ImportClass::Known(call) if call.row().suspends == Suspends::Never => {
                    bind("host_call", call.index(), call.row().params).into()
                }
                // Only originals import blocking rows directly; in built modules the shim imports their halves.
                ImportClass::Known(call) => suspending(&waiting_function(
                    run.get(),
                    &begin(call),
                    &engine.suspend(),
                    &finish(call),
                ))?,
                ImportClass::Family(_) | ImportClass::Unknown => {
                    trap(format!("{from}.{name}")).into()
                }
            }
        } else {
            let mut storage = program.storage.iter();
            let found = storage.find(|storage| (&storage.module, &storage.name) == (&from, &name));
            let storage = found.ok_or_else(|| unbound(&from, &name))?;
            storage.make().map_err(cannot_provide)?
        };
        set(&imports, &from, &name, &function);
    }
    Ok(imports)
}

fn row_named(import: &str) -> Result<HostCall, FaasmError> {
    let found = import.split_once('.').and_then(|(module, name)| HostCall::by_import(module, name));
    found.ok_or_else(|| unbound(BRIDGE, import))
}

fn letters(params: &[ValType]) -> String {
    let letter = |param: &ValType| match param {
        ValType::I32 => 'i',
        ValType::I64 => 'I',
        ValType::F64 => unreachable!("parameters of host calls are integers"),
    };
    params.iter().map(letter).collect()
}

fn set(imports: &Object, module: &str, name: &str, function: &JsValue) {
    let existing = Reflect::get(imports, &module.into()).unwrap_or(JsValue::UNDEFINED);
    let namespace: Object = existing.dyn_into().unwrap_or_else(|_| Object::new());
    let fits = "properties of a plain object can be set";
    Reflect::set(&namespace, &name.into(), function).expect(fits);
    Reflect::set(imports, &module.into(), &namespace).expect(fits);
}

fn cannot_provide(thrown: JsValue) -> FaasmError {
    let message = format!("cannot create the module's imports: {}", describe(&thrown));
    FaasmError::new(Code::CannotLoad, message)
}

fn unbound(module: &str, name: &str) -> FaasmError {
    let message = format!(
        "the module imports `{module}.{name}`, which this runtime lacks: build it with the faasm-asyncify of the same version"
    );
    FaasmError::new(Code::CannotLoad, message)
}
