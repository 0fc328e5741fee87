//! Why a call of an operating-system interface is refused, and its error number in each interface.

use super::{Fault, Operation};

/// The meaning of an error. WASI and Linux assign different numbers to the same error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errno {
    Again,
    BadDescriptor,
    Busy,
    Exists,
    Fault,
    FileTooLarge,
    IllegalSequence,
    Interrupted,
    Invalid,
    Io,
    IsFolder,
    Loop,
    NameTooLong,
    NoEntry,
    NoMemory,
    NoSpace,
    NoSystemCall,
    NoAddressFamily,
    NoChild,
    NotCapable,
    NotEmpty,
    NotFolder,
    NotSeekable,
    NotSocket,
    NotSupported,
    NotTerminal,
    Permission,
    Range,
    ReadOnly,
    TooManyOpen,
}

impl Errno {
    /// `errno` of `wasi_snapshot_preview1`.
    pub(super) fn wasi(self) -> u16 {
        self.numbers().0
    }

    /// `errno` of Linux on i386, which musl uses on every platform.
    pub(super) fn linux(self) -> i32 {
        self.numbers().1
    }

    fn numbers(self) -> (u16, i32) {
        match self {
            Errno::NoAddressFamily => (5, 97),
            Errno::Again => (6, 11),
            Errno::BadDescriptor => (8, 9),
            Errno::Busy => (10, 16),
            Errno::NoChild => (12, 10),
            Errno::Exists => (20, 17),
            Errno::Fault => (21, 14),
            Errno::FileTooLarge => (22, 27),
            Errno::IllegalSequence => (25, 84),
            Errno::Interrupted => (27, 4),
            Errno::Invalid => (28, 22),
            Errno::Io => (29, 5),
            Errno::IsFolder => (31, 21),
            Errno::Loop => (32, 40),
            Errno::TooManyOpen => (33, 24),
            Errno::NameTooLong => (37, 36),
            Errno::NoEntry => (44, 2),
            Errno::NoMemory => (48, 12),
            Errno::NoSpace => (51, 28),
            Errno::NoSystemCall => (52, 38),
            Errno::NotFolder => (54, 20),
            Errno::NotEmpty => (55, 39),
            Errno::NotSocket => (57, 88),
            Errno::NotSupported => (58, 95),
            Errno::NotTerminal => (59, 25),
            Errno::Permission => (63, 1),
            Errno::Range => (68, 34),
            Errno::ReadOnly => (69, 30),
            Errno::NotSeekable => (70, 29),
            // Linux has no capabilities of descriptors; a path that must not be followed is `EACCES`.
            Errno::NotCapable => (76, 13),
        }
    }
}

/// Why a call ends early: an error number for the guest, a fault that ends the run, or an operation to wait for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Errno(Errno),
    Fault(Fault),
    Wait(Operation),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Stop::Errno(errno)
    }
}

impl From<Fault> for Stop {
    /// Both interfaces return an error number for a bad pointer, whereas a Faasm call ends the run.
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::OutOfBounds { .. } => Stop::Errno(Errno::Fault),
            Fault::UnterminatedString { .. } => Stop::Errno(Errno::NameTooLong),
            Fault::NotUtf8 { .. } => Stop::Errno(Errno::IllegalSequence),
            other => Stop::Fault(other),
        }
    }
}
