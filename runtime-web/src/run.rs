//! A run of a function in the page: instantiates it, calls its entries through all suspensions, and collects the
//! result.

use crate::api::promise;
use crate::cancel::CancelToken;
use crate::engine::{self, Engine, Kind};
use crate::error::{Code, FaasmError, code_of, describe};
use crate::function::Loaded;
use crate::global::{RUNTIME, performance_now};
use crate::host::{Bindings, Exported, Listeners, RunNumber, import_object};
use crate::shared::Shared;
use faasm_bridge::guest::{Fault, Guest, Invocation};
use faasm_bridge::manifest::{GROW_EXPORT, GUEST_LIMIT_EXPORT, GUEST_PAGES_EXPORT, UnwindBuffer};
use faasm_bridge::names::name_frames;
use js_sys::{Array, Error, Function, Object, Promise, Reflect, WebAssembly};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) return_value: i32,
    pub(crate) output: Vec<u8>,
    pub(crate) stats: Stats,
}

/// Statistics of a run; times in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stats {
    /// `None` if the run was in the cluster.
    pub(crate) engine: Option<Kind>,
    pub(crate) suspensions: u32,
    pub(crate) chained_calls: u32,
    pub(crate) total: f64,
    pub(crate) suspended: f64,
}

#[wasm_bindgen(module = "/glue/pointer.js")]
extern "C" {
    /// The function behind a pointer, and its argument.
    #[wasm_bindgen(js_name = pointerEntry, catch)]
    fn pointer_entry(table: &JsValue, pointer: u32, input: &str) -> Result<Array, JsValue>;
}

/// The parameters of a run.
pub(crate) struct Start {
    pub(crate) loaded: Rc<Loaded>,
    pub(crate) engine: Kind,
    pub(crate) invocation: Invocation,
    /// The index in the table to call instead of the main entry.
    pub(crate) pointer: Option<u32>,
    /// The number of a chained call.
    pub(crate) call: Option<u32>,
}

/// Runs a loaded function on this thread.
pub(crate) async fn run(
    start: Start,
    shared: Rc<Shared>,
    listeners: Listeners,
    cancel: Rc<CancelToken>,
) -> Result<Outcome, FaasmError> {
    let Start { loaded, engine, invocation, pointer, call } = start;
    let began = performance_now();
    let program = loaded.program(engine).await?;
    let pointer =
        pointer.map(|pointer| (pointer, String::from_utf8_lossy(&invocation.input).into_owned()));
    // Only an instrumented module has an unwind buffer to hide.
    let buffer = program.buffer.unwrap_or(UnwindBuffer { bytes: 0 });
    let caller = shared.chains.caller(&loaded, program.engine, call, &cancel);
    let guest = Guest::new(invocation, loaded.facts);
    let bindings = Bindings::new(guest, buffer.bytes, caller, shared, listeners, cancel.clone());
    let number = RunNumber::of(&bindings);
    let wait = waiting(&bindings);
    let wait_function = wait.as_ref().unchecked_ref();
    let engine = match program.engine {
        Kind::Jspi => engine::jspi(wait_function),
        Kind::Asyncify => engine::asyncify(wait_function, buffer.bytes),
    };

    let imports = import_object(&program, &bindings, &number, &engine)?;
    let exports = instantiate(&program.module, &imports).await?;
    let guest = Exports { exports, loaded: &loaded };
    let memory = guest.memory()?;
    bindings.attach(Exported {
        memory: &memory,
        table: loaded.entry.table.as_deref().map_or(JsValue::UNDEFINED, |name| guest.get(name)),
        malloc: guest.malloc(),
        grow: guest.grow(&memory),
        fence: guest.fence(),
    });
    // With Asyncify, a module without a buffer is not instrumented, and cannot suspend.
    if program.engine == Kind::Jspi || program.buffer.is_some() {
        engine.attach(&guest.exports, &memory).map_err(|thrown| FaasmError::thrown(&thrown))?;
    }

    let ended = match pointer {
        Some((pointer, input)) => enter_pointer(&guest, &engine, &bindings, pointer, &input).await,
        None => enter(&guest, &engine, &bindings).await,
    };
    bindings.end();
    drop((number, wait));
    if let Some(reason) = cancel.reason() {
        return Err(reason.clone());
    }
    let return_value = match ended {
        Ok(value) => value,
        Err(error) => return Err(with_names(error, &loaded, program.engine).await),
    };
    let stats = Stats {
        engine: Some(program.engine),
        suspensions: engine.suspensions(),
        chained_calls: bindings.chained(),
        total: performance_now() - began,
        suspended: bindings.waited.get(),
    };
    Ok(Outcome { return_value, output: bindings.take_output(), stats })
}

/// The engine's callback for each suspension: returns a promise that resolves when the guest may resume.
fn waiting(bindings: &Rc<Bindings>) -> Closure<dyn Fn() -> Promise> {
    let bindings = Rc::downgrade(bindings);
    Closure::new(move || {
        let bindings = bindings.upgrade();
        promise(async move {
            if let Some(bindings) = bindings {
                bindings.wait().await;
            }
            Ok(JsValue::UNDEFINED)
        })
    })
}

/// Puts the function names of the source into a trap's stack and message.
async fn with_names(mut error: FaasmError, loaded: &Loaded, engine: Kind) -> FaasmError {
    let Some(stack) = &error.stack else { return error };
    let Some(names) = loaded.names(engine).await else { return error };
    let named = |text: &str| name_frames(text, RUNTIME, names);
    (error.stack, error.message) = (Some(named(stack)), named(&error.message));
    error
}

