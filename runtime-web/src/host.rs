//! The imports of a running function: the guest kernel, bound to the browser.

use crate::connection::{Answer, Connection, Waiting};
use crate::engine::{Engine, Interruption};
use crate::error::{Code, FaasmError, describe};
use crate::global::{get_random_values, performance_now, sleep};
use crate::run::Listeners;
use faasm_bridge::guest::{
    Begin, CallId, CallResult, Clock, Completion, Fault, Finish, Guest, GuestMemory, Host,
    Invocation, MAX_PARAMS, Operation, Stream, Target,
};
use faasm_bridge::host::{HostCall, ImportClass, Suspends, ValType, classify};
use faasm_bridge::state::{Chunk, LocalTier};
use faasm_bridge::wire::{CallEntry, ChunkHeader, Reply, Request};
use js_sys::{Function, Object, Reflect, Uint8Array, WebAssembly};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use wasm_bindgen::prelude::*;

#[wasm_bindgen(module = "/js/imports.js")]
extern "C" {
    #[wasm_bindgen(js_name = importFunction)]
    fn import_function(
        handle: &Function,
        memory: &JsValue,
        slots: *const u64,
        row: u32,
        params: &str,
    ) -> Function;
}

/// Import module of the calls the rewriter adds.
const BRIDGE: &str = "faasm_bridge";

const NANOSECONDS_PER_MILLISECOND: f64 = 1e6;

/// What a run shares with the imports of its instance.
pub(crate) struct Bindings {
    guest: RefCell<Guest>,
    pub(crate) tier: Rc<RefCell<LocalTier>>,
    connection: Rc<Connection>,
    listeners: Listeners,
    function: String,
    /// Imports that only trap, by the position given to their import function.
    traps: RefCell<Vec<String>>,
    /// Where the JavaScript side of an import leaves its arguments.
    slots: Box<[Cell<u64>; MAX_PARAMS]>,
    memory: RefCell<Option<WebAssembly::Memory>>,
    /// Bytes at the end of memory that the guest does not know of.
    hidden: u32,
    malloc: RefCell<Option<Function>>,
    /// While the host is inside the guest's `malloc`, below which nothing can suspend.
    allocating: Cell<bool>,
    calls: RefCell<BTreeMap<CallId, Waiting>>,
    /// What the guest waits for, between `begin` and the end of the suspension.
    pending: RefCell<Option<Operation>>,
    /// Why a host call ended the run.
    pub(crate) fault: RefCell<Option<Fault>>,
    /// The cause behind a failed operation.
    failure: RefCell<Option<FaasmError>>,
    pub(crate) chained: Cell<u32>,
    pub(crate) waited: Cell<f64>,
}

impl Bindings {
    pub(crate) fn new(
        invocation: Invocation,
        hidden: u32,
        connection: Rc<Connection>,
        tier: Rc<RefCell<LocalTier>>,
        listeners: Listeners,
    ) -> Rc<Self> {
        Rc::new(Self {
            function: invocation.function.clone(),
            traps: RefCell::default(),
            guest: RefCell::new(Guest::new(invocation)),
            tier,
            connection,
            listeners,
            slots: Box::default(),
            memory: RefCell::new(None),
            hidden,
            malloc: RefCell::new(None),
            allocating: Cell::new(false),
            calls: RefCell::default(),
            pending: RefCell::new(None),
            fault: RefCell::new(None),
            failure: RefCell::new(None),
            chained: Cell::new(0),
            waited: Cell::new(0.0),
        })
    }

    /// Binds the exports of the instance.
    pub(crate) fn attach(&self, memory: WebAssembly::Memory, malloc: Option<Function>) {
        *self.memory.borrow_mut() = Some(memory);
        *self.malloc.borrow_mut() = malloc;
    }

    pub(crate) fn take_output(&self) -> Vec<u8> {
        self.guest.borrow_mut().take_output()
    }

    /// The error that ended the run through a host call, with the cause behind it.
    pub(crate) fn take_fault(&self) -> Option<Fault> {
        self.fault.borrow_mut().take()
    }

    pub(crate) fn take_failure(&self) -> Option<FaasmError> {
        self.failure.borrow_mut().take()
    }

    /// Performs what the guest waits for.
    pub(crate) async fn wait(self: Rc<Self>) {
        let operation = self.pending.borrow_mut().take();
        let Some(operation) = operation else { return };
        let began = performance_now();
        let completion = self.perform(operation).await.unwrap_or_else(|error| {
            let message = error.message.clone();
            *self.failure.borrow_mut() = Some(error);
            Completion::Failed(message)
        });
        self.waited.set(self.waited.get() + performance_now() - began);
        if let Err(fault) = self.guest.borrow_mut().complete(completion) {
            *self.fault.borrow_mut() = Some(fault);
        }
    }

