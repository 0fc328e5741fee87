//! One run of a function in the page: instantiate, call its entries through all suspensions, collect the result.

use crate::connection::Connection;
use crate::engine::{Asyncify, Engine, Interruption};
use crate::error::{Code, FaasmError, describe};
use crate::function::Loaded;
use crate::global::{RUNTIME, console_error, performance_now};
use crate::host::{Bindings, import_object};
use faasm_bridge::guest::{Fault, Invocation, Stream};
use faasm_bridge::manifest::{GROW_EXPORT, UnwindBuffer};
use faasm_bridge::names::name_frames;
use faasm_bridge::state::LocalTier;
use js_sys::{Array, Error, Function, Object, Reflect, WebAssembly};
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{TextDecodeOptions, TextDecoder};

/// What a page wants to hear of a run.
pub(crate) struct Listeners {
    stdout: Option<Listener>,
    stderr: Option<Listener>,
}

struct Listener {
    callback: Function,
    /// Keeps the bytes of a character that was printed in two parts.
    decoder: TextDecoder,
}

impl Listeners {
    pub(crate) fn new(stdout: Option<Function>, stderr: Option<Function>) -> Result<Self, JsValue> {
        let listen = |callback: Option<Function>| match callback {
            Some(callback) => {
                TextDecoder::new().map(|decoder| Some(Listener { callback, decoder }))
            }
            None => Ok(None),
        };
        Ok(Self { stdout: listen(stdout)?, stderr: listen(stderr)? })
    }

    /// Passes on what is left of a character that the guest did not finish.
    pub(crate) fn flush(&self) {
        for listener in [&self.stdout, &self.stderr].into_iter().flatten() {
            let rest = listener.decoder.decode().unwrap_or_default();
            if !rest.is_empty() {
                listener.tell(&rest);
            }
        }
    }

    pub(crate) fn print(&self, stream: Stream, bytes: &[u8]) {
        let listener = match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        };
        let Some(listener) = listener else { return };
        let options = TextDecodeOptions::new();
        options.set_stream(true);
        let text = listener.decoder.decode_with_u8_array_and_options(bytes, &options);
        listener.tell(&text.unwrap_or_default());
    }
}

impl Listener {
    fn tell(&self, text: &str) {
        // A listener that throws must not end the guest it listens to.
        if let Err(thrown) = self.callback.call1(&JsValue::UNDEFINED, &text.into()) {
            console_error(&format!("a listener of a function threw: {}", describe(&thrown)));
        }
    }
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) return_value: i32,
    pub(crate) output: Vec<u8>,
    pub(crate) stats: Stats,
}

/// Figures of a run; times in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stats {
    pub(crate) suspensions: u32,
    pub(crate) chained_calls: u32,
    pub(crate) total: f64,
    pub(crate) suspended: f64,
}

/// Runs a loaded function in this page.
pub(crate) async fn run(
    loaded: &Loaded,
    invocation: Invocation,
    connection: Rc<Connection>,
    tier: Rc<RefCell<LocalTier>>,
    listeners: Listeners,
) -> Result<Outcome, FaasmError> {
    let began = performance_now();
    // A module that is not instrumented never suspends, so its engine's buffer is never used.
    let instrumented = loaded.manifest.engines.asyncify.buffer;
    let buffer = instrumented.unwrap_or(UnwindBuffer { bytes: 0 });
    let bindings = Bindings::new(invocation, buffer.bytes, connection, tier, listeners);
    let pending = bindings.clone();
    let wait = Box::new(move || {
        let future: futures_util::future::LocalBoxFuture<'static, ()> =
            Box::pin(pending.clone().wait());
        future
    });
    let asyncify = Rc::new(Asyncify::new(buffer, wait));
    let engine: Rc<dyn Engine> = asyncify.clone();

    let (imports, closures) = import_object(&loaded.module, &bindings, &engine)?;
    let exports = instantiate(&loaded.module, &imports).await?;
    let guest = Exports { exports, loaded };
    let memory = guest.memory()?;
    bindings.attach(memory.clone(), guest.malloc(), guest.grow(&memory));
    if instrumented.is_some() {
        asyncify.attach(&guest.exports, &memory)?;
    }

    let ended = enter(&guest, engine.as_ref(), &bindings).await;
    bindings.end();
    drop(closures);
    let return_value = match ended {
        Ok(value) => value,
        Err(error) => return Err(with_names(error, loaded).await),
    };
    let stats = Stats {
        suspensions: engine.suspensions(),
        chained_calls: bindings.chained.get(),
        total: performance_now() - began,
        suspended: bindings.waited.get(),
    };
    Ok(Outcome { return_value, output: bindings.take_output(), stats })
}

