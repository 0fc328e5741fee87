//! The imports of a running function: the kernel's driver in the browser.
//!
//! * this file: the two halves of a host call, and the guest's allocator;
//! * `browser`: the kernel's host and guest memory;
//! * `calls`: chained calls;
//! * `locks`: cluster-wide locks;
//! * `listeners`: the page's listeners;
//! * `operations`: performs operations while the function is suspended;
//! * `imports`: the import object; host calls enter at [`crate::entry`];
//! * `runs`: finds the run of a host call;
//! * `transfers`: state values between page and relay.

mod browser;
mod calls;
mod imports;
mod listeners;
mod locks;
mod operations;
mod runs;
mod transfers;

pub(crate) use imports::{BRIDGE, import_object};
pub(crate) use listeners::Listeners;
pub(crate) use operations::{expect_bytes, expect_done, reply_error};
pub(crate) use runs::{RunNumber, find_run};
pub(crate) use transfers::{read_state, write_state};

use crate::cancel::CancelToken;
use crate::chain::Caller;
use crate::error::FaasmError;
use crate::global::performance_now;
use crate::shared::Shared;
pub(crate) use browser::uncatchable;
use browser::{BrowserHost, open_guest};
use calls::Calls;
use faasm_bridge::guest::{Begin, Completion, Fault, Finish, Guest, GuestCall, Host, Operation};
use faasm_bridge::host::HostCall;
use faasm_bridge::state::LocalTier;
use js_sys::{Function, WebAssembly};
use locks::Locks;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::JsValue;

/// State shared by a run and the imports of its instance.
pub(crate) struct Bindings {
    guest: RefCell<Guest>,
    shared: Rc<Shared>,
    listeners: Rc<Listeners>,
    cancel: Rc<CancelToken>,
    caller: Rc<Caller>,
    /// Imports that trap, by the index given to their import function.
    pub(crate) traps: RefCell<Vec<String>>,
    /// The run's number in JavaScript.
    number: Cell<u32>,
    /// Set once the instance and its memory exist.
    attached: Cell<bool>,
    /// The size of the unwind buffer at the end of memory, hidden from the guest.
    hidden: u32,
    malloc: RefCell<Option<Function>>,
    /// Grows the guest's memory.
    grow: RefCell<Option<Function>>,
    fence: RefCell<Option<[WebAssembly::Global; 2]>>,
    /// The guest function that a host call is about to call.
    called: RefCell<Option<GuestCall>>,
    /// Set while the host runs the guest's `malloc`, which must not suspend.
    allocating: Cell<bool>,
    calls: Calls,
    locks: Locks,
    /// The operation that the guest waits for, between `begin` and `wait`.
    pending: RefCell<Option<Operation>>,
    /// The fault by which a host call ended the run.
    pub(crate) fault: RefCell<Option<Fault>>,
    /// The cause of a failed operation.
    failure: RefCell<Option<FaasmError>>,
    pub(crate) waited: Cell<f64>,
}

impl Bindings {
    pub(crate) fn new(
        guest: Guest,
        hidden: u32,
        caller: Rc<Caller>,
        shared: Rc<Shared>,
        listeners: Listeners,
        cancel: Rc<CancelToken>,
    ) -> Rc<Self> {
        Rc::new(Self {
            caller,
            traps: RefCell::default(),
            guest: RefCell::new(guest),
            shared,
            listeners: Rc::new(listeners),
            cancel,
            number: Cell::new(0),
            attached: Cell::new(false),
            hidden,
            malloc: RefCell::new(None),
            grow: RefCell::new(None),
            fence: RefCell::new(None),
            called: RefCell::new(None),
            allocating: Cell::new(false),
            calls: Calls::default(),
            locks: Locks::default(),
            pending: RefCell::new(None),
            fault: RefCell::new(None),
            failure: RefCell::new(None),
            waited: Cell::new(0.0),
        })
    }

    /// Binds the exports of the instance.
    pub(crate) fn attach(&self, exported: Exported<'_>) {
        let Exported { memory, table, malloc, grow, fence } = exported;
        open_guest(self.number.get(), memory, &table);
        self.attached.set(true);
        *self.malloc.borrow_mut() = malloc;
        *self.grow.borrow_mut() = grow;
        *self.fence.borrow_mut() = fence;
    }

    /// The number of chained calls.
    pub(crate) fn chained(&self) -> u32 {
        self.calls.chained()
    }

    /// Ends the run: merges writes through mappings into the local tier, and releases locks. Calls that it has not
    /// awaited continue, unless the run was cancelled.
    pub(crate) fn end(&self) {
        self.listeners.flush();
        let cancelled = self.cancel.reason();
        self.calls.end(cancelled.is_some());
        cancelled.inspect(|reason| self.caller.cancelled(reason));
        self.locks.end(&self.shared.connection);
        let ended = self.with_guest(|guest, host, tier| {
            guest.end(host, tier);
            Ok(())
        });
        // Without memory, the module could not be instantiated.
        if ended.is_err() {
            self.shared.tier.with(|tier| self.guest.borrow_mut().abandon(tier));
        }
    }

    pub(crate) fn take_output(&self) -> Vec<u8> {
        self.guest.borrow_mut().take_output()
    }

    /// The fault by which a host call ended the run.
    pub(crate) fn take_fault(&self) -> Option<Fault> {
        self.fault.borrow_mut().take()
    }

    pub(crate) fn take_failure(&self) -> Option<FaasmError> {
        self.failure.borrow_mut().take()
    }

