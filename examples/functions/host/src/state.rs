//! State values: byte arrays under a key, in the cluster's global tier and in this host's local
//! copy.

use std::ffi::CString;

use crate::{c_string, len_i32, raw};

/// A handle to the value under a key. Creating it makes no host call.
///
/// Reads and writes use this host's local copy; [`pull`](State::pull) and [`push`](State::push)
/// synchronise it. The first access that names a size fixes the value's size.
#[derive(Debug)]
pub struct State {
    key: CString,
}

impl State {
    /// The value under `key`, which ends at its first NUL byte if it has one.
    pub fn new(key: impl AsRef<[u8]>) -> State {
        State { key: c_string(key.as_ref()) }
    }

    fn key(&self) -> *const u8 {
        self.key.as_ptr().cast()
    }

    /// The size of the value, 0 if it does not exist. May block if there is no local copy yet.
    pub fn size(&self) -> usize {
        let size = unsafe { raw::__faasm_read_state(self.key(), std::ptr::null_mut(), 0) };
        usize::try_from(size).unwrap_or(0)
    }

    /// The whole value. May block if there is no local copy yet. Does not fetch a newer value from
    /// the cluster: use [`pull`](State::pull).
    pub fn read(&self) -> Vec<u8> {
        let mut value = vec![0; self.size()];
        if !value.is_empty() {
            unsafe { raw::__faasm_read_state(self.key(), value.as_mut_ptr(), len_i32(&value)) };
        }
        value
    }

    /// Fills `part` from `offset` of a value of `total` bytes. May block if there is no local copy
    /// of that part yet.
    pub fn read_at(&self, total: usize, offset: usize, part: &mut [u8]) {
        let len = len_i32(part);
        unsafe {
            raw::__faasm_read_state_offset(
                self.key(),
                total as i32,
                offset as i32,
                part.as_mut_ptr(),
                len,
            );
        }
    }

    /// Writes the whole value, locally.
    pub fn write(&self, value: &[u8]) {
        unsafe { raw::__faasm_write_state(self.key(), value.as_ptr(), len_i32(value)) }
    }

    /// Writes `part` at `offset` of a value of `total` bytes, locally.
    pub fn write_at(&self, total: usize, offset: usize, part: &[u8]) {
        unsafe {
            raw::__faasm_write_state_offset(
                self.key(),
                total as i32,
                offset as i32,
                part.as_ptr(),
                len_i32(part),
            );
        }
    }

    /// Writes the whole value to the global tier if any part is dirty. May block.
    pub fn push(&self) {
        unsafe { raw::__faasm_push_state(self.key()) }
    }

    /// Writes only the dirty parts, then refreshes the local copy. May block.
    pub fn push_partial(&self) {
        unsafe { raw::__faasm_push_state_partial(self.key()) }
    }

    /// Always reads the value of `total` bytes from the global tier. May block.
    pub fn pull(&self, total: usize) {
        unsafe { raw::__faasm_pull_state(self.key(), total as i32) }
    }

    /// Appends an element to the list under this key in the global tier. May block.
    pub fn append(&self, element: &[u8]) {
        unsafe { raw::__faasm_append_state(self.key(), element.as_ptr(), len_i32(element)) }
    }

    /// The first `count` elements of that list, concatenated, `total` bytes. May block.
    pub fn appended(&self, count: usize, total: usize) -> Vec<u8> {
        let mut elements = vec![0; total];
        let len = len_i32(&elements);
        unsafe {
            raw::__faasm_read_appended_state(self.key(), elements.as_mut_ptr(), len, count as i32);
        }
        elements
    }

    /// Empties that list. May block.
    pub fn clear_appended(&self) {
        unsafe { raw::__faasm_clear_appended_state(self.key()) }
    }

    /// Runs `body` with the read lock of the local copy, which functions of this host share. May
    /// block.
    pub fn with_read_lock<T>(&self, body: impl FnOnce() -> T) -> T {
        unsafe { raw::__faasm_lock_state_read(self.key()) };
        let result = body();
        unsafe { raw::__faasm_unlock_state_read(self.key()) };
        result
    }

    /// Runs `body` with the write lock of the local copy, exclusive among the functions of this
    /// host. May block.
    pub fn with_write_lock<T>(&self, body: impl FnOnce() -> T) -> T {
        unsafe { raw::__faasm_lock_state_write(self.key()) };
        let result = body();
        unsafe { raw::__faasm_unlock_state_write(self.key()) };
        result
    }

    /// Runs `body` with the key's cluster-wide lock. The local copy may be stale: pull first, and
    /// push last. May block.
    pub fn with_global_lock<T>(&self, body: impl FnOnce() -> T) -> T {
        unsafe { raw::__faasm_lock_state_global(self.key()) };
        let result = body();
        unsafe { raw::__faasm_unlock_state_global(self.key()) };
        result
    }
}