/// A trap in the words of the source: its stack, and what its message says of functions.
async fn with_names(mut error: FaasmError, loaded: &Loaded) -> FaasmError {
    let Some(stack) = &error.stack else { return error };
    let Some(names) = loaded.names().await else { return error };
    let named = |text: &str| name_frames(text, RUNTIME, names);
    (error.stack, error.message) = (Some(named(stack)), named(&error.message));
    error
}

/// Calls the entries in order; the last gives the return value, or whichever exits.
async fn enter(
    guest: &Exports<'_>,
    engine: &dyn Engine,
    bindings: &Bindings,
) -> Result<i32, FaasmError> {
    let mut return_value = 0;
    for name in &guest.loaded.manifest.entry.main {
        let entry = guest.function(name)?;
        match engine.call(&entry, &Array::new()).await {
            Ok(value) => return_value = value.as_f64().map_or(0, |number| number as i32),
            Err(interruption) => return ended(interruption, bindings),
        }
    }
    Ok(return_value)
}

/// What an interrupted call means: the guest's exit, or an error.
fn ended(interruption: Interruption, bindings: &Bindings) -> Result<i32, FaasmError> {
    let thrown = match interruption {
        Interruption::Failed(error) => return Err(error),
        Interruption::Thrown(thrown) => thrown,
    };
    match bindings.take_fault() {
        Some(Fault::Exit(code)) => Ok(code),
        Some(fault) => {
            // The cause knows better than the kernel whether the connection is gone.
            let code = match (&fault, bindings.take_failure()) {
                (Fault::Operation { .. }, Some(failure)) => failure.code,
                _ => Code::Fault(fault.code()),
            };
            Err(FaasmError::new(code, fault.to_string()))
        }
        None => {
            if let Some(failure) = bindings.take_failure() {
                return Err(failure);
            }
            let exhausted = is_stack_exhaustion(&thrown);
            let (code, what) = match exhausted {
                true => (Code::StackExhausted, "used up its stack"),
                false => (Code::Trap, "trapped"),
            };
            let message = format!("the function {what}: {}", describe(&thrown));
            let mut error = FaasmError::new(code, message);
            error.stack = thrown
                .dyn_ref::<Error>()
                .and_then(|thrown| Reflect::get(thrown, &"stack".into()).ok())
                .and_then(|stack| stack.as_string());
            Err(error)
        }
    }
}

/// Engines throw a `RangeError` for it, Firefox an `InternalError`; every other end of a guest is a
/// `WebAssembly.RuntimeError`.
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

/// Exports of an instance, by what the manifest calls them.
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
        let name = &self.loaded.manifest.entry.memory;
        self.get(name).dyn_into().map_err(|_| self.missing("memory", name))
    }

    fn malloc(&self) -> Option<Function> {
        self.get(self.loaded.manifest.entry.malloc.as_deref()?).dyn_into().ok()
    }

    /// How the host makes memory grow: past the unwind buffer, where the module has one.
    fn grow(&self, memory: &WebAssembly::Memory) -> Option<Function> {
        match self.get(GROW_EXPORT).dyn_into() {
            Ok(grow) => Some(grow),
            Err(_) => {
                let grow = Reflect::get(memory, &"grow".into()).ok()?;
                Some(grow.unchecked_into::<Function>().bind0(memory))
            }
        }
    }

    fn missing(&self, kind: &str, name: &str) -> FaasmError {
        let message = format!(
            "the manifest of `{}` names a {kind} `{name}` that the module does not export: build it again",
            self.loaded.manifest.name
        );
        FaasmError::new(Code::CannotLoad, message)
    }
}
