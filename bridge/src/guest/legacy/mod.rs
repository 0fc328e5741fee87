//! System calls of the 2019/20 toolchain: `env.__syscallN(number, arguments…)` with the numbers of Linux on i386, as
//! musl makes them. A negative result is a negated error number of Linux.
//!
//! Files, clocks and memory are the same that WASI calls access. There is one process, one thread and one user, and the
//! working folder is the root.

mod files;
mod number;
#[cfg(test)]
mod tests;
mod time;

use super::errno::{Errno, Stop};
use super::files::Base;
use super::wasi::fill_random;
use super::{Args, Context, Fault, Flow, Guest, GuestMemoryExt, may_suspend};
use crate::host::LegacyCall;
use files::{AT_FOLLOW, AT_REMOVE_FOLDER, base, now, path};
use time::Timeout;

const STDOUT: u32 = 1;

/// The only process, and its only thread.
const PROCESS: i32 = 1;

/// The initial file mode mask; it has no effect, since modes are ignored.
const UMASK: i32 = 0o22;

const UNLIMITED: u64 = u64::MAX;

/// `struct utsname`: six texts of this many bytes.
const UNAME_FIELD_BYTES: usize = 65;
const UNAME: [&str; 6] = ["Linux", "faasm", "5.0.0", "1", "wasm32", ""];

impl Guest {
    pub(super) fn legacy_call(
        &mut self,
        call: LegacyCall,
        args: &Args,
        cx: &mut Context<'_>,
    ) -> Result<Flow, Fault> {
        use LegacyCall as C;
        let outcome = match call {
            C::Puts => self.puts(args, cx),
            C::Getrlimit => write_limits(args.u32(1), cx),
            C::Syscall0
            | C::Syscall1
            | C::Syscall2
            | C::Syscall3
            | C::Syscall4
            | C::Syscall5
            | C::Syscall6 => self.system_call(args, cx),
        };
        match outcome {
            Ok(value) => Ok(Flow::Return(value)),
            Err(Stop::Errno(errno)) => Ok(Flow::Return(-errno.linux())),
            Err(Stop::Wait(operation)) if may_suspend(call.into()) => Ok(Flow::Wait(operation)),
            // musl makes no call that waits with this many arguments.
            Err(Stop::Wait(_)) => Ok(Flow::Return(-Errno::NoSystemCall.linux())),
            Err(Stop::Fault(fault)) => Err(fault),
        }
    }

    /// Second half of a call that slept: all of them return 0.
    pub(super) fn legacy_woken(&mut self) -> Flow {
        Flow::Return(0)
    }

