//! Guest memory as the kernel sees it: bounds-checked copies, independent of where the bytes are stored.

use super::Fault;

/// Longest NUL-terminated string accepted from a guest, bytes. Far longer than any key in use, so that a missing
/// terminator ends the call and does not exhaust the host.
pub const MAX_STRING_BYTES: u32 = 64 * 1024;

/// Linear memory of a running function.
pub trait GuestMemory {
    /// Current size in bytes.
    fn size(&self) -> u64;

    /// Copies out; the kernel has checked the bounds.
    fn read_into(&self, pointer: u32, target: &mut [u8]);

    /// Copies in; the kernel has checked the bounds.
    fn write_from(&mut self, pointer: u32, source: &[u8]);

    /// Length of the string at `pointer`, up to its NUL; `None` if the first `most` bytes contain none. The kernel has
    /// checked that these are inside memory.
    fn string_length(&self, pointer: u32, most: u32) -> Option<u32> {
        const STEP: usize = 256;
        let mut buffer = [0; STEP];
        let mut at = 0;
        while at < most {
            let step = &mut buffer[..STEP.min((most - at) as usize)];
            self.read_into(pointer + at, step);
            if let Some(end) = step.iter().position(|byte| *byte == 0) {
                return Some(at + end as u32);
            }
            at += step.len() as u32;
        }
        None
    }

    /// Adds zeroed pages of 64 KiB at the end; returns the size before, in pages, or `None` if memory cannot grow.
    fn grow(&mut self, pages: u32) -> Option<u32>;

    /// Whether the module needs a fence between its pages and those that the host takes; see
    /// [`GUEST_PAGES_EXPORT`](crate::manifest::GUEST_PAGES_EXPORT).
    fn wants_fence(&self) -> bool {
        false
    }

    /// Sets the fence: the guest has `pages` now, and may grow to `limit`.
    fn put_fence(&mut self, pages: u32, limit: u32) {
        let _ = (pages, limit);
    }
}

/// Bounds-checked access of host calls to guest memory.
pub trait GuestMemoryExt: GuestMemory {
    /// Returns a fault unless all the bytes are inside memory.
    fn check(&self, pointer: u32, length: u64) -> Result<(), Fault> {
        let size = self.size();
        if u64::from(pointer) + length > size {
            return Err(Fault::OutOfBounds { pointer, length, size });
        }
        Ok(())
    }

    /// `length` bytes from `pointer`.
    fn read(&self, pointer: u32, length: u32) -> Result<Vec<u8>, Fault> {
        self.check(pointer, u64::from(length))?;
        let mut bytes = vec![0; length as usize];
        self.read_into(pointer, &mut bytes);
        Ok(bytes)
    }

    /// Checks the bounds, then copies in.
    fn write(&mut self, pointer: u32, bytes: &[u8]) -> Result<(), Fault> {
        self.check(pointer, bytes.len() as u64)?;
        self.write_from(pointer, bytes);
        Ok(())
    }

    /// Little-endian, like everything in linear memory.
    fn read_u32(&self, pointer: u32) -> Result<u32, Fault> {
        self.check(pointer, 4)?;
        let mut bytes = [0; 4];
        self.read_into(pointer, &mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn read_u64(&self, pointer: u32) -> Result<u64, Fault> {
        self.check(pointer, 8)?;
        let mut bytes = [0; 8];
        self.read_into(pointer, &mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn write_u32(&mut self, pointer: u32, value: u32) -> Result<(), Fault> {
        self.write(pointer, &value.to_le_bytes())
    }

    fn write_u64(&mut self, pointer: u32, value: u64) -> Result<(), Fault> {
        self.write(pointer, &value.to_le_bytes())
    }

    /// The NUL-terminated UTF-8 string at `pointer`.
    fn read_string(&self, pointer: u32) -> Result<String, Fault> {
        let bytes = self.read_terminated(pointer)?;
        String::from_utf8(bytes).map_err(|_| Fault::NotUtf8 { pointer })
    }

    /// The bytes from `pointer` up to a NUL.
    fn read_terminated(&self, pointer: u32) -> Result<Vec<u8>, Fault> {
        let here = self.size().saturating_sub(u64::from(pointer));
        let most = here.min(u64::from(MAX_STRING_BYTES) + 1) as u32;
        let length = self.string_length(pointer, most);
        let mut bytes = vec![0; length.ok_or(Fault::UnterminatedString { pointer })? as usize];
        self.read_into(pointer, &mut bytes);
        Ok(bytes)
    }
}

impl<M: GuestMemory + ?Sized> GuestMemoryExt for M {}
