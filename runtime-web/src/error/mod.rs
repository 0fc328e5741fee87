//! Errors as pages see them: `Error` objects with a `name` of `FaasmError` and a stable `code`.

use js_sys::{Error, Reflect};
use wasm_bindgen::{JsCast, JsValue};

/// What went wrong; the strings are listed in `types.d.ts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Options that make no sense.
    BadOptions,
    CannotConnect,
    Refused,
    ConnectionLost,
    /// A manifest or module that cannot be fetched, or is not what it should be.
    CannotLoad,
    ClusterOnly,
    StackSize,
    StackExhausted,
    Trap,
    /// From the guest kernel; see `Fault::code`.
    Fault(&'static str),
    /// The same, from a run in the cluster.
    Cluster(String),
}

impl Code {
    fn as_str(&self) -> &str {
        match self {
            Code::BadOptions => "bad-options",
            Code::CannotConnect => "cannot-connect",
            Code::Refused => "refused",
            Code::ConnectionLost => "connection-lost",
            Code::CannotLoad => "cannot-load",
            Code::ClusterOnly => "cluster-only",
            Code::StackSize => "stack-size",
            Code::StackExhausted => "stack-exhausted",
            Code::Trap => "trap",
            Code::Fault(code) => code,
            Code::Cluster(code) => code,
        }
    }
}

/// An error on its way to the page.
#[derive(Clone, Debug)]
pub(crate) struct FaasmError {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// The stack of a trap, where the browser gives one: it names the guest's functions.
    pub(crate) stack: Option<String>,
}

impl FaasmError {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), stack: None }
    }
}

impl From<FaasmError> for JsValue {
    fn from(error: FaasmError) -> Self {
        let object = Error::new(&error.message);
        object.set_name("FaasmError");
        let set = |name: &str, value: &str| {
            Reflect::set(&object, &name.into(), &value.into())
                .expect("properties of a fresh Error can be set");
        };
        set("code", error.code.as_str());
        if let Some(stack) = &error.stack {
            set("stack", stack);
        }
        object.into()
    }
}

/// The message of whatever JavaScript threw.
pub(crate) fn describe(thrown: &JsValue) -> String {
    match thrown.dyn_ref::<Error>() {
        Some(error) => String::from(error.message()),
        None => thrown.as_string().unwrap_or_else(|| format!("{thrown:?}")),
    }
}
