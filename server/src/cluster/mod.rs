//! Where functions run. A backend is one implementation of [`Cluster`].

pub(crate) mod builds;
pub(crate) mod child;
pub mod embedded;
pub mod faasm;
pub(crate) mod failures;

pub use builds::BuildConfig;
pub use child::{COMPILE, Job, compile_child};

use crate::budget::OverBudget;
use crate::store::{SessionKey, StoreError};
use bytes::Bytes;
use faasm_bridge::ErrorCode;
use faasm_bridge::guest::CallResult;
use faasm_bridge::wire::{CallEntry, RequestId};
use futures_util::future::BoxFuture;
use prometheus_client::registry::Registry;
use thiserror::Error;

/// Largest function that can be uploaded, bytes.
pub const MAX_FUNCTION_BYTES: usize = 64 * 1024 * 1024;

/// A run of a page, by its session and the first call it chained there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    pub session: SessionKey,
    pub first: RequestId,
}

/// One call of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub user: String,
    pub function: String,
    pub entry: CallEntry,
    pub input: Bytes,
    /// Command line after `argv[0]`.
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    /// The run of a page that it belongs to, with other calls.
    pub run: Option<Run>,
}

impl Call {
    /// Of a function's main entry, with an input and nothing else.
    pub fn new(
        user: impl Into<String>,
        function: impl Into<String>,
        input: impl Into<Bytes>,
    ) -> Self {
        Self {
            user: user.into(),
            function: function.into(),
            entry: CallEntry::Main,
            input: input.into(),
            args: Vec::new(),
            env: Vec::new(),
            run: None,
        }
    }
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The function returned, or exited.
    Returned(CallResult),
    /// It did not get that far.
    Failed {
        /// Stable identifier for programs: one of [`failure`], or of [`faasm_bridge::guest::Fault::code`] where a host
        /// call ended the run.
        code: &'static str,
        /// What happened, for people.
        message: String,
    },
}

impl Outcome {
    pub(crate) fn failed(code: &'static str, message: impl Into<String>) -> Self {
        Outcome::Failed { code, message: message.into() }
    }

    /// As a function that awaits the call sees it: a failed one is return value 1 with the reason as output.
    pub fn into_result(self) -> CallResult {
        match self {
            Outcome::Returned(result) => result,
            Outcome::Failed { message, .. } => {
                CallResult { return_value: 1, output: message.into_bytes() }
            }
        }
    }
}

/// What else than a host call can end a run early; the codes of [`Outcome::Failed`].
pub mod failure {
    use super::ErrorCode;

    /// The function trapped.
    pub const TRAP: &str = ErrorCode::Trap.as_str();
    /// It called itself too deeply.
    pub const STACK_EXHAUSTED: &str = ErrorCode::StackExhausted.as_str();
    /// It ran to its end, and its output is longer than this relay sends.
    pub const TOO_LARGE: &str = ErrorCode::TooLarge.as_str();
    /// It ran longer than a call may, together with the call that it descends from.
    pub const TIMEOUT: &str = ErrorCode::Timeout.as_str();
    /// The call that it descends from was cancelled.
    pub const CANCELLED: &str = ErrorCode::Cancelled.as_str();
    /// The cluster has no such function.
    pub const MISSING_FUNCTION: &str = ErrorCode::MissingFunction.as_str();
    /// A pointer that is null, outside the table or of another signature, or an input that does not fit it.
    pub const BAD_ENTRY: &str = ErrorCode::BadEntry.as_str();
    /// It cannot be compiled, or its instance cannot be made: for one, more memory than is allowed.
    pub const CANNOT_LOAD: &str = ErrorCode::CannotLoad.as_str();
    /// There is no memory left in the budget of its user, or of the relay. The same as that of
    /// [`faasm_bridge::guest::Fault::OverBudget`].
    pub const OVER_BUDGET: &str = ErrorCode::OverBudget.as_str();
    /// It imports what only a Faasm cluster has, and was not run; the same as that of
    /// [`faasm_bridge::guest::Fault::ClusterOnly`].
    pub const CLUSTER_ONLY: &str = ErrorCode::ClusterOnly.as_str();
    /// A chained call that was not started: too many run, or they are chained too deeply. The same as that of
    /// [`faasm_bridge::guest::Fault::Operation`].
    pub const OPERATION_FAILED: &str = ErrorCode::OperationFailed.as_str();
}

