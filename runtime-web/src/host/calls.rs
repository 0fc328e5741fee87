//! The calls that a run has chained.

use super::{Bindings, Listeners};
use crate::chain::{Call, Ended, Finished, Running, start};
use crate::error::Code;
use crate::global::spawn;
use faasm_bridge::guest::{CallId, CallResult, Target};
use faasm_bridge::sorted_map::SortedMap;
use faasm_bridge::wire::CallEntry;
use futures_channel::oneshot;
use futures_util::future::{Either, select};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;

/// Chained calls whose results the run has not awaited yet.
#[derive(Default)]
pub(super) struct Calls {
    open: RefCell<SortedMap<CallId, oneshot::Receiver<Finished>>>,
    chained: Cell<u32>,
    /// Set when the run has ended: calls that it has not awaited continue, as in a cluster.
    detached: Rc<Cell<bool>>,
}

impl Calls {
    /// The number of chained calls.
    pub(super) fn chained(&self) -> u32 {
        self.chained.get()
    }

    /// Takes the result of a call, if it has ended.
    pub(super) fn take_finished(&self, id: CallId) -> Option<CallResult> {
        let mut open = self.open.borrow_mut();
        let (sender, receiver) = oneshot::channel();
        match open.get_mut(&id)?.try_recv().ok().flatten()? {
            Ok(ended) => {
                open.remove(&id);
                Some(ended.result)
            }
            // An error stays for `take`, which ends the run with its reason.
            error => {
                let _ = sender.send(error);
                open.insert(id, receiver);
                None
            }
        }
    }

    /// Takes the receiver of a call's result; dropping it cancels the call.
    pub(super) fn take(&self, id: CallId) -> Option<oneshot::Receiver<Finished>> {
        self.open.borrow_mut().remove(&id)
    }

    /// Ends the run: calls that it has not awaited are detached, or cancelled.
    pub(super) fn end(&self, cancel: bool) {
        self.detached.set(!cancel);
        self.open.borrow_mut().clear();
    }
}

impl Bindings {
    pub(super) fn start_call(&self, id: CallId, target: Target, input: Vec<u8>) {
        let calls = &self.calls;
        calls.chained.set(calls.chained.get() + 1);
        let own_name = &self.caller.loaded.name;
        self.listeners.chained(id, &target, own_name, input.len());
        let (function, entry) = match target {
            Target::Function(name) => (name, CallEntry::Main),
            Target::Pointer(index) => (own_name.clone(), CallEntry::Pointer(index)),
            Target::Index(index) => (own_name.clone(), CallEntry::Index(index)),
        };
        let called = function.clone();
        match start(&self.shared, &self.caller, Call { function, entry, input }) {
            Ok(running) => {
                let (sender, receiver) = oneshot::channel();
                calls.open.borrow_mut().insert(id, receiver);
                let (detached, listeners) = (calls.detached.clone(), self.listeners.clone());
                let call = InFlightCall { id, function: called, detached, listeners };
                spawn(call.drive(running, sender, own_name.clone()));
            }
            Err(error) => {
                self.listeners.warn(own_name, &called, error.code, &error.message);
                *self.failure.borrow_mut() = Some(error);
            }
        }
    }
}

/// A chained call in flight.
struct InFlightCall {
    id: CallId,
    function: String,
    detached: Rc<Cell<bool>>,
    listeners: Rc<Listeners>,
}

impl InFlightCall {
    /// Drives the call, and sends its result to the run. Cancels the call when the run has dropped the receiver, unless
    /// it is detached.
    async fn drive(self, running: Running, mut sender: oneshot::Sender<Finished>, caller: String) {
        match select(running, poll_fn(|cx| sender.poll_canceled(cx))).await {
            Either::Left((finished, _)) => {
                self.warn(&caller, &finished);
                if let Ok(ended) = &finished
                    && !self.detached.get()
                {
                    self.listeners.call_finished(self.id, ended);
                }
                // The receiver may be gone.
                let _ = sender.send(finished);
            }
            Either::Right(((), running)) if self.detached.get() => {
                self.warn(&caller, &running.await);
            }
            Either::Right(_) => {}
        }
    }

    /// Warns of a failed call: the function may ignore its result, or never await it.
    fn warn(&self, caller: &str, finished: &Finished) {
        let (code, reason) = match finished {
            Ok(Ended { result, failure: Some(code), .. }) => {
                (*code, String::from_utf8_lossy(&result.output))
            }
            Err(error) if !matches!(error.code, Code::Aborted | Code::Closed) => {
                (error.code, error.message.as_str().into())
            }
            _ => return,
        };
        self.listeners.warn(caller, &self.function, code, &reason);
    }
}
