//! Converts the error that ended a run to its outcome.

use super::entry::BadEntry;
use super::extension::Refusal;
use super::host::name;
use crate::cluster::{Outcome, failure};
use faasm_bridge::guest::Fault;
use wasmtime::{Error, Trap, WasmBacktrace};

/// Most functions named in a message, innermost first.
const MAX_BACKTRACE: usize = 16;

/// Why a running instance ended.
pub(super) enum RunEnd {
    /// The guest exited.
    Exit(i32),
    Failed(Outcome),
}

impl RunEnd {
    pub(super) fn of(error: &Error) -> Self {
        let (code, what) = match error.downcast_ref::<Fault>() {
            Some(Fault::Exit(value)) => return RunEnd::Exit(*value),
            Some(fault) => (fault.code(), fault.to_string()),
            None => other(error),
        };
        RunEnd::Failed(Outcome::failed(code, format!("{what}{}", trace(error))))
    }
}

fn other(error: &Error) -> (&'static str, String) {
    if let Some(error) = error.downcast_ref::<BadEntry>() {
        return (failure::BAD_ENTRY, error.to_string());
    }
    if let Some(refusal) = error.downcast_ref::<Refusal>() {
        return (refusal.code, refusal.message.clone());
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => {
            (failure::STACK_EXHAUSTED, "the function used up its stack".to_owned())
        }
        Some(trap) => {
            let trap = trap.to_string();
            (failure::TRAP, format!("trap: {}", trap.trim_start_matches("wasm trap: ")))
        }
        None => (failure::TRAP, format!("trap: {}", error.root_cause())),
    }
}

/// The call stack at the trap, for messages.
fn trace(error: &Error) -> String {
    let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames);
    let names: Vec<String> =
        frames.unwrap_or_default().iter().take(MAX_BACKTRACE).map(name).collect();
    if names.is_empty() { String::new() } else { format!(" (in {})", names.join(", called by ")) }
}
