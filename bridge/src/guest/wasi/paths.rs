//! The `path_*` calls. Paths are relative to an open folder.

use super::{Outcome, filestat, now, read_path, time_changes};
use crate::guest::errno::{Errno, Stop};
use crate::guest::files::{Base, Flags, OpenOptions, Rights};
use crate::guest::{Args, Context, Guest, GuestMemoryExt};

const LOOKUP_FOLLOW: u32 = 1;

const O_CREATE: u32 = 1;
const O_DIRECTORY: u32 = 1 << 1;
const O_EXCLUSIVE: u32 = 1 << 2;
const O_TRUNCATE: u32 = 1 << 3;
const O_ALL: u32 = 0b1111;

impl Guest {
    /// The folder of a descriptor argument, and the path of the two arguments from `path` on.
    fn path_at(
        &self,
        args: &Args,
        descriptor: usize,
        path: usize,
        cx: &Context<'_>,
    ) -> Result<(Base, String), Stop> {
        let base = self.files.base(args.u32(descriptor), true)?;
        Ok((base, read_path(args.u32(path), args.u32(path + 1), cx)?))
    }

    /// `path_create_directory(fd, path, len)`
    pub(super) fn path_create_directory(&mut self, args: &Args, cx: &Context<'_>) -> Outcome {
        let (base, path) = self.path_at(args, 0, 1, cx)?;
        Ok(self.files.create_folder(base, &path, now(cx))?)
    }

    /// `path_filestat_get(fd, lookup, path, len, filestat)`; waits for a shared file.
    pub(super) fn path_filestat_get(&mut self, args: &Args, cx: &mut Context<'_>) -> Outcome {
        let (base, path) = self.path_at(args, 0, 2, cx)?;
        let stat = self.files.stat_path(base, &path, args.u32(1) & LOOKUP_FOLLOW != 0)?;
        Ok(cx.host.write(args.u32(4), &filestat(&stat))?)
    }

    /// `path_filestat_set_times(fd, lookup, path, len, accessed, modified, flags)`
    pub(super) fn path_filestat_set_times(&mut self, args: &Args, cx: &Context<'_>) -> Outcome {
        let (base, path) = self.path_at(args, 0, 2, cx)?;
        let times = time_changes(args.u64(4), args.u64(5), args.u32(6))?;
        let follow = args.u32(1) & LOOKUP_FOLLOW != 0;
        Ok(self.files.set_path_times(base, &path, follow, times, now(cx))?)
    }

    /// `path_link(old_fd, lookup, old, old_len, new_fd, new, new_len)`
    pub(super) fn path_link(&mut self, args: &Args, cx: &Context<'_>) -> Outcome {
        let (old_base, old) = self.path_at(args, 0, 2, cx)?;
        let (new_base, new) = self.path_at(args, 4, 5, cx)?;
        let follow = args.u32(1) & LOOKUP_FOLLOW != 0;
        Ok(self.files.link((old_base, &old), follow, (new_base, &new), now(cx))?)
    }

    /// `path_open(fd, lookup, path, len, oflags, rights, inheriting, fdflags, opened)`; waits for a shared file.
    pub(super) fn path_open(&mut self, args: &Args, cx: &mut Context<'_>) -> Outcome {
        let (base, path) = self.path_at(args, 0, 2, cx)?;
        let (how, opened) = (args.u32(4), args.u32(8));
        if how & !O_ALL != 0 {
            return Err(Errno::Invalid.into());
        }
        let options = OpenOptions {
            follow: args.u32(1) & LOOKUP_FOLLOW != 0,
            create: how & O_CREATE != 0,
            exclusive: how & O_EXCLUSIVE != 0,
            truncate: how & O_TRUNCATE != 0,
            folder: how & O_DIRECTORY != 0,
            flags: Flags::new(args.u32(7))?,
            rights: Rights { base: args.u64(5), inheriting: args.u64(6) },
        };
        // Before the file is opened, since the descriptor could not be reported.
        cx.host.check(opened, 4)?;
        let descriptor = self.files.open(base, &path, &options, now(cx))?;
        Ok(cx.host.write_u32(opened, descriptor)?)
    }

    /// `path_readlink(fd, path, len, buf, buf_len, used)`; truncates a target that does not fit.
    pub(super) fn path_readlink(&self, args: &Args, cx: &mut Context<'_>) -> Outcome {
        let (base, path) = self.path_at(args, 0, 1, cx)?;
        let target = self.files.read_link(base, &path)?.as_bytes();
        let count = target.len().min(args.u32(4) as usize);
        cx.host.write(args.u32(3), &target[..count])?;
        Ok(cx.host.write_u32(args.u32(5), count as u32)?)
    }

    /// `path_remove_directory(fd, path, len)`
    pub(super) fn path_remove_directory(&mut self, args: &Args, cx: &Context<'_>) -> Outcome {
        let (base, path) = self.path_at(args, 0, 1, cx)?;
        Ok(self.files.remove_folder(base, &path, now(cx))?)
    }

    /// `path_rename(old_fd, old, old_len, new_fd, new, new_len)`
    pub(super) fn path_rename(&mut self, args: &Args, cx: &Context<'_>) -> Outcome {
        let (old_base, old) = self.path_at(args, 0, 1, cx)?;
        let (new_base, new) = self.path_at(args, 3, 4, cx)?;
        Ok(self.files.rename((old_base, &old), (new_base, &new), now(cx))?)
    }

    /// `path_symlink(target, target_len, fd, new, new_len)`
    pub(super) fn path_symlink(&mut self, args: &Args, cx: &Context<'_>) -> Outcome {
        let target = read_path(args.u32(0), args.u32(1), cx)?;
        let (base, new) = self.path_at(args, 2, 3, cx)?;
        Ok(self.files.symlink(&target, (base, &new), now(cx))?)
    }

    /// `path_unlink_file(fd, path, len)`
    pub(super) fn path_unlink_file(&mut self, args: &Args, cx: &Context<'_>) -> Outcome {
        let (base, path) = self.path_at(args, 0, 1, cx)?;
        Ok(self.files.remove_file(base, &path, now(cx))?)
    }
}
