//! How a function is suspended and resumed, in one of two ways, and which of them suits this browser.
//!
//! The ways themselves are in `glue/engine.js`: between a suspension and the next there is then nothing but the browser.

mod choice;
mod microbench;

pub(crate) use choice::{Wanted, choose};

use js_sys::{Function, Object, Promise, WebAssembly};
use wasm_bindgen::prelude::*;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Asyncify,
    Jspi,
}

impl Kind {
    /// As options and figures have it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Kind::Asyncify => "asyncify",
            Kind::Jspi => "jspi",
        }
    }
}

#[wasm_bindgen(module = "/glue/engine.js")]
extern "C" {
    /// A way to suspend one instance.
    pub(crate) type Engine;

    /// By Asyncify, into so many bytes at the end of memory; `wait` gives a promise for each suspension.
    pub(crate) fn asyncify(wait: &Function, bytes: u32) -> Engine;

    /// By JavaScript Promise Integration.
    pub(crate) fn jspi(wait: &Function) -> Engine;

    /// The guest has to wait: called in an import that can suspend, which returns what this gives.
    #[wasm_bindgen(method, getter)]
    pub(crate) fn suspend(this: &Engine) -> Function;

    /// What a module imports for a function that can suspend it.
    #[wasm_bindgen(method, catch)]
    pub(crate) fn suspending(this: &Engine, import: &Function) -> Result<JsValue, JsValue>;

    /// Binds the engine to its instance.
    #[wasm_bindgen(method, catch)]
    pub(crate) fn attach(
        this: &Engine,
        exports: &Object,
        memory: &WebAssembly::Memory,
    ) -> Result<(), JsValue>;

    /// Calls a function of the guest that takes nothing or, where it is given, an argument, and takes it through all its
    /// suspensions.
    #[wasm_bindgen(method, catch)]
    pub(crate) fn call(
        this: &Engine,
        function: &Function,
        argument: &JsValue,
    ) -> Result<Promise, JsValue>;

    /// How often the guest was suspended.
    #[wasm_bindgen(method)]
    pub(crate) fn suspensions(this: &Engine) -> u32;
}