    fn system_call(&mut self, args: &Args, cx: &mut Context<'_>) -> Result<i32, Stop> {
        match args.u32(0) {
            number::EXIT | number::EXIT_GROUP => Err(Fault::Exit(args.u32(1) as i32).into()),

            number::READ => self.read_call(args, None, cx),
            number::PREAD64 => self.read_call(args, Some(4), cx),
            number::READV => self.readv(args, cx),
            number::WRITE => self.write_call(args, None, cx),
            number::PWRITE64 => self.write_call(args, Some(4), cx),
            number::WRITEV => self.writev(args, cx),
            number::LLSEEK => self.llseek(args, cx),
            number::OPEN => self.open_path(Base::ROOT, &path(args, 1, cx)?, args.u32(2), cx),
            number::OPENAT => {
                let base = base(self, args.u32(1))?;
                self.open_path(base, &path(args, 2, cx)?, args.u32(3), cx)
            }
            number::CLOSE => done(self.files.close(args.u32(1))),
            number::DUP => Ok(self.files.duplicate(args.u32(1), 0)? as i32),
            number::DUP2 | number::DUP3 => {
                self.files.duplicate_onto(args.u32(1), args.u32(2))?;
                Ok(args.u32(2) as i32)
            }
            number::FCNTL64 => self.fcntl(args),
            // No descriptor is a terminal or another device with controls.
            number::IOCTL => self.descriptor_or(args, Err(Errno::NotTerminal)),
            number::FSYNC | number::FDATASYNC | number::FCHMOD | number::FCHOWN32 => {
                self.descriptor_or(args, Ok(0))
            }
            number::FTRUNCATE64 => self.ftruncate(args, cx),
            number::TRUNCATE64 => self.truncate(args, cx),
            number::FSTAT64 => self.fstat(args, cx),
            number::GETDENTS64 => self.getdents(args, cx),

            number::STAT64 => self.stat_call(args, true, cx),
            number::LSTAT64 => self.stat_call(args, false, cx),
            number::FSTATAT64 => self.fstatat(args, cx),
            number::ACCESS | number::CHMOD | number::CHOWN32 => {
                // Every file that exists is accessible.
                self.files.stat_path(Base::ROOT, &path(args, 1, cx)?, true)?;
                Ok(0)
            }
            number::FACCESSAT => {
                let base = base(self, args.u32(1))?;
                self.files.stat_path(base, &path(args, 2, cx)?, true)?;
                Ok(0)
            }
            number::UTIMENSAT => self.utimensat(args, cx),
            number::READLINK => {
                let room = (args.u32(2), args.u32(3));
                self.readlink(Base::ROOT, &path(args, 1, cx)?, room, cx)
            }
            number::READLINKAT => {
                let base = base(self, args.u32(1))?;
                self.readlink(base, &path(args, 2, cx)?, (args.u32(3), args.u32(4)), cx)
            }
            number::MKDIR
            | number::MKDIRAT
            | number::RMDIR
            | number::UNLINK
            | number::UNLINKAT
            | number::RENAME
            | number::RENAMEAT
            | number::LINK
            | number::LINKAT
            | number::SYMLINK
            | number::SYMLINKAT => self.change_names(args, cx),
            number::GETCWD => get_working_folder(args, cx),
            number::CHDIR => match path(args, 1, cx)?.trim_start_matches("./") {
                "/" | "." | "" => Ok(0),
                _ => Err(Errno::NoSystemCall.into()),
            },

            number::BRK => self.brk(args.u32(1), cx),
            number::SBRK => self.sbrk(args.u32(1), cx),
            number::MMAP2 => self.mmap2(args, cx),
            number::MUNMAP => self.munmap2(args.u32(1), args.u32(2)),

            number::CLOCK_GETTIME => time::clock_gettime(args, cx),
            number::CLOCK_GETRES => time::clock_getres(args, cx),
            number::GETTIMEOFDAY => time::gettimeofday(args, cx),
            number::TIME => time::time(args, cx),
            number::NANOSLEEP => time::nanosleep(args, cx),
            number::CLOCK_NANOSLEEP => time::clock_nanosleep(args, cx),
            number::POLL => self.poll_descriptors(args, Timeout::Milliseconds(args.u32(3)), cx),
            number::PPOLL => self.poll_descriptors(args, Timeout::Timespec(args.u32(3)), cx),
            number::SELECT => self.select(args, Timeout::Timeval(args.u32(5)), cx),
            number::PSELECT6 => self.select(args, Timeout::Timespec(args.u32(5)), cx),
            number::PAUSE => Err(Errno::Interrupted.into()),

            number::UNAME => uname(args.u32(1), cx),
            number::GETRLIMIT | number::UGETRLIMIT => {
                // The kernel's structure is older than musl's: 32 bits.
                cx.host.write_u64(args.u32(2), UNLIMITED)?;
                Ok(0)
            }
            number::PRLIMIT64 if args.u32(4) == 0 => Ok(0),
            number::PRLIMIT64 => write_limits(args.u32(4), cx),
            number::GETRANDOM => {
                fill_random(args.u32(1), args.u32(2), cx)?;
                Ok(args.u32(2) as i32)
            }
            number::GETPID | number::GETPPID | number::GETTID | number::SET_TID_ADDRESS => {
                Ok(PROCESS)
            }
            number::UMASK => Ok(UMASK),
            // One user, one thread, no signals: these calls have no effect.
            number::GETUID32
            | number::GETGID32
            | number::GETEUID32
            | number::GETEGID32
            | number::RT_SIGACTION
            | number::RT_SIGPROCMASK
            | number::SIGALTSTACK
            | number::MPROTECT
            | number::MADVISE
            | number::SCHED_YIELD
            | number::SET_THREAD_AREA
            | number::MEMBARRIER => Ok(0),
            number::FUTEX => futex(args),
            _ => Err(Errno::NoSystemCall.into()),
        }
    }