/// What an upload gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// Content hash, as [`crate::integrity`] gives it.
    pub integrity: String,
    pub bytes: usize,
    /// Whether a guarded form of it runs, since its user is not trusted.
    pub is_guarded: bool,
    /// What will fail when it runs, for people.
    pub warnings: Vec<String>,
}

impl Uploaded {
    /// Of a function that runs as it was uploaded.
    pub(crate) fn of(wasm: &[u8]) -> Self {
        let (integrity, bytes) = (crate::integrity(wasm), wasm.len());
        Self { integrity, bytes, is_guarded: false, warnings: Vec::new() }
    }
}

/// Why a cluster could not even try.
#[derive(Debug, Error)]
pub enum ClusterError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The upload is not a function this cluster can run.
    #[error("{0}")]
    NotAFunction(String),
    /// As many instances run as may.
    #[error("the cluster runs {instances} instances, and may run no more: try again later")]
    Full { instances: usize },
    /// As many instances of this user run as may, and there is room for those of others.
    #[error("{instances} instances of this user run, and no more may: try again later")]
    UserFull { instances: usize },
    /// There is no memory for it, and nothing was begun.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// The cluster has no room for it, and nothing was begun.
    #[error("{0}")]
    Busy(String),
    /// The cluster cannot be reached, and nothing was begun.
    #[error("{0}")]
    Unavailable(String),
    /// It may have been done, or not; nobody can tell.
    #[error("{0}")]
    Unknown(String),
    /// This cluster cannot do it, however often it is asked.
    #[error("{0}")]
    Refused(String),
    /// Something in the cluster itself.
    #[error("the cluster failed: {0}")]
    Internal(String),
}

impl ClusterError {
    /// The code whose page explains it.
    pub fn code(&self) -> ErrorCode {
        match self {
            ClusterError::NotAFunction(_) => ErrorCode::CannotLoad,
            ClusterError::OverBudget(_) => ErrorCode::OverBudget,
            ClusterError::Unknown(_) | ClusterError::Store(StoreError::Uncertain { .. }) => {
                ErrorCode::OutcomeUnknown
            }
            ClusterError::Store(_)
            | ClusterError::Full { .. }
            | ClusterError::UserFull { .. }
            | ClusterError::Busy(_)
            | ClusterError::Unavailable(_)
            | ClusterError::Refused(_) => ErrorCode::OperationFailed,
            ClusterError::Internal(_) => ErrorCode::Internal,
        }
    }
}

/// How full a cluster is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Instances of functions in use.
    pub instances: usize,
    /// Instances there may be.
    pub most: usize,
}

/// A place that keeps and runs functions.
pub trait Cluster: Send + Sync {
    /// Runs a function to its end. Dropping the future ends the run and, where the cluster can, all calls that descend from it: a
    /// Faasm cluster cannot, and drops their results. Calls that it chained and did not await go on when it returns.
    fn call(&self, call: Call) -> BoxFuture<'static, Result<Outcome, ClusterError>>;

    /// Checks a function as the toolchain made it and stores it; names are checked by the caller.
    fn upload(
        &self,
        user: String,
        function: String,
        wasm: Vec<u8>,
    ) -> BoxFuture<'static, Result<Uploaded, ClusterError>>;

    /// Content hash of the function that it has under this name, where it knows.
    fn integrity(
        &self,
        _user: String,
        _function: String,
    ) -> BoxFuture<'static, Result<Option<String>, ClusterError>> {
        Box::pin(async { Ok(None) })
    }

    /// How full it is, where it knows.
    fn usage(&self) -> Option<Usage> {
        None
    }

    /// Registers what it counts by itself.
    fn register(&self, _registry: &mut Registry) {}
}
