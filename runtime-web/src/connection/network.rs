//! Browser events that hint at a change of the network.

use js_sys::{Reflect, global};
use wasm_bindgen::prelude::*;
use web_sys::EventTarget;

/// Target and name of each event; an empty target is the global object itself.
const EVENTS: [(&str, &str); 3] =
    [("", "online"), ("", "offline"), ("document", "visibilitychange")];

/// Event listeners, removed on drop.
pub(super) struct NetworkHints {
    targets: Vec<(EventTarget, &'static str)>,
    listener: Closure<dyn Fn()>,
}

impl NetworkHints {
    pub(super) fn new(listener: impl Fn() + 'static) -> Self {
        let listener = Closure::<dyn Fn()>::new(listener);
        let mut targets = Vec::new();
        for (object, event) in EVENTS {
            let target = match object {
                "" => Ok(global().into()),
                object => Reflect::get(&global(), &object.into()),
            };
            // Workers have no document.
            let Ok(target) = target.unwrap_or(JsValue::UNDEFINED).dyn_into::<EventTarget>() else {
                continue;
            };
            let function = listener.as_ref().unchecked_ref();
            if target.add_event_listener_with_callback(event, function).is_ok() {
                targets.push((target, event));
            }
        }
        Self { targets, listener }
    }
}

impl Drop for NetworkHints {
    fn drop(&mut self) {
        for (target, event) in &self.targets {
            let function = self.listener.as_ref().unchecked_ref();
            target
                .remove_event_listener_with_callback(event, function)
                .expect("a listener can be removed");
        }
    }
}
