//! A run that the page began, with all calls that follow from it: one end for all of them.

use super::Running;
use crate::cancel::{CancelToken, Members};
use crate::error::FaasmError;
use crate::global::{Timer, performance_now};
use faasm_bridge::wire::RequestId;
use std::cell::{Cell, OnceCell};
use std::rc::Rc;

/// The deadline of the run that the page began, and its end: both are those of every call that follows from it, at any depth.
///
/// A run that returns leaves calls that it has not awaited to themselves, within that deadline. One that is stopped ends them all.
pub(super) struct Tree {
    /// The first call in the cluster of all these: by that the relay knows which are of one run.
    pub(super) first: Cell<Option<RequestId>>,
    /// The stop of the run, which knows its deadline.
    root: Rc<CancelToken>,
    /// Ends the calls at the deadline, also where the run is over: from the first of them on.
    timer: OnceCell<Option<Timer>>,
    calls: Members<CancelToken>,
}

impl Tree {
    pub(super) fn new(root: Rc<CancelToken>) -> Rc<Self> {
        let (first, timer) = (Cell::new(None), OnceCell::new());
        Rc::new(Self { first, root, timer, calls: Members::default() })
    }

    /// Why none of it goes on, once the run was stopped or its time is over.
    pub(super) fn reason(&self) -> Option<FaasmError> {
        self.root.reason().cloned()
    }

    /// Ends all calls that go on.
    pub(super) fn stop(&self, reason: &FaasmError) {
        for call in self.calls.take() {
            call.stop(reason.clone());
        }
    }

    /// A call of this tree, which ends with it.
    pub(super) fn within(self: &Rc<Self>, call: Running) -> Running {
        let (tree, stop) = (Rc::clone(self), CancelToken::new(None));
        tree.calls.add(&stop);
        self.timer.get_or_init(|| {
            let tree = Rc::downgrade(self);
            let left = self.root.deadline()? - performance_now();
            Some(Timer::new(left.max(0.0), move || {
                if let Some(tree) = tree.upgrade() {
                    tree.root.time_out();
                    tree.reason().inspect(|reason| tree.stop(reason));
                }
            }))
        });
        Box::pin(async move {
            let ended = stop.race(call).await;
            // Until now, with its timer.
            drop(tree);
            ended
        })
    }
}
