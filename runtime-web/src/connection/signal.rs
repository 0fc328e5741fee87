//! Wakes the driver of a connection.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Auto-reset event: set by producers, cleared by the waiter.
#[derive(Debug, Default)]
pub(super) struct Signal {
    is_raised: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Signal {
    pub(super) fn raise(&self) {
        self.is_raised.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Waits until the event is set, and clears it.
    pub(super) async fn raised(&self) {
        poll_fn(|cx| match self.is_raised.replace(false) {
            true => Poll::Ready(()),
            false => {
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await;
    }
}
