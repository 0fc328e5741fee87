//! Calls of Faasm's C and C++ libraries that its toolchain imports from the host: program exit, descriptors outside
//! WASI, processes and users (there is one of each), and debug prints.
//!
//! A call that cannot succeed returns -1 (or NULL), and sets `errno` to WASI's number if the module reveals its
//! address.

use super::errno::{Errno, Stop};
use super::{Args, Context, Fault, Flow, Guest, GuestMemoryExt, Stream, legacy};
use crate::host::{HostCall, LibcCall};

/// The only process, and its parent.
const PROCESS: i32 = 1;
/// The only user, and the only group.
const USER: i32 = 0;
const NULL: i32 = 0;
/// `SIG_DFL`, the initial handler of a signal.
const DEFAULT_HANDLER: i32 = 0;

/// Most bytes of guest text that a message quotes.
const MAX_SHOWN_BYTES: u32 = 1024;

impl Guest {
    pub(super) fn libc_call(
        &mut self,
        call: LibcCall,
        args: &Args,
        cx: &mut Context<'_>,
    ) -> Result<Flow, Fault> {
        use LibcCall as C;
        let outcome = match call {
            C::Sbrk => self.sbrk(args.u32(0), cx),
            C::Mmap => self.mmap(args, cx),
            C::Munmap => self.munmap(args.u32(0), args.u32(1)),

            C::Exit | C::ExitAtOnce => return Err(Fault::Exit(args.u32(0) as i32)),
            C::Abort => return Err(Fault::Aborted { why: aborted(args, cx) }),
            C::Raise => {
                return Err(Fault::Aborted { why: format!("it raised signal {}", args.u32(0)) });
            }
            C::CxaThrow => return Err(Fault::Aborted { why: thrown(args.u32(1), cx) }),
            C::CxaRethrow => {
                let why = "it rethrew a C++ exception, which cannot be caught".to_owned();
                return Err(Fault::Aborted { why });
            }
            C::CxaPureVirtual => {
                let why = "it called a pure virtual function".to_owned();
                return Err(Fault::Aborted { why });
            }
            C::CxaAllocateException => Ok(self.take_memory(args.u32(0), cx)? as i32),
            C::CxaFreeException | C::CxaEndCatch => Ok(0),
            C::CxaBeginCatch | C::CopyTls => Ok(args.u32(0) as i32),

            C::Dup => {
                self.files.duplicate(args.u32(0), 0).map(|new| new as i32).map_err(Stop::from)
            }
            // No descriptor is a terminal or another device with controls.
            C::Ioctl => match self.files.descriptor(args.u32(0)) {
                Ok(_) => Err(Errno::NotTerminal.into()),
                Err(errno) => Err(errno.into()),
            },
            C::Getcwd => match getcwd(args, cx) {
                Err(Stop::Errno(errno)) => {
                    self.set_errno(errno, cx)?;
                    Ok(NULL)
                }
                other => other,
            },
            C::Chdir => self.chdir(args, cx),
            C::Uname => legacy::uname(args.u32(0), cx),
            C::Getpid | C::Getppid => Ok(PROCESS),
            C::Getuid | C::Geteuid | C::Getgid | C::Getegid => Ok(USER),
            C::Signal => Ok(DEFAULT_HANDLER),
            // Asks whether a shell exists.
            C::System if args.u32(0) == 0 => Ok(0),
            C::Kill | C::Fork | C::Execv | C::Execve | C::System | C::Syscall | C::Pipe => {
                Err(Errno::NoSystemCall.into())
            }
            C::Wait => Err(Errno::NoChild.into()),
            C::Setrlimit => Err(Errno::Permission.into()),
            C::Socket | C::Connect | C::Bind | C::Listen | C::Accept => {
                Err(Errno::NoAddressFamily.into())
            }
            C::Tmpfile | C::Getpwuid | C::Getpwnam | C::Gethostbyname | C::Ttyname => {
                self.set_errno(Errno::NoEntry, cx)?;
                Ok(NULL)
            }

            C::ReadConfig => {
                cx.host.write(args.u32(1), &[0])?;
                Ok(0)
            }
            C::Println => {
                let mut line = text(args.u32(0), cx);
                line.push('\n');
                cx.host.print(Stream::Stderr, line.as_bytes());
                Ok(0)
            }
            C::DebugCopy => {
                let (from, to) = (args.u32(0), args.u32(1));
                let line = format!("copy from {from} to {to}: {}\n", text(from, cx));
                cx.host.print(Stream::Stderr, line.as_bytes());
                Ok(0)
            }
        };
        match outcome {
            Ok(value) => Ok(Flow::Return(value)),
            Err(Stop::Errno(errno)) => {
                self.set_errno(errno, cx)?;
                Ok(Flow::Return(-1))
            }
            Err(Stop::Wait(_)) => Err(Fault::Order { call: HostCall::from(call).row().name }),
            Err(Stop::Fault(fault)) => Err(fault),
        }
    }

