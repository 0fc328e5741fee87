//! Faasm's host interface for functions written in Rust: input and output, chained calls, and
//! state. [`raw`] has the imports.
//!
//! A function is a binary for the target `wasm32-wasip1`. Its return value is its exit code:
//!
//! ```no_run
//! fn main() {
//!     let input = faasm_host::input();
//!     faasm_host::set_output(&input);
//!     std::process::exit(0);
//! }
//! ```
//!
//! # What the binary must export
//! The host calls the function's own `malloc` and `free`, and `__wasm_call_ctors` before a function
//! that was chained by pointer. Cargo does not pass linker arguments on from a dependency, so a
//! package of functions needs this `build.rs`:
//!
//! ```
//! fn main() {
//!     for name in ["malloc", "free", "__wasm_call_ctors"] {
//!         println!("cargo::rustc-link-arg-bins=--export={name}");
//!     }
//! }
//! ```
//!
//! "May block" in this crate means that the call can wait for another function or for the network.
//! A web page stays responsive meanwhile.

// The examples are whole programs, with their `main`.
#![allow(clippy::needless_doctest_main)]

use std::ffi::CString;

pub mod raw;
mod state;

pub use raw::Entry;
pub use state::State;

/// The whole input of this call.
pub fn input() -> Vec<u8> {
    let size = unsafe { raw::__faasm_read_input(std::ptr::null_mut(), 0) };
    let mut input = vec![0; usize::try_from(size).unwrap_or(0)];
    if !input.is_empty() {
        let copied = unsafe { raw::__faasm_read_input(input.as_mut_ptr(), size) };
        input.truncate(usize::try_from(copied).unwrap_or(0));
    }
    input
}

/// Sets the output of this call, and replaces any earlier output.
pub fn set_output(output: &[u8]) {
    unsafe { raw::__faasm_write_output(output.as_ptr(), len_i32(output)) }
}

/// A chained call in flight.
#[derive(Debug)]
#[must_use = "a call that is not awaited may outlive this function"]
pub struct Call {
    id: i32,
}

/// The result of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The function's return value; 1 if the call failed or timed out.
    pub returned: i32,
    /// The function's last output.
    pub output: Vec<u8>,
}

/// Chains the function `name` of the same user, and returns at once. The name ends at its first NUL
/// byte if it has one.
pub fn chain_name(name: &str, input: &[u8]) -> Call {
    let name = c_string(name.as_bytes());
    let id =
        unsafe { raw::__faasm_chain_name(name.as_ptr().cast(), input.as_ptr(), len_i32(input)) };
    Call { id }
}

/// Chains `entry` in a new instance of this binary, and returns at once. The new instance shares no
/// memory with this one: pass data in its input or in state.
pub fn chain_ptr(entry: Entry, input: &[u8]) -> Call {
    Call { id: unsafe { raw::__faasm_chain_ptr(entry, input.as_ptr(), len_i32(input)) } }
}

impl Call {
    /// May block. Waits for the call to end and returns its return value, 1 if it failed.
    pub fn wait(self) -> i32 {
        unsafe { raw::__faasm_await_call(self.id) }
    }

    /// May block. Waits for the call to end and returns its return value and its output.
    pub fn wait_with_output(self) -> Finished {
        let mut data = std::ptr::null_mut();
        let mut len = 0;
        let returned = unsafe { raw::__faasm_await_call_output(self.id, &mut data, &mut len) };
        if data.is_null() {
            return Finished { returned, output: Vec::new() };
        }
        // The host allocated the output with the binary's malloc, which may differ from Rust's
        // allocator: copy it to a Vec, and free it with the C library.
        let len = usize::try_from(len).unwrap_or(0);
        let output = unsafe { std::slice::from_raw_parts(data, len) }.to_vec();
        unsafe { raw::free(data) };
        Finished { returned, output }
    }
}

/// The text up to its first NUL byte, for calls that take NUL-terminated names.
fn c_string(text: &[u8]) -> CString {
    let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
    CString::new(&text[..end]).unwrap_or_default()
}

/// Lengths are 32 bits wide on both sides of the interface; memory ends at 4 GiB.
fn len_i32(data: &[u8]) -> i32 {
    data.len() as i32
}