    /// Performs the pending operation, and completes it in the kernel.
    pub(crate) async fn wait(self: Rc<Self>) {
        let operation = self.pending.borrow_mut().take();
        let Some(operation) = operation else { return };
        let began = performance_now();
        self.listeners.suspended(&operation);
        let performed = self.cancel.race(self.perform(operation)).await;
        let completion = performed.unwrap_or_else(|error| {
            let message = error.message.clone();
            *self.failure.borrow_mut() = Some(error);
            Completion::Failed(message)
        });
        let waited = performance_now() - began;
        self.waited.set(self.waited.get() + waited);
        self.listeners.resumed(waited);
        if let Err(fault) = self.guest.borrow_mut().complete(completion) {
            *self.fault.borrow_mut() = Some(fault);
        }
    }

    /// Runs `act` on the kernel, with the browser as its host.
    fn with_guest<T>(
        &self,
        act: impl FnOnce(&mut Guest, &mut dyn Host, &mut LocalTier) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if !self.attached.get() {
            return Err(Fault::Order { call: "a host call during instantiation" });
        }
        let mut host = BrowserHost(self);
        self.shared.tier.with(|tier| act(&mut self.guest.borrow_mut(), &mut host, tier))
    }

    pub(crate) fn call(&self, call: HostCall, args: &[u64]) -> Result<i32, Raise> {
        self.check_cancelled()?;
        Ok(self.with_guest(|guest, host, tier| guest.call(call, args, host, tier))?)
    }

    /// A cancelled run ends at its next host call.
    fn check_cancelled(&self) -> Result<(), Raise> {
        match self.cancel.reason() {
            Some(reason) => Err(Raise::Thrown(JsValue::from_str(&reason.message))),
            None => Ok(()),
        }
    }

    /// A host call that returns an `f64`.
    pub(crate) fn number(&self, call: HostCall) -> Result<f64, Raise> {
        self.check_cancelled()?;
        Ok(self.with_guest(|guest, host, tier| Ok(guest.number(call, host, tier)))?)
    }

    /// Returns 0 if the call can finish at once, 1 if the guest has to suspend first, 2 if a guest function has to be
    /// called first.
    pub(crate) fn begin(&self, call: HostCall, args: &[u64]) -> Result<i32, Raise> {
        self.check_cancelled()?;
        match self.with_guest(|guest, host, tier| guest.begin(call, args, host, tier))? {
            Begin::Ready => Ok(0),
            Begin::Call(called) => {
                *self.called.borrow_mut() = Some(called);
                Ok(2)
            }
            Begin::Wait(_) if self.allocating.get() => {
                let message =
                    "the guest's malloc makes a host call that suspends, which is not supported"
                        .to_owned();
                Err(Fault::Operation { call, message }.into())
            }
            Begin::Wait(operation) => {
                *self.pending.borrow_mut() = Some(operation);
                Ok(1)
            }
        }
    }

    /// Describes the pending guest call: number of arguments, one argument, or index in the table.
    pub(crate) fn called(&self, what: Called, position: u32) -> Result<i32, Raise> {
        let called = self.called.borrow();
        let called = called.as_ref().ok_or(Fault::Order { call: "a call of the guest" })?;
        let value = match what {
            Called::Count => called.arguments.len() as u32,
            Called::Argument => called.arguments.get(position as usize).copied().unwrap_or(0),
            Called::Function => called.function,
        };
        Ok(value as i32)
    }

    pub(crate) fn finish(&self, call: HostCall) -> Result<i32, Raise> {
        loop {
            match self.with_guest(|guest, host, tier| guest.finish(call, host, tier))? {
                Finish::Return(value) => return Ok(value),
                Finish::Allocate { bytes } => {
                    let pointer = self.allocate(call, bytes)?;
                    self.guest.borrow_mut().allocated(pointer)?;
                }
            }
        }
    }

    /// Calls the guest's `malloc`, which may make host calls but not suspend.
    fn allocate(&self, call: HostCall, bytes: u32) -> Result<u32, Raise> {
        let malloc = self.malloc.borrow().clone().ok_or(Fault::NoMalloc { call })?;
        let outer = self.allocating.replace(true);
        let result = malloc.call1(&JsValue::UNDEFINED, &bytes.into());
        self.allocating.set(outer);
        match result {
            Ok(pointer) => Ok(pointer.as_f64().map_or(0, |number| number as i64 as u32)),
            Err(thrown) => Err(self.take_fault().map_or(Raise::Thrown(thrown), Raise::Fault)),
        }
    }

    /// Records why the run ends, and returns the exception to throw.
    pub(crate) fn throw(&self, raise: Raise) -> JsValue {
        match raise {
            Raise::Thrown(thrown) => thrown,
            Raise::Fault(fault) => {
                *self.fault.borrow_mut() = Some(fault);
                uncatchable()
            }
        }
    }
}

/// The exports that the kernel uses.
pub(crate) struct Exported<'a> {
    pub(crate) memory: &'a WebAssembly::Memory,
    /// Undefined if the module exports no table.
    pub(crate) table: JsValue,
    pub(crate) malloc: Option<Function>,
    pub(crate) grow: Option<Function>,
    /// The guest's pages and their limit, if the module grows its memory itself.
    pub(crate) fence: Option<[WebAssembly::Global; 2]>,
}

/// The properties of a guest call that the module or `glue/host.js` queries, with their numbers there.
#[derive(Clone, Copy)]
pub(crate) enum Called {
    Count = 0,
    Argument = 1,
    Function = 2,
}

/// An exception that a host call throws through the guest.
pub(crate) enum Raise {
    Fault(Fault),
    /// A trap in the guest's `malloc`, or a cancellation.
    Thrown(JsValue),
}

impl From<Fault> for Raise {
    fn from(fault: Fault) -> Self {
        Raise::Fault(fault)
    }
}