    async fn perform(&self, operation: Operation) -> Result<Completion, FaasmError> {
        match operation {
            Operation::Sleep { nanoseconds } => {
                sleep(nanoseconds as f64 / NANOSECONDS_PER_MILLISECOND).await;
                Ok(Completion::Done)
            }
            Operation::AwaitCall(id) => {
                let waiting = self.calls.borrow_mut().remove(&id);
                match waiting {
                    Some(waiting) => call_result(waiting.answer().await).map(Completion::Call),
                    // It could not even be started; `start_call` kept the reason.
                    None => Err(self.take_failure().unwrap_or_else(|| {
                        FaasmError::new(Code::Fault("internal"), "a call was not started")
                    })),
                }
            }
            Operation::ReadState { key, offset, length } => {
                let request = Request::ReadState { key, offset, length };
                match self.connection.request(request, &[])?.answer().await? {
                    (Reply::State { size, offset }, bytes) => {
                        Ok(Completion::State { size, chunk: Chunk { offset, bytes } })
                    }
                    (reply, _) => Err(unexpected(reply)),
                }
            }
            Operation::WriteState { key, size, chunks } => {
                let headers = chunks.iter().map(|chunk| ChunkHeader {
                    offset: chunk.offset,
                    length: chunk.bytes.len() as u64,
                });
                let request = Request::WriteState { key, size, chunks: headers.collect() };
                let payload: Vec<u8> = chunks.into_iter().flat_map(|chunk| chunk.bytes).collect();
                match self.connection.request(request, &payload)?.answer().await? {
                    (Reply::Done, _) => Ok(Completion::Done),
                    (reply, _) => Err(unexpected(reply)),
                }
            }
        }
    }

    /// Runs `act` on the kernel, with the browser as its host.
    fn with_guest<T>(
        &self,
        act: impl FnOnce(&mut Guest, &mut dyn Host, &mut LocalTier) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let memory = self.memory.borrow();
        let Some(memory) = memory.as_ref() else {
            return Err(Fault::Order { call: "a host call before the instance was there" });
        };
        let mut host = BrowserHost { bindings: self, memory: Uint8Array::new(&memory.buffer()) };
        act(&mut self.guest.borrow_mut(), &mut host, &mut self.tier.borrow_mut())
    }

    fn args(&self) -> [u64; MAX_PARAMS] {
        std::array::from_fn(|slot| self.slots[slot].get())
    }

    fn call(&self, call: HostCall) -> Result<i32, Fault> {
        let args = self.args();
        self.with_guest(|guest, host, tier| guest.call(call, &args, host, tier))
    }

    /// 0 where the call is ready to finish, 1 where the guest has to suspend first.
    fn begin(&self, call: HostCall) -> Result<i32, Fault> {
        let args = self.args();
        match self.with_guest(|guest, host, tier| guest.begin(call, &args, host, tier))? {
            Begin::Ready => Ok(0),
            Begin::Wait(_) if self.allocating.get() => {
                let message = "the guest's malloc wants to wait, which it cannot".to_owned();
                Err(Fault::Operation { call, message })
            }
            Begin::Wait(operation) => {
                *self.pending.borrow_mut() = Some(operation);
                Ok(1)
            }
        }
    }

    fn finish(&self) -> Result<i32, Fault> {
        loop {
            match self.with_guest(|guest, host, tier| guest.finish(host, tier))? {
                Finish::Return(value) => return Ok(value),
                Finish::Allocate { bytes } => {
                    let pointer = self.allocate(bytes)?;
                    self.guest.borrow_mut().allocated(pointer)?;
                }
            }
        }
    }

    /// Calls the guest's `malloc`; it may make host calls meanwhile, but not wait.
    fn allocate(&self, bytes: u32) -> Result<u32, Fault> {
        let call = HostCall::AwaitCallOutput;
        let malloc = self.malloc.borrow().clone().ok_or_else(|| Fault::Operation {
            call,
            message: "the guest exports no malloc: link it with --export=malloc".to_owned(),
        })?;
        self.allocating.set(true);
        let result = malloc.call1(&JsValue::UNDEFINED, &bytes.into());
        self.allocating.set(false);
        match result {
            Ok(pointer) => Ok(pointer.as_f64().map_or(0, |number| number as i64 as u32)),
            Err(thrown) => Err(self.take_fault().unwrap_or_else(|| {
                let message = format!("the guest's malloc failed: {}", describe(&thrown));
                Fault::Operation { call, message }
            })),
        }
    }

