//! WASI preview 1: arguments, environment, clocks, random bytes, files, waiting, and exit. No sockets, no signals.
//!
//! Follows the `wasi_snapshot_preview1` specification, including its error numbers and structure layouts. Pointers
//! outside memory result in `errno` 21 (`fault`), not in a trap.
//!
//! One folder is preopened twice, the root of the run's own file tree: as descriptor 3 with the name `/`, with which C
//! libraries resolve absolute paths, and as descriptor 4 with the name `.`, for relative ones. `/tmp` exists. A path
//! relative to any other open folder cannot leave it (`notcapable`); the parent of the root is the root.

mod descriptors;
mod paths;
mod poll;
mod process;
#[cfg(test)]
mod tests;

use super::errno::{Errno, Stop};
use super::files::{FileType, Stat, TimeChange};
use super::{Args, Clock, Context, Fault, Flow, Guest, GuestMemoryExt, MAX_STRING_BYTES};
use crate::host::{Grouped, HostCall, WasiCall};

pub(super) use poll::Polled;
pub(super) use process::{clock, fill_random};

const SUCCESS: i32 = 0;

/// Most entries of a scatter list or a poll; more result in `inval`.
const MAX_LIST: u32 = 1024;

pub(super) fn is_wasi(call: HostCall) -> bool {
    matches!(call.grouped(), Grouped::Wasi(_))
}

type Outcome = Result<(), Stop>;

fn to_flow(outcome: Outcome) -> Result<Flow, Fault> {
    match outcome {
        Ok(()) => Ok(Flow::Return(SUCCESS)),
        Err(Stop::Errno(errno)) => Ok(Flow::Return(errno.wasi().into())),
        Err(Stop::Wait(operation)) => Ok(Flow::Wait(operation)),
        Err(Stop::Fault(fault)) => Err(fault),
    }
}

impl Guest {
    pub(super) fn wasi_call(
        &mut self,
        call: WasiCall,
        args: &Args,
        cx: &mut Context<'_>,
    ) -> Result<Flow, Fault> {
        use WasiCall as C;
        to_flow(match call {
            C::ArgsGet => process::strings(&self.arguments(), args, cx),
            C::ArgsSizesGet => process::string_sizes(&self.arguments(), args, cx),
            C::EnvironGet => process::strings(&self.environment(), args, cx),
            C::EnvironSizesGet => process::string_sizes(&self.environment(), args, cx),
            C::ClockResGet => process::clock_resolution(args, cx),
            C::ClockTimeGet => process::clock_time(args, cx),
            C::FdAdvise => self.fd_advise(args),
            C::FdAllocate => self.fd_allocate(args, cx),
            C::FdClose => self.files.close(args.u32(0)).map_err(Stop::from),
            // Files are in memory: there is nothing to write through.
            C::FdDatasync | C::FdSync => self.fd_check(args),
            C::FdFdstatGet => self.fd_fdstat_get(args, cx),
            C::FdFdstatSetFlags => self.fd_fdstat_set_flags(args),
            C::FdFdstatSetRights => self.fd_fdstat_set_rights(args),
            C::FdFilestatGet => self.fd_filestat_get(args, cx),
            C::FdFilestatSetSize => self.fd_filestat_set_size(args, cx),
            C::FdFilestatSetTimes => self.fd_filestat_set_times(args, cx),
            C::FdPread => self.fd_pread(args, cx),
            C::FdPrestatGet => self.fd_prestat_get(args, cx),
            C::FdPrestatDirName => self.fd_prestat_dir_name(args, cx),
            C::FdPwrite => self.fd_pwrite(args, cx),
            C::FdRead => self.fd_read(args, cx),
            C::FdReaddir => self.fd_readdir(args, cx),
            C::FdRenumber => self.files.renumber(args.u32(0), args.u32(1)).map_err(Stop::from),
            C::FdSeek => self.fd_seek(args, cx),
            C::FdTell => self.fd_tell(args, cx),
            C::FdWrite => self.fd_write(args, cx),
            C::WasiFdDup => self.fd_dup(args, cx),
            C::PathCreateDirectory => self.path_create_directory(args, cx),
            C::PathFilestatGet => self.path_filestat_get(args, cx),
            C::PathFilestatSetTimes => self.path_filestat_set_times(args, cx),
            C::PathLink => self.path_link(args, cx),
            C::PathOpen => self.path_open(args, cx),
            C::PathReadlink => self.path_readlink(args, cx),
            C::PathRemoveDirectory => self.path_remove_directory(args, cx),
            C::PathRename => self.path_rename(args, cx),
            C::PathSymlink => self.path_symlink(args, cx),
            C::PathUnlinkFile => self.path_unlink_file(args, cx),
            C::PollOneoff => self.poll(args, cx),
            C::ProcExit => Err(Stop::Fault(Fault::Exit(args.u32(0) as i32))),
            C::ProcRaise => Err(Errno::NotSupported.into()),
            C::RandomGet => process::random(args, cx),
            C::SchedYield => Ok(()),
            C::SockAccept | C::SockRecv | C::SockSend | C::SockShutdown => {
                Err(self.fd_check(args).err().unwrap_or(Errno::NotSocket.into()))
            }
        })
    }

    /// Second half of `poll_oneoff`.
    pub(super) fn wasi_woken(&mut self, args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
        to_flow(self.poll_slept(args, cx))
    }
}

/// The path of `length` bytes at `pointer`.
fn read_path(pointer: u32, length: u32, cx: &Context<'_>) -> Result<String, Stop> {
    if length > MAX_STRING_BYTES {
        return Err(Errno::NameTooLong.into());
    }
    let bytes = cx.host.read(pointer, length)?;
    String::from_utf8(bytes).map_err(|_| Errno::IllegalSequence.into())
}

/// `filetype` of the specification.
fn file_type(kind: FileType) -> u8 {
    match kind {
        FileType::CharacterDevice => 2,
        FileType::Folder => 3,
        FileType::Regular => 4,
        FileType::Link => 7,
    }
}

const FILESTAT_BYTES: usize = 64;

/// `filestat` of the specification.
fn filestat(stat: &Stat) -> [u8; FILESTAT_BYTES] {
    // Files of the tree have a device of their own; streams have none.
    let device = u64::from(stat.kind != FileType::CharacterDevice);
    let words = [
        device,
        stat.inode,
        file_type(stat.kind).into(),
        stat.links.into(),
        stat.size,
        stat.times.accessed,
        stat.times.modified,
        stat.times.changed,
    ];
    let mut bytes = [0; FILESTAT_BYTES];
    for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// Interprets `fstflags` for the times of access and modification.
fn time_changes(
    accessed: u64,
    modified: u64,
    flags: u32,
) -> Result<(TimeChange, TimeChange), Errno> {
    let change = |bits: u32, time| match bits & 0b11 {
        0b00 => Ok(TimeChange::Keep),
        0b01 => Ok(TimeChange::To(time)),
        0b10 => Ok(TimeChange::Now),
        _ => Err(Errno::Invalid),
    };
    if flags > 0b1111 {
        return Err(Errno::Invalid);
    }
    Ok((change(flags, accessed)?, change(flags >> 2, modified)?))
}

/// The time recorded in files.
fn now(cx: &Context<'_>) -> u64 {
    cx.host.now(Clock::Realtime)
}
