//! What cancels a run: the page's `AbortSignal`, and a timeout.

use super::options::Options;
use crate::cancel::CancelToken;
use crate::error::{Code, FaasmError};
use crate::global::Timer;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

/// Cancels one run, until it is dropped.
pub(crate) struct Triggers {
    _signal: Option<SignalListener>,
    _timer: Option<Timer>,
}

impl Triggers {
    /// The run's cancellation token, and its triggers.
    ///
    /// # Errors
    /// If an option is invalid, or the signal is already aborted.
    pub(crate) fn new(options: &Options) -> Result<(Rc<CancelToken>, Self), FaasmError> {
        let (signal, timeout) = (options.signal()?, options.timeout()?);
        let cancel = CancelToken::new(timeout);
        let signal = match signal {
            Some(signal) if signal.aborted() => return Err(aborted(&signal)),
            Some(signal) => Some(SignalListener::new(signal, &cancel)),
            None => None,
        };
        let timer = timeout.map(|timeout| {
            let cancel = Rc::clone(&cancel);
            Timer::new(timeout, move || cancel.time_out())
        });
        Ok((cancel, Self { _signal: signal, _timer: timer }))
    }
}

/// A listener of a signal; removed on drop, since the signal may outlive the run.
struct SignalListener {
    signal: AbortSignal,
    listener: Closure<dyn Fn()>,
}

const ABORT: &str = "abort";

impl SignalListener {
    fn new(signal: AbortSignal, cancel: &Rc<CancelToken>) -> Self {
        let (cancel, source) = (Rc::clone(cancel), signal.clone());
        let listener = Closure::<dyn Fn()>::new(move || cancel.cancel(aborted(&source)));
        signal
            .add_event_listener_with_callback(ABORT, listener.as_ref().unchecked_ref())
            .expect("a function can listen");
        Self { signal, listener }
    }
}

impl Drop for SignalListener {
    fn drop(&mut self) {
        let listener = self.listener.as_ref().unchecked_ref();
        self.signal
            .remove_event_listener_with_callback(ABORT, listener)
            .expect("a function can listen, and stop listening");
    }
}

fn aborted(signal: &AbortSignal) -> FaasmError {
    let error = FaasmError::new(Code::Aborted, "the run was aborted by its signal");
    FaasmError { cause: Some(signal.reason()), ..error }
}
