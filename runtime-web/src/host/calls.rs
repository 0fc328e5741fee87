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

/// Chained calls whose results the run has not taken.
#[derive(Default)]
pub(super) struct Calls {
    open: RefCell<SortedMap<CallId, oneshot::Receiver<Finished>>>,
    chained: Cell<u32>,
    /// The run has ended, and what it has not awaited goes on by itself, as in a cluster.
    detached: Rc<Cell<bool>>,
}

impl Calls {
    /// How many were chained.
    pub(super) fn chained(&self) -> u32 {
        self.chained.get()
    }

    /// The result of a call, if it is here.
    pub(super) fn take_finished(&self, id: CallId) -> Option<CallResult> {
        let mut open = self.open.borrow_mut();
        let (sender, receiver) = oneshot::channel();
        match open.get_mut(&id)?.try_recv().ok().flatten()? {
            Ok(ended) => {
                open.remove(&id);
                Some(ended.result)
            }
            // An error goes the long way, which ends the run and says why.
            error => {
                let _ = sender.send(error);
                open.insert(id, receiver);
                None
            }
        }
    }

    /// Where the result of a call will be; dropping it cancels the call.
    pub(super) fn take(&self, id: CallId) -> Option<oneshot::Receiver<Finished>> {
        self.open.borrow_mut().remove(&id)
    }

    /// The run is over: calls that it has not awaited are left to themselves, or cancelled.
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
                let attended = Attended { id, function: called, detached, listeners };
                spawn(attended.attend(running, sender, own_name.clone()));
            }
            Err(error) => {
                self.listeners.warn(own_name, &called, error.code, &error.message);
                *self.failure.borrow_mut() = Some(error);
            }
        }
    }
}

/// A chained call under way.
struct Attended {
    id: CallId,
    function: String,
    detached: Rc<Cell<bool>>,
    listeners: Rc<Listeners>,
}

impl Attended {
    /// Waits for the call to end, and hands its result to the run. It is cancelled where the run does not want it any more.
    async fn attend(self, running: Running, mut sender: oneshot::Sender<Finished>, caller: String) {
        match select(running, poll_fn(|cx| sender.poll_canceled(cx))).await {
            Either::Left((finished, _)) => {
                self.warn(&caller, &finished);
                if let Ok(ended) = &finished
                    && !self.detached.get()
                {
                    self.listeners.call_finished(self.id, ended);
                }
                // Nobody may want it any more.
                let _ = sender.send(finished);
            }
            Either::Right(((), running)) if self.detached.get() => {
                self.warn(&caller, &running.await);
            }
            Either::Right(_) => {}
        }
    }

    /// Names a call that failed: the function may not look at what came back, or not await it at all.
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
