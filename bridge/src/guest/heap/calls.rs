//! The calls that take memory from the break: `__sbrk`, `mmap` and `munmap` of Faasm's C library, and the system calls
//! of the older toolchain.

use super::PAGE_BYTES;
use crate::guest::errno::{Errno, Stop};
use crate::guest::{Args, Context, Fault, Guest, GuestMemoryExt};
use crate::host::HostCall;

/// Unit of the older toolchain's mappings, bytes.
const SMALL_PAGE_BYTES: u64 = 4096;

const PROT_WRITE: u32 = 2;
const MAP_SHARED: u32 = 1;
const MAP_FIXED: u32 = 0x10;
const MAP_ANONYMOUS: u32 = 0x20;

/// Arguments of `mmap`, except the address.
struct Wanted {
    length: u32,
    protection: u32,
    flags: u32,
    descriptor: u32,
    /// Into the file, bytes.
    offset: u64,
}

impl Guest {
    /// `__sbrk(increment) -> old break`
    pub(in crate::guest) fn sbrk(
        &mut self,
        increment: u32,
        cx: &mut Context<'_>,
    ) -> Result<i32, Stop> {
        self.check_break(HostCall::Sbrk)?;
        let moved = self.heap.move_break(i64::from(increment as i32), cx.host)?;
        address(moved.ok_or(Errno::NoMemory)?)
    }

    /// `mmap(addr, len, prot, flags, fd, offset)`, in whole pages.
    pub(in crate::guest) fn mmap(
        &mut self,
        args: &Args,
        cx: &mut Context<'_>,
    ) -> Result<i32, Stop> {
        let wanted = Wanted {
            length: args.u32(1),
            protection: args.u32(2),
            flags: args.u32(3),
            descriptor: args.u32(4),
            offset: args.u64(5),
        };
        // A C library with WASI's flag values may encode `MAP_ANONYMOUS` differently; a negative descriptor means the
        // same.
        let file = wanted.flags & MAP_ANONYMOUS == 0 && wanted.descriptor as i32 >= 0;
        self.map_memory(&wanted, file, PAGE_BYTES, cx)
    }

    /// `munmap(addr, len)`
    pub(in crate::guest) fn munmap(&mut self, start: u32, length: u32) -> Result<i32, Stop> {
        self.unmap_memory(start, length, PAGE_BYTES)
    }

    /// `brk(address)` of the older toolchain.
    pub(in crate::guest) fn brk(&mut self, wanted: u32, cx: &mut Context<'_>) -> Result<i32, Stop> {
        address(self.heap.set_break(wanted.into(), cx.host)?)
    }

    /// `mmap2(address, length, protection, flags, fd, page)` of the older toolchain.
    pub(in crate::guest) fn mmap2(
        &mut self,
        args: &Args,
        cx: &mut Context<'_>,
    ) -> Result<i32, Stop> {
        let wanted = Wanted {
            length: args.u32(2),
            protection: args.u32(3),
            flags: args.u32(4),
            descriptor: args.u32(5),
            offset: u64::from(args.u32(6)) * SMALL_PAGE_BYTES,
        };
        let file = wanted.flags & MAP_ANONYMOUS == 0;
        self.map_memory(&wanted, file, SMALL_PAGE_BYTES, cx)
    }

    /// `munmap(address, length)` of the older toolchain.
    pub(in crate::guest) fn munmap2(&mut self, start: u32, length: u32) -> Result<i32, Stop> {
        self.unmap_memory(start, length, SMALL_PAGE_BYTES)
    }

    /// Every mapping is private: it contains the file's present bytes.
    fn map_memory(
        &mut self,
        wanted: &Wanted,
        file: bool,
        unit: u64,
        cx: &mut Context<'_>,
    ) -> Result<i32, Stop> {
        // A caller of `MAP_FIXED` ignores the returned address.
        if wanted.length == 0 || wanted.flags & MAP_FIXED != 0 {
            return Err(Errno::Invalid.into());
        }
        self.check_break(HostCall::Mmap)?;
        if file && wanted.flags & MAP_SHARED != 0 && wanted.protection & PROT_WRITE != 0 {
            return Err(Errno::NotSupported.into());
        }
        let bytes: &[u8] =
            if file { self.files.bytes(wanted.descriptor, wanted.offset)? } else { &[] };
        let start = self.heap.map(wanted.length.into(), unit, cx.host)?;
        let start = address(start.ok_or(Errno::NoMemory)?)?;
        cx.host.write(start as u32, &bytes[..bytes.len().min(wanted.length as usize)])?;
        Ok(start)
    }

    fn unmap_memory(&mut self, start: u32, length: u32, unit: u64) -> Result<i32, Stop> {
        let (start, length) = (u64::from(start), u64::from(length));
        if !start.is_multiple_of(unit) || length == 0 {
            return Err(Errno::Invalid.into());
        }
        self.heap.unmap(start..start + length.next_multiple_of(unit));
        Ok(0)
    }

    /// Allocates memory for the host's own purposes.
    ///
    /// # Errors
    /// If that is not safe, or memory cannot grow.
    pub(in crate::guest) fn hand_out(
        &mut self,
        call: HostCall,
        bytes: u32,
        cx: &mut Context<'_>,
    ) -> Result<u32, Fault> {
        self.check_break(call)?;
        self.take_memory(bytes, cx)
    }

    /// Checks that the guest's own allocator does not use memory above the break.
    fn check_break(&self, call: HostCall) -> Result<(), Fault> {
        if self.module.is_break_safe { Ok(()) } else { Err(Fault::NoMalloc { call }) }
    }

    /// As `hand_out`, without that check: for memory that the guest's allocator may overwrite without harm.
    pub(in crate::guest) fn take_memory(
        &mut self,
        bytes: u32,
        cx: &mut Context<'_>,
    ) -> Result<u32, Fault> {
        let taken = self.heap.take(bytes.into(), cx.host)?;
        taken.and_then(|start| u32::try_from(start).ok()).ok_or(Fault::OutOfMemory { bytes })
    }
}

/// An address as the guest sees it. A break at the very end of 4 GiB has none.
fn address(at: u64) -> Result<i32, Stop> {
    u32::try_from(at).map(u32::cast_signed).map_err(|_| Errno::NoMemory.into())
}
