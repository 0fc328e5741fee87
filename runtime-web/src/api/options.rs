//! Options objects from JavaScript.

use super::input::Input;
use super::token::Token;
use crate::chain::PlacementRequest;
use crate::connection::Reach;
use crate::engine::EngineRequest;
use crate::error::{Code, FaasmError};
use crate::function::{policy, rules};
use crate::transport::Kind as Transport;
use faasm_bridge::placement::{DEFAULT, Policy, Where};
use faasm_bridge::residence::Rules;
use faasm_bridge::wire::CallEntry;
use js_sys::{Array, ArrayBuffer, Function, Object, Reflect, Uint8Array};
use std::time::Duration;
use wasm_bindgen::prelude::*;
use web_sys::{AbortSignal, Blob, ReadableStream, Url};

/// An options object, or undefined.
pub(crate) struct Options(pub(crate) JsValue);

impl Options {
    fn get(&self, name: &str) -> Option<JsValue> {
        if self.0.is_null_or_undefined() {
            return None;
        }
        let value = Reflect::get(&self.0, &name.into()).ok()?;
        (!value.is_null_or_undefined()).then_some(value)
    }

    /// An option that is an object of one class.
    fn instance<T: JsCast>(&self, name: &str, expected: &str) -> Result<Option<T>, FaasmError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.dyn_into().map(Some).map_err(|_| invalid(name, expected))
    }

    /// A string, or a `URL`.
    pub(crate) fn string(&self, name: &str) -> Result<Option<String>, FaasmError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        address(&value).map(Some).ok_or_else(|| invalid(name, "a string"))
    }

    pub(super) fn engine(&self) -> Result<Option<EngineRequest>, FaasmError> {
        self.string("engine")?.as_deref().map(EngineRequest::parse).transpose()
    }

    pub(crate) fn any(&self, name: &str) -> JsValue {
        self.get(name).unwrap_or(JsValue::UNDEFINED)
    }

    /// A number in the range of `u32`.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u32>, FaasmError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_f64().filter(|n| *n == f64::from(*n as u32));
        number.map(|number| Some(number as u32)).ok_or_else(|| invalid(name, "a number"))
    }

    /// The entry of a chained call in a worker.
    pub(crate) fn entry(&self) -> Result<CallEntry, FaasmError> {
        Ok(match (self.number("pointer")?, self.number("index")?) {
            (Some(pointer), _) => CallEntry::Pointer(pointer),
            (_, Some(index)) => CallEntry::Index(index),
            _ => CallEntry::Main,
        })
    }

    /// The placement of chained calls.
    pub(super) fn placement(&self) -> Result<PlacementRequest, FaasmError> {
        const EXPECTED: &str = "\"cluster\", \"browser\", \"auto\", an object that maps function names to these, or a function that returns one";
        let Some(value) = self.get("where") else {
            return Ok(PlacementRequest::Rules(Policy::default()));
        };
        if let Some(choose) = value.dyn_ref::<Function>() {
            return Ok(PlacementRequest::Function(choose.clone()));
        }
        let rules = match value.as_string() {
            Some(text) => {
                Where::parse(&text).map(|place| [(DEFAULT.to_owned(), place)].into_iter().collect())
            }
            None => policy(&value),
        };
        rules.map(PlacementRequest::Rules).ok_or_else(|| invalid("where", EXPECTED))
    }

    pub(super) fn callback(&self, name: &str) -> Result<Option<Function>, FaasmError> {
        self.instance(name, "a function")
    }

    pub(super) fn signal(&self) -> Result<Option<AbortSignal>, FaasmError> {
        self.instance("signal", "an AbortSignal")
    }

    /// Milliseconds; `None` if the timeout is absent or infinite.
    pub(super) fn timeout(&self) -> Result<Option<f64>, FaasmError> {
        let Some(value) = self.get("timeout") else { return Ok(None) };
        match value.as_f64() {
            Some(timeout) if timeout > 0.0 => Ok(Some(timeout).filter(|t| t.is_finite())),
            _ => Err(invalid("timeout", "a positive number of milliseconds")),
        }
    }

    pub(super) fn token(&self) -> Result<Token, FaasmError> {
        let Some(value) = self.get("token") else { return Ok(Token::Fixed(None)) };
        if let Some(token) = value.as_string() {
            return Ok(Token::Fixed(Some(token)));
        }
        let provider = value.dyn_into().map_err(|_| invalid("token", "a string or a function"))?;
        Ok(Token::Provider(provider))
    }

    /// The options `transport` and `reconnectTimeout`.
    pub(super) fn reach(&self) -> Result<Reach, FaasmError> {
        let transport = match self.string("transport")?.as_deref() {
            None | Some("auto") => None,
            Some("websocket") => Some(Transport::WebSocket),
            Some("fetch") => Some(Transport::Fetch),
            Some(_) => return Err(invalid("transport", "\"auto\", \"websocket\" or \"fetch\"")),
        };
        let default = Reach::default();
        let Some(value) = self.get("reconnectTimeout") else {
            return Ok(Reach { transport, ..default });
        };
        let reconnect = value.as_f64().filter(|milliseconds| *milliseconds >= 0.0);
        let reconnect = reconnect
            .ok_or_else(|| invalid("reconnectTimeout", "a number of milliseconds >= 0"))?;
        let reconnect = Duration::try_from_secs_f64(reconnect / 1000.0);
        Ok(Reach {
            transport,
            reconnect: reconnect.map_or(Reach::LONGEST, |r| r.min(Reach::LONGEST)),
        })
    }

    pub(super) fn input(&self) -> Result<Input, FaasmError> {
        let Some(value) = self.get("input") else { return Ok(Input::Bytes(Vec::new())) };
        if let Some(bytes) = bytes(&value) {
            return Ok(Input::Bytes(bytes));
        }
        if let Some(blob) = value.dyn_ref::<Blob>() {
            return Ok(Input::Blob(blob.clone()));
        }
        let stream = value.dyn_into::<ReadableStream>();
        stream.map(Input::Stream).map_err(|_| {
            invalid("input", "a string, a Uint8Array, an ArrayBuffer, a Blob or a ReadableStream")
        })
    }

    pub(super) fn strings(&self, name: &str) -> Result<Vec<String>, FaasmError> {
        self.get(name).map_or_else(|| Ok(Vec::new()), |value| strings(&value, name))
    }

    /// The residence rules of state values.
    pub(super) fn rules(&self) -> Result<Rules, FaasmError> {
        let Some(state) = self.instance::<Object>("state", "an object")? else {
            return Ok(Rules::default());
        };
        let invalid = |problem| FaasmError::new(Code::BadOptions, format!("`state`: {problem}"));
        rules(state.into()).map_err(invalid)
    }

    pub(super) fn pairs(&self, name: &str) -> Result<Vec<(String, String)>, FaasmError> {
        let expected = "an object of strings";
        let object: Option<Object> = self.instance(name, expected)?;
        let entries = Object::entries(&object.unwrap_or_default());
        let pair = |entry: JsValue| {
            let entry: Array = entry.unchecked_into();
            Some((entry.get(0).as_string()?, entry.get(1).as_string()?))
        };
        entries.iter().map(pair).collect::<Option<_>>().ok_or_else(|| invalid(name, expected))
    }
}

pub(super) fn strings(value: &JsValue, name: &str) -> Result<Vec<String>, FaasmError> {
    let array = value.dyn_ref::<Array>();
    let strings = array.and_then(|array| array.iter().map(|item| item.as_string()).collect());
    strings.ok_or_else(|| invalid(name, "an array of strings"))
}

/// A string, or the `href` of a `URL`.
pub(super) fn address(value: &JsValue) -> Option<String> {
    value.dyn_ref::<Url>().map(Url::href).or_else(|| value.as_string())
}

/// The bytes of a string, a `Uint8Array` or an `ArrayBuffer`.
pub(super) fn bytes(value: &JsValue) -> Option<Vec<u8>> {
    if let Some(text) = value.as_string() {
        return Some(text.into_bytes());
    }
    let is_binary = value.is_instance_of::<Uint8Array>() || value.is_instance_of::<ArrayBuffer>();
    is_binary.then(|| Uint8Array::new(value).to_vec())
}

pub(super) fn invalid(name: &str, expected: &str) -> FaasmError {
    FaasmError::new(Code::BadOptions, format!("`{name}` must be {expected}"))
}
