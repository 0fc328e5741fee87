//! Where functions run. A backend is one implementation of [`Cluster`].

pub mod embedded;

use crate::store::StoreError;
use faasm_bridge::guest::CallResult;
use faasm_bridge::wire::CallEntry;
use futures_util::future::BoxFuture;
use thiserror::Error;

/// Largest function that can be uploaded, bytes.
pub const MAX_FUNCTION_BYTES: usize = 64 * 1024 * 1024;

/// One call of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub user: String,
    pub function: String,
    pub entry: CallEntry,
    pub input: Vec<u8>,
    /// Command line after `argv[0]`.
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The function returned, or exited.
    Returned(CallResult),
    /// It did not get that far: a trap, a function that is not there, time that ran out. The text says why.
    Failed(String),
}

impl Outcome {
    /// As callers see it: a failed call is return value 1 with the reason as output.
    pub fn into_result(self) -> CallResult {
        match self {
            Outcome::Returned(result) => result,
            Outcome::Failed(reason) => CallResult { return_value: 1, output: reason.into_bytes() },
        }
    }
}

/// What an upload gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// Content hash, as [`crate::integrity`] gives it.
    pub integrity: String,
    pub bytes: usize,
}

/// Why a cluster could not even try.
#[derive(Debug, Error)]
pub enum ClusterError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The upload is not a function this cluster can run.
    #[error("{0}")]
    NotAFunction(String),
    /// Something in the cluster itself.
    #[error("the cluster failed: {0}")]
    Internal(String),
}

/// A place that keeps and runs functions.
pub trait Cluster: Send + Sync {
    /// Runs a function to its end. Dropping the future ends the run; calls it chained go on.
    fn call(&self, call: Call) -> BoxFuture<'static, Result<Outcome, ClusterError>>;

    /// Checks a function as the toolchain made it and stores it; names are checked by the caller.
    fn upload(
        &self,
        user: String,
        function: String,
        wasm: Vec<u8>,
    ) -> BoxFuture<'static, Result<Uploaded, ClusterError>>;
}
