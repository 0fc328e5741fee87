//! The page's and the worker's side of the worker pool, which `npm/pool.js` implements.

use super::browser::{AbortOnDrop, entry, failure, failure_field, field, not_started};
use super::{Call, Caller, Ended, Finished, start};
use crate::api::{Options, Triggers, promise};
use crate::connection::{Answer, Reach};
use crate::engine::Kind;
use crate::error::FaasmError;
use crate::function::Loaded;
use crate::host::reply_error;
use crate::object::object;
use crate::shared::{Shared, closed};
use faasm_bridge::guest::CallResult;
use faasm_bridge::placement::Place;
use faasm_bridge::placement::auto::PoolLoad as Load;
use faasm_bridge::sorted_map::SortedMap;
use faasm_bridge::wire::{ChunkHeader, Reply, Request};
use futures_util::future::LocalBoxFuture;
use js_sys::{Float64Array, Function, Promise, Uint8Array};
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen]
extern "C" {
    type Pool;

    /// Runs a call: `source` identifies the function, `options` are those of its run.
    #[wasm_bindgen(method)]
    fn run(this: &Pool, source: &JsValue, options: &JsValue) -> Promise;

    #[wasm_bindgen(method)]
    fn renew(this: &Pool, token: &str);

    #[wasm_bindgen(method)]
    fn end(this: &Pool);

    #[wasm_bindgen(method, getter)]
    fn size(this: &Pool) -> u32;
}

/// The workers of a runtime; the pool opens with the first call.
pub(crate) struct WorkerPool {
    /// Opens a pool; undefined in a worker of a pool.
    open: JsValue,
    /// The workers' options of `connect`.
    connect_options: JsValue,
    pool: OnceCell<Pool>,
    /// Calls in workers, by number; a chained call names its caller by this number.
    calls: RefCell<SortedMap<u32, Rc<Caller>>>,
    last: Cell<u32>,
}

/// A call in flight in a worker.
pub(super) struct InFlightGuard<'a> {
    workers: &'a WorkerPool,
    pub(super) number: u32,
}

impl Drop for InFlightGuard<'_> {
    fn drop(&mut self) {
        self.workers.calls.borrow_mut().remove(&self.number);
    }
}

impl WorkerPool {
    /// `open` opens a pool from its settings; `connect_options` has the workers' options of `connect`.
    pub(crate) fn new(open: JsValue, connect_options: JsValue) -> Self {
        Self {
            open,
            connect_options,
            pool: OnceCell::new(),
            calls: RefCell::default(),
            last: Cell::new(0),
        }
    }

    /// The number of workers and of their calls.
    pub(super) fn load(&self) -> Load {
        Load {
            workers: self.pool.get().map_or(1, Pool::size),
            calls: self.calls.borrow().len() as u32,
        }
    }

