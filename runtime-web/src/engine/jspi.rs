//! Suspension by JavaScript Promise Integration: the browser keeps the guest's stack, and the guest's code is as it was.
//!
//! The import that suspends is a `WebAssembly.Suspending`: it gives a promise, and the browser sets the stack aside until
//! the promise is resolved. Entries are called through `WebAssembly.promising`, which gives a promise of their result.
//!
//! The wait itself is part of the future of [`Jspi::call`], not of the promise: who drops that future leaves the guest
//! suspended for good, as with Asyncify.

use super::{Engine, Interruption, Kind, Wait};
use futures_util::future::{FutureExt, LocalBoxFuture};
use js_sys::{Array, Function, Promise};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = WebAssembly, catch)]
    fn promising(function: &Function) -> Result<Function, JsValue>;

    #[wasm_bindgen(js_namespace = WebAssembly)]
    type Suspending;

    #[wasm_bindgen(constructor, js_namespace = WebAssembly, catch)]
    fn new(function: &Function) -> Result<Suspending, JsValue>;
}

#[wasm_bindgen(module = "/js/jspi.js")]
extern "C" {
    fn suspension() -> JsValue;

    fn resume(suspension: &JsValue);
}

/// The engine for one instance.
pub(crate) struct Jspi {
    /// What the guest was suspended with, until [`Jspi::call`] has seen it.
    suspended: RefCell<Option<JsValue>>,
    /// Who wants to know that the guest was suspended.
    waker: RefCell<Option<Waker>>,
    suspensions: Cell<u32>,
    wait: Wait,
}

/// What became of a guest that was running.
enum Event {
    Suspended(JsValue),
    Ended(Result<JsValue, JsValue>),
}

impl Jspi {
    pub(crate) fn new(wait: Wait) -> Self {
        Self {
            suspended: RefCell::new(None),
            waker: RefCell::new(None),
            suspensions: Cell::new(0),
            wait,
        }
    }

    fn poll(&self, ended: &mut JsFuture, cx: &mut Context<'_>) -> Poll<Event> {
        if let Some(suspension) = self.suspended.take() {
            return Poll::Ready(Event::Suspended(suspension));
        }
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        ended.poll_unpin(cx).map(Event::Ended)
    }
}

impl Engine for Jspi {
    fn kind(&self) -> Kind {
        Kind::Jspi
    }

    fn suspending(&self, import: &Function) -> Result<JsValue, JsValue> {
        Suspending::new(import).map(Into::into)
    }

    fn suspend(&self) -> Result<JsValue, Interruption> {
        self.suspensions.set(self.suspensions.get() + 1);
        let suspension = suspension();
        *self.suspended.borrow_mut() = Some(suspension.clone());
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        Ok(suspension)
    }

    fn call<'a>(
        &'a self,
        function: &'a Function,
        args: &'a Array,
    ) -> LocalBoxFuture<'a, Result<JsValue, Interruption>> {
        async move {
            let promise = promising(function)?.apply(&JsValue::UNDEFINED, args)?;
            let mut ended = JsFuture::from(Promise::from(promise));
            loop {
                match poll_fn(|cx| self.poll(&mut ended, cx)).await {
                    Event::Ended(result) => return Ok(result?),
                    Event::Suspended(suspension) => {
                        (self.wait)().await;
                        resume(&suspension);
                    }
                }
            }
        }
        .boxed_local()
    }

    fn suspensions(&self) -> u32 {
        self.suspensions.get()
    }
}
