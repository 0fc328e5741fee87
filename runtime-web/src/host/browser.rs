//! The kernel's host and guest memory, implemented by the browser for one host call.

use super::Bindings;
use crate::global::{RUNTIME, get_random_values, performance_now};
use faasm_bridge::guest::{CallId, CallResult, Clock, GuestMemory, Host, Stream, Target};
use js_sys::{Error, Reflect, WebAssembly};
use wasm_bindgen::prelude::*;

const NANOSECONDS_PER_MILLISECOND: f64 = 1e6;

#[wasm_bindgen(module = "/glue/host.js")]
extern "C" {
    #[wasm_bindgen(js_name = openGuest)]
    pub(super) fn open_guest(run: u32, memory: &WebAssembly::Memory, table: &JsValue);

    /// The exception with which a host call ends the guest.
    pub(crate) fn uncatchable() -> JsValue;

    #[wasm_bindgen(js_name = memorySize)]
    fn memory_size(run: u32) -> f64;

    #[wasm_bindgen(js_name = copyFromGuest)]
    fn copy_from_guest(run: u32, from: u32, to: *mut u8, length: usize);

    #[wasm_bindgen(js_name = copyToGuest)]
    fn copy_to_guest(run: u32, to: u32, from: *const u8, length: usize);

    #[wasm_bindgen(js_name = stringLength)]
    fn string_length(run: u32, from: u32, most: u32) -> i32;
}

pub(super) struct BrowserHost<'a>(pub(super) &'a Bindings);

impl BrowserHost<'_> {
    fn run(&self) -> u32 {
        self.0.number.get()
    }
}

impl GuestMemory for BrowserHost<'_> {
    fn size(&self) -> u64 {
        memory_size(self.run()) as u64 - u64::from(self.0.hidden)
    }

    fn read_into(&self, pointer: u32, target: &mut [u8]) {
        copy_from_guest(self.run(), pointer, target.as_mut_ptr(), target.len());
    }

    fn write_from(&mut self, pointer: u32, source: &[u8]) {
        copy_to_guest(self.run(), pointer, source.as_ptr(), source.len());
    }

    fn string_length(&self, pointer: u32, most: u32) -> Option<u32> {
        u32::try_from(string_length(self.run(), pointer, most)).ok()
    }

    fn grow(&mut self, pages: u32) -> Option<u32> {
        let grow = self.0.grow.borrow().clone()?;
        let before = grow.call1(&JsValue::UNDEFINED, &pages.into()).ok()?.as_f64()? as i32;
        // -1 means failure; any other number is a size.
        (before != -1).then_some(before as u32)
    }

    fn wants_fence(&self) -> bool {
        self.0.fence.borrow().is_some()
    }

    fn put_fence(&mut self, pages: u32, limit: u32) {
        if let Some(globals) = &*self.0.fence.borrow() {
            for (global, value) in globals.iter().zip([pages, limit]) {
                // If the exports are not mutable globals, the module has no fence.
                let _ = Reflect::set(global, &"value".into(), &value.into());
            }
        }
    }
}

/// The time of a guest's clock, in nanoseconds.
pub(super) fn now(clock: Clock) -> u64 {
    let milliseconds = match clock {
        Clock::Realtime => js_sys::Date::now(),
        Clock::Monotonic => performance_now(),
    };
    (milliseconds * NANOSECONDS_PER_MILLISECOND) as u64
}

impl Host for BrowserHost<'_> {
    fn now(&self, clock: Clock) -> u64 {
        now(clock)
    }

    fn random(&mut self, target: &mut [u8]) {
        get_random_values(target);
    }

    fn start_call(&mut self, id: CallId, target: Target, input: Vec<u8>) {
        self.0.start_call(id, target, input);
    }

    fn take_finished(&mut self, id: CallId) -> Option<CallResult> {
        self.0.calls.take_finished(id)
    }

    fn print(&mut self, stream: Stream, bytes: &[u8]) {
        self.0.listeners.print(stream, bytes);
    }

    fn backtrace(&mut self) -> String {
        let stack = full_stack().unwrap_or_default();
        // The runtime's own frames are omitted.
        let guest = |line: &&str| line.contains("wasm") && !line.contains(RUNTIME);
        stack.lines().filter(guest).map(str::trim).collect::<Vec<_>>().join("\n")
    }
}

/// The JavaScript stack, with a raised limit: by default Chromium and WebKit keep so few frames that all would be the
/// runtime's.
fn full_stack() -> Option<String> {
    const FRAMES: u32 = 200;
    let class = Reflect::get(&js_sys::global(), &JsValue::from_str("Error")).ok()?;
    let limit = JsValue::from_str("stackTraceLimit");
    let before = Reflect::get(&class, &limit).ok()?;
    Reflect::set(&class, &limit, &FRAMES.into()).ok()?;
    let stack = Reflect::get(&Error::new(""), &JsValue::from_str("stack"));
    Reflect::set(&class, &limit, &before).ok()?;
    stack.ok()?.as_string()
}
