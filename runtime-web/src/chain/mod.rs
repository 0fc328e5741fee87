//! Chained calls: their placement, execution and results.
//!
//! * this file: placement, and calls in the cluster;
//! * `browser`: calls in this browser;
//! * `workers`: the worker pool;
//! * `library`: functions by name;
//! * `tree`: cancellation of a call tree.
//!
//! A runtime in a worker of the pool delegates the calls that its functions chain to the page's runtime.

mod browser;
mod library;
mod tree;
mod workers;

pub(crate) use library::Library;
pub(crate) use workers::{WorkerPool, connect_options, delegate_state};

use crate::cancel::CancelToken;
use crate::connection::Answer;
use crate::engine::Kind;
use crate::error::{Code, FaasmError, describe};
use crate::function::Loaded;
use crate::global::performance_now;
use crate::host::reply_error;
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

/// The maximum depth of a call tree, the same as in a cluster.
const MAX_DEPTH: u32 = 64;

/// A call before its placement.
pub(crate) struct Call {
    pub(crate) function: String,
    pub(crate) entry: CallEntry,
    pub(crate) input: Vec<u8>,
}

impl Call {
    /// The key of its latency samples; each function pointer has its own.
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
    /// The distance from the call tree's root, in calls.
    depth: u32,
    /// The call tree that the run belongs to.
    tree: Rc<Tree>,
    /// In a worker: the number by which the page knows the run.
    number: u32,
}

impl Caller {
    /// The caller that a call chained by this one becomes.
    fn callee(&self, loaded: &Rc<Loaded>, engine: Kind) -> Self {
        Self {
            loaded: Rc::clone(loaded),
            engine,
            depth: self.depth + 1,
            tree: Rc::clone(&self.tree),
            number: 0,
        }
    }

    /// Called when the run was cancelled; the root of a call tree cancels the whole tree.
    pub(crate) fn cancelled(&self, reason: &FaasmError) {
        if self.depth == 0 {
            self.tree.cancel(reason);
        }
    }
}

/// How a chained call ended, and where it ran.
pub(crate) struct Ended {
    pub(crate) result: CallResult,
    /// The failure code, if the call failed; the output has the message.
    pub(crate) failure: Option<Code>,
    pub(crate) place: Place,
}

/// The result of a failed call: its output is the reason.
fn failed_result(reason: impl Into<Vec<u8>>) -> CallResult {
    CallResult { return_value: 1, output: reason.into() }
}

/// An error if the call's outcome is unknown.
pub(crate) type Finished = Result<Ended, FaasmError>;

/// A call in flight. Dropping the future cancels the call.
pub(crate) type Running = LocalBoxFuture<'static, Finished>;

/// The page's option `where` of `connect`.
pub(crate) enum PlacementRequest {
    Rules(Policy),
    /// Returns a placement for a function's name.
    Function(Function),
}

impl PlacementRequest {
    /// The placement of calls of a function; `None` if the page leaves it to the manifest.
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
                None => wrong("it returns \"cluster\", \"browser\", \"auto\" or null".to_owned()),
            },
            Err(thrown) => wrong(describe(&thrown)),
        }
    }
}

/// The chained-call state of a runtime.
pub(crate) struct Chains {
    requested: PlacementRequest,
    auto: RefCell<Auto>,
    pub(crate) library: Library,
    pub(crate) workers: WorkerPool,
    /// In a worker of the pool: performs chained calls in the page.
    delegate: Option<Function>,
}

impl Chains {
    pub(crate) fn new(
        requested: PlacementRequest,
        library: Library,
        workers: WorkerPool,
        delegate: Option<Function>,
    ) -> Self {
        Self { requested, auto: RefCell::default(), library, workers, delegate }
    }

    /// In a worker of the pool: performs chained calls and page-only state operations in the page.
    pub(crate) fn delegate(&self) -> Option<&Function> {
        self.delegate.as_ref()
    }

    /// Makes the caller of a run. `number` is that of a chained call: in a page its own, in a worker the page's.
    pub(crate) fn caller(
        &self,
        loaded: &Rc<Loaded>,
        engine: Kind,
        number: Option<u32>,
        cancel: &Rc<CancelToken>,
    ) -> Rc<Caller> {
        let known = number.and_then(|number| self.workers.caller(number));
        known.unwrap_or_else(|| {
            let (loaded, number) = (Rc::clone(loaded), number.unwrap_or(0));
            Rc::new(Caller { loaded, engine, depth: 0, tree: Tree::new(Rc::clone(cancel)), number })
        })
    }

    /// Records a round trip to the relay that ran no function.
    pub(crate) fn answered(&self, milliseconds: f64, bytes: u64) {
        self.auto.borrow_mut().answered(milliseconds, bytes);
    }

    pub(crate) fn dispose(&self) {
        self.library.clear();
        self.workers.end();
    }
}

/// Starts a call.
///
/// # Errors
/// If the request cannot be sent; then the call was not started.
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
        return Ok(failed(format!("calls chained more than {MAX_DEPTH} deep")));
    }
    let requested = match chains.requested.of(&call.function)? {
        Some(place) => place,
        None => caller.loaded.chained.of(&call.function).unwrap_or(Where::Cluster),
    };
    let (place, sample) = match requested {
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
        Place::Browser => {
            Box::pin(browser::run(Rc::clone(shared), Rc::clone(caller), call, sample))
        }
    };
    Ok(caller.tree.within(running))
}

/// A call that failed before it was started.
fn failed(reason: String) -> Running {
    let (result, failure) = (failed_result(reason), Some(Code::OperationFailed));
    Box::pin(async move { Ok(Ended { result, failure, place: Place::Browser }) })
}

/// Reports the latency of a call placed by `auto`.
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

    /// The call cannot run in a worker.
    fn cannot(&self) {
        self.with(Auto::cannot);
    }
}

impl Drop for LatencySample {
    fn drop(&mut self) {
        // No effect after `finished`.
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

/// The result of a call in the cluster, and its failure code. A call that the cluster rejected has failed; a call of
/// unknown outcome is an error, which ends the run.
fn call_result(answer: Answer) -> Result<(CallResult, Option<Code>), FaasmError> {
    let (code, reason) = match answer? {
        (Reply::Call { return_value }, output) => {
            return Ok((CallResult { return_value, output }, None));
        }
        (Reply::CallFailed { code }, reason) => (Code::named(&code), reason),
        (Reply::Failed { code, message }, _) => {
            let failed = match code {
                FailureCode::BadRequest => Code::OperationFailed,
                FailureCode::Cancelled => Code::Aborted,
                FailureCode::Unauthorised => Code::Refused,
                FailureCode::OverBudget => Code::OverBudget,
                _ => return Err(reply_error(Reply::Failed { code, message })),
            };
            (failed, message.into_bytes())
        }
        (reply, _) => return Err(reply_error(reply)),
    };
    Ok((failed_result(reason), Some(code)))
}
