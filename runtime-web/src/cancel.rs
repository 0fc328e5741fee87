//! Cancellation of runs: by the page's signal, a timeout, or the end of the runtime.
//!
//! A suspended function resumes at once with an error that ends it. A function that computes cannot be interrupted on
//! its own thread; it ends at its next host call.

use crate::error::{Code, FaasmError};
use crate::global::performance_now;
use futures_util::future::{Either, select};
use std::cell::{OnceCell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

/// Cancels one run, with a reason.
#[derive(Debug, Default)]
pub(crate) struct CancelToken {
    reason: OnceCell<FaasmError>,
    /// Wakes the run in [`CancelToken::race`], of which one at a time is pending.
    waker: RefCell<Option<Waker>>,
    /// The deadline, and the timeout it was computed from, in milliseconds.
    deadline: Option<(f64, f64)>,
}

impl CancelToken {
    /// A token with a timeout in milliseconds, or without one.
    pub(crate) fn new(timeout: Option<f64>) -> Rc<Self> {
        let deadline = timeout.map(|timeout| (performance_now() + timeout, timeout));
        Rc::new(Self { deadline, ..Self::default() })
    }

    /// Cancels the run; the first reason is kept.
    pub(crate) fn cancel(&self, reason: FaasmError) {
        if self.reason.set(reason).is_ok()
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }

    /// The deadline on the clock of `performance`.
    pub(crate) fn deadline(&self) -> Option<f64> {
        self.deadline.map(|(deadline, _)| deadline)
    }

    /// Cancels the run because its timeout has passed.
    pub(crate) fn time_out(&self) {
        let timeout = self.deadline.map_or(0.0, |(_, timeout)| timeout);
        let message = format!("the run took longer than its timeout of {} ms", timeout as u64);
        self.cancel(FaasmError::new(Code::Timeout, message));
    }

    /// The reason, if the run is cancelled or its deadline has passed.
    pub(crate) fn reason(&self) -> Option<&FaasmError> {
        if self.reason.get().is_none()
            && self.deadline.is_some_and(|(deadline, _)| performance_now() >= deadline)
        {
            self.time_out();
        }
        self.reason.get()
    }

    /// The result of `future`, or the reason if the run is cancelled first.
    pub(crate) async fn race<T>(
        &self,
        future: impl Future<Output = Result<T, FaasmError>>,
    ) -> Result<T, FaasmError> {
        let cancelled = poll_fn(|cx| match self.reason.get() {
            Some(reason) => Poll::Ready(reason.clone()),
            None => {
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        });
        match select(cancelled, pin!(future)).await {
            Either::Left((reason, _)) => Err(reason),
            Either::Right((result, _)) => result,
        }
    }
}

/// Weak references to all live values of one kind.
#[derive(Debug)]
pub(crate) struct WeakRegistry<T>(RefCell<Vec<Weak<T>>>);

impl<T> Default for WeakRegistry<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T> WeakRegistry<T> {
    pub(crate) fn add(&self, member: &Rc<T>) {
        let mut members = self.0.borrow_mut();
        if members.len() == members.capacity() {
            members.retain(|member| member.strong_count() > 0);
        }
        members.push(Rc::downgrade(member));
    }

    pub(crate) fn take(&self) -> impl Iterator<Item = Rc<T>> + use<T> {
        self.0.take().into_iter().filter_map(|member| member.upgrade())
    }
}
