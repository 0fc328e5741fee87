//! The `fd_*` calls.

use super::{MAX_LIST, Outcome, file_type, filestat, now, time_changes};
use crate::guest::errno::{Errno, Stop};
use crate::guest::files::{Flags, Rights, Whence, read_list};
use crate::guest::{Args, Context, Guest, GuestMemoryExt};

/// `dirent` before the name.
const DIRENT_BYTES: usize = 24;

const ADVICES: u32 = 6;

impl Guest {
    /// Checks that the descriptor in argument 0 is open.
    pub(super) fn fd_check(&self, args: &Args) -> Outcome {
        Ok(self.files.descriptor(args.u32(0)).map(drop)?)
    }

    /// `fd_advise(fd, offset, len, advice)`: a tree in memory ignores advice.
    pub(super) fn fd_advise(&self, args: &Args) -> Outcome {
        self.fd_check(args)?;
        if args.u32(3) < ADVICES { Ok(()) } else { Err(Errno::Invalid.into()) }
    }

    /// `fd_allocate(fd, offset, len)`
    pub(super) fn fd_allocate(&mut self, args: &Args, cx: &Context<'_>) -> Outcome {
        Ok(self.files.allocate(args.u32(0), args.u64(1), args.u64(2), now(cx))?)
    }

    /// `fd_fdstat_get(fd, fdstat)`
    pub(super) fn fd_fdstat_get(&self, args: &Args, cx: &mut Context<'_>) -> Outcome {
        let open = self.files.descriptor(args.u32(0))?;
        let mut stat = [0; 24];
        stat[0] = file_type(self.files.stat(args.u32(0))?.kind);
        stat[2..4].copy_from_slice(&open.flags.0.to_le_bytes());
        stat[8..16].copy_from_slice(&open.rights.base.to_le_bytes());
        stat[16..24].copy_from_slice(&open.rights.inheriting.to_le_bytes());
        Ok(cx.host.write(args.u32(1), &stat)?)
    }

    /// `fd_fdstat_set_flags(fd, flags)`
    pub(super) fn fd_fdstat_set_flags(&mut self, args: &Args) -> Outcome {
        self.fd_check(args)?;
        Ok(self.files.set_flags(args.u32(0), Flags::new(args.u32(1))?)?)
    }

    /// `fd_fdstat_set_rights(fd, base, inheriting)`
    pub(super) fn fd_fdstat_set_rights(&mut self, args: &Args) -> Outcome {
        let rights = Rights { base: args.u64(1), inheriting: args.u64(2) };
        Ok(self.files.set_rights(args.u32(0), rights)?)
    }

    /// `fd_filestat_get(fd, filestat)`
    pub(super) fn fd_filestat_get(&self, args: &Args, cx: &mut Context<'_>) -> Outcome {
        let stat = self.files.stat(args.u32(0))?;
        Ok(cx.host.write(args.u32(1), &filestat(&stat))?)
    }

    /// `fd_filestat_set_size(fd, size)`
    pub(super) fn fd_filestat_set_size(&mut self, args: &Args, cx: &Context<'_>) -> Outcome {
        Ok(self.files.set_size(args.u32(0), args.u64(1), now(cx))?)
    }

    /// `fd_filestat_set_times(fd, accessed, modified, flags)`
    pub(super) fn fd_filestat_set_times(&mut self, args: &Args, cx: &Context<'_>) -> Outcome {
        let (accessed, modified) = time_changes(args.u64(1), args.u64(2), args.u32(3))?;
        Ok(self.files.set_times(args.u32(0), accessed, modified, now(cx))?)
    }

    /// `fd_prestat_get(fd, prestat)`; a program asks for 3, 4, … until it gets `badf`.
    pub(super) fn fd_prestat_get(&self, args: &Args, cx: &mut Context<'_>) -> Outcome {
        // Tag 0 for a folder, and the length of its name.
        let prestat = u64::from(self.preopened(args)?.len() as u32) << 32;
        Ok(cx.host.write_u64(args.u32(1), prestat)?)
    }

    /// `fd_prestat_dir_name(fd, path, len)`
    pub(super) fn fd_prestat_dir_name(&self, args: &Args, cx: &mut Context<'_>) -> Outcome {
        let name = self.preopened(args)?;
        if (args.u32(2) as usize) < name.len() {
            return Err(Errno::NameTooLong.into());
        }
        Ok(cx.host.write(args.u32(1), name.as_bytes())?)
    }