    /// Does nothing if the module does not reveal the address of `errno`.
    fn set_errno(&self, errno: Errno, cx: &mut Context<'_>) -> Result<(), Fault> {
        match self.module.errno {
            Some(pointer) => cx.host.write_u32(pointer, errno.wasi().into()),
            None => Ok(()),
        }
    }

    /// `chdir(path)`: succeeds only for the root, which is always the working folder.
    fn chdir(&self, args: &Args, cx: &mut Context<'_>) -> Result<i32, Stop> {
        let path = cx.host.read_string(args.u32(0))?;
        match path.trim_start_matches("./") {
            "/" | "." | "" => Ok(0),
            _ => Err(Errno::NoSystemCall.into()),
        }
    }
}

/// `getcwd(buffer, size) -> buffer`
fn getcwd(args: &Args, cx: &mut Context<'_>) -> Result<i32, Stop> {
    const ROOT: &[u8] = b"/\0";
    let (buffer, size) = (args.u32(0), args.u32(1) as usize);
    // NULL asks for memory from the guest's own malloc, which a call that never waits cannot call.
    if buffer == 0 || size == 0 {
        return Err(Errno::Invalid.into());
    }
    if size < ROOT.len() {
        return Err(Errno::Range.into());
    }
    cx.host.write(buffer, ROOT)?;
    Ok(buffer as i32)
}

/// A text to quote in a message: up to its NUL, the limit or the end of memory; invalid UTF-8 is allowed.
fn text(pointer: u32, cx: &Context<'_>) -> String {
    let here = cx.host.size().saturating_sub(pointer.into());
    let most = here.min(MAX_SHOWN_BYTES.into()) as u32;
    let mut bytes = cx.host.read(pointer, most).unwrap_or_default();
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `abort()`, or AssemblyScript's `abort(message, file, line, column)`.
fn aborted(args: &Args, cx: &Context<'_>) -> String {
    let called = "it called abort".to_owned();
    let (message, file) = (wide_text(args.u32(0), cx), wide_text(args.u32(1), cx));
    if message.is_none() && file.is_none() {
        return called;
    }
    let (line, column) = (args.u32(2), args.u32(3));
    format!(
        "{called}: {} in {}:{line}:{column}",
        message.unwrap_or_default(),
        file.unwrap_or_default()
    )
}

/// A string of AssemblyScript: UTF-16, its length in bytes in the word before it.
fn wide_text(pointer: u32, cx: &Context<'_>) -> Option<String> {
    let length = cx.host.read_u32(pointer.checked_sub(4)?).ok()?;
    let bytes = cx.host.read(pointer, length.min(MAX_SHOWN_BYTES) & !1).ok()?;
    let units = bytes.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
    Some(
        char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect(),
    )
}

/// The mangled name of the type is the second word of a `std::type_info`.
fn thrown(type_info: u32, cx: &Context<'_>) -> String {
    let name = type_info.checked_add(4).and_then(|at| cx.host.read_u32(at).ok());
    let name = name.map(|name| text(name, cx)).filter(|name| !name.is_empty());
    let of_type = name.map(|name| format!(" of type `{name}`")).unwrap_or_default();
    format!(
        "it threw a C++ exception{of_type}, which cannot be caught: it was compiled without exceptions"
    )
}