    /// Registers a call, until the guard is dropped.
    pub(super) fn register(&self, caller: Caller) -> InFlightGuard<'_> {
        let number = self.last.get().wrapping_add(1);
        self.last.set(number);
        self.calls.borrow_mut().insert(number, Rc::new(caller));
        InFlightGuard { workers: self, number }
    }

    /// The caller with this number, while its call is in flight.
    pub(super) fn caller(&self, number: u32) -> Option<Rc<Caller>> {
        self.calls.borrow().get(&number).cloned()
    }

    /// Runs a call in a worker. `options` is called after the module was fetched, just before the call is posted, so
    /// that it sees all page-only keys. The result has a return value, an output and times.
    pub(super) async fn run(
        &self,
        shared: &Rc<Shared>,
        loaded: &Loaded,
        engine: Kind,
        options: impl Fn() -> JsValue,
    ) -> Result<JsValue, JsValue> {
        let Some((url, manifest)) = loaded.manifest() else { return Err(not_started()) };
        let module = loaded.program(engine).await.map_err(|_| not_started())?.module;
        let source = object(&[
            ("url", url.into()),
            ("manifest", manifest.into()),
            ("engine", engine.as_str().into()),
            ("module", module.into()),
        ]);
        let running = self.pool(shared)?.run(&source, &options());
        JsFuture::from(running).await
    }

    /// The pool; the first call opens it.
    fn pool(&self, shared: &Rc<Shared>) -> Result<&Pool, JsValue> {
        if self.pool.get().is_none() && !shared.is_disposed() {
            let settings = object(&[
                ("begin", self.connect_options.clone()),
                ("module", wasm_bindgen::module()),
                ("chained", perform(Rc::downgrade(shared)).into_js_value()),
            ]);
            let open = self.open.dyn_ref::<Function>().ok_or_else(not_started)?;
            let pool = open.call1(&JsValue::UNDEFINED, &settings)?;
            let _ = self.pool.set(pool.unchecked_into());
        }
        self.pool.get().ok_or_else(not_started)
    }

    /// Sets the token for later connections.
    pub(crate) fn set_token(&self, token: &str) {
        let _ = js_sys::Reflect::set(&self.connect_options, &"token".into(), &token.into());
        if let Some(pool) = self.pool.get() {
            pool.renew(token);
        }
    }

    pub(super) fn end(&self) {
        if let Some(pool) = self.pool.get() {
            pool.end();
        }
    }
}

/// The workers' options of `connect`: the page's user and relay address.
pub(crate) fn connect_options(
    user: &str,
    url: &str,
    token: Option<&str>,
    reach: &Reach,
) -> JsValue {
    let transport = reach.transport.map_or("auto", |kind| kind.as_str());
    object(&[
        ("user", user.into()),
        ("url", url.into()),
        ("token", token.map_or(JsValue::UNDEFINED, JsValue::from_str)),
        ("transport", transport.into()),
        ("reconnectTimeout", (reach.reconnect.as_secs_f64() * 1000.0).into()),
    ])
}

/// In a worker: delegates a call to the page's runtime.
pub(super) async fn delegate_call(delegate: Function, caller: Rc<Caller>, call: Call) -> Finished {
    let (pointer, index) = entry(call.entry);
    let delegated = [
        ("call", caller.number.into()),
        ("function", call.function.into()),
        ("pointer", pointer),
        ("index", index),
        ("input", Uint8Array::from(call.input.as_slice()).into()),
    ];
    let done = call_page(delegate, delegated.into()).await?;
    let (return_value, output) = decode(&done);
    let result = CallResult { return_value: return_value as i32, output };
    Ok(Ended { result, failure: failure(&done), place: Place::Browser })
}

/// The kinds of state operations that workers delegate to the page.
const KINDS: [&str; 5] = ["read", "write", "append", "readList", "clear"];

/// In a worker: delegates an operation on a page-only value to the page.
pub(crate) fn delegate_state(
    delegate: &Function,
    request: &Request,
    payload: &[u8],
) -> LocalBoxFuture<'static, Answer> {
    let (mut numbers, mut at) = (Vec::new(), 0);
    let kind = match request {
        Request::ReadState { offset, length, .. } => {
            at = *offset;
            numbers.push(*offset as f64);
            numbers.extend(length.map(|length| length as f64));
            0
        }
        Request::WriteState { size, chunks, .. } => {
            numbers.push(*size as f64);
            numbers.extend(chunks.iter().flat_map(|c| [c.offset as f64, c.length as f64]));
            1
        }
        Request::AppendState { .. } => 2,
        Request::ReadAppended { count, .. } => {
            numbers.push(f64::from(*count));
            3
        }
        _ => 4,
    };
    let delegated = [
        ("state", KINDS[kind].into()),
        ("key", request.state_key().unwrap_or_default().into()),
        ("numbers", Float64Array::from(numbers.as_slice()).into()),
        ("input", Uint8Array::from(payload).into()),
    ];
    let done = call_page(delegate.clone(), delegated.into());
    Box::pin(async move {
        let (size, output) = decode(&done.await?);
        let reply = match kind {
            0 => Reply::State { size: (size >= 0.0).then_some(size as u64), offset: at },
            3 => Reply::Bytes,
            _ => Reply::Done,
        };
        Ok((reply, output))
    })
}

