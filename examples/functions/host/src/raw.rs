//! The raw host interface: imports from module `env`, with pointers and lengths. The wrappers in
//! the rest of the crate document each call.

/// A function that can be chained by pointer, which the host gets as an index into the function
/// table. Its result is the call's return value.
pub type Entry = extern "C" fn() -> i32;

#[link(wasm_import_module = "env")]
#[allow(missing_docs)]
unsafe extern "C" {
    // Input and output.
    pub fn __faasm_read_input(buffer: *mut u8, len: i32) -> i32;
    pub fn __faasm_write_output(data: *const u8, len: i32);

    // Chaining. Names are NUL-terminated; the two `await` calls may block.
    pub fn __faasm_chain_name(name: *const u8, input: *const u8, input_len: i32) -> i32;
    pub fn __faasm_chain_ptr(entry: Entry, input: *const u8, input_len: i32) -> i32;
    pub fn __faasm_await_call(call_id: i32) -> i32;
    pub fn __faasm_await_call_output(
        call_id: i32,
        output: *mut *mut u8,
        output_len: *mut i32,
    ) -> i32;

    // State. Keys are NUL-terminated. Reads may block if there is no local copy yet; pushes,
    // pulls, list operations and locks may block.
    pub fn __faasm_read_state(key: *const u8, buffer: *mut u8, len: i32) -> i32;
    pub fn __faasm_read_state_ptr(key: *const u8, total: i32) -> *mut u8;
    pub fn __faasm_read_state_offset(
        key: *const u8,
        total: i32,
        offset: i32,
        buffer: *mut u8,
        len: i32,
    );
    pub fn __faasm_read_state_offset_ptr(
        key: *const u8,
        total: i32,
        offset: i32,
        len: i32,
    ) -> *mut u8;
    pub fn __faasm_write_state(key: *const u8, data: *const u8, len: i32);
    pub fn __faasm_write_state_offset(
        key: *const u8,
        total: i32,
        offset: i32,
        data: *const u8,
        len: i32,
    );
    pub fn __faasm_write_state_from_file(key: *const u8, path: *const u8) -> i32;
    pub fn __faasm_flag_state_dirty(key: *const u8, total: i32);
    pub fn __faasm_flag_state_offset_dirty(key: *const u8, total: i32, offset: i32, len: i32);
    pub fn __faasm_push_state(key: *const u8);
    pub fn __faasm_push_state_partial(key: *const u8);
    pub fn __faasm_push_state_partial_mask(key: *const u8, mask_key: *const u8);
    pub fn __faasm_pull_state(key: *const u8, total: i32);
    pub fn __faasm_append_state(key: *const u8, data: *const u8, len: i32);
    pub fn __faasm_read_appended_state(key: *const u8, buffer: *mut u8, len: i32, count: i32);
    pub fn __faasm_clear_appended_state(key: *const u8);
    pub fn __faasm_lock_state_read(key: *const u8);
    pub fn __faasm_unlock_state_read(key: *const u8);
    pub fn __faasm_lock_state_write(key: *const u8);
    pub fn __faasm_unlock_state_write(key: *const u8);
    pub fn __faasm_lock_state_global(key: *const u8);
    pub fn __faasm_unlock_state_global(key: *const u8);

    // Other host calls.
    pub fn __faasm_conf_flag(key: *const u8) -> i32;
    pub fn __faasm_backtrace(depth: i32);
    pub fn __faasm_migrate_point(entry: extern "C" fn(i32), argument: i32);
}

unsafe extern "C" {
    /// The C library's `free`, for memory that the host allocated with this binary's `malloc`.
    pub fn free(pointer: *mut u8);
}
