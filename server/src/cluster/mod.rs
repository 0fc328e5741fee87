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
    /// The page's run that this call belongs to.
    pub run: Option<Run>,
}

impl Call {
    /// A call of the main entry, with an input but no arguments and no environment.
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
    /// The function did not complete.
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

    /// The result that a function awaiting the call sees: a failed call has return value 1 and the reason as output.
    pub fn into_result(self) -> CallResult {
        match self {
            Outcome::Returned(result) => result,
            Outcome::Failed { message, .. } => {
                CallResult { return_value: 1, output: message.into_bytes() }
            }
        }
    }
}

/// Codes of [`Outcome::Failed`], except those of host calls that end a run.
pub mod failure {
    use super::ErrorCode;

    /// The function trapped.
    pub const TRAP: &str = ErrorCode::Trap.as_str();
    /// The function exhausted its call stack.
    pub const STACK_EXHAUSTED: &str = ErrorCode::StackExhausted.as_str();
    /// The function completed, but its output exceeds the relay's limit.
    pub const TOO_LARGE: &str = ErrorCode::TooLarge.as_str();
    /// The call tree reached its deadline.
    pub const TIMEOUT: &str = ErrorCode::Timeout.as_str();
    /// The root of the call tree was cancelled.
    pub const CANCELLED: &str = ErrorCode::Cancelled.as_str();
    /// The cluster has no such function.
    pub const MISSING_FUNCTION: &str = ErrorCode::MissingFunction.as_str();
    /// A function pointer that is null, outside the table or has an unsupported signature, or an input that does not
    /// match it.
    pub const BAD_ENTRY: &str = ErrorCode::BadEntry.as_str();
    /// The function cannot be compiled or instantiated, for example because it needs more memory than the limit.
    pub const CANNOT_LOAD: &str = ErrorCode::CannotLoad.as_str();
    /// The budget of the user, or of the relay, is exhausted. [`faasm_bridge::guest::Fault::OverBudget`] has the same
    /// code.
    pub const OVER_BUDGET: &str = ErrorCode::OverBudget.as_str();
    /// The function was not run, because it imports host calls that only a Faasm cluster implements.
    /// [`faasm_bridge::guest::Fault::ClusterOnly`] has the same code.
    pub const CLUSTER_ONLY: &str = ErrorCode::ClusterOnly.as_str();
    /// A chained call was not started: too many run, or the chain is too deep.
    /// [`faasm_bridge::guest::Fault::Operation`] has the same code.
    pub const OPERATION_FAILED: &str = ErrorCode::OperationFailed.as_str();
}

/// The result of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// Content hash, computed by [`crate::integrity`].
    pub integrity: String,
    pub bytes: usize,
    /// Whether the cluster runs a guarded form, because the user is not trusted.
    pub is_guarded: bool,
    /// Human-readable warnings about what will fail when the function runs.
    pub warnings: Vec<String>,
}

impl Uploaded {
    /// The result for a function that runs unmodified.
    pub(crate) fn of(wasm: &[u8]) -> Self {
        let (integrity, bytes) = (crate::integrity(wasm), wasm.len());
        Self { integrity, bytes, is_guarded: false, warnings: Vec::new() }
    }
}

/// Why a cluster did not run a call or store an upload.
#[derive(Debug, Error)]
pub enum ClusterError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The upload is not a function this cluster can run.
    #[error("{0}")]
    NotAFunction(String),
    /// The limit of instances is reached.
    #[error("the cluster runs {instances} instances, which is its limit: try again later")]
    Full { instances: usize },
    /// The user's limit of instances is reached; the cluster has capacity for other users.
    #[error("{instances} instances of this user run, which is the limit per user: try again later")]
    UserFull { instances: usize },
    /// The budget does not allow it; nothing was started.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// The cluster has no capacity; nothing was started.
    #[error("{0}")]
    Busy(String),
    /// The cluster is unreachable; nothing was started.
    #[error("{0}")]
    Unavailable(String),
    /// The outcome is unknown: the operation may or may not have been performed.
    #[error("{0}")]
    Unknown(String),
    /// This cluster does not support it; a retry cannot succeed.
    #[error("{0}")]
    Refused(String),
    /// An internal error of the cluster.
    #[error("the cluster failed: {0}")]
    Internal(String),
}

impl ClusterError {
    /// The stable code that the documentation explains.
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

/// The load of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Instances of functions in use.
    pub instances: usize,
    /// Limit of instances.
    pub most: usize,
}

/// A backend that stores and runs functions.
pub trait Cluster: Send + Sync {
    /// Runs a function to its end. Dropping the future ends the run and all its descendants; a Faasm cluster cannot end
    /// calls, so it only drops their results. Chained calls that the function did not await continue after it returns.
    fn call(&self, call: Call) -> BoxFuture<'static, Result<Outcome, ClusterError>>;

    /// Checks and stores an original; the caller has checked the names.
    fn upload(
        &self,
        user: String,
        function: String,
        wasm: Vec<u8>,
    ) -> BoxFuture<'static, Result<Uploaded, ClusterError>>;

    /// Content hash of the function that is stored under this name, if known.
    fn integrity(
        &self,
        _user: String,
        _function: String,
    ) -> BoxFuture<'static, Result<Option<String>, ClusterError>> {
        Box::pin(async { Ok(None) })
    }

    /// Its load, if known.
    fn usage(&self) -> Option<Usage> {
        None
    }

    /// Registers the backend's own metrics.
    fn register(&self, _registry: &mut Registry) {}
}