/// In a worker: performs a request in the page and returns the result. Dropping the future cancels it.
fn call_page(
    delegate: Function,
    mut delegated: Vec<(&'static str, JsValue)>,
) -> LocalBoxFuture<'static, Result<JsValue, FaasmError>> {
    Box::pin(async move {
        let failed = |thrown: JsValue| FaasmError::thrown(&thrown);
        let abort = AbortOnDrop::new()?;
        delegated.push(("signal", abort.0.signal().into()));
        let promise = delegate.call1(&JsValue::UNDEFINED, &object(&delegated)).map_err(failed)?;
        JsFuture::from(Promise::resolve(&promise)).await.map_err(failed)
    })
}

/// Return value and output from the page's result.
fn decode(done: &JsValue) -> (f64, Vec<u8>) {
    let output = Uint8Array::new(&field(done, "output")).to_vec();
    (field(done, "returnValue").as_f64().unwrap_or(1.0), output)
}

/// In the page: performs a delegated state operation.
fn perform_state(shared: &Shared, kind: &str, delegated: &Options) -> Result<JsValue, FaasmError> {
    let key = delegated.string("key")?.unwrap_or_default();
    let numbers = Float64Array::new(&delegated.any("numbers")).to_vec();
    let number = |at: usize| numbers.get(at).map(|number| *number as u64);
    let first = number(0).unwrap_or(0);
    let request = match KINDS.iter().position(|known| *known == kind) {
        Some(0) => Request::ReadState { key, offset: first, length: number(1) },
        Some(1) => {
            let chunks = numbers.get(1..).unwrap_or_default().chunks_exact(2);
            let header = |c: &[f64]| ChunkHeader { offset: c[0] as u64, length: c[1] as u64 };
            Request::WriteState { key, size: first, chunks: chunks.map(header).collect() }
        }
        Some(2) => Request::AppendState { key },
        Some(3) => Request::ReadAppended { key, count: first as u32 },
        _ => Request::ClearAppended { key },
    };
    let input = Uint8Array::new(&delegated.any("input")).to_vec();
    let (size, output) = match shared.perform_locally(&request, &input) {
        (Reply::State { size, .. }, output) => (size.map_or(-1.0, |size| size as f64), output),
        (Reply::Done | Reply::Bytes, output) => (0.0, output),
        (reply, _) => return Err(reply_error(reply)),
    };
    let output = Uint8Array::from(output.as_slice());
    Ok(object(&[("returnValue", size.into()), ("output", output.into())]))
}

/// In the page: the callback that performs delegated calls and state operations.
fn perform(shared: Weak<Shared>) -> Closure<dyn Fn(JsValue) -> Promise> {
    Closure::new(move |delegated: JsValue| {
        let delegated = Options(delegated);
        // A delegated call arrives before the end of its caller, so the caller is still registered.
        let shared = shared.upgrade().filter(|shared| !shared.is_disposed());
        let number = delegated.number("call").ok().flatten().unwrap_or(0);
        let caller = shared.as_ref().and_then(|shared| shared.chains.workers.caller(number));
        promise(async move {
            if let Some(kind) = delegated.string("state")? {
                return perform_state(&*shared.ok_or_else(closed)?, &kind, &delegated);
            }
            let (shared, caller) = shared.zip(caller).ok_or_else(closed)?;
            let call = Call {
                function: delegated.string("function")?.unwrap_or_default(),
                entry: delegated.entry()?,
                input: Uint8Array::new(&delegated.any("input")).to_vec(),
            };
            let (cancel, _triggers) = Triggers::new(&delegated)?;
            shared.running.add(&cancel);
            let ended = cancel.race(start(&shared, &caller, call)?).await?;
            Ok(object(&[
                ("returnValue", ended.result.return_value.into()),
                ("output", Uint8Array::from(ended.result.output.as_slice()).into()),
                failure_field(ended.failure),
            ]))
        })
    })
}
