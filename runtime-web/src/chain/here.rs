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

/// How long a call may take, milliseconds: what a cluster allows if nobody says otherwise. The run that it follows from can end it
/// before, by its own deadline.
const CALL_TIMEOUT: f64 = 60_000.0;

/// Aborts what it stands for, unless that has ended.
pub(super) struct Aborting(pub(super) AbortController);

impl Aborting {
    pub(super) fn new() -> Result<Self, FaasmError> {
        AbortController::new().map(Self).map_err(|thrown| FaasmError::thrown(&thrown))
    }
}

impl Drop for Aborting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs a call in a worker; where there are none, on this thread, unless it is the page's; and in the cluster, if it cannot run
/// here.
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
    // Rather far away than in the way of a page.
    in_cluster(&shared, &caller, call, None)?.await
}

/// What is thrown for a call that was not begun; anything else may have happened.
pub(super) const NOT_STARTED: &str = "not_started";

/// Why it was not: there are no workers.
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
    let aborting = Aborting::new()?;
    let load = workers.load();
    let known = workers.enter(caller.callee(&loaded, engine));
    let given = || options(shared, call, known.number, engine, &aborting.0);
    let mut ran = workers.run(shared, &loaded, engine, given).await;
    if let Err(thrown) = &ran
        && field(thrown, NOT_STARTED) == NO_WORKERS
        && !is_page()
    {
        // Nobody waits for the thread of what is a worker itself.
        ran = JsFuture::from(run_with(loaded, Rc::clone(shared), given())).await.or_else(failed);
    }
    let ran = ran?;
    let output = Uint8Array::new(&field(&ran, "output")).to_vec();
    let number = |name: &str| field(&ran, name).as_f64();
    if let (Some(sample), Some(total), Some(running)) = (sample, number("total"), number("running"))
    {
        let (input, output) = (call.input.len() as u64, output.len() as u64);
        sample.finished(Sample { total, running, load, input, output });
    }
    let return_value = number("returnValue").unwrap_or(1.0) as i32;
    Ok((CallResult { return_value, output }, failure(&ran)))
}

/// Why a call failed that JavaScript tells of; none where it did not.
pub(super) fn failure(ran: &JsValue) -> Option<Code> {
    field(ran, "failure").as_string().map(|code| Code::named(&code))
}

/// The same, for JavaScript.
pub(super) fn failure_field(failure: Option<Code>) -> (&'static str, JsValue) {
    ("failure", failure.map_or(JsValue::UNDEFINED, |code| code.as_str().into()))
}

/// A run that failed, as its caller sees it: the reason is the output.
fn failed(thrown: JsValue) -> Result<JsValue, JsValue> {
    let reason = Uint8Array::from(describe(&thrown).as_bytes());
    let code = code_of(&thrown).unwrap_or(Code::Internal);
    Ok(object(&[("returnValue", 1.into()), ("output", reason.into()), failure_field(Some(code))]))
}

/// What was not begun, for it has to go elsewhere.
pub(super) fn not_started() -> JsValue {
    object(&[(NOT_STARTED, "elsewhere".into())])
}

/// The function to run; none where it cannot run here.
async fn callee(shared: &Rc<Shared>, caller: &Caller, call: &Call) -> Option<Rc<Loaded>> {
    let loaded = match call.entry {
        CallEntry::Main => {
            shared.chains.library.find(&call.function, &caller.loaded, shared).await?
        }
        CallEntry::Pointer(_) | CallEntry::Index(_) => Rc::clone(&caller.loaded),
    };
    (loaded.cluster_only.is_empty() && loaded.manifest().is_some()).then_some(loaded)
}

/// What `run` of a function is given.
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

/// An entry as the options `pointer` and `index` have it.
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
