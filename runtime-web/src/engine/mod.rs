//! How a function is suspended and resumed, in one of two ways, and which of them suits this browser.

mod asyncify;
mod choice;
mod jspi;
mod trial;

pub(crate) use asyncify::Asyncify;
pub(crate) use choice::{Wanted, choose};
pub(crate) use jspi::Jspi;

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

/// A way to suspend WebAssembly.
pub(crate) trait Engine {
    fn kind(&self) -> Kind;

    /// What a module imports for a function that can suspend it.
    fn suspending(&self, import: &Function) -> Result<JsValue, JsValue>;

    /// The guest has to wait: called in an import that can suspend, which returns what this gives.
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
