//! The two engines that suspend and resume functions, and the choice between them.
//!
//! The engines are in `glue/engine.js`, so that no runtime code runs between two suspensions.

mod choice;
mod microbench;

pub(crate) use choice::{EngineRequest, choose};

use js_sys::{Function, Object, Promise, WebAssembly};
use wasm_bindgen::prelude::*;

/// The kind of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Asyncify,
    Jspi,
}

impl Kind {
    /// The kind as in options and statistics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Kind::Asyncify => "asyncify",
            Kind::Jspi => "jspi",
        }
    }
}

#[wasm_bindgen(module = "/glue/engine.js")]
extern "C" {
    /// An engine, for one instance.
    pub(crate) type Engine;

    /// Asyncify, with an unwind buffer of `bytes` at the end of memory; `wait` returns a promise for each suspension.
    pub(crate) fn asyncify(wait: &Function, bytes: u32) -> Engine;

    /// JavaScript Promise Integration.
    pub(crate) fn jspi(wait: &Function) -> Engine;

    /// Suspends the guest: called in an import that can suspend; the import returns its result.
    #[wasm_bindgen(method, getter)]
    pub(crate) fn suspend(this: &Engine) -> Function;

    /// Wraps an import that can suspend, for the module's import object.
    #[wasm_bindgen(method, catch)]
    pub(crate) fn suspending(this: &Engine, import: &Function) -> Result<JsValue, JsValue>;

    /// Binds the engine to its instance.
    #[wasm_bindgen(method, catch)]
    pub(crate) fn attach(
        this: &Engine,
        exports: &Object,
        memory: &WebAssembly::Memory,
    ) -> Result<(), JsValue>;

    /// Calls a function of the guest, with or without an argument, and drives it through all its suspensions.
    #[wasm_bindgen(method, catch)]
    pub(crate) fn call(
        this: &Engine,
        function: &Function,
        argument: &JsValue,
    ) -> Result<Promise, JsValue>;

    /// The number of suspensions.
    #[wasm_bindgen(method)]
    pub(crate) fn suspensions(this: &Engine) -> u32;
}