    /// Keeps why the run ends, and gives JavaScript something to throw.
    fn throw(&self, fault: Fault) -> JsValue {
        let message = fault.to_string();
        *self.fault.borrow_mut() = Some(fault);
        JsValue::from_str(&message)
    }
}

/// How a chained call ended, for the guest. A call the cluster refused is one that failed; a call of which nothing is
/// known ends the run.
fn call_result(answer: Answer) -> Result<CallResult, FaasmError> {
    use faasm_bridge::wire::FailureCode;
    match answer? {
        (Reply::Call { return_value }, output) => Ok(CallResult { return_value, output }),
        (Reply::Failed { code: FailureCode::BadRequest | FailureCode::Cancelled, message }, _) => {
            Ok(CallResult { return_value: 1, output: message.into_bytes() })
        }
        (reply, _) => Err(unexpected(reply)),
    }
}

pub(crate) fn unexpected(reply: Reply) -> FaasmError {
    match reply {
        Reply::Failed { message, .. } => FaasmError::new(Code::Fault("operation-failed"), message),
        _ => FaasmError::new(
            Code::Fault("operation-failed"),
            "the relay's reply does not fit the request",
        ),
    }
}

/// The browser, as the kernel sees it during one host call.
struct BrowserHost<'a> {
    bindings: &'a Bindings,
    /// Made anew for each call: a growing memory takes its old buffer away.
    memory: Uint8Array,
}

impl BrowserHost<'_> {
    fn slice(&self, pointer: u32, length: usize) -> Uint8Array {
        self.memory.subarray(pointer, pointer + length as u32)
    }
}

impl GuestMemory for BrowserHost<'_> {
    fn size(&self) -> u64 {
        u64::from(self.memory.length() - self.bindings.hidden)
    }

    fn read_into(&self, pointer: u32, target: &mut [u8]) {
        self.slice(pointer, target.len()).copy_to(target);
    }

    fn write_from(&mut self, pointer: u32, source: &[u8]) {
        self.slice(pointer, source.len()).copy_from(source);
    }
}

impl Host for BrowserHost<'_> {
    fn now(&self, clock: Clock) -> u64 {
        let milliseconds = match clock {
            Clock::Realtime => js_sys::Date::now(),
            Clock::Monotonic => performance_now(),
        };
        (milliseconds * NANOSECONDS_PER_MILLISECOND) as u64
    }

    fn random(&mut self, target: &mut [u8]) {
        get_random_values(target);
    }

    fn start_call(&mut self, id: CallId, target: Target, input: Vec<u8>) {
        let bindings = self.bindings;
        let (function, entry) = match target {
            Target::Function(name) => (name, CallEntry::Main),
            Target::Pointer(index) => (bindings.function.clone(), CallEntry::Pointer(index)),
        };
        let (args, env) = (Vec::new(), Vec::new());
        let request = Request::Call { function, entry, args, env };
        bindings.chained.set(bindings.chained.get() + 1);
        match bindings.connection.request(request, &input) {
            Ok(waiting) => drop(bindings.calls.borrow_mut().insert(id, waiting)),
            Err(error) => *bindings.failure.borrow_mut() = Some(error),
        }
    }

    fn take_finished(&mut self, id: CallId) -> Option<CallResult> {
        let mut calls = self.bindings.calls.borrow_mut();
        let result = match calls.get_mut(&id)?.try_answer()? {
            Ok((Reply::Call { return_value }, output)) => CallResult { return_value, output },
            // Anything else goes the long way, which ends in an error that says why.
            other => {
                let (sender, receiver) = futures_channel::oneshot::channel();
                let _ = sender.send(other);
                calls.insert(id, Waiting::resolved(receiver));
                return None;
            }
        };
        calls.remove(&id);
        Some(result)
    }

    fn print(&mut self, stream: Stream, bytes: &[u8]) {
        self.bindings.listeners.print(stream, bytes);
    }
}

type Handler = Closure<dyn Fn(u32) -> Result<i32, JsValue>>;

/// The closures that the import object holds on to; dropped with the run.
pub(crate) type Closures = Vec<Handler>;

