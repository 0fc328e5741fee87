//! Calls that functions chain: where each of them runs, and how it comes back.
//!
//! * this file: the decision, and calls in the cluster;
//! * `here`: calls in this browser;
//! * `workers`: the workers for them;
//! * `library`: functions by their names;
//! * `tree`: what ends all calls of a run.
//!
//! A runtime in such a worker decides nothing: it hands what its functions chain to the page's.

mod here;
mod library;
mod tree;
mod workers;

pub(crate) use library::Library;
pub(crate) use workers::{WorkerPool, begin, hand_over_state};

use crate::cancel::CancelToken;
use crate::connection::Answer;
use crate::engine::Kind;
use crate::error::{Code, FaasmError, describe};
use crate::function::Loaded;
use crate::global::performance_now;
use crate::host::unexpected;
use crate::shared::Shared;
use faasm_bridge::guest::CallResult;
use faasm_bridge::placement::auto::{Auto, Sample};
use faasm_bridge::placement::{Place, Policy, Where};
use faasm_bridge::wire::{CallEntry, FailureCode, Reply, Request};
use futures_util::future::{LocalBoxFuture, ready};
use js_sys::Function;
use std::cell::RefCell;
use std::rc::{Rc, Weak};
use tree::Tree;
use wasm_bindgen::JsValue;

/// How deep calls may chain, as in a cluster.
const MAX_DEPTH: u32 = 64;

/// A call to be run somewhere.
pub(crate) struct Call {
    pub(crate) function: String,
    pub(crate) entry: CallEntry,
    pub(crate) input: Vec<u8>,
}

impl Call {
    /// What its time is remembered by: functions behind pointers are different ones.
    fn key(&self) -> String {
        match self.entry {
            CallEntry::Pointer(index) => format!("{} {index}", self.function),
            CallEntry::Main | CallEntry::Index(_) => self.function.clone(),
        }
    }
}

/// A run that chains calls.
pub(crate) struct Caller {
    pub(crate) loaded: Rc<Loaded>,
    pub(crate) engine: Kind,
    /// How many calls it is away from the run that the page began.
    depth: u32,
    /// That run, with all that follows from it.
    tree: Rc<Tree>,
    /// In a worker: what the page knows it by.
    number: u32,
}

impl Caller {
    /// A call of a function that this one chains.
    fn callee(&self, loaded: &Rc<Loaded>, engine: Kind) -> Self {
        Self {
            loaded: Rc::clone(loaded),
            engine,
            depth: self.depth + 1,
            tree: Rc::clone(&self.tree),
            number: 0,
        }
    }

    /// It was stopped: a run that the page began ends with all that follows from it.
    pub(crate) fn stopped(&self, reason: &FaasmError) {
        if self.depth == 0 {
            self.tree.stop(reason);
        }
    }
}

/// How a chained call ended, and where it ran.
pub(crate) struct Ended {
    pub(crate) result: CallResult,
    /// Why it failed, if it did; the output says more.
    pub(crate) failure: Option<Code>,
    pub(crate) place: Place,
}

/// What a failed call gives: the reason is the output.
fn failed_result(reason: impl Into<Vec<u8>>) -> CallResult {
    CallResult { return_value: 1, output: reason.into() }
}

/// An error where nothing is known of it.
pub(crate) type Finished = Result<Ended, FaasmError>;

/// A call under way. Dropping it cancels the call.
pub(crate) type Running = LocalBoxFuture<'static, Finished>;

/// What the page asks for.
pub(crate) enum PlacementRequest {
    Rules(Policy),
    /// Gives a place for the name of a function.
    Function(Function),
}

impl PlacementRequest {
    /// Where calls of a function run; none where the page leaves that to the manifest.
    fn of(&self, function: &str) -> Result<Option<Where>, FaasmError> {
        let choose = match self {
            PlacementRequest::Rules(policy) => return Ok(policy.of(function)),
            PlacementRequest::Function(choose) => choose,
        };
        let wrong = |why: String| {
            let message = format!("the function `where` failed for `{function}`: {why}");
            Err(FaasmError::new(Code::BadOptions, message))
        };
        match choose.call1(&JsValue::UNDEFINED, &function.into()) {
            Ok(place) if place.is_null_or_undefined() => Ok(None),
            Ok(place) => match place.as_string().as_deref().and_then(Where::parse) {
                Some(place) => Ok(Some(place)),
                None => wrong("it gives \"cluster\", \"browser\", \"auto\" or nothing".to_owned()),
            },
            Err(thrown) => wrong(describe(&thrown)),
        }
    }
}

/// What a runtime has for chained calls.
pub(crate) struct Chains {
    asked: PlacementRequest,
    auto: RefCell<Auto>,
    pub(crate) library: Library,
    pub(crate) workers: WorkerPool,
    /// In a worker of the workers: who performs what is chained.
    delegate: Option<Function>,
}

impl Chains {
    pub(crate) fn new(
        asked: PlacementRequest,
        library: Library,
        workers: WorkerPool,
        delegate: Option<Function>,
    ) -> Self {
        Self { asked, auto: RefCell::default(), library, workers, delegate }
    }

    /// In a worker of a workers: who performs for it what only the page can.
    pub(crate) fn delegate(&self) -> Option<&Function> {
        self.delegate.as_ref()
    }

