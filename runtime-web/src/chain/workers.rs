//! The workers that run chained calls: `npm/pool.js` has them, this is its other side.

use super::here::{Aborting, entry, failure, failure_field, field, not_started};
use super::{Call, Caller, Ended, Finished, start};
use crate::api::{Options, Triggers, promise};
use crate::connection::{Answer, Reach};
use crate::engine::Kind;
use crate::error::FaasmError;
use crate::function::Loaded;
use crate::host::unexpected;
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

    /// Runs a call: `source` is where the function is from, `options` are those of its run.
    #[wasm_bindgen(method)]
    fn run(this: &Pool, source: &JsValue, options: &JsValue) -> Promise;

    #[wasm_bindgen(method)]
    fn renew(this: &Pool, token: &str);

    #[wasm_bindgen(method)]
    fn end(this: &Pool);

    #[wasm_bindgen(method, getter)]
    fn size(this: &Pool) -> u32;
}

/// The workers, once there was a call for them.
pub(crate) struct WorkerPool {
    /// Gives a pool for its settings; undefined in a worker of one.
    open: JsValue,
    /// What the workers connect with.
    begin: JsValue,
    pool: OnceCell<Pool>,
    /// Calls that workers have, by number: what they chain comes back under these.
    calls: RefCell<SortedMap<u32, Rc<Caller>>>,
    last: Cell<u32>,
}