/// The import object of a module, and what keeps it alive.
pub(crate) fn import_object(
    module: &WebAssembly::Module,
    bindings: &Rc<Bindings>,
    engine: &Rc<dyn Engine>,
) -> Result<(Object, Closures), FaasmError> {
    let (calls, calls_closure) = handler(bindings, |bindings, row| bindings.call(known(row)?));
    let (begins, begins_closure) = handler(bindings, |bindings, row| bindings.begin(known(row)?));
    let (finishes, finishes_closure) = handler(bindings, |bindings, _| bindings.finish());
    let (traps, traps_closure) = handler(bindings, |bindings, position| {
        let import = bindings.traps.borrow().get(position as usize).cloned().unwrap_or_default();
        Err(Fault::UnknownImport { import })
    });
    let engine = Rc::downgrade(engine);
    let fault = Rc::downgrade(bindings);
    let suspend = Handler::new(move |_| {
        suspend(&engine, &fault)?;
        Ok(0)
    });
    let suspend_function: Function = suspend.as_ref().unchecked_ref::<Function>().clone();

    let memory = wasm_bindgen::memory();
    let slots = bindings.slots.as_ptr().cast::<u64>();
    let imports = Object::new();
    for import in WebAssembly::Module::imports(module).iter() {
        let field = |name: &str| {
            let value = Reflect::get(&import, &name.into()).ok().and_then(|v| v.as_string());
            value.unwrap_or_default()
        };
        let (from, name) = (field("module"), field("name"));
        let bind = |handle: &Function, row: u32, params: &[ValType]| {
            import_function(handle, &memory, slots, row, &letters(params))
        };
        let function = if from == BRIDGE {
            match name.split_once(':') {
                None if name == "suspend" => suspend_function.clone(),
                Some(("begin", row)) => {
                    let call = row_named(row)?;
                    bind(&begins, call.index(), call.row().params)
                }
                Some(("finish", row)) => bind(&finishes, row_named(row)?.index(), &[]),
                Some(("trap", import)) => {
                    let mut names = bindings.traps.borrow_mut();
                    names.push(import.to_owned());
                    bind(&traps, names.len() as u32 - 1, &[])
                }
                _ => return Err(unbound(&from, &name)),
            }
        } else {
            match classify(&from, &name) {
                ImportClass::Known(call) if call.row().suspends == Suspends::Never => {
                    bind(&calls, call.index(), call.row().params)
                }
                _ => return Err(unbound(&from, &name)),
            }
        };
        set(&imports, &from, &name, &function);
    }
    let closures = vec![calls_closure, begins_closure, finishes_closure, traps_closure, suspend];
    Ok((imports, closures))
}

fn suspend(engine: &Weak<dyn Engine>, bindings: &Weak<Bindings>) -> Result<(), JsValue> {
    let (Some(engine), Some(bindings)) = (engine.upgrade(), bindings.upgrade()) else {
        return Err(JsValue::from_str("the run is over"));
    };
    match engine.suspend() {
        Ok(_) => Ok(()),
        Err(Interruption::Thrown(thrown)) => Err(thrown),
        Err(Interruption::Failed(error)) => {
            let thrown = JsValue::from_str(&error.message);
            *bindings.failure.borrow_mut() = Some(error);
            Err(thrown)
        }
    }
}

/// A JavaScript function of the row's index that turns faults into something thrown.
fn handler(
    bindings: &Rc<Bindings>,
    act: impl Fn(&Bindings, u32) -> Result<i32, Fault> + 'static,
) -> (Function, Handler) {
    let weak = Rc::downgrade(bindings);
    let closure = Handler::new(move |row| {
        let bindings = weak.upgrade().ok_or_else(|| JsValue::from_str("the run is over"))?;
        act(&bindings, row).map_err(|fault| bindings.throw(fault))
    });
    (closure.as_ref().unchecked_ref::<Function>().clone(), closure)
}

fn known(row: u32) -> Result<HostCall, Fault> {
    HostCall::from_index(row).ok_or(Fault::Order { call: "a row that is not in the table" })
}

fn row_named(import: &str) -> Result<HostCall, FaasmError> {
    let found = import.split_once('.').and_then(|(module, name)| HostCall::by_import(module, name));
    found.ok_or_else(|| unbound(BRIDGE, import))
}

fn letters(params: &[ValType]) -> String {
    let letter = |param: &ValType| match param {
        ValType::I32 => 'i',
        ValType::I64 => 'I',
    };
    params.iter().map(letter).collect()
}

fn set(imports: &Object, module: &str, name: &str, function: &Function) {
    let existing = Reflect::get(imports, &module.into()).unwrap_or(JsValue::UNDEFINED);
    let namespace: Object = existing.dyn_into().unwrap_or_else(|_| Object::new());
    let fits = "properties of a plain object can be set";
    Reflect::set(&namespace, &name.into(), function).expect(fits);
    Reflect::set(imports, &module.into(), &namespace).expect(fits);
}

fn unbound(module: &str, name: &str) -> FaasmError {
    let message = format!(
        "the module imports `{module}.{name}`, which this runtime cannot bind: build it with the faasm-asyncify of the same version"
    );
    FaasmError::new(Code::CannotLoad, message)
}
