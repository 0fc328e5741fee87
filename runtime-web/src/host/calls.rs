//! The calls that a run has chained.

use super::{Bindings, Listeners, unexpected};
use crate::connection::{Answer, Waiting};
use crate::error::FaasmError;
use crate::global::spawn;
use faasm_bridge::guest::{CallId, CallResult, Target};
use faasm_bridge::sorted_map::SortedMap;
use faasm_bridge::wire::{CallEntry, FailureCode, Reply, Request, RequestId};
use futures_channel::oneshot;
use futures_util::future::{Either, select};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;

/// How a chained call ended; an error where nothing is known of it.
type Finished = Result<CallResult, FaasmError>;

/// Chained calls whose results the run has not taken.
#[derive(Default)]
pub(super) struct Calls {
    open: RefCell<SortedMap<CallId, oneshot::Receiver<Finished>>>,
    chained: Cell<u32>,
    /// By which the relay knows which calls are of one run.
    first: Cell<Option<RequestId>>,
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
            Ok(result) => {
                open.remove(&id);
                Some(result)
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
    pub(super) fn start_call(&self, id: CallId, target: Target, input: &[u8]) {
        let calls = &self.calls;
        calls.chained.set(calls.chained.get() + 1);
        self.listeners.chained(id, &target, &self.function, input.len());
        let (function, entry) = match target {
            Target::Function(name) => (name, CallEntry::Main),
            Target::Pointer(index) => (self.function.clone(), CallEntry::Pointer(index)),
            Target::Index(index) => (self.function.clone(), CallEntry::Index(index)),
        };
        let request = Request::Call { function, entry, args: Vec::new(), env: Vec::new() };
        match self.shared.connection.request_of(calls.first.get(), request, input) {
            Ok(waiting) => {
                calls.first.set(calls.first.get().or(waiting.id));
                let (sender, receiver) = oneshot::channel();
                calls.open.borrow_mut().insert(id, receiver);
                let (detached, listeners) = (calls.detached.clone(), self.listeners.clone());
                spawn(attend(id, waiting, sender, detached, listeners));
            }
            Err(error) => *self.failure.borrow_mut() = Some(error),
        }
    }
}

/// Waits for a call to end, and hands its result to the run. The call is cancelled where the run does not want it any more.
async fn attend(
    id: CallId,
    waiting: Waiting,
    mut sender: oneshot::Sender<Finished>,
    detached: Rc<Cell<bool>>,
    listeners: Rc<Listeners>,
) {
    let answer = pin!(waiting.answer());
    match select(answer, poll_fn(|cx| sender.poll_canceled(cx))).await {
        Either::Left((answer, _)) => {
            let finished = call_result(answer);
            if let Ok(result) = &finished
                && !detached.get()
            {
                listeners.call_finished(id, result);
            }
            // Nobody may want it any more.
            let _ = sender.send(finished);
        }
        Either::Right(((), answer)) if detached.get() => drop(answer.await),
        Either::Right(_) => {}
    }
}

/// How a chained call ended, for the guest. A call the cluster refused is one that failed; a call of which nothing is
/// known ends the run.
fn call_result(answer: Answer) -> Finished {
    match answer? {
        (Reply::Call { return_value }, output) => Ok(CallResult { return_value, output }),
        (Reply::CallFailed { .. }, reason) => Ok(CallResult { return_value: 1, output: reason }),
        (
            Reply::Failed {
                code: FailureCode::BadRequest | FailureCode::Cancelled | FailureCode::Unauthorised,
                message,
            },
            _,
        ) => Ok(CallResult { return_value: 1, output: message.into_bytes() }),
        (reply, _) => Err(unexpected(reply)),
    }
}
