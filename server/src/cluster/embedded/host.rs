//! Implements the kernel's host trait: memory, clocks, randomness, printing, chained calls.

use super::Printing;
use super::printing::Printed;
use super::run::RunState;
use faasm_bridge::guest::{CallId, CallResult, Clock, GuestMemory, Host, Stream, Target};
use std::io::Write;
use std::sync::{Arc, LazyLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use wasmtime::{FrameInfo, Memory, StoreContextMut, Val, WasmBacktrace};

/// Origin of the monotonic clock.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// User and function of the run, for the log.
pub(super) struct Printer {
    pub(super) printing: Printing,
    pub(super) printed: Arc<Printed>,
    pub(super) user: String,
    pub(super) function: String,
}

impl Printer {
    fn print(&self, stream: Stream, bytes: &[u8]) {
        let Self { printing, printed, user, function } = self;
        match printing {
            Printing::Inherit => inherit(stream, bytes),
            Printing::Log => printed.log(user, function, stream, bytes),
            Printing::Capture(sink) => sink(user, function, stream, bytes),
        }
    }
}

/// The host during one host call: the store of the run, and the guest's memory in it.
///
/// The memory is looked up for every access, because growing it can move it.
pub(super) struct View<'a> {
    pub(super) memory: Memory,
    pub(super) store: StoreContextMut<'a, RunState>,
}

impl GuestMemory for View<'_> {
    fn size(&self) -> u64 {
        self.memory.data_size(&self.store) as u64
    }

    fn read_into(&self, pointer: u32, target: &mut [u8]) {
        let start = pointer as usize;
        target.copy_from_slice(&self.memory.data(&self.store)[start..start + target.len()]);
    }

    fn write_from(&mut self, pointer: u32, source: &[u8]) {
        let start = pointer as usize;
        self.memory.data_mut(&mut self.store)[start..start + source.len()].copy_from_slice(source);
    }

    /// Respects the store's limits, like the guest's own `memory.grow`.
    fn grow(&mut self, pages: u32) -> Option<u32> {
        let before = self.memory.grow(&mut self.store, u64::from(pages)).ok()?;
        u32::try_from(before).ok()
    }

    fn wants_fence(&self) -> bool {
        self.store.data().fence.is_some()
    }

    fn put_fence(&mut self, pages: u32, limit: u32) {
        let Some(globals) = self.store.data().fence else { return };
        for (global, value) in globals.into_iter().zip([pages, limit]) {
            // The rewriter creates both as mutable globals of this type, and rejects modules that already export these
            // names.
            let _ = global.set(&mut self.store, Val::I32(value as i32));
        }
    }
}

/// Reads a guest clock, nanoseconds.
pub(super) fn now(clock: Clock) -> u64 {
    let elapsed = match clock {
        Clock::Realtime => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        Clock::Monotonic => START.elapsed(),
    };
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

impl Host for View<'_> {
    fn now(&self, clock: Clock) -> u64 {
        now(clock)
    }

    fn random(&mut self, target: &mut [u8]) {
        getrandom::fill(target).expect("the operating system has a source of randomness");
    }

    fn start_call(&mut self, id: CallId, target: Target, input: Vec<u8>) {
        self.store.data_mut().chain.start(id, target, input);
    }

    fn take_finished(&mut self, id: CallId) -> Option<CallResult> {
        self.store.data_mut().chain.take_finished(id)
    }

    fn print(&mut self, stream: Stream, bytes: &[u8]) {
        self.store.data().printer.print(stream, bytes);
    }

    fn backtrace(&mut self) -> String {
        let trace = WasmBacktrace::force_capture(&self.store);
        trace.frames().iter().map(name).collect::<Vec<_>>().join("\n")
    }
}

/// A guest function's name for messages.
pub(super) fn name(frame: &FrameInfo) -> String {
    match frame.func_name() {
        Some(name) => name.to_owned(),
        None => format!("function {}", frame.func_index()),
    }
}

/// A closed pipe is not the guest's error.
fn inherit(stream: Stream, bytes: &[u8]) {
    let _ = match stream {
        Stream::Stdout => {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush())
        }
        Stream::Stderr => std::io::stderr().lock().write_all(bytes),
    };
}
