//! Stable error codes. `types.d.ts` lists the same ones; a test of `ci/testing/browser` compares them.

macro_rules! codes {
    ($($variant:ident = $text:literal,)+) => {
        /// An error code; `ErrorCode` in `types.d.ts` documents each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Code {
            $($variant,)+
        }

        impl Code {
            pub(crate) const ALL: &[Code] = &[$(Code::$variant,)+];

            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $(Code::$variant => $text,)+
                }
            }
        }
    };
}

codes! {
    Aborted = "aborted",
    BadEntry = "bad-entry",
    BadOptions = "bad-options",
    BadPointer = "bad-pointer",
    CannotConnect = "cannot-connect",
    CannotLoad = "cannot-load",
    Closed = "closed",
    ClusterOnly = "cluster-only",
    ConnectionLost = "connection-lost",
    Deadlock = "deadlock",
    Internal = "internal",
    LockLost = "lock-lost",
    MissingFunction = "missing-function",
    NoJspi = "no-jspi",
    NoMalloc = "no-malloc",
    NoToken = "no-token",
    NotImplemented = "not-implemented",
    OperationFailed = "operation-failed",
    OutOfMemory = "out-of-memory",
    OutcomeUnknown = "outcome-unknown",
    OverBudget = "over-budget",
    QueueFull = "queue-full",
    Refused = "refused",
    StackExhausted = "stack-exhausted",
    StackSize = "stack-size",
    State = "state",
    Timeout = "timeout",
    TooLarge = "too-large",
    Trap = "trap",
    UnknownImport = "unknown-import",
}

impl Code {
    /// Parses a code from the kernel or a cluster; an unknown one becomes `Internal`.
    pub(crate) fn named(text: &str) -> Code {
        Self::ALL.iter().copied().find(|code| code.as_str() == text).unwrap_or(Code::Internal)
    }
}
