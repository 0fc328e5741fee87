//! A minimal function that only suspends, built for both engines: tests whether an engine works here, and measures a
//! suspension. Its source is `microbench.wat`.

use super::Kind;
use js_sys::Promise;
use wasm_bindgen::prelude::*;

const JSPI: &[u8] = include_bytes!("microbench.wasm");
const ASYNCIFY: &[u8] = include_bytes!("microbench.asyncify.wasm");
/// The buffer size with which `microbench.asyncify.wasm` was built.
const BUFFER_BYTES: u32 = 65_536;

#[wasm_bindgen(module = "/glue/microbench.js")]
extern "C" {
    /// An instance of the function, with its engine.
    pub(super) type Microbench;

    #[wasm_bindgen(catch)]
    fn microbench(kind: &str, bytes: &[u8], buffer: u32) -> Result<Microbench, JsValue>;

    /// Suspends and resumes it `times` times without a wait.
    #[wasm_bindgen(method, catch)]
    pub(super) fn suspend(this: &Microbench, times: u32) -> Result<Promise, JsValue>;

    /// The number of suspensions.
    #[wasm_bindgen(method)]
    pub(super) fn suspensions(this: &Microbench) -> u32;
}

/// Makes an instance.
pub(super) fn of(kind: Kind) -> Result<Microbench, JsValue> {
    let bytes = match kind {
        Kind::Asyncify => ASYNCIFY,
        Kind::Jspi => JSPI,
    };
    microbench(kind.as_str(), bytes, BUFFER_BYTES)
}
