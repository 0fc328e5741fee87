//! What both pages and workers have as globals.

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

/// Part of the names of the package's files, by which stacks tell the runtime's frames.
pub(crate) const RUNTIME: &str = "faasm_runtime";

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = fetch)]
    pub(crate) fn fetch(url: &str, init: &JsValue) -> Promise;

    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &js_sys::Function, milliseconds: f64) -> JsValue;

    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    pub(crate) fn performance_now() -> f64;

    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues)]
    pub(crate) fn get_random_values(target: &mut [u8]);

    #[wasm_bindgen(js_namespace = console, js_name = error)]
    pub(crate) fn console_error(message: &str);

    #[wasm_bindgen(js_namespace = location, js_name = href, thread_local_v2)]
    static LOCATION: String;
}

/// Address of the page or of the worker's script.
pub(crate) fn location() -> String {
    LOCATION.with(String::clone)
}

/// Waits; pages in the background are woken late, so treat it as a minimum.
pub(crate) async fn sleep(milliseconds: f64) {
    let promise = Promise::new(&mut |resolve, _| {
        set_timeout(&resolve, milliseconds);
    });
    JsFuture::from(promise).await.expect("a promise that setTimeout resolves is never rejected");
}
