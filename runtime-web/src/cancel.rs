//! What ends a run before its function does: the page's signal, a timeout, the end of the runtime.
//!
//! A function that is suspended goes on at once, into an error that takes it down. One that computes cannot be interrupted
//! from its own thread; it meets its end at its next host call.

use crate::error::{Code, FaasmError};
use crate::global::performance_now;
use futures_util::future::{Either, select};
use std::cell::{OnceCell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

/// Whether one run is to end, and why.
#[derive(Debug, Default)]
pub(crate) struct CancelToken {
    reason: OnceCell<FaasmError>,
    /// Who waits for a reason: the run, in the one place where it waits for something else too.
    waker: RefCell<Option<Waker>>,
    /// When it is to end by itself, and after how long that is, milliseconds.
    deadline: Option<(f64, f64)>,
}

impl CancelToken {
    /// For a run that may take some time, or any, in milliseconds.
    pub(crate) fn new(timeout: Option<f64>) -> Rc<Self> {
        let deadline = timeout.map(|timeout| (performance_now() + timeout, timeout));
        Rc::new(Self { deadline, ..Self::default() })
    }

    /// Has it end; the first reason counts.
    pub(crate) fn stop(&self, reason: FaasmError) {
        if self.reason.set(reason).is_ok()
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }

    /// When it is to end by itself, on the clock of `performance`.
    pub(crate) fn deadline(&self) -> Option<f64> {
        self.deadline.map(|(deadline, _)| deadline)
    }

    /// Has it end because its time is over.
    pub(crate) fn time_out(&self) {
        let timeout = self.deadline.map_or(0.0, |(_, timeout)| timeout);
        let message = format!("the run took longer than its timeout of {} ms", timeout as u64);
        self.stop(FaasmError::new(Code::Timeout, message));
    }

    /// Why it is to end, if it is.
    pub(crate) fn reason(&self) -> Option<&FaasmError> {
        if self.reason.get().is_none()
            && self.deadline.is_some_and(|(deadline, _)| performance_now() >= deadline)
        {
            self.time_out();
        }
        self.reason.get()
    }

    /// What `future` gives, unless the run is to end before.
    pub(crate) async fn race<T>(
        &self,
        future: impl Future<Output = Result<T, FaasmError>>,
    ) -> Result<T, FaasmError> {
        let stopped = poll_fn(|cx| match self.reason.get() {
            Some(reason) => Poll::Ready(reason.clone()),
            None => {
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        });
        match select(stopped, pin!(future)).await {
            Either::Left((reason, _)) => Err(reason),
            Either::Right((result, _)) => result,
        }
    }
}

/// Everything that is alive of some kind, without keeping it alive.
#[derive(Debug)]
pub(crate) struct Members<T>(RefCell<Vec<Weak<T>>>);

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T> Members<T> {
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
