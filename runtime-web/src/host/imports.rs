//! The import object of a function module.

use super::{Bindings, Raise};
use crate::engine::{Engine, Interruption};
use crate::error::{Code, FaasmError, describe};
use crate::function::Program;
use faasm_bridge::guest::Fault;
use faasm_bridge::host::{HostCall, ImportClass, Suspends, ValType, classify};
use js_sys::{Function, Object, Reflect, WebAssembly};
use std::rc::{Rc, Weak};
use wasm_bindgen::prelude::*;

#[wasm_bindgen(module = "/js/imports.js")]
extern "C" {
    #[wasm_bindgen(js_name = importFunction)]
    fn import_function(
        handle: &Function,
        memory: &JsValue,
        slots: *const u64,
        row: u32,
        params: &str,
    ) -> Function;

    #[wasm_bindgen(js_name = waitingFunction)]
    fn waiting_function(begin: &Function, suspend: &Function, finish: &Function) -> Function;
}

/// Import module of the calls the rewriter adds.
pub(crate) const BRIDGE: &str = "faasm_bridge";

type Handler = Closure<dyn Fn(u32) -> Result<i32, JsValue>>;

/// The closures that the import object holds on to; dropped with the run.
#[derive(Debug)]
pub(crate) struct Closures {
    _handlers: [Handler; 4],
    _suspend: Closure<dyn Fn() -> Result<JsValue, JsValue>>,
}

/// The import object of a module, and what keeps it alive.
pub(crate) fn import_object(
    program: &Program,
    bindings: &Rc<Bindings>,
    engine: &Rc<dyn Engine>,
) -> Result<(Object, Closures), FaasmError> {
    let (calls, calls_closure) = handler(bindings, |bindings, row| bindings.call(known(row)?));
    let (begins, begins_closure) = handler(bindings, |bindings, row| bindings.begin(known(row)?));
    let (finishes, finishes_closure) =
        handler(bindings, |bindings, row| bindings.finish(known(row)?));
    let (traps, traps_closure) = handler(bindings, |bindings, position| {
        let import = bindings.traps.borrow().get(position as usize).cloned().unwrap_or_default();
        let (module, name) = import.split_once('.').unwrap_or_default();
        Err(match classify(module, name) {
            ImportClass::Family(_) => Fault::ClusterOnly { import },
            _ => Fault::UnknownImport { import },
        }
        .into())
    });
    let (weak_engine, weak_bindings) = (Rc::downgrade(engine), Rc::downgrade(bindings));
    let suspend_closure: Closure<dyn Fn() -> Result<JsValue, JsValue>> =
        Closure::new(move || suspend(&weak_engine, &weak_bindings));
    let suspend: &Function = suspend_closure.as_ref().unchecked_ref();
    let suspending = |import: &Function| engine.suspending(import).map_err(cannot_provide);

    let memory = wasm_bindgen::memory();
    let slots = bindings.slots.as_ptr().cast::<u64>();
    let imports = Object::new();
    for import in WebAssembly::Module::imports(&program.module).iter() {
        let field = |name: &str| {
            let value = Reflect::get(&import, &name.into()).ok().and_then(|v| v.as_string());
            value.unwrap_or_default()
        };
        let (from, name) = (field("module"), field("name"));
        let bind = |handle: &Function, row: u32, params: &[ValType]| {
            import_function(handle, &memory, slots, row, &letters(params))
        };
        let begin = |call: HostCall| bind(&begins, call.index(), call.row().params);
        let finish = |call: HostCall| bind(&finishes, call.index(), &[]);
        let trap = |import: String| {
            let mut names = bindings.traps.borrow_mut();
            names.push(import);
            bind(&traps, names.len() as u32 - 1, &[])
        };
        let function: JsValue = if from == BRIDGE {
            match name.split_once(':') {
                None if name == "suspend" => suspending(suspend)?,
                Some(("begin", row)) => begin(row_named(row)?).into(),
                Some(("finish", row)) => finish(row_named(row)?).into(),
                Some(("trap", import)) => trap(import.to_owned()).into(),
                _ => return Err(unbound(&from, &name)),
            }
        } else if field("kind") == "function" {
            match classify(&from, &name) {
                ImportClass::Known(call) if call.row().suspends == Suspends::Never => {
                    bind(&calls, call.index(), call.row().params).into()
                }
                // The rest is only in originals; what is built has it behind the calls of the bridge.
                ImportClass::Known(call) => {
                    suspending(&waiting_function(&begin(call), suspend, &finish(call)))?
                }
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
    let _handlers = [calls_closure, begins_closure, finishes_closure, traps_closure];
    Ok((imports, Closures { _handlers, _suspend: suspend_closure }))
}

fn suspend(engine: &Weak<dyn Engine>, bindings: &Weak<Bindings>) -> Result<JsValue, JsValue> {
    let (Some(engine), Some(bindings)) = (engine.upgrade(), bindings.upgrade()) else {
        return Err(JsValue::from_str("the run is over"));
    };
    match engine.suspend() {
        Ok(value) => Ok(value),
        Err(Interruption::Thrown(thrown)) => Err(thrown),
        Err(Interruption::Failed(error)) => {
            let thrown = JsValue::from_str(&error.message);
            *bindings.failure.borrow_mut() = Some(error);
            Err(thrown)
        }
    }
}

/// A JavaScript function of the row's index that turns faults into something thrown.
fn handler(
    bindings: &Rc<Bindings>,
    act: impl Fn(&Bindings, u32) -> Result<i32, Raise> + 'static,
) -> (Function, Handler) {
    let weak = Rc::downgrade(bindings);
    let closure = Handler::new(move |row| {
        let bindings = weak.upgrade().ok_or_else(|| JsValue::from_str("the run is over"))?;
        act(&bindings, row).map_err(|raise| bindings.throw(raise))
    });
    (closure.as_ref().unchecked_ref::<Function>().clone(), closure)
}

fn known(row: u32) -> Result<HostCall, Fault> {
    HostCall::from_index(row).ok_or(Fault::Order { call: "a row that is not in the table" })
}

fn row_named(import: &str) -> Result<HostCall, FaasmError> {
    let found = import.split_once('.').and_then(|(module, name)| HostCall::by_import(module, name));
    found.ok_or_else(|| unbound(BRIDGE, import))
}

fn letters(params: &[ValType]) -> String {
    let letter = |param: &ValType| match param {
        ValType::I32 => 'i',
        ValType::I64 => 'I',
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
    let message = format!("what the module imports cannot be made: {}", describe(&thrown));
    FaasmError::new(Code::CannotLoad, message)
}

fn unbound(module: &str, name: &str) -> FaasmError {
    let message = format!(
        "the module imports `{module}.{name}`, which this runtime cannot bind: build it with the faasm-asyncify of the same version"
    );
    FaasmError::new(Code::CannotLoad, message)
}
