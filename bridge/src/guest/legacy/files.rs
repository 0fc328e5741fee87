//! File calls by Linux number: flags and structures as in the older toolchain's musl for wasm32.

use super::time::{read_timespec, timespec};
use crate::guest::errno::{Errno, Stop};
use crate::guest::files::{
    Base, FileType, Flags, OpenOptions, Rights, Stat, TimeChange, Whence, read_list,
};
use crate::guest::{Args, Clock, Context, Guest, GuestMemoryExt};

const AT_WORKING_FOLDER: i32 = -100;
pub(super) const AT_NO_FOLLOW: u32 = 0x100;
pub(super) const AT_REMOVE_FOLDER: u32 = 0x200;
pub(super) const AT_FOLLOW: u32 = 0x400;
const AT_EMPTY_PATH: u32 = 0x1000;

const O_ACCESS: u32 = 3;
const O_WRITE_ONLY: u32 = 1;
const O_READ_WRITE: u32 = 2;
const O_CREATE: u32 = 0o100;
const O_EXCLUSIVE: u32 = 0o200;
const O_TRUNCATE: u32 = 0o1000;
const O_APPEND: u32 = 0o2000;
const O_NONBLOCK: u32 = 0o4000;
const O_DIRECTORY: u32 = 0o200_000;
const O_NO_FOLLOW: u32 = 0o400_000;

/// Most entries of a scatter list, as on Linux.
const MAX_LIST: u32 = 1024;

const STAT_BYTES: usize = 144;
/// Reported best size of a read, bytes.
const BLOCK_BYTES: u32 = 4096;
/// Unit of `st_blocks`.
const SECTOR_BYTES: u64 = 512;

/// `struct dirent` before the name.
const DIRENT_BYTES: usize = 19;

/// The folder that a path is relative to.
pub(super) fn base(guest: &Guest, descriptor: u32) -> Result<Base, Errno> {
    match descriptor as i32 {
        AT_WORKING_FOLDER => Ok(Base::ROOT),
        _ => guest.files.base(descriptor, false),
    }
}

/// The path that argument `position` points to.
pub(super) fn path(args: &Args, position: usize, cx: &Context<'_>) -> Result<String, Stop> {
    Ok(cx.host.read_string(args.u32(position))?)
}

pub(super) fn now(cx: &Context<'_>) -> u64 {
    cx.host.now(Clock::Realtime)
}

/// A 64-bit argument in two slots, low half first.
fn wide(args: &Args, position: usize) -> u64 {
    u64::from(args.u32(position)) | u64::from(args.u32(position + 1)) << 32
}

impl Guest {
    /// `open(path, flags, mode)`, and `openat`, whose first argument is the folder. Ignores the mode.
    pub(super) fn open_path(
        &mut self,
        base: Base,
        path: &str,
        flags: u32,
        cx: &Context<'_>,
    ) -> Result<i32, Stop> {
        let access = flags & O_ACCESS;
        let (read, write) = match access {
            O_WRITE_ONLY => (false, true),
            O_READ_WRITE => (true, true),
            _ => (true, false),
        };
        let options = OpenOptions {
            follow: flags & O_NO_FOLLOW == 0,
            create: flags & O_CREATE != 0,
            exclusive: flags & O_EXCLUSIVE != 0,
            truncate: flags & O_TRUNCATE != 0,
            folder: flags & O_DIRECTORY != 0,
            flags: kept_flags(flags),
            rights: Rights::of_mode(read, write),
        };
        Ok(self.files.open(base, path, &options, now(cx))? as i32)
    }

    /// `read(fd, buffer, count)`, or `pread64` with the offset as a further argument.
    pub(super) fn read_call(
        &mut self,
        args: &Args,
        offset: Option<usize>,
        cx: &mut Context<'_>,
    ) -> Result<i32, Stop> {
        let part = [(args.u32(2), args.u32(3))];
        let at = offset.map(|position| wide(args, position));
        Ok(self.read_parts(args.u32(1), &part, at, cx)? as i32)
    }

    /// `write(fd, buffer, count)`, or `pwrite64` with the offset as a further argument.
    pub(super) fn write_call(
        &mut self,
        args: &Args,
        offset: Option<usize>,
        cx: &mut Context<'_>,
    ) -> Result<i32, Stop> {
        let part = [(args.u32(2), args.u32(3))];
        let at = offset.map(|position| wide(args, position));
        Ok(self.write_parts(args.u32(1), &part, at, cx)? as i32)
    }

    /// `readv(fd, list, count)`
    pub(super) fn readv(&mut self, args: &Args, cx: &mut Context<'_>) -> Result<i32, Stop> {
        let parts = list(args, cx)?;
        Ok(self.read_parts(args.u32(1), &parts, None, cx)? as i32)
    }

