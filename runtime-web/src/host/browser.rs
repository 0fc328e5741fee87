//! The browser, as the kernel sees it during one host call.

use super::Bindings;
use crate::global::{RUNTIME, get_random_values, performance_now};
use faasm_bridge::guest::{CallId, CallResult, Clock, GuestMemory, Host, Stream, Target};
use js_sys::{Error, Reflect, Uint8Array, WebAssembly};
use wasm_bindgen::JsValue;

const NANOSECONDS_PER_MILLISECOND: f64 = 1e6;

pub(super) struct BrowserHost<'a> {
    bindings: &'a Bindings,
    memory: &'a WebAssembly::Memory,
    /// Made anew for each call, and when memory grows: that takes the old buffer away.
    view: Uint8Array,
}

impl<'a> BrowserHost<'a> {
    pub(super) fn new(bindings: &'a Bindings, memory: &'a WebAssembly::Memory) -> Self {
        Self { bindings, memory, view: Uint8Array::new(&memory.buffer()) }
    }

    fn slice(&self, pointer: u32, length: usize) -> Uint8Array {
        self.view.subarray(pointer, pointer + length as u32)
    }
}

impl GuestMemory for BrowserHost<'_> {
    fn size(&self) -> u64 {
        u64::from(self.view.length() - self.bindings.hidden)
    }

    fn read_into(&self, pointer: u32, target: &mut [u8]) {
        self.slice(pointer, target.len()).copy_to(target);
    }

    fn write_from(&mut self, pointer: u32, source: &[u8]) {
        self.slice(pointer, source.len()).copy_from(source);
    }

    fn grow(&mut self, pages: u32) -> Option<u32> {
        let grow = self.bindings.grow.borrow().clone()?;
        let before = grow.call1(&JsValue::UNDEFINED, &pages.into()).ok()?.as_f64()? as i32;
        self.view = Uint8Array::new(&self.memory.buffer());
        // -1 is failure, and any other number is a size.
        (before != -1).then_some(before as u32)
    }
}

impl Host for BrowserHost<'_> {
    fn now(&self, clock: Clock) -> u64 {
        let milliseconds = match clock {
            Clock::Realtime => js_sys::Date::now(),
            Clock::Monotonic => performance_now(),
        };
        (milliseconds * NANOSECONDS_PER_MILLISECOND) as u64
    }

    fn random(&mut self, target: &mut [u8]) {
        get_random_values(target);
    }

    fn start_call(&mut self, id: CallId, target: Target, input: Vec<u8>) {
        self.bindings.start_call(id, target, &input);
    }

    fn take_finished(&mut self, id: CallId) -> Option<CallResult> {
        self.bindings.calls.take_finished(id)
    }

    fn print(&mut self, stream: Stream, bytes: &[u8]) {
        self.bindings.listeners.print(stream, bytes);
    }

    fn backtrace(&mut self) -> String {
        let stack = whole_stack().unwrap_or_default();
        // The runtime's own frames say nothing about the guest.
        let guest = |line: &&str| line.contains("wasm") && !line.contains(RUNTIME);
        stack.lines().filter(guest).map(str::trim).collect::<Vec<_>>().join("\n")
    }
}

/// The JavaScript stack. Chromium and WebKit cut it after some frames, which would all be the runtime's own.
fn whole_stack() -> Option<String> {
    const FRAMES: u32 = 200;
    let class = Reflect::get(&js_sys::global(), &JsValue::from_str("Error")).ok()?;
    let limit = JsValue::from_str("stackTraceLimit");
    let before = Reflect::get(&class, &limit).ok()?;
    Reflect::set(&class, &limit, &FRAMES.into()).ok()?;
    let stack = Reflect::get(&Error::new(""), &JsValue::from_str("stack"));
    Reflect::set(&class, &limit, &before).ok()?;
    stack.ok()?.as_string()
}
