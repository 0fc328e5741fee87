//! Plain JavaScript objects: results, events.

use js_sys::{Object, Reflect};
use wasm_bindgen::JsValue;

/// Makes an object with these properties.
pub(crate) fn object(fields: &[(&str, JsValue)]) -> JsValue {
    let object = Object::new();
    for (name, value) in fields {
        Reflect::set(&object, &(*name).into(), value)
            .expect("properties of a plain object can be set");
    }
    object.into()
}
