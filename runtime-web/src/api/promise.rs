//! Promises for the page.

use crate::error::FaasmError;
use futures_util::future::{FutureExt, LocalBoxFuture};
use js_sys::Promise;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::future_to_promise;

/// A promise of the future's result. The future starts after the caller returns.
pub(crate) fn promise(
    future: impl Future<Output = Result<JsValue, FaasmError>> + 'static,
) -> Promise {
    drive(future.boxed_local())
}

/// Not generic, so that the code that drives promises is compiled once.
fn drive(future: LocalBoxFuture<'static, Result<JsValue, FaasmError>>) -> Promise {
    future_to_promise(async move { Ok(future.await?) })
}