    /// Calls that create, rename and remove files and folders.
    fn change_names(&mut self, args: &Args, cx: &Context<'_>) -> Result<i32, Stop> {
        let now = now(cx);
        let root = Base::ROOT;
        done(match args.u32(0) {
            number::MKDIR => self.files.create_folder(root, &path(args, 1, cx)?, now),
            number::MKDIRAT => {
                let base = base(self, args.u32(1))?;
                self.files.create_folder(base, &path(args, 2, cx)?, now)
            }
            number::RMDIR => self.files.remove_folder(root, &path(args, 1, cx)?, now),
            number::UNLINK => self.files.remove_file(root, &path(args, 1, cx)?, now),
            number::UNLINKAT => {
                let (base, path) = (base(self, args.u32(1))?, path(args, 2, cx)?);
                if args.u32(3) & AT_REMOVE_FOLDER != 0 {
                    self.files.remove_folder(base, &path, now)
                } else {
                    self.files.remove_file(base, &path, now)
                }
            }
            number::RENAME => {
                let (old, new) = (path(args, 1, cx)?, path(args, 2, cx)?);
                self.files.rename((root, &old), (root, &new), now)
            }
            number::RENAMEAT => {
                let (old, new) = (base(self, args.u32(1))?, base(self, args.u32(3))?);
                self.files.rename((old, &path(args, 2, cx)?), (new, &path(args, 4, cx)?), now)
            }
            number::LINK => {
                let (old, new) = (path(args, 1, cx)?, path(args, 2, cx)?);
                self.files.link((root, &old), false, (root, &new), now)
            }
            number::LINKAT => {
                let (old, new) = (base(self, args.u32(1))?, base(self, args.u32(3))?);
                let follow = args.u32(5) & AT_FOLLOW != 0;
                let (from, to) = (path(args, 2, cx)?, path(args, 4, cx)?);
                self.files.link((old, &from), follow, (new, &to), now)
            }
            number::SYMLINK => {
                self.files.symlink(&path(args, 1, cx)?, (root, &path(args, 2, cx)?), now)
            }
            _ => {
                let base = base(self, args.u32(2))?;
                self.files.symlink(&path(args, 1, cx)?, (base, &path(args, 3, cx)?), now)
            }
        })
    }

    /// Returns `value` if the descriptor is open.
    fn descriptor_or(&self, args: &Args, value: Result<i32, Errno>) -> Result<i32, Stop> {
        self.files.descriptor(args.u32(1))?;
        Ok(value?)
    }

    /// `puts(text)`: prints a line.
    fn puts(&mut self, args: &Args, cx: &mut Context<'_>) -> Result<i32, Stop> {
        let mut line = cx.host.read_terminated(args.u32(0))?;
        line.push(b'\n');
        self.files.descriptor(STDOUT)?;
        cx.host.print(super::Stream::Stdout, &line);
        Ok(0)
    }
}

fn done(result: Result<(), Errno>) -> Result<i32, Stop> {
    result?;
    Ok(0)
}

/// `struct rlimit` of musl: two 64-bit numbers.
fn write_limits(pointer: u32, cx: &mut Context<'_>) -> Result<i32, Stop> {
    let mut limits = [0; 16];
    limits[..8].copy_from_slice(&UNLIMITED.to_le_bytes());
    limits[8..].copy_from_slice(&UNLIMITED.to_le_bytes());
    cx.host.write(pointer, &limits)?;
    Ok(0)
}

/// `getcwd(buffer, size)`
fn get_working_folder(args: &Args, cx: &mut Context<'_>) -> Result<i32, Stop> {
    const ROOT: &[u8] = b"/\0";
    if (args.u32(2) as usize) < ROOT.len() {
        return Err(Errno::Range.into());
    }
    cx.host.write(args.u32(1), ROOT)?;
    Ok(ROOT.len() as i32)
}

/// `uname(utsname)`
pub(super) fn uname(pointer: u32, cx: &mut Context<'_>) -> Result<i32, Stop> {
    let mut bytes = [0; UNAME_FIELD_BYTES * UNAME.len()];
    for (field, text) in bytes.chunks_exact_mut(UNAME_FIELD_BYTES).zip(UNAME) {
        field[..text.len()].copy_from_slice(text.as_bytes());
    }
    cx.host.write(pointer, &bytes)?;
    Ok(0)
}

/// `futex(address, operation, …)`: no other thread could be woken, or could wake this one.
fn futex(args: &Args) -> Result<i32, Stop> {
    const COMMAND: u32 = 0x7f;
    const WAKE: u32 = 1;
    if args.u32(2) & COMMAND == WAKE { Ok(0) } else { Err(Errno::Again.into()) }
}