    /// `writev(fd, list, count)`
    pub(super) fn writev(&mut self, args: &Args, cx: &mut Context<'_>) -> Result<i32, Stop> {
        let parts = list(args, cx)?;
        Ok(self.write_parts(args.u32(1), &parts, None, cx)? as i32)
    }

    /// `_llseek(fd, high, low, result, whence)`
    pub(super) fn llseek(&mut self, args: &Args, cx: &mut Context<'_>) -> Result<i32, Stop> {
        let offset = u64::from(args.u32(2)) << 32 | u64::from(args.u32(3));
        let whence = Whence::new(args.u32(5))?;
        let offset = self.files.seek(args.u32(1), offset as i64, whence)?;
        cx.host.write_u64(args.u32(4), offset)?;
        Ok(0)
    }

    /// `ftruncate64(fd, size)`; the size takes two slots.
    pub(super) fn ftruncate(&mut self, args: &Args, cx: &Context<'_>) -> Result<i32, Stop> {
        self.files.set_size(args.u32(1), wide(args, 2), now(cx))?;
        Ok(0)
    }

    pub(super) fn truncate(&mut self, args: &Args, cx: &Context<'_>) -> Result<i32, Stop> {
        let path = path(args, 1, cx)?;
        self.files.set_path_size(Base::ROOT, &path, wide(args, 2), now(cx))?;
        Ok(0)
    }

    /// `stat64(path, stat)` and `lstat64`
    pub(super) fn stat_call(
        &mut self,
        args: &Args,
        follow: bool,
        cx: &mut Context<'_>,
    ) -> Result<i32, Stop> {
        let stat = self.files.stat_path(Base::ROOT, &path(args, 1, cx)?, follow)?;
        cx.host.write(args.u32(2), &encode(&stat))?;
        Ok(0)
    }

    /// `fstat64(fd, stat)`
    pub(super) fn fstat(&mut self, args: &Args, cx: &mut Context<'_>) -> Result<i32, Stop> {
        let stat = self.files.stat(args.u32(1))?;
        cx.host.write(args.u32(2), &encode(&stat))?;
        Ok(0)
    }

    /// `fstatat64(folder, path, stat, flags)`
    pub(super) fn fstatat(&mut self, args: &Args, cx: &mut Context<'_>) -> Result<i32, Stop> {
        let (path, flags) = (path(args, 2, cx)?, args.u32(4));
        let stat = if path.is_empty() && flags & AT_EMPTY_PATH != 0 {
            self.files.stat(args.u32(1))?
        } else {
            let base = base(self, args.u32(1))?;
            self.files.stat_path(base, &path, flags & AT_NO_FOLLOW == 0)?
        };
        cx.host.write(args.u32(3), &encode(&stat))?;
        Ok(0)
    }

    /// `utimensat(folder, path, times, flags)`
    pub(super) fn utimensat(&mut self, args: &Args, cx: &Context<'_>) -> Result<i32, Stop> {
        let times = match args.u32(3) {
            0 => (TimeChange::Now, TimeChange::Now),
            at => (time_change(at, cx)?, time_change(at.wrapping_add(16), cx)?),
        };
        let follow = args.u32(4) & AT_NO_FOLLOW == 0;
        match args.u32(2) {
            0 => self.files.set_times(args.u32(1), times.0, times.1, now(cx))?,
            _ => {
                let base = base(self, args.u32(1))?;
                self.files.set_path_times(base, &path(args, 2, cx)?, follow, times, now(cx))?;
            }
        }
        Ok(0)
    }

    /// `getdents64(fd, buffer, size)`: as many complete entries as fit.
    pub(super) fn getdents(&mut self, args: &Args, cx: &mut Context<'_>) -> Result<i32, Stop> {
        let (descriptor, buffer, size) = (args.u32(1), args.u32(2), args.u32(3));
        cx.host.check(buffer, size.into())?;
        let after = self.files.descriptor(descriptor)?.offset;
        let (mut used, mut last) = (0_u32, None);
        for entry in self.files.list(descriptor, after)? {
            let length = (DIRENT_BYTES + entry.name.len() + 1).next_multiple_of(8);
            if u64::from(used) + length as u64 > size.into() {
                if last.is_none() {
                    return Err(Errno::Invalid.into());
                }
                break;
            }
            let mut bytes = vec![0; length];
            bytes[..8].copy_from_slice(&entry.inode.to_le_bytes());
            bytes[8..16].copy_from_slice(&entry.cookie.to_le_bytes());
            bytes[16..18].copy_from_slice(&(length as u16).to_le_bytes());
            // The entry's type is the file type bits of the mode.
            bytes[18] = (mode(entry.kind) >> 12) as u8;
            bytes[DIRENT_BYTES..DIRENT_BYTES + entry.name.len()]
                .copy_from_slice(entry.name.as_bytes());
            cx.host.write(buffer + used, &bytes)?;
            (used, last) = (used + length as u32, Some(entry.cookie));
        }
        if let Some(cookie) = last {
            self.files.seek(descriptor, cookie as i64, Whence::Start)?;
        }
        Ok(used as i32)
    }

