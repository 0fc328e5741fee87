//! Chained calls in this browser.

use super::{Call, Caller, Ended, Finished, Trial, in_cluster};
use crate::api::run_with;
use crate::engine::{Kind, Wanted};
use crate::error::{FaasmError, describe};
use crate::function::Loaded;
use crate::global::is_page;
use crate::object::object;
use crate::shared::{Shared, closed};
use faasm_bridge::guest::CallResult;
use faasm_bridge::placement::Place;
use faasm_bridge::placement::auto::{Crew as Load, Sample};
use faasm_bridge::wire::CallEntry;
use js_sys::{Reflect, Uint8Array};
use std::rc::Rc;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::AbortController;

/// How long a call may take, milliseconds: what a cluster allows if nobody says otherwise.
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

/// Runs a call in a worker; in the cluster, if it cannot run here.
pub(super) async fn run(
    shared: Rc<Shared>,
    caller: Rc<Caller>,
    call: Call,
    trial: Option<Trial>,
) -> Finished {
    let Some((loaded, engine)) = callee(&shared, &caller, &call).await else {
        if let Some(trial) = trial {
            trial.cannot();
        }
        return elsewhere(&shared, &caller, call).await;
    };
    if shared.is_disposed() {
        return Err(closed());
    }
    let aborting = Aborting::new()?;
    let load = shared.chains.crew.load();
    let known = shared.chains.crew.enter(caller.callee(&loaded, engine));
    let given = options(&call, known.number, engine, &aborting.0);
    let ran = shared.chains.crew.run(&shared, &loaded, engine, &given).await;
    let ran = match ran {
        Ok(ran) => ran,
        Err(thrown) if field(&thrown, "unstarted") == "no workers" && !is_page() => {
            // What was sent to a worker is there.
            let options = options(&call, known.number, engine, &aborting.0);
            let result = on_this_thread(&shared, loaded, options).await?;
            return Ok(Ended { result, place: Place::Browser });
        }
        // Rather far away than in the page's way.
        Err(thrown) if field(&thrown, "unstarted").is_truthy() => {
            return elsewhere(&shared, &caller, call).await;
        }
        Err(thrown) => {
            return Err(FaasmError::thrown(&thrown));
        }
    };
    let result = result(&ran);
    if let Some(trial) = trial {
        trial.finished(sample(&ran, load, &call, &result));
    }
    Ok(Ended { result, place: Place::Browser })
}

/// The function to run, and how; none where it cannot run here.
async fn callee(shared: &Rc<Shared>, caller: &Caller, call: &Call) -> Option<(Rc<Loaded>, Kind)> {
    let loaded = match call.entry {
        CallEntry::Main => shared.chains.library.find(&call.function, &caller.loaded).await?,
        CallEntry::Pointer(_) | CallEntry::Index(_) => Rc::clone(&caller.loaded),
    };
    if !loaded.cluster_only.is_empty() || loaded.manifest().is_none() {
        return None;
    }
    let engine = match loaded.engine(Some(Wanted::This(caller.engine))).await {
        Ok(engine) => engine,
        Err(_) => loaded.engine,
    };
    Some((loaded, engine))
}

async fn elsewhere(shared: &Rc<Shared>, caller: &Caller, call: Call) -> Finished {
    in_cluster(shared, caller, call, None)?.await
}

/// What `run` of a function is given.
fn options(call: &Call, number: u32, engine: Kind, controller: &AbortController) -> JsValue {
    let (pointer, index) = entry(call.entry);
    object(&[
        ("input", Uint8Array::from(call.input.as_slice()).into()),
        ("pointer", pointer),
        ("index", index),
        ("call", number.into()),
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

/// Where there are no workers: what is a worker itself has nobody waiting for its thread.
async fn on_this_thread(
    shared: &Rc<Shared>,
    loaded: Rc<Loaded>,
    options: JsValue,
) -> Result<CallResult, FaasmError> {
    let running = run_with(loaded, Rc::clone(shared), options);
    match JsFuture::from(running).await {
        Ok(ran) => Ok(result(&ran)),
        Err(_) if shared.is_disposed() => Err(closed()),
        Err(thrown) => Ok(CallResult { return_value: 1, output: describe(&thrown).into_bytes() }),
    }
}

fn field(object: &JsValue, name: &str) -> JsValue {
    Reflect::get(object, &name.into()).unwrap_or(JsValue::UNDEFINED)
}

/// What a run or a worker gives, as the caller sees it.
pub(super) fn result(ran: &JsValue) -> CallResult {
    let return_value = field(ran, "returnValue").as_f64().unwrap_or(1.0) as i32;
    // What comes from a worker need not be of this realm's class.
    CallResult { return_value, output: Uint8Array::new(&field(ran, "output")).to_vec() }
}

fn sample(ran: &JsValue, crew: Load, call: &Call, result: &CallResult) -> Sample {
    let number = |name: &str| field(ran, name).as_f64().unwrap_or(0.0);
    Sample {
        total: number("total"),
        running: number("running"),
        crew,
        input: call.input.len() as u64,
        output: result.output.len() as u64,
    }
}
