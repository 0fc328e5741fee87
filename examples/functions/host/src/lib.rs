//! Faasm's host interface for functions written in Rust: input and output, calls of other
//! functions, state. [`raw`] has the imports themselves.
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
//! package of functions has this `build.rs`:
//!
//! ```
//! fn main() {
//!     for name in ["malloc", "free", "__wasm_call_ctors"] {
//!         println!("cargo::rustc-link-arg-bins=--export={name}");
//!     }
//! }
//! ```
//!
//! "May block" in this crate means that the call waits for another function or for the network. In
//! a web page the page stays responsive meanwhile.

// Functions and build scripts are whole programs, and shown as such.
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

/// Makes `output` the output of this call, in place of any earlier output.
pub fn set_output(output: &[u8]) {
    unsafe { raw::__faasm_write_output(output.as_ptr(), len_i32(output)) }
}

/// A call of another function that is under way.
#[derive(Debug)]
#[must_use = "a call that nobody awaits may outlive this function"]
pub struct Call {
    id: i32,
}

/// What a call gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// What the function returned; 1 where the call failed or timed out.
    pub returned: i32,
    /// The output that it wrote last.
    pub output: Vec<u8>,
}

/// Starts the function `name` of the same user in the cluster and returns at once. The name ends
/// at its first NUL byte if it has one.
pub fn chain_name(name: &str, input: &[u8]) -> Call {
    let name = c_string(name.as_bytes());
    let id =
        unsafe { raw::__faasm_chain_name(name.as_ptr().cast(), input.as_ptr(), len_i32(input)) };
    Call { id }
}

/// Starts `entry` in a new instance of this binary and returns at once. The new instance shares no
/// memory with this one: what it needs goes through its input or through state.
pub fn chain_ptr(entry: Entry, input: &[u8]) -> Call {
    Call { id: unsafe { raw::__faasm_chain_ptr(entry, input.as_ptr(), len_i32(input)) } }
}

impl Call {
    /// May block. Waits for the call to end and gives its return value, 1 where it failed.
    pub fn wait(self) -> i32 {
        unsafe { raw::__faasm_await_call(self.id) }
    }

    /// May block. Waits for the call to end and gives its return value and its output.
    pub fn wait_with_output(self) -> Finished {
        let mut data = std::ptr::null_mut();
        let mut len = 0;
        let returned = unsafe { raw::__faasm_await_call_output(self.id, &mut data, &mut len) };
        if data.is_null() {
            return Finished { returned, output: Vec::new() };
        }
        // The host allocated this with the binary's malloc, which need not be Rust's allocator:
        // copied to a Vec, and freed by the C library.
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
