//! Call trees: a run that the page started, and all calls that descend from it.

use super::Running;
use crate::cancel::{CancelToken, WeakRegistry};
use crate::error::FaasmError;
use crate::global::{Timer, performance_now};
use faasm_bridge::wire::RequestId;
use std::cell::{Cell, OnceCell};
use std::rc::Rc;

/// A call tree's deadline and cancellation, which are those of its root.
///
/// When the root returns, calls that it has not awaited continue until the deadline. When the root is cancelled, all
/// calls are.
pub(super) struct Tree {
    /// The tree's first call in the cluster, by which the relay groups the calls of one tree.
    pub(super) first: Cell<Option<RequestId>>,
    /// The root's cancellation token, which has the deadline.
    root: Rc<CancelToken>,
    /// Cancels the calls at the deadline, even after the root has returned; set with the first call.
    timer: OnceCell<Option<Timer>>,
    calls: WeakRegistry<CancelToken>,
}

impl Tree {
    pub(super) fn new(root: Rc<CancelToken>) -> Rc<Self> {
        let (first, timer) = (Cell::new(None), OnceCell::new());
        Rc::new(Self { first, root, timer, calls: WeakRegistry::default() })
    }

    /// The reason, if the root is cancelled or the deadline has passed.
    pub(super) fn reason(&self) -> Option<FaasmError> {
        self.root.reason().cloned()
    }

    /// Cancels all calls in flight.
    pub(super) fn cancel(&self, reason: &FaasmError) {
        for call in self.calls.take() {
            call.cancel(reason.clone());
        }
    }

    /// Adds a call, which is cancelled with the tree.
    pub(super) fn within(self: &Rc<Self>, call: Running) -> Running {
        let (tree, cancel) = (Rc::clone(self), CancelToken::new(None));
        tree.calls.add(&cancel);
        self.timer.get_or_init(|| {
            let tree = Rc::downgrade(self);
            let left = self.root.deadline()? - performance_now();
            Some(Timer::new(left.max(0.0), move || {
                if let Some(tree) = tree.upgrade() {
                    tree.root.time_out();
                    tree.reason().inspect(|reason| tree.cancel(reason));
                }
            }))
        });
        Box::pin(async move {
            let ended = cancel.race(call).await;
            // Keeps the tree's timer alive until the call has ended.
            drop(tree);
            ended
        })
    }
}
