//! Globals that pages and workers share.

use futures_channel::oneshot;
use futures_util::future::LocalBoxFuture;
use js_sys::{Promise, Reflect, global};
use wasm_bindgen::prelude::*;

/// A part of the package's file names, by which the runtime's frames are recognised in stacks.
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

/// The URL of the page or of the worker's script.
pub(crate) fn location() -> String {
    LOCATION.with(String::clone)
}

/// Whether this is a page's main thread, which must not be blocked.
pub(crate) fn is_page() -> bool {
    Reflect::has(&global(), &"document".into()).unwrap_or(false)
}

/// Runs a task in the background. Boxed, so that the code that drives tasks is compiled once.
pub(crate) fn spawn(task: impl Future<Output = ()> + 'static) {
    let task: LocalBoxFuture<'static, ()> = Box::pin(task);
    wasm_bindgen_futures::spawn_local(task);
}

/// The maximum delay of `setTimeout` in milliseconds; longer timers fire at once.
const LONGEST_TIMER: f64 = i32::MAX as f64;

/// Calls a callback once; dropping the timer cancels it.
pub(crate) struct Timer {
    handle: JsValue,
    _callback: Closure<dyn FnMut()>,
}

impl Timer {
    /// The delay is a minimum: browsers delay timers of background pages. It is capped at 24 days.
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

/// Waits at least this long; browsers delay timers of background pages.
pub(crate) async fn sleep(milliseconds: f64) {
    let mut left = milliseconds;
    while left >= 0.0 {
        let (sender, elapsed) = oneshot::channel();
        let _timer = Timer::new(left, move || {
            // The receiver is gone if the future was dropped.
            let _ = sender.send(());
        });
        // The timer owns the sender.
        let _ = elapsed.await;
        left -= LONGEST_TIMER;
    }
}