    /// A run of a function, and what ends it. The number is that of a chained call: of this runtime, or of that of the page.
    pub(crate) fn caller(
        &self,
        loaded: &Rc<Loaded>,
        engine: Kind,
        number: Option<u32>,
        stop: &Rc<CancelToken>,
    ) -> Rc<Caller> {
        let known = number.and_then(|number| self.workers.caller(number));
        known.unwrap_or_else(|| {
            let (loaded, number) = (Rc::clone(loaded), number.unwrap_or(0));
            Rc::new(Caller { loaded, engine, depth: 0, tree: Tree::new(Rc::clone(stop)), number })
        })
    }

    /// The relay has answered something in which no function runs.
    pub(crate) fn answered(&self, milliseconds: f64, bytes: u64) {
        self.auto.borrow_mut().answered(milliseconds, bytes);
    }

    pub(crate) fn dispose(&self) {
        self.library.clear();
        self.workers.end();
    }
}

/// Begins a call.
///
/// # Errors
/// When it cannot even be sent; then nothing was.
pub(crate) fn start(
    shared: &Rc<Shared>,
    caller: &Rc<Caller>,
    call: Call,
) -> Result<Running, FaasmError> {
    let chains = &shared.chains;
    if let Some(delegate) = &chains.delegate {
        return Ok(Box::pin(workers::delegate_call(delegate.clone(), Rc::clone(caller), call)));
    }
    if let Some(reason) = caller.tree.reason() {
        return Ok(Box::pin(ready(Err(reason))));
    }
    if caller.depth >= MAX_DEPTH {
        return Ok(refused(format!("calls chained more than {MAX_DEPTH} deep")));
    }
    let asked = match chains.asked.of(&call.function)? {
        Some(place) => place,
        None => caller.loaded.chained.of(&call.function).unwrap_or(Where::Cluster),
    };
    let (place, sample) = match asked {
        Where::Cluster => (Place::Cluster, None),
        Where::Browser => (Place::Browser, None),
        Where::Auto => {
            let key = call.key();
            let input = call.input.len() as u64;
            let place = chains.auto.borrow_mut().choose(&key, input, chains.workers.load());
            (place, Some(LatencySample { shared: Rc::downgrade(shared), key, place }))
        }
    };
    let running: Running = match place {
        Place::Cluster => in_cluster(shared, caller, call, sample)?,
        Place::Browser => Box::pin(here::run(Rc::clone(shared), Rc::clone(caller), call, sample)),
    };
    Ok(caller.tree.within(running))
}

/// A call that failed before it began, as its caller sees it.
fn refused(reason: String) -> Running {
    let (result, failure) = (failed_result(reason), Some(Code::OperationFailed));
    Box::pin(async move { Ok(Ended { result, failure, place: Place::Browser }) })
}

/// A call whose time is of interest.
struct LatencySample {
    shared: Weak<Shared>,
    key: String,
    place: Place,
}

impl LatencySample {
    fn with(&self, act: impl FnOnce(&mut Auto, &str)) {
        if let Some(shared) = self.shared.upgrade() {
            act(&mut shared.chains.auto.borrow_mut(), &self.key);
        }
    }

    fn finished(&self, sample: Sample) {
        self.with(|auto, key| auto.finished(key, self.place, sample));
    }

    /// It ran where everything can.
    fn cannot(&self) {
        self.with(Auto::cannot);
    }
}

impl Drop for LatencySample {
    fn drop(&mut self) {
        // Where it has finished this says nothing new.
        self.with(|auto, key| auto.abandoned(key, self.place));
    }
}

/// Sends a call to the cluster.
fn in_cluster(
    shared: &Rc<Shared>,
    caller: &Caller,
    call: Call,
    sample: Option<LatencySample>,
) -> Result<Running, FaasmError> {
    let Call { function, entry, input } = call;
    let request = Request::Call { function, entry, args: Vec::new(), env: Vec::new() };
    let began = performance_now();
    let first = &caller.tree.first;
    let waiting = shared.connection.request_of(first.get(), request, &input)?;
    first.set(first.get().or(waiting.id));
    let (workers, input) = (shared.chains.workers.load(), input.len() as u64);
    Ok(Box::pin(async move {
        let (result, failure) = call_result(waiting.answer().await)?;
        if let Some(sample) = sample {
            let total = performance_now() - began;
            let output = result.output.len() as u64;
            sample.finished(Sample { total, running: total, load: workers, input, output });
        }
        Ok(Ended { result, failure, place: Place::Cluster })
    }))
}

/// How a call in the cluster ended, for the guest, and why it failed. A call the cluster refused is one that failed; a call of
/// which nothing is known ends the run.
fn call_result(answer: Answer) -> Result<(CallResult, Option<Code>), FaasmError> {
    let (code, reason) = match answer? {
        (Reply::Call { return_value }, output) => {
            return Ok((CallResult { return_value, output }, None));
        }
        (Reply::CallFailed { code }, reason) => (Code::named(&code), reason),
        (Reply::Failed { code, message }, _) => {
            let refused = match code {
                FailureCode::BadRequest => Code::OperationFailed,
                FailureCode::Cancelled => Code::Aborted,
                FailureCode::Unauthorised => Code::Refused,
                FailureCode::OverBudget => Code::OverBudget,
                _ => return Err(unexpected(Reply::Failed { code, message })),
            };
            (refused, message.into_bytes())
        }
        (reply, _) => return Err(unexpected(reply)),
    };
    Ok((failed_result(reason), Some(code)))
}
