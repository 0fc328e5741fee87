//! Why a run ends before its function returns.

use super::MAX_STRING_BYTES;
use crate::ErrorCode;
use crate::host::HostCall;
use crate::state::StateError;
use thiserror::Error;

/// Why a run ends before its function returns.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// Not an error: the guest exited with this return value.
    #[error("the function exited with {0}")]
    Exit(i32),
    #[error("bytes {pointer}..{} given to a host call lie outside guest memory, which has {size} bytes", u64::from(*.pointer) + .length)]
    OutOfBounds { pointer: u32, length: u64, size: u64 },
    #[error("the string at {pointer} has no NUL within {MAX_STRING_BYTES} bytes")]
    UnterminatedString { pointer: u32 },
    #[error("the string at {pointer} is not UTF-8")]
    NotUtf8 { pointer: u32 },
    #[error("{call} is not implemented yet: {reason}")]
    NotImplemented { call: HostCall, reason: &'static str },
    #[error("{import} works only in a Faasm cluster: run the function there")]
    ClusterOnly { import: String },
    #[error(
        "`{import}` is not part of the host interface: link the function without it, or make sure that it is never called"
    )]
    UnknownImport { import: String },
    #[error(transparent)]
    State(#[from] StateError),
    #[error("{call} failed: {message}")]
    Operation { call: HostCall, message: String },
    #[error(
        "{call} needs guest memory, but this function grows its memory by itself, and was not built or was built by an \
         older version: build it with `faasm-asyncify build`; for outputs and mapped state it is enough to link it with \
         -Wl,--export=malloc"
    )]
    NoMalloc { call: HostCall },
    #[error("there is no memory for the {bytes} bytes that a host call needs")]
    OutOfMemory { bytes: u32 },
    #[error("this run exceeds the memory budget of its host: {why}")]
    OverBudget { why: String },
    /// The guest ended itself, as a trap does.
    #[error("the function aborted: {why}")]
    Aborted { why: String },
    #[error("this run already holds the lock `{key}`: taking it again would wait forever")]
    Deadlock { key: String },
    #[error(
        "the lock of `{key}` was lost before it was released, because its lease was not renewed in time: others may have changed what it protects; take it again, pull, and repeat the work"
    )]
    LockLost { key: String },
    /// The driver called begin, complete and finish in the wrong order.
    #[error("host calls out of order at {call}")]
    Order { call: &'static str },
}

impl Fault {
    /// Stable identifier for programs: the text of an [`ErrorCode`], or `exit`, which is none.
    pub fn code(&self) -> &'static str {
        let code = match self {
            Fault::Exit(_) => return "exit",
            Fault::OutOfBounds { .. }
            | Fault::UnterminatedString { .. }
            | Fault::NotUtf8 { .. } => ErrorCode::BadPointer,
            Fault::NotImplemented { .. } => ErrorCode::NotImplemented,
            Fault::ClusterOnly { .. } => ErrorCode::ClusterOnly,
            Fault::UnknownImport { .. } => ErrorCode::UnknownImport,
            Fault::State(StateError::OverBudget { .. }) | Fault::OverBudget { .. } => {
                ErrorCode::OverBudget
            }
            Fault::State(_) => ErrorCode::State,
            Fault::Operation { .. } => ErrorCode::OperationFailed,
            Fault::NoMalloc { .. } => ErrorCode::NoMalloc,
            Fault::OutOfMemory { .. } => ErrorCode::OutOfMemory,
            Fault::Aborted { .. } => ErrorCode::Trap,
            Fault::Deadlock { .. } => ErrorCode::Deadlock,
            Fault::LockLost { .. } => ErrorCode::LockLost,
            Fault::Order { .. } => ErrorCode::Internal,
        };
        code.as_str()
    }
}
