//! Chained calls: each runs as a task of its own, which outlives its caller but not the deadline of the call tree.

use super::extension::{Extension, Refusal};
use super::failures::Failures;
use super::run;
use super::tree::{Root, Tree};
use super::{EmbeddedConfig, Inner, Program};
use crate::budget::{Account, Charge, Kind};
use crate::cluster::{Call, ClusterError, Outcome, failure};
use faasm_bridge::guest::{CallId, CallResult, Target};
use faasm_bridge::wire::{CallEntry, is_valid_name};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::Instrument;

/// Bytes of a result besides its output.
const KEPT_BYTES: usize = 512;

/// A run's position in its call tree.
#[derive(Clone)]
pub(super) struct Origin {
    /// Remaining depth of chained calls.
    depth_left: usize,
    /// Shared by the whole call tree.
    room: Arc<Semaphore>,
    /// Shared by the whole call tree.
    failures: Arc<Failures>,
    /// Shared by the whole call tree.
    pub(super) tree: Tree,
    /// Applies to this call only, not to its chained calls.
    pub(super) extension: Option<Arc<dyn Extension>>,
}

impl Origin {
    /// The position of a root call. If the second value is dropped before the root has ended, its descendants are
    /// cancelled.
    pub(super) fn root(config: &EmbeddedConfig, call: &Call) -> (Self, Root) {
        let chained = config.max_chained.min(Semaphore::MAX_PERMITS);
        let (printing, user, function) =
            (config.printing.clone(), call.user.clone(), call.function.clone());
        let (tree, root) = Tree::new(config.call_timeout);
        let origin = Self {
            depth_left: config.max_chain_depth,
            room: Arc::new(Semaphore::new(chained)),
            failures: Arc::new(Failures::new(printing, user, function)),
            tree,
            extension: None,
        };
        (origin, root)
    }

    pub(super) fn with(self, extension: Arc<dyn Extension>) -> Self {
        Self { extension: Some(extension), ..self }
    }

    /// The position of a call that this one chains.
    fn descend(&self, config: &EmbeddedConfig) -> Result<(Self, OwnedSemaphorePermit), String> {
        let depth_left = self
            .depth_left
            .checked_sub(1)
            .ok_or_else(|| format!("calls chained more than {} deep", config.max_chain_depth))?;
        let permit = Arc::clone(&self.room).try_acquire_owned().map_err(|_| {
            format!("more than {} chained calls of one call would run at once", config.max_chained)
        })?;
        Ok((Self { depth_left, extension: None, ..self.clone() }, permit))
    }
}

/// The chained calls of one run.
pub(super) struct Chain {
    pub(super) inner: Arc<Inner>,
    pub(super) program: Arc<Program>,
    pub(super) user: String,
    pub(super) function: String,
    pub(super) origin: Origin,
    pub(super) results: HashMap<CallId, oneshot::Receiver<Kept>>,
    /// The result handed to the kernel, until the kernel's own charge includes it.
    pub(super) delivered: Option<Charge>,
    /// Why the extension ends the run, during the host call that chained.
    pub(super) refused: Option<Refusal>,
}

/// A result and its charge.
pub(super) type Kept = (CallResult, Charge);

impl Chain {
    pub(super) fn new(
        inner: Arc<Inner>,
        program: Arc<Program>,
        user: String,
        function: String,
        origin: Origin,
    ) -> Self {
        let results = HashMap::new();
        Self { inner, program, user, function, origin, results, delivered: None, refused: None }
    }

