//! A tiny function that does nothing but suspend, in both shapes: shows whether an engine works here, and what a
//! suspension costs. Its source is `trial.wat`.

use super::Kind;
use js_sys::Promise;
use wasm_bindgen::prelude::*;

const JSPI: &[u8] = include_bytes!("trial.wasm");
const ASYNCIFY: &[u8] = include_bytes!("trial.asyncify.wasm");
/// As `trial.asyncify.wasm` was built.
const BUFFER_BYTES: u32 = 65_536;

#[wasm_bindgen(module = "/js/trial.js")]
extern "C" {
    /// An instance of the trial with its engine.
    pub(super) type Trial;

    #[wasm_bindgen(catch)]
    fn trial(kind: &str, bytes: &[u8], buffer: u32) -> Result<Trial, JsValue>;

    /// Suspends and resumes it so many times, with nothing to wait for.
    #[wasm_bindgen(method, catch)]
    pub(super) fn suspend(this: &Trial, times: u32) -> Result<Promise, JsValue>;

    /// How often it was suspended.
    #[wasm_bindgen(method)]
    pub(super) fn suspensions(this: &Trial) -> u32;
}

/// Makes an instance.
pub(super) fn of(kind: Kind) -> Result<Trial, JsValue> {
    let bytes = match kind {
        Kind::Asyncify => ASYNCIFY,
        Kind::Jspi => JSPI,
    };
    trial(kind.as_str(), bytes, BUFFER_BYTES)
}
