//! Errors as pages see them: `Error` objects with a `name` of `FaasmError` and a stable `code`.

/// The codes that programs go by; `types.d.ts` lists the same ones.
pub(crate) use faasm_bridge::ErrorCode as Code;

use faasm_bridge::state::StateError;
use js_sys::{Error, Reflect};
use wasm_bindgen::{JsCast, JsValue};

/// An error on its way to the page.
#[derive(Clone, Debug)]
pub(crate) struct FaasmError {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// The stack of a trap, if the browser provides one; it names the guest's functions.
    pub(crate) stack: Option<String>,
    /// The page's own reason or exception.
    pub(crate) cause: Option<JsValue>,
}

impl FaasmError {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), stack: None, cause: None }
    }
}

impl FaasmError {
    /// From an exception of the runtime's JavaScript, which may have a code.
    pub(crate) fn thrown(thrown: &JsValue) -> Self {
        Self::new(code_of(thrown).unwrap_or(Code::Internal), describe(thrown))
    }
}

/// The `code` of an error, if it has one.
pub(crate) fn code_of(thrown: &JsValue) -> Option<Code> {
    let code = Reflect::get(thrown.dyn_ref::<Error>()?, &"code".into()).ok()?;
    code.as_string().map(|code| Code::named(&code))
}

impl From<StateError> for FaasmError {
    fn from(error: StateError) -> Self {
        Self::new(Code::State, error.to_string())
    }
}

impl From<FaasmError> for JsValue {
    fn from(error: FaasmError) -> Self {
        let object = Error::new(&error.message);
        object.set_name("FaasmError");
        let set = |name: &str, value: JsValue| {
            Reflect::set(&object, &name.into(), &value)
                .expect("properties of a fresh Error can be set");
        };
        set("code", error.code.as_str().into());
        if let Some(stack) = error.stack {
            set("stack", stack.into());
        }
        if let Some(cause) = error.cause {
            set("cause", cause);
        }
        object.into()
    }
}

/// The message of any value that JavaScript threw.
pub(crate) fn describe(thrown: &JsValue) -> String {
    match thrown.dyn_ref::<Error>() {
        Some(error) => String::from(error.message()),
        None => thrown.as_string().unwrap_or_else(|| format!("{thrown:?}")),
    }
}