    pub(super) fn start(&mut self, id: CallId, target: Target, input: Vec<u8>) {
        let (sender, receiver) = oneshot::channel();
        self.results.insert(id, receiver);
        let account = self.inner.config.budget.user(&self.user);
        if let Some(extension) = &self.origin.extension {
            match extension.chain(&target, &input) {
                Ok(None) => {}
                Ok(Some(running)) => {
                    let tree = self.origin.tree.clone();
                    let going_on = async move {
                        if let Ok(result) = tree.within(running).await {
                            let _ = sender.send(kept(&account, result));
                        }
                    };
                    tokio::spawn(going_on.in_current_span());
                    return;
                }
                Err(refusal) => {
                    self.refused = Some(refusal);
                    return;
                }
            }
        }
        let (function, entry) = match &target {
            Target::Function(name) => (name.clone(), CallEntry::Main),
            Target::Pointer(index) => (self.function.clone(), CallEntry::Pointer(*index)),
            Target::Index(index) => (self.function.clone(), CallEntry::Index(*index)),
        };
        let (caller, failures) = (self.function.clone(), Arc::clone(&self.origin.failures));
        let told = move |outcome: Outcome| {
            match &outcome {
                // The canceller needs no message.
                Outcome::Failed { code: failure::CANCELLED, .. } | Outcome::Returned(_) => {}
                Outcome::Failed { code, message } => {
                    failures.chained(&caller, (&function, entry), code, message);
                }
            }
            // The caller may have ended without awaiting this.
            let _ = sender.send(kept(&account, outcome.into_result()));
        };
        let input_charge = self.inner.config.budget.user(&self.user).charge(Kind::Run, input.len());
        let input_charge =
            input_charge.map_err(|over| Outcome::failed(failure::OVER_BUDGET, over.to_string()));
        match input_charge.and_then(|charge| Ok((self.prepare(target, entry, input)?, charge))) {
            Ok((running, charge)) => {
                let going_on = async move {
                    let outcome = running.await;
                    drop(charge);
                    told(outcome);
                };
                // Its log lines belong to the request that started the call tree.
                tokio::spawn(going_on.in_current_span());
            }
            Err(refused) => told(refused),
        }
    }

    fn prepare(
        &self,
        target: Target,
        entry: CallEntry,
        input: Vec<u8>,
    ) -> Result<impl Future<Output = Outcome> + Send + use<>, Outcome> {
        let not_started = |why: String| Outcome::failed(failure::OPERATION_FAILED, why);
        let (origin, permit) = self.origin.descend(&self.inner.config).map_err(not_started)?;
        let (function, program) = match target {
            Target::Function(name) if !is_valid_name(&name) => {
                let why = format!("`{name}` cannot name a function");
                return Err(Outcome::failed(failure::MISSING_FUNCTION, why));
            }
            Target::Function(name) => (name, None),
            Target::Pointer(_) | Target::Index(_) => {
                (self.function.clone(), Some(Arc::clone(&self.program)))
            }
        };
        let user = self.user.clone();
        let call = Call { entry, ..Call::new(user, function, input) };
        let running = match program {
            // Runs the caller's binary, even if a newer version has been uploaded since.
            Some(program) => run::call_program(Arc::clone(&self.inner), program, call, origin),
            None => run::call(Arc::clone(&self.inner), call, origin),
        };
        Ok(async move {
            let outcome = running.await;
            drop(permit);
            outcome.unwrap_or_else(|error| match error {
                ClusterError::OverBudget(over) => {
                    Outcome::failed(failure::OVER_BUDGET, over.to_string())
                }
                error => not_started(error.to_string()),
            })
        })
    }

    pub(super) fn take_finished(&mut self, id: CallId) -> Option<CallResult> {
        let kept = self.results.get_mut(&id)?.try_recv().ok()?;
        self.results.remove(&id);
        Some(self.deliver(kept))
    }

    /// Passes a result to the kernel.
    pub(super) fn deliver(&mut self, (result, charge): Kept) -> CallResult {
        self.delivered = Some(charge);
        result
    }
}

/// Charges a result until it is awaited or its caller ends. If the budget does not allow it, the call has failed.
fn kept(account: &Account, result: CallResult) -> Kept {
    match account.charge(Kind::Result, result.output.len() + KEPT_BYTES) {
        Ok(charge) => (result, charge),
        Err(over) => {
            let message = format!("the call ran, but its output was dropped: {over}");
            let result = CallResult { return_value: 1, output: message.into_bytes() };
            let mut charge = account.nothing(Kind::Result);
            charge.grown((result.output.len() + KEPT_BYTES) as u64);
            (result, charge)
        }
    }
}
