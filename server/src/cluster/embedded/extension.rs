//! Extension point for programs that embed the cluster: it intercepts a call's chained calls and its host calls.

use super::chain::Origin;
use super::program::Program;
use super::{Embedded, run};
use crate::cluster::{Call, ClusterError, Outcome};
use faasm_bridge::guest::{CallResult, GuestMemory, Target};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use thiserror::Error;

/// Intercepts chained calls and host calls of one call; see [`Embedded::call_with`].
///
/// Both methods are called during a host call of the function and must not block. An error ends the run.
pub trait Extension: Send + Sync {
    /// Intercepts a chained call. The cluster's limits on chained calls and its log of failed calls then do not apply.
    /// `None` lets the cluster perform the call.
    ///
    /// The future continues after its caller ends; its result is what the function gets when it awaits the call. It is
    /// dropped at the deadline of the call that the extension belongs to, or if that call is dropped before it ends.
    ///
    /// # Errors
    /// The call cannot be started, and the caller's run ends.
    fn chain(
        &self,
        target: &Target,
        input: &[u8],
    ) -> Result<Option<BoxFuture<'static, CallResult>>, Refusal> {
        let _ = (target, input);
        Ok(None)
    }

    /// Answers a host call in place of the cluster. It is invoked for every import except those that return a
    /// floating-point number and those that call a function of the guest (`__kmpc_fork_call`, `pthread_once`).
    ///
    /// # Errors
    /// The run ends.
    fn host_call<'a>(&'a self, call: Import<'a>) -> Result<Answer<'a>, Refusal> {
        let _ = call;
        Ok(Answer::Cluster)
    }
}

/// A host call that a function makes.
pub struct Import<'a> {
    /// Module and name of the import.
    pub module: &'a str,
    pub name: &'a str,
    /// The arguments; an `i32` is in the low half.
    pub arguments: &'a [u64],
    /// Whether the import declares an `i32` result; for some imports this depends on the toolchain.
    pub has_result: bool,
    /// Whether the answer may be [`Answer::Wait`]: true for imports that may suspend.
    pub may_wait: bool,
    /// Memory of the function.
    pub memory: &'a mut (dyn GuestMemory + Send),
}

impl std::fmt::Debug for Import<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { module, name, arguments, has_result, may_wait, memory: _ } = self;
        f.debug_struct("Import")
            .field("import", &format_args!("{module}.{name}"))
            .field("arguments", arguments)
            .field("has_result", has_result)
            .field("may_wait", may_wait)
            .finish_non_exhaustive()
    }
}

impl Import<'_> {
    /// An argument as `i32`; 0 if the index is out of range.
    pub fn argument(&self, position: usize) -> u32 {
        self.arguments.get(position).map_or(0, |argument| *argument as u32)
    }
}

/// Who answers a host call.
pub enum Answer<'a> {
    /// The cluster, as without an extension.
    Cluster,
    /// The extension, with this result, which is ignored if the import has no result.
    Value(i32),
    /// The extension, asynchronously: the function is suspended until the future completes. If the import cannot
    /// suspend, the run ends.
    Wait(BoxFuture<'a, Result<i32, Refusal>>),
}

impl std::fmt::Debug for Answer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Answer::Cluster => f.write_str("Cluster"),
            Answer::Value(value) => f.debug_tuple("Value").field(value).finish(),
            Answer::Wait(_) => f.write_str("Wait(..)"),
        }
    }
}

/// Why an extension ends a run: code and message of the resulting [`Outcome::Failed`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct Refusal {
    pub code: &'static str,
    pub message: String,
}

impl Refusal {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// A loaded version of a function: calls run this version even if another one has been uploaded since. Clones are
/// handles to the same version.
#[derive(Clone)]
pub struct Loaded {
    program: Arc<Program>,
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded").finish_non_exhaustive()
    }
}

impl Embedded {
    /// Runs a function to its end with an extension.
    ///
    /// ```
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use faasm_relay::cluster::embedded::{Answer, Embedded, Extension, Import, Refusal};
    /// use faasm_relay::cluster::{Call, Cluster, Outcome};
    /// use faasm_relay::store::Stores;
    /// use std::sync::Arc;
    ///
    /// /// Answers one import itself.
    /// struct Flags;
    ///
    /// impl Extension for Flags {
    ///     fn host_call<'a>(&'a self, call: Import<'a>) -> Result<Answer<'a>, Refusal> {
    ///         match call.name {
    ///             "__faasm_conf_flag" => Ok(Answer::Value(7)),
    ///             "__faasm_push_state" => Err(Refusal::new("no-state", "state cannot be pushed here")),
    ///             _ => Ok(Answer::Cluster),
    ///         }
    ///     }
    /// }
    ///
    /// let cluster = Embedded::new(Default::default(), Stores::in_memory()?)?;
    /// let wasm = wat::parse_str(
    ///     r#"(module
    ///         (import "env" "__faasm_conf_flag" (func $flag (param i32) (result i32)))
    ///         (memory (export "memory") 1)
    ///         (func (export "main") (result i32) (call $flag (i32.const 0))))"#,
    /// )?;
    /// cluster.upload("ada".into(), "f".into(), wasm).await?;
    /// let outcome = cluster.call_with(Call::new("ada", "f", vec![]), Arc::new(Flags)).await?;
    /// assert!(matches!(outcome, Outcome::Returned(result) if result.return_value == 7));
    /// # Ok(())
    /// # }
    /// # tokio::runtime::Runtime::new().unwrap().block_on(example()).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`Cluster::call`](crate::cluster::Cluster::call).
    pub fn call_with(
        &self,
        call: Call,
        extension: Arc<dyn Extension>,
    ) -> BoxFuture<'static, Result<Outcome, ClusterError>> {
        let (origin, root) = Origin::root(&self.inner.config, &call);
        run::root(run::call(Arc::clone(&self.inner), call, origin.with(extension)), root)
    }

    /// Loads the current function of this name; `None` if it does not exist.
    ///
    /// # Errors
    /// [`ClusterError::NotAFunction`] if it cannot be compiled, [`ClusterError::Store`] if it cannot be read.
    pub async fn load(&self, user: &str, function: &str) -> Result<Option<Loaded>, ClusterError> {
        let program = self.inner.find(user, function).await?;
        Ok(program.map(|program| Loaded { program }))
    }

    /// Runs a function that [`Embedded::load`] loaded, with an extension. The user and function names of the call are
    /// only visible to the function; they do not select it.
    ///
    /// # Errors
    /// As [`Cluster::call`](crate::cluster::Cluster::call).
    pub fn call_loaded(
        &self,
        loaded: &Loaded,
        call: Call,
        extension: Arc<dyn Extension>,
    ) -> BoxFuture<'static, Result<Outcome, ClusterError>> {
        let (origin, root) = Origin::root(&self.inner.config, &call);
        let (inner, program) = (Arc::clone(&self.inner), Arc::clone(&loaded.program));
        run::root(run::call_program(inner, program, call, origin.with(extension)), root)
    }
}
