//! How a function is suspended and resumed.

mod asyncify;

pub(crate) use asyncify::Asyncify;

use crate::error::FaasmError;
use futures_util::future::LocalBoxFuture;
use js_sys::{Array, Function};
use wasm_bindgen::JsValue;

/// Why a call into the guest ended without a result.
#[derive(Debug)]
pub(crate) enum Interruption {
    /// Thrown out of the guest: a trap, or what a host call threw.
    Thrown(JsValue),
    /// The engine itself could not go on.
    Failed(FaasmError),
}

impl From<JsValue> for Interruption {
    fn from(thrown: JsValue) -> Self {
        Interruption::Thrown(thrown)
    }
}

/// Performs the operation the function waits for; called once for each suspension.
pub(crate) type Wait = Box<dyn Fn() -> LocalBoxFuture<'static, ()>>;

/// A way to suspend WebAssembly.
pub(crate) trait Engine {
    /// The import `faasm_bridge.suspend`: the guest calls it where it has to wait.
    fn suspend(&self) -> Result<JsValue, Interruption>;

    /// Calls a function of the guest, and takes it through all its suspensions.
    fn call<'a>(
        &'a self,
        function: &'a Function,
        args: &'a Array,
    ) -> LocalBoxFuture<'a, Result<JsValue, Interruption>>;

    /// How often the guest was suspended.
    fn suspensions(&self) -> u32;
}