/// Calls the entries in order; the return value is that of the last, or of the one that exits.
async fn enter(
    guest: &Exports<'_>,
    engine: &Engine,
    bindings: &Bindings,
) -> Result<i32, FaasmError> {
    let mut return_value = 0;
    for name in &guest.loaded.entry.main {
        let entry = guest.function(name)?;
        match call(engine, &entry, &JsValue::UNDEFINED).await {
            Ok(value) => return_value = value,
            Err(thrown) => return ended(&thrown, bindings),
        }
    }
    Ok(return_value)
}

/// Calls a function of the table, in a fresh instance, after the constructors.
async fn enter_pointer(
    guest: &Exports<'_>,
    engine: &Engine,
    bindings: &Bindings,
    pointer: u32,
    input: &str,
) -> Result<i32, FaasmError> {
    let entry = &guest.loaded.entry;
    let table = entry.table.as_ref().map_or(JsValue::UNDEFINED, |table| guest.get(table));
    let found = pointer_entry(&table, pointer, input).map_err(|e| FaasmError::thrown(&e))?;
    let (target, argument): (Function, JsValue) = (found.get(0).unchecked_into(), found.get(1));
    for name in &entry.before_pointer {
        let before = guest.function(name)?;
        if let Err(thrown) = call(engine, &before, &JsValue::UNDEFINED).await {
            return ended(&thrown, bindings);
        }
    }
    match call(engine, &target, &argument).await {
        Ok(value) => Ok(value),
        Err(thrown) => ended(&thrown, bindings),
    }
}

async fn call(engine: &Engine, entry: &Function, argument: &JsValue) -> Result<i32, JsValue> {
    let value = JsFuture::from(engine.call(entry, argument)?).await?;
    Ok(value.as_f64().map_or(0, |number| number as i32))
}

/// Interprets an exception from the guest: its exit, or an error.
fn ended(thrown: &JsValue, bindings: &Bindings) -> Result<i32, FaasmError> {
    if code_of(thrown).is_some() {
        return Err(FaasmError::thrown(thrown));
    }
    match bindings.take_fault() {
        Some(Fault::Exit(code)) => Ok(code),
        Some(fault) => {
            // The cause's code is more specific than the kernel's, for example `connection-lost`.
            let code = match (&fault, bindings.take_failure()) {
                (Fault::Operation { .. }, Some(failure)) => failure.code,
                _ => Code::named(fault.code()),
            };
            Err(FaasmError::new(code, fault.to_string()))
        }
        None => {
            if let Some(failure) = bindings.take_failure() {
                return Err(failure);
            }
            let exhausted = is_stack_exhaustion(thrown);
            let (code, what) = match exhausted {
                true => (Code::StackExhausted, "used up its stack"),
                false => (Code::Trap, "trapped"),
            };
            let message = format!("the function {what}: {}", describe(thrown));
            let mut error = FaasmError::new(code, message);
            error.stack = thrown
                .dyn_ref::<Error>()
                .and_then(|thrown| Reflect::get(thrown, &"stack".into()).ok())
                .and_then(|stack| stack.as_string());
            Err(error)
        }
    }
}

/// Stack exhaustion is a `RangeError`, in Firefox an `InternalError`; all other traps are `WebAssembly.RuntimeError`s.
fn is_stack_exhaustion(thrown: &JsValue) -> bool {
    let name = thrown.dyn_ref::<Error>().map(|error| String::from(error.name()));
    matches!(name.as_deref(), Some("RangeError" | "InternalError"))
}

async fn instantiate(module: &WebAssembly::Module, imports: &Object) -> Result<Object, FaasmError> {
    let promise = WebAssembly::instantiate_module(module, imports);
    let instance = JsFuture::from(promise).await.map_err(|thrown| {
        let message = format!("the module cannot be instantiated: {}", describe(&thrown));
        FaasmError::new(Code::CannotLoad, message)
    })?;
    let instance: WebAssembly::Instance = instance.unchecked_into();
    Ok(instance.exports())
}

/// An instance's exports, looked up by the manifest's names.
struct Exports<'a> {
    exports: Object,
    loaded: &'a Loaded,
}

impl Exports<'_> {
    fn get(&self, name: &str) -> JsValue {
        Reflect::get(&self.exports, &name.into()).unwrap_or(JsValue::UNDEFINED)
    }

    fn function(&self, name: &str) -> Result<Function, FaasmError> {
        self.get(name).dyn_into().map_err(|_| self.missing("function", name))
    }

    fn memory(&self) -> Result<WebAssembly::Memory, FaasmError> {
        let name = &self.loaded.entry.memory;
        self.get(name).dyn_into().map_err(|_| self.missing("memory", name))
    }

    fn malloc(&self) -> Option<Function> {
        self.get(self.loaded.entry.malloc.as_deref()?).dyn_into().ok()
    }

    /// The function by which the host grows memory; an instrumented module exports its own, which moves the unwind
    /// buffer.
    fn grow(&self, memory: &WebAssembly::Memory) -> Option<Function> {
        match self.get(GROW_EXPORT).dyn_into() {
            Ok(grow) => Some(grow),
            Err(_) => {
                let grow = Reflect::get(memory, &"grow".into()).ok()?;
                Some(grow.unchecked_into::<Function>().bind0(memory))
            }
        }
    }

    /// The globals of the fence, if the module has one.
    fn fence(&self) -> Option<[WebAssembly::Global; 2]> {
        let global = |name| self.get(name).dyn_into().ok();
        Some([global(GUEST_PAGES_EXPORT)?, global(GUEST_LIMIT_EXPORT)?])
    }

    fn missing(&self, kind: &str, name: &str) -> FaasmError {
        let message = format!(
            "the manifest of `{}` names a {kind} `{name}` that the module does not export: build it again",
            self.loaded.name
        );
        FaasmError::new(Code::CannotLoad, message)
    }
}
