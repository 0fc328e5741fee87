//! Chained calls in this browser.

use super::{Call, Caller, Ended, Finished, LatencySample, in_cluster};
use crate::api::run_with;
use crate::engine::Kind;
use crate::error::{Code, FaasmError, code_of, describe};
use crate::function::Loaded;
use crate::global::is_page;
use crate::object::object;
use crate::shared::{Shared, closed};
use faasm_bridge::guest::CallResult;
use faasm_bridge::placement::Place;
use faasm_bridge::placement::auto::Sample;
use faasm_bridge::wire::CallEntry;
use js_sys::{Array, Reflect, Uint8Array};
use std::rc::Rc;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::AbortController;

/// The timeout of a call in milliseconds, the same as a cluster's default. The deadline of the call tree can end the
/// call earlier.
const CALL_TIMEOUT: f64 = 60_000.0;

/// Aborts on drop; no effect if the call has ended.
pub(super) struct AbortOnDrop(pub(super) AbortController);

impl AbortOnDrop {
    pub(super) fn new() -> Result<Self, FaasmError> {
        AbortController::new().map(Self).map_err(|thrown| FaasmError::thrown(&thrown))
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs a call in a worker. If none is available, runs it on this thread unless that is the page's; if it cannot run in
/// this browser, in the cluster.
pub(super) async fn run(
    shared: Rc<Shared>,
    caller: Rc<Caller>,
    call: Call,
    sample: Option<LatencySample>,
) -> Finished {
    let thrown = match in_worker(&shared, &caller, &call, sample).await {
        Ok((result, failure)) => return Ok(Ended { result, failure, place: Place::Browser }),
        Err(thrown) => thrown,
    };
    if shared.is_disposed() {
        return Err(closed());
    }
    if field(&thrown, NOT_STARTED).is_undefined() {
        return Err(FaasmError::thrown(&thrown));
    }
    // The cluster is slower, but does not block the page.
    in_cluster(&shared, &caller, call, None)?.await
}

/// The property of an error for a call that was not started. After any other error the call may have had effects.
pub(super) const NOT_STARTED: &str = "notStarted";

/// The value of [`NOT_STARTED`] if no worker is available.
const NO_WORKERS: &str = "no workers";

async fn in_worker(
    shared: &Rc<Shared>,
    caller: &Caller,
    call: &Call,
    sample: Option<LatencySample>,
) -> Result<(CallResult, Option<Code>), JsValue> {
    let workers = &shared.chains.workers;
    let Some(loaded) = callee(shared, caller, call).await else {
        if let Some(sample) = sample {
            sample.cannot();
        }
        return Err(not_started());
    };
    let engine = loaded.engine_like(caller.engine);
    let abort = AbortOnDrop::new()?;
    let load = workers.load();
    let known = workers.register(caller.callee(&loaded, engine));
    let given = || options(shared, call, known.number, engine, &abort.0);
    let mut result = workers.run(shared, &loaded, engine, given).await;
    if let Err(thrown) = &result
        && field(thrown, NOT_STARTED) == NO_WORKERS
        && !is_page()
    {
        // This thread is itself a worker's, so it may block.
        result = JsFuture::from(run_with(loaded, Rc::clone(shared), given())).await.or_else(failed);
    }
    let result = result?;
    let output = Uint8Array::new(&field(&result, "output")).to_vec();
    let number = |name: &str| field(&result, name).as_f64();
    if let (Some(sample), Some(total), Some(running)) = (sample, number("total"), number("running"))
    {
        let (input, output) = (call.input.len() as u64, output.len() as u64);
        sample.finished(Sample { total, running, load, input, output });
    }
    let return_value = number("returnValue").unwrap_or(1.0) as i32;
    Ok((CallResult { return_value, output }, failure(&result)))
}

/// The failure code in a result from JavaScript, if the call failed.
pub(super) fn failure(result: &JsValue) -> Option<Code> {
    field(result, "failure").as_string().map(|code| Code::named(&code))
}

/// The failure code as a field for JavaScript.
pub(super) fn failure_field(failure: Option<Code>) -> (&'static str, JsValue) {
    ("failure", failure.map_or(JsValue::UNDEFINED, |code| code.as_str().into()))
}

/// The result of a failed run: its output is the reason.
fn failed(thrown: JsValue) -> Result<JsValue, JsValue> {
    let reason = Uint8Array::from(describe(&thrown).as_bytes());
    let code = code_of(&thrown).unwrap_or(Code::Internal);
    Ok(object(&[("returnValue", 1.into()), ("output", reason.into()), failure_field(Some(code))]))
}

/// The error for a call that was not started and has to run elsewhere.
pub(super) fn not_started() -> JsValue {
    object(&[(NOT_STARTED, "elsewhere".into())])
}

/// The function to run; `None` if it cannot run in this browser.
async fn callee(shared: &Rc<Shared>, caller: &Caller, call: &Call) -> Option<Rc<Loaded>> {
    let loaded = match call.entry {
        CallEntry::Main => {
            shared.chains.library.find(&call.function, &caller.loaded, shared).await?
        }
        CallEntry::Pointer(_) | CallEntry::Index(_) => Rc::clone(&caller.loaded),
    };
    (loaded.cluster_only.is_empty() && loaded.manifest().is_some()).then_some(loaded)
}

/// The options for `run` of the function.
fn options(
    shared: &Shared,
    call: &Call,
    number: u32,
    engine: Kind,
    controller: &AbortController,
) -> JsValue {
    let (pointer, index) = entry(call.entry);
    let page_only = shared.page_only.borrow();
    let local: Array = page_only.patterns().iter().map(|key| JsValue::from_str(key)).collect();
    object(&[
        ("input", Uint8Array::from(call.input.as_slice()).into()),
        ("pointer", pointer),
        ("index", index),
        ("call", number.into()),
        ("local", local.into()),
        ("engine", engine.as_str().into()),
        ("timeout", CALL_TIMEOUT.into()),
        ("signal", controller.signal().into()),
    ])
}

/// An entry as the options `pointer` and `index`.
pub(super) fn entry(entry: CallEntry) -> (JsValue, JsValue) {
    match entry {
        CallEntry::Main => (JsValue::UNDEFINED, JsValue::UNDEFINED),
        CallEntry::Pointer(pointer) => (pointer.into(), JsValue::UNDEFINED),
        CallEntry::Index(index) => (JsValue::UNDEFINED, index.into()),
    }
}

pub(super) fn field(object: &JsValue, name: &str) -> JsValue {
    Reflect::get(object, &name.into()).unwrap_or(JsValue::UNDEFINED)
}
