//! The stable codes of errors: one row for each, with its meaning in one line. `docs/errors/CODE.md` explains it.

use core::fmt;

/// Defines an enum of codes from rows of variant, code and meaning.
macro_rules! codes {
    ($(#[$attribute:meta])* $name:ident: $($variant:ident $code:literal $meaning:literal,)+) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $(#[doc = $meaning] $variant,)+
        }

        impl $name {
            /// Every code, in the order of their texts.
            pub const ALL: &[$name] = &[$($name::$variant,)+];

            /// The code as programs see it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $code,)+
                }
            }

            /// What it means, in one line.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $($name::$variant => $meaning,)+
                }
            }

            /// The text of `docs/errors/CODE.md`; a code without a page does not compile. Absent in the bundle of a web page.
            #[cfg(not(target_family = "wasm"))]
            pub const fn page(self) -> &'static str {
                match self {
                    $($name::$variant => include_str!(concat!("../../docs/errors/", $code, ".md")),)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

codes! {
    /// Why a run, a call or a request of a page failed; the same in the page and in the cluster. `ErrorCode` of `types.d.ts`
    /// lists the same codes, and a test of `ci/testing/browser` compares them.
    ErrorCode:
    Aborted "aborted" "the page aborted the run",
    BadEntry "bad-entry" "the entry or function pointer of a call cannot be called",
    BadOptions "bad-options" "an option given to the runtime is invalid",
    BadPointer "bad-pointer" "a host call got a pointer outside guest memory, or an invalid string",
    Cancelled "cancelled" "the call that this one descends from was cancelled",
    CannotConnect "cannot-connect" "no relay answers at this address",
    CannotLoad "cannot-load" "the function or its manifest cannot be fetched, compiled or instantiated",
    Closed "closed" "the runtime was disposed of",
    ClusterOnly "cluster-only" "the function imports host calls that only a Faasm cluster has",
    ConnectionLost "connection-lost" "the connection broke and could not be replaced in time",
    Deadlock "deadlock" "the function waits for a lock that it holds itself",
    Internal "internal" "a failure without a code of its own",
    LockLost "lock-lost" "the run lost a lock across the cluster before it released it",
    MissingFunction "missing-function" "the cluster has no function of this name",
    NoJspi "no-jspi" "the browser has no JavaScript Promise Integration",
    NoMalloc "no-malloc" "there is no safe guest memory for the result of a host call",
    NoToken "no-token" "the page's token provider failed",
    NotImplemented "not-implemented" "the host call is not implemented yet",
    OperationFailed "operation-failed" "the relay or cluster could not do what was requested",
    OutOfMemory "out-of-memory" "guest memory has no room for the result of a host call",
    OutcomeUnknown "outcome-unknown" "the request may or may not have been performed",
    OverBudget "over-budget" "the memory budget of the user or of the relay is used up",
    QueueFull "queue-full" "too many requests wait for the connection",
    Refused "refused" "the relay refuses the session, or the token does not allow the operation",
    StackExhausted "stack-exhausted" "the function used up its call stack",
    StackSize "stack-size" "the suspended stack does not fit into the unwind buffer",
    State "state" "the request does not fit the state value, for example its size",
    Timeout "timeout" "the run or call took longer than it may",
    TooLarge "too-large" "a request, an output or a set of pinned values is larger than its bound",
    Trap "trap" "the function trapped",
    UnknownImport "unknown-import" "the function called an import that is not part of the host interface",
}

codes! {
    /// Why `faasm-asyncify` cannot build or read a function; relays give the same for uploads.
    BuildCode:
    AlreadyInstrumented "already-instrumented" "the module was instrumented before",
    BadMemory "bad-memory" "the module's memory is missing, shared, 64-bit, not exported, or too large",
    BinaryenFailed "binaryen-failed" "Binaryen could not be started, failed, or exceeded its limits",
    FileError "file-error" "a file cannot be read or written",
    InvalidArgument "invalid-argument" "a name or size on the command line cannot be used",
    InvalidModule "invalid-module" "the module does not validate",
    NotACommand "not-a-command" "the module has no entry of the expected type",
    NotWasm "not-wasm" "the file is not a WebAssembly core module",
    RewriterBug "rewriter-bug" "a rewriting stage broke one of its own invariants",
    TooComplex "too-complex" "the module exceeds a bound on what is compiled",
    UnsupportedFeature "unsupported-feature" "the module uses a WebAssembly feature that a tool or cluster cannot handle",
    WrongImport "wrong-import" "an import has the wrong kind or type, or the target cluster cannot answer it",
}

impl ErrorCode {
    /// The code with this text; one that this version does not know is [`ErrorCode::Internal`].
    pub fn named(text: &str) -> ErrorCode {
        Self::ALL.iter().copied().find(|code| code.as_str() == text).unwrap_or(ErrorCode::Internal)
    }
}