    /// The name of a preopened folder.
    fn preopened(&self, args: &Args) -> Result<&'static str, Errno> {
        let open = self.files.descriptor(args.u32(0))?;
        open.preopened.ok_or(Errno::BadDescriptor)
    }

    /// `fd_dup(fd, *new)`, which is not in the specification.
    pub(super) fn fd_dup(&mut self, args: &Args, cx: &mut Context<'_>) -> Outcome {
        cx.host.check(args.u32(1), 4)?;
        let new = self.files.duplicate(args.u32(0), 0)?;
        Ok(cx.host.write_u32(args.u32(1), new)?)
    }

    /// `fd_read(fd, iovs, iovs_len, nread)`
    pub(super) fn fd_read(&mut self, args: &Args, cx: &mut Context<'_>) -> Outcome {
        let parts = self.scatter_list(args, cx)?;
        let count = self.read_parts(args.u32(0), &parts, None, cx)?;
        Ok(cx.host.write_u32(args.u32(3), count)?)
    }

    /// `fd_pread(fd, iovs, iovs_len, offset, nread)`
    pub(super) fn fd_pread(&mut self, args: &Args, cx: &mut Context<'_>) -> Outcome {
        let parts = self.scatter_list(args, cx)?;
        let count = self.read_parts(args.u32(0), &parts, Some(args.u64(3)), cx)?;
        Ok(cx.host.write_u32(args.u32(4), count)?)
    }

    /// `fd_write(fd, iovs, iovs_len, nwritten)`
    pub(super) fn fd_write(&mut self, args: &Args, cx: &mut Context<'_>) -> Outcome {
        let parts = self.scatter_list(args, cx)?;
        let count = self.write_parts(args.u32(0), &parts, None, cx)?;
        Ok(cx.host.write_u32(args.u32(3), count)?)
    }

    /// `fd_pwrite(fd, iovs, iovs_len, offset, nwritten)`
    pub(super) fn fd_pwrite(&mut self, args: &Args, cx: &mut Context<'_>) -> Outcome {
        let parts = self.scatter_list(args, cx)?;
        let count = self.write_parts(args.u32(0), &parts, Some(args.u64(3)), cx)?;
        Ok(cx.host.write_u32(args.u32(4), count)?)
    }

    /// The `(pointer, length)` pairs of arguments 1 and 2, after checking that the descriptor is open.
    fn scatter_list(&self, args: &Args, cx: &Context<'_>) -> Result<Vec<(u32, u32)>, Stop> {
        self.fd_check(args)?;
        if args.u32(2) > MAX_LIST {
            return Err(Errno::Invalid.into());
        }
        Ok(read_list(args.u32(1), args.u32(2), cx)?)
    }

    /// `fd_readdir(fd, buf, buf_len, cookie, used)`
    ///
    /// A full buffer means that there are more entries: the last one is truncated, and the program calls again, with
    /// the cookie of the last complete entry or with a larger buffer.
    pub(super) fn fd_readdir(&self, args: &Args, cx: &mut Context<'_>) -> Outcome {
        let (buffer, size) = (args.u32(1), args.u32(2));
        cx.host.check(buffer, size.into())?;
        let mut used = 0;
        for entry in self.files.list(args.u32(0), args.u64(3))? {
            let mut dirent = vec![0; DIRENT_BYTES];
            dirent[..8].copy_from_slice(&entry.cookie.to_le_bytes());
            dirent[8..16].copy_from_slice(&entry.inode.to_le_bytes());
            dirent[16..20].copy_from_slice(&(entry.name.len() as u32).to_le_bytes());
            dirent[20] = file_type(entry.kind);
            dirent.extend(entry.name.as_bytes());
            dirent.truncate((size - used) as usize);
            // Not written at the end of a full memory of 4 GiB, where no address is valid.
            if dirent.is_empty() {
                break;
            }
            cx.host.write(buffer + used, &dirent)?;
            used += dirent.len() as u32;
        }
        Ok(cx.host.write_u32(args.u32(4), used)?)
    }

    /// `fd_seek(fd, offset, whence, new)`
    pub(super) fn fd_seek(&mut self, args: &Args, cx: &mut Context<'_>) -> Outcome {
        let whence = Whence::new(args.u32(2))?;
        let offset = self.files.seek(args.u32(0), args.u64(1) as i64, whence)?;
        Ok(cx.host.write_u64(args.u32(3), offset)?)
    }

    /// `fd_tell(fd, offset)`
    pub(super) fn fd_tell(&mut self, args: &Args, cx: &mut Context<'_>) -> Outcome {
        let offset = self.files.seek(args.u32(0), 0, Whence::Current)?;
        Ok(cx.host.write_u64(args.u32(1), offset)?)
    }
}
