//! Promises to the page.

use crate::error::FaasmError;
use futures_util::future::{FutureExt, LocalBoxFuture};
use js_sys::Promise;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::future_to_promise;

/// A promise of what a future gives. It begins once the caller is done.
pub(crate) fn promise(
    future: impl Future<Output = Result<JsValue, FaasmError>> + 'static,
) -> Promise {
    drive(future.boxed_local())
}

/// Apart, so that what drives promises is there once and not for each kind.
fn drive(future: LocalBoxFuture<'static, Result<JsValue, FaasmError>>) -> Promise {
    future_to_promise(async move { Ok(future.await?) })
}
