//! What both pages and workers have as globals.

use futures_channel::oneshot;
use futures_util::future::LocalBoxFuture;
use js_sys::{Promise, Reflect, global};
use wasm_bindgen::prelude::*;

/// Part of the names of the package's files, by which stacks tell the runtime's frames.
pub(crate) const RUNTIME: &str = "faasm_runtime";

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = fetch)]
    pub(crate) fn fetch(url: &str, init: &JsValue) -> Promise;

    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &JsValue, milliseconds: f64) -> JsValue;

    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(timer: &JsValue);

    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    pub(crate) fn performance_now() -> f64;

    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues)]
    pub(crate) fn get_random_values(target: &mut [u8]);

    #[wasm_bindgen(js_namespace = console, js_name = error)]
    pub(crate) fn console_error(message: &str);

    #[wasm_bindgen(js_namespace = console, js_name = warn)]
    pub(crate) fn console_warn(message: &str);

    #[wasm_bindgen(js_namespace = location, js_name = href, thread_local_v2)]
    static LOCATION: String;
}

/// Address of the page or of the worker's script.
pub(crate) fn location() -> String {
    LOCATION.with(String::clone)
}

/// Whether this is the thread of a page, which people wait for.
pub(crate) fn is_page() -> bool {
    Reflect::has(&global(), &"document".into()).unwrap_or(false)
}

/// Has a task go on by itself. Boxed, so that what drives tasks is there once and not for each kind.
pub(crate) fn spawn(task: impl Future<Output = ()> + 'static) {
    let task: LocalBoxFuture<'static, ()> = Box::pin(task);
    wasm_bindgen_futures::spawn_local(task);
}

/// Longest time that `setTimeout` can be given, milliseconds; beyond it fires at once.
const LONGEST_TIMER: f64 = i32::MAX as f64;

/// Calls something once, unless it is dropped before.
pub(crate) struct Timer {
    handle: JsValue,
    _callback: Closure<dyn FnMut()>,
}

impl Timer {
    /// Milliseconds are a minimum: pages in the background are woken late. More than 24 days are taken for 24 days.
    pub(crate) fn new(milliseconds: f64, callback: impl FnOnce() + 'static) -> Self {
        let callback = Closure::once(callback);
        let handle = set_timeout(callback.as_ref(), milliseconds.min(LONGEST_TIMER));
        Self { handle, _callback: callback }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        clear_timeout(&self.handle);
    }
}

/// Waits; pages in the background are woken late, so treat it as a minimum.
pub(crate) async fn sleep(milliseconds: f64) {
    let mut left = milliseconds;
    while left >= 0.0 {
        let (sender, elapsed) = oneshot::channel();
        let _timer = Timer::new(left, move || {
            // Nobody may wait any more.
            let _ = sender.send(());
        });
        // The timer has the other end.
        let _ = elapsed.await;
        left -= LONGEST_TIMER;
    }
}