/// A call that is under way in a worker.
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
    /// `open` gives a pool for its settings, `begin` is what `connect` takes.
    pub(crate) fn new(open: JsValue, begin: JsValue) -> Self {
        Self { open, begin, pool: OnceCell::new(), calls: RefCell::default(), last: Cell::new(0) }
    }

    /// How busy they are.
    pub(super) fn load(&self) -> Load {
        Load {
            workers: self.pool.get().map_or(1, Pool::size),
            calls: self.calls.borrow().len() as u32,
        }
    }

    /// Counts a call, until what this gives is dropped.
    pub(super) fn enter(&self, caller: Caller) -> InFlightGuard<'_> {
        let number = self.last.get().wrapping_add(1);
        self.last.set(number);
        self.calls.borrow_mut().insert(number, Rc::new(caller));
        InFlightGuard { workers: self, number }
    }

    /// A call that is under way.
    pub(super) fn caller(&self, number: u32) -> Option<Rc<Caller>> {
        self.calls.borrow().get(&number).cloned()
    }

    /// Runs a call in a worker; `options` are asked for when it is posted, not before its module was fetched, so that it knows all
    /// keys that are page-only by then. What it gives has a return value, an output and times.
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

    /// The pool, which is made with the first call for it.
    fn pool(&self, shared: &Rc<Shared>) -> Result<&Pool, JsValue> {
        if self.pool.get().is_none() && !shared.is_disposed() {
            let settings = object(&[
                ("begin", self.begin.clone()),
                ("module", wasm_bindgen::module()),
                ("chained", perform(Rc::downgrade(shared)).into_js_value()),
            ]);
            let open = self.open.dyn_ref::<Function>().ok_or_else(not_started)?;
            let pool = open.call1(&JsValue::UNDEFINED, &settings)?;
            let _ = self.pool.set(pool.unchecked_into());
        }
        self.pool.get().ok_or_else(not_started)
    }

    /// The token to connect with from here on.
    pub(crate) fn set_token(&self, token: &str) {
        let _ = js_sys::Reflect::set(&self.begin, &"token".into(), &token.into());
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

/// What workers connect with: as the page, to where the page has found the relay.
pub(crate) fn begin(user: &str, url: &str, token: Option<&str>, reach: &Reach) -> JsValue {
    let transport = reach.transport.map_or("auto", |kind| kind.as_str());
    object(&[
        ("user", user.into()),
        ("url", url.into()),
        ("token", token.map_or(JsValue::UNDEFINED, JsValue::from_str)),
        ("transport", transport.into()),
        ("reconnectTimeout", (reach.reconnect.as_secs_f64() * 1000.0).into()),
    ])
}

/// In a worker: has the page's runtime perform a call.
pub(super) async fn delegate_call(delegate: Function, caller: Rc<Caller>, call: Call) -> Finished {
    let (pointer, index) = entry(call.entry);
    let handed = [
        ("call", caller.number.into()),
        ("function", call.function.into()),
        ("pointer", pointer),
        ("index", index),
        ("input", Uint8Array::from(call.input.as_slice()).into()),
    ];
    let ran = ask_page(delegate, handed.into()).await?;
    let (return_value, output) = result(&ran);
    let result = CallResult { return_value: return_value as i32, output };
    Ok(Ended { result, failure: failure(&ran), place: Place::Browser })
}

/// What is asked of the page, as it is handed over.
const KINDS: [&str; 5] = ["read", "write", "append", "readList", "clear"];

/// In a worker: has the page do something with what never leaves it.
pub(crate) fn hand_over_state(
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
    let handed = [
        ("state", KINDS[kind].into()),
        ("key", request.state_key().unwrap_or_default().into()),
        ("numbers", Float64Array::from(numbers.as_slice()).into()),
        ("input", Uint8Array::from(payload).into()),
    ];
    let done = ask_page(delegate.clone(), handed.into());
    Box::pin(async move {
        let (size, output) = result(&done.await?);
        let reply = match kind {
            0 => Reply::State { size: (size >= 0.0).then_some(size as u64), offset: at },
            3 => Reply::Bytes,
            _ => Reply::Done,
        };
        Ok((reply, output))
    })
}

/// In a worker: has the page perform something; gives what came of it. Dropping this cancels it.
fn ask_page(
    delegate: Function,
    mut handed: Vec<(&'static str, JsValue)>,
) -> LocalBoxFuture<'static, Result<JsValue, FaasmError>> {
    Box::pin(async move {
        let failed = |thrown: JsValue| FaasmError::thrown(&thrown);
        let aborting = Aborting::new()?;
        handed.push(("signal", aborting.0.signal().into()));
        let promise = delegate.call1(&JsValue::UNDEFINED, &object(&handed)).map_err(failed)?;
        JsFuture::from(Promise::resolve(&promise)).await.map_err(failed)
    })
}

/// Return value and output of what the page has performed.
fn result(done: &JsValue) -> (f64, Vec<u8>) {
    let output = Uint8Array::new(&field(done, "output")).to_vec();
    (field(done, "returnValue").as_f64().unwrap_or(1.0), output)
}

/// In the page: does it.
fn perform_state(shared: &Shared, kind: &str, handed: &Options) -> Result<JsValue, FaasmError> {
    let key = handed.string("key")?.unwrap_or_default();
    let numbers = Float64Array::new(&handed.any("numbers")).to_vec();
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
    let input = Uint8Array::new(&handed.any("input")).to_vec();
    let (size, output) = match shared.perform_here(&request, &input) {
        (Reply::State { size, .. }, output) => (size.map_or(-1.0, |size| size as f64), output),
        (Reply::Done | Reply::Bytes, output) => (0.0, output),
        (reply, _) => return Err(unexpected(reply)),
    };
    let output = Uint8Array::from(output.as_slice());
    Ok(object(&[("returnValue", size.into()), ("output", output.into())]))
}

/// In the page: performs the calls that functions in workers chain.
fn perform(shared: Weak<Shared>) -> Closure<dyn Fn(JsValue) -> Promise> {
    Closure::new(move |handed: JsValue| {
        let handed = Options(handed);
        // What is handed over comes before the end of the call that chains it.
        let shared = shared.upgrade().filter(|shared| !shared.is_disposed());
        let number = handed.number("call").ok().flatten().unwrap_or(0);
        let caller = shared.as_ref().and_then(|shared| shared.chains.workers.caller(number));
        promise(async move {
            if let Some(kind) = handed.string("state")? {
                return perform_state(&*shared.ok_or_else(closed)?, &kind, &handed);
            }
            let (shared, caller) = shared.zip(caller).ok_or_else(closed)?;
            let call = Call {
                function: handed.string("function")?.unwrap_or_default(),
                entry: handed.entry()?,
                input: Uint8Array::new(&handed.any("input")).to_vec(),
            };
            let (stop, _triggers) = Triggers::new(&handed)?;
            shared.running.add(&stop);
            let ended = stop.race(start(&shared, &caller, call)?).await?;
            Ok(object(&[
                ("returnValue", ended.result.return_value.into()),
                ("output", Uint8Array::from(ended.result.output.as_slice()).into()),
                failure_field(ended.failure),
            ]))
        })
    })
}
