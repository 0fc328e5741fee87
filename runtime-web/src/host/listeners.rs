//! The page's listeners of a run: standard output, standard error, and events.

use crate::chain::Ended;
use crate::error::{Code, describe};
use crate::global::{console_error, console_warn, performance_now};
use crate::object::object;
use faasm_bridge::guest::{CallId, Operation, Stream, Target};
use js_sys::Function;
use std::cell::RefCell;
use wasm_bindgen::JsValue;
use web_sys::{TextDecodeOptions, TextDecoder};

/// A run's listeners.
pub(crate) struct Listeners {
    stdout: Option<Printed>,
    stderr: Option<Printed>,
    event: Option<Function>,
    began: f64,
    /// Functions for whose failed calls a warning was logged.
    warned: RefCell<Vec<String>>,
}

/// The maximum number of functions that one run warns of.
const MAX_WARNED: usize = 16;

struct Printed {
    callback: Function,
    /// Buffers the bytes of a character printed in two parts.
    decoder: TextDecoder,
}

impl Listeners {
    /// The listeners of a run, which starts now.
    pub(crate) fn new(
        stdout: Option<Function>,
        stderr: Option<Function>,
        event: Option<Function>,
    ) -> Self {
        let printed = |callback| Printed {
            callback,
            decoder: TextDecoder::new().expect("every browser decodes UTF-8"),
        };
        let (stdout, stderr) = (stdout.map(printed), stderr.map(printed));
        Self { stdout, stderr, event, began: performance_now(), warned: RefCell::default() }
    }

    /// Flushes the bytes of an incomplete character.
    pub(super) fn flush(&self) {
        for printed in [&self.stdout, &self.stderr].into_iter().flatten() {
            let rest = printed.decoder.decode().unwrap_or_default();
            if !rest.is_empty() {
                notify(&printed.callback, &rest.into());
            }
        }
    }

    pub(super) fn print(&self, stream: Stream, bytes: &[u8]) {
        let printed = match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        };
        let Some(printed) = printed else { return };
        let options = TextDecodeOptions::new();
        options.set_stream(true);
        let text = printed.decoder.decode_with_u8_array_and_options(bytes, &options);
        notify(&printed.callback, &text.unwrap_or_default().into());
    }

    pub(super) fn suspended(&self, operation: &Operation) {
        self.event("suspended", || {
            let awaited = match operation {
                Operation::AwaitCall(_) => "call",
                Operation::Sleep(_) => "sleep",
                Operation::AwaitLock(_)
                | Operation::LockGlobal { .. }
                | Operation::UnlockGlobal { .. } => "lock",
                Operation::ReadFile { .. } => "file",
                Operation::ReadState { .. }
                | Operation::WriteState { .. }
                | Operation::ExchangeState { .. }
                | Operation::AppendState { .. }
                | Operation::ReadAppended { .. }
                | Operation::ClearAppended { .. } => "state",
            };
            [("awaits", awaited.into())]
        });
    }

    pub(super) fn resumed(&self, suspended_ms: f64) {
        self.event("resumed", || [("suspendedMs", suspended_ms.into())]);
    }

    pub(super) fn chained(&self, id: CallId, target: &Target, own_name: &str, input: usize) {
        self.event("chained", || {
            let (name, entry) = match target {
                Target::Function(name) => (name.as_str(), JsValue::NULL),
                Target::Pointer(pointer) => (own_name, object(&[("pointer", (*pointer).into())])),
                Target::Index(index) => (own_name, object(&[("index", (*index).into())])),
            };
            [
                ("callId", id.0.into()),
                ("function", name.into()),
                ("entry", entry),
                ("inputBytes", (input as f64).into()),
            ]
        });
    }

    pub(super) fn call_finished(&self, id: CallId, ended: &Ended) {
        self.event("callFinished", || {
            [
                ("callId", id.0.into()),
                ("returnValue", ended.result.return_value.into()),
                ("outputBytes", (ended.result.output.len() as f64).into()),
                ("where", ended.place.as_str().into()),
                ("failure", failure(ended)),
            ]
        });
    }

    /// Logs a failed call on the console, once per called function: the caller may ignore the result.
    pub(super) fn warn(&self, caller: &str, function: &str, code: Code, reason: &str) {
        let mut warned = self.warned.borrow_mut();
        if warned.len() >= MAX_WARNED || warned.iter().any(|name| name == function) {
            return;
        }
        warned.push(function.to_owned());
        let last = match warned.len() {
            MAX_WARNED => "; this run logs no more warnings",
            _ => "",
        };
        console_warn(&format!(
            "faasm: a call of `{function}`, which `{caller}` chained, failed ({}): {reason}{last}",
            code.as_str()
        ));
    }

    pub(super) fn pulled(&self, key: &str, bytes: u64) {
        self.event("statePulled", || [("key", key.into()), ("bytes", (bytes as f64).into())]);
    }

    pub(super) fn pushed(&self, key: &str, bytes: u64) {
        self.event("statePushed", || [("key", key.into()), ("bytes", (bytes as f64).into())]);
    }

    fn event<const N: usize>(
        &self,
        kind: &str,
        fields: impl FnOnce() -> [(&'static str, JsValue); N],
    ) {
        let Some(callback) = &self.event else { return };
        let mut all =
            vec![("type", kind.into()), ("atMs", (performance_now() - self.began).into())];
        all.extend(fields());
        notify(callback, &object(&all));
    }
}

/// The field `failure` of an event.
fn failure(ended: &Ended) -> JsValue {
    let Some(code) = ended.failure else { return JsValue::NULL };
    let message = String::from_utf8_lossy(&ended.result.output);
    object(&[("code", code.as_str().into()), ("message", (&*message).into())])
}

/// Calls a listener; its exceptions must not end the guest.
fn notify(callback: &Function, what: &JsValue) {
    if let Err(thrown) = callback.call1(&JsValue::UNDEFINED, what) {
        console_error(&format!("a listener of a run threw: {}", describe(&thrown)));
    }
}