    /// `readlink(path, buffer, size)`, or `readlinkat` with the folder as first argument; truncates a target that does
    /// not fit.
    pub(super) fn readlink(
        &mut self,
        base: Base,
        path: &str,
        (buffer, size): (u32, u32),
        cx: &mut Context<'_>,
    ) -> Result<i32, Stop> {
        let target = self.files.read_link(base, path)?.as_bytes();
        let count = target.len().min(size as usize);
        cx.host.write(buffer, &target[..count])?;
        Ok(count as i32)
    }

    /// `fcntl64(fd, command, argument)`
    pub(super) fn fcntl(&mut self, args: &Args) -> Result<i32, Stop> {
        const DUPLICATE: u32 = 0;
        const DUPLICATE_CLOSING: u32 = 1030;
        const GET_FLAGS: u32 = 3;
        const SET_FLAGS: u32 = 4;
        let (descriptor, argument) = (args.u32(1), args.u32(3));
        let open = self.files.descriptor(descriptor)?;
        match args.u32(2) {
            DUPLICATE | DUPLICATE_CLOSING => Ok(self.files.duplicate(descriptor, argument)? as i32),
            // Close-on-exec flags and locks: there is no other program, so they have no effect.
            1 | 2 | 5..=7 | 12..=14 => Ok(0),
            GET_FLAGS => {
                let has = |right| open.rights.base & right != 0;
                let access = match (has(Rights::READ), has(Rights::WRITE)) {
                    (true, true) => O_READ_WRITE,
                    (false, true) => O_WRITE_ONLY,
                    _ => 0,
                };
                let when = |flag, number| if open.flags.has(flag) { number } else { 0 };
                let flags =
                    when(Flags::APPEND, O_APPEND) | when(Flags::NONBLOCK, O_NONBLOCK) | access;
                Ok(flags as i32)
            }
            SET_FLAGS => {
                self.files.set_flags(descriptor, kept_flags(argument))?;
                Ok(0)
            }
            _ => Err(Errno::Invalid.into()),
        }
    }
}

/// The flags that an open file stores.
fn kept_flags(flags: u32) -> Flags {
    let when = |bit, flag| if flags & bit != 0 { flag } else { 0 };
    Flags(when(O_APPEND, Flags::APPEND) | when(O_NONBLOCK, Flags::NONBLOCK))
}

fn list(args: &Args, cx: &Context<'_>) -> Result<Vec<(u32, u32)>, Stop> {
    if args.u32(3) > MAX_LIST {
        return Err(Errno::Invalid.into());
    }
    Ok(read_list(args.u32(2), args.u32(3), cx)?)
}

fn time_change(pointer: u32, cx: &Context<'_>) -> Result<TimeChange, Stop> {
    const NOW: u32 = 0x3fff_ffff;
    const KEEP: u32 = 0x3fff_fffe;
    cx.host.check(pointer, 16)?;
    Ok(match cx.host.read_u32(pointer + 8)? {
        NOW => TimeChange::Now,
        KEEP => TimeChange::Keep,
        _ => TimeChange::To(read_timespec(pointer, cx)?),
    })
}

fn mode(kind: FileType) -> u32 {
    match kind {
        FileType::CharacterDevice => 0o020_620,
        FileType::Folder => 0o040_755,
        FileType::Regular => 0o100_644,
        FileType::Link => 0o120_777,
    }
}

/// `struct stat`.
///
/// ```text
///  0 dev 8   8 ino 8   16 nlink 8   24 mode 4   28 uid 4   32 gid 4   40 rdev 8   48 size 8
///  56 blksize 4   64 blocks 8   72 atim 16   88 mtim 16   104 ctim 16   120 unused 24
/// ```
fn encode(stat: &Stat) -> [u8; STAT_BYTES] {
    let device = u64::from(stat.kind != FileType::CharacterDevice);
    let mut bytes = [0; STAT_BYTES];
    for (place, word) in [
        (0, device),
        (8, stat.inode),
        (16, stat.links.into()),
        (24, mode(stat.kind).into()),
        (48, stat.size),
        (56, BLOCK_BYTES.into()),
        (64, stat.size.div_ceil(SECTOR_BYTES)),
    ] {
        bytes[place..place + 8].copy_from_slice(&word.to_le_bytes());
    }
    let times = [(72, stat.times.accessed), (88, stat.times.modified), (104, stat.times.changed)];
    for (place, time) in times {
        bytes[place..place + 16].copy_from_slice(&timespec(time));
    }
    bytes
}
