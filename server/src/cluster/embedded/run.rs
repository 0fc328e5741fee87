//! One run: instantiates, calls the entries in order, and converts the end to an outcome.

use super::chain::{Chain, Origin};
use super::ending::RunEnd;
use super::entry::{enter_main, enter_pointer};
use super::host::{Printer, View};
use super::limiter::Limiter;
use super::locks::RunLocks;
use super::permits::InstancePermits;
use super::program::Program;
use super::tiers::Tier;
use super::tree::{CutOff, Root};
use super::turns::Turns;
use super::{Inner, lock};
use crate::budget::{Charge, Kind, OverBudget};
use crate::cluster::{Call, ClusterError, Outcome, failure};
use faasm_bridge::guest::{CallResult, Fault, Guest, GuestCall, Host, Invocation};
use faasm_bridge::host::HostCall;
use faasm_bridge::manifest::{GUEST_LIMIT_EXPORT, GUEST_PAGES_EXPORT};
use faasm_bridge::state::LocalTier;
use faasm_bridge::wire::CallEntry;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use wasmtime::{
    AsContextMut, Caller, Error, Extern, Global, Memory, Result, Store, UpdateDeadline,
};

/// Epochs between two yields of a running function.
const YIELD_TICKS: u64 = 1;

/// The kernel of a run. Dropping it releases the run's locks, however the run ends.
struct Kernel {
    guest: Guest,
    tier: Tier,
    /// Charge for the kernel's memory.
    charge: Charge,
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.guest.abandon(&mut lock(&self.tier));
    }
}

/// The host side of one run, as wasmtime's store data.
pub(super) struct RunState {
    /// `None` while a host call is inside the kernel, because the kernel accesses this host through the store.
    kernel: Option<Kernel>,
    pub(super) chain: Chain,
    pub(super) tier: Tier,
    /// Charge for an operation's arguments and its completion.
    pub(super) moving: Charge,
    pub(super) printer: Printer,
    /// Cluster-wide locks of this run.
    pub(super) locks: RunLocks,
    /// Nesting depth of calls of the guest's `malloc`.
    pub(super) allocating: u32,
    /// The guest function that a host call is about to call.
    pub(super) called: Option<GuestCall>,
    limiter: Limiter,
    memory: Option<Memory>,
    /// Globals with the guest's pages and their limit, in a module that grows its memory by itself.
    pub(super) fence: Option<[Global; 2]>,
}

impl RunState {
    fn new(
        inner: Arc<Inner>,
        program: Arc<Program>,
        call: Call,
        origin: Origin,
    ) -> Result<Self, OverBudget> {
        let Call { user, function, entry, input, args, env, run: _ } = call;
        let account = inner.config.budget.user(&user);
        let limiter = Limiter::new(&inner.config, &account)?;
        let printing = inner.config.printing.clone();
        let printed = Arc::clone(&inner.printed);
        let printer = Printer { printing, printed, user: user.clone(), function: function.clone() };
        let tier = inner.tiers.of(&user);
        let locks = RunLocks::new(&inner.holding, &user);
        let index = match entry {
            CallEntry::Index(index) => index,
            CallEntry::Main | CallEntry::Pointer(_) => 0,
        };
        let invocation = Invocation { function: function.clone(), input, index, args, env };
        let guest = Guest::new(invocation, program.entry.facts());
        let charge = account.nothing(Kind::Run);
        let kernel = Some(Kernel { guest, tier: Arc::clone(&tier), charge });
        let chain = Chain::new(inner, program, user, function, origin);
        Ok(Self {
            kernel,
            chain,
            tier,
            moving: account.nothing(Kind::Run),
            printer,
            locks,
            allocating: 0,
            called: None,
            limiter,
            memory: None,
            fence: None,
        })
    }

    /// The kernel; an error during a host call.
    pub(super) fn kernel(&mut self) -> Result<&mut Guest, Fault> {
        let kernel = self.kernel.as_mut().ok_or(Fault::Order { call: "a host call in another" })?;
        Ok(&mut kernel.guest)
    }

    /// A view of this host with the guest's memory.
    pub(super) fn view<'a>(caller: &'a mut Caller<'_, RunState>) -> Result<View<'a>> {
        let memory = memory(caller)?;
        Ok(View { memory, store: caller.as_context_mut() })
    }

    /// Runs `work` for this host call with the kernel, a view of the host, and the user's local tier.
    pub(super) fn with<T>(
        caller: &mut Caller<'_, RunState>,
        call: HostCall,
        work: impl FnOnce(&mut Guest, &mut dyn Host, &mut LocalTier) -> Result<T, Fault>,
    ) -> Result<T> {
        let mut view = Self::view(caller)?;
        let done = view.with(Some(call), work)?;
        match caller.data_mut().chain.refused.take() {
            Some(refusal) => Err(Error::new(refusal)),
            None => Ok(done),
        }
    }
}

impl View<'_> {
    fn with<T>(
        &mut self,
        call: Option<HostCall>,
        work: impl FnOnce(&mut Guest, &mut dyn Host, &mut LocalTier) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let taken = self.store.data_mut().kernel.take();
        let mut kernel = taken.ok_or(Fault::Order { call: "a host call in another" })?;
        // The user's other runs wait while this one copies state. A host call that does not use state takes no lock.
        let result = if call.is_none_or(|call| kernel.guest.uses_tier(call)) {
            let tier = Arc::clone(&kernel.tier);
            work(&mut kernel.guest, self, &mut lock(&tier))
        } else {
            work(&mut kernel.guest, self, &mut LocalTier::new())
        };
        let charged = kernel.charge.set(kernel.guest.held_bytes());
        let run = self.store.data_mut();
        run.kernel = Some(kernel);
        // The result is now in the kernel or the guest.
        run.chain.delivered = None;
        let done = result?;
        charged.map_err(|over| Fault::OverBudget { why: over.to_string() })?;
        Ok(done)
    }
}

/// The guest's memory; the handle stays valid when the memory grows.
fn memory(caller: &mut Caller<'_, RunState>) -> Result<Memory> {
    if let Some(memory) = caller.data().memory {
        return Ok(memory);
    }
    let program = Arc::clone(&caller.data().chain.program);
    let name = &program.entry.memory;
    let memory = caller
        .get_export(name)
        .and_then(Extern::into_memory)
        .ok_or_else(|| Error::msg(format!("export `{name}` is not a memory")))?;
    let fence = [GUEST_PAGES_EXPORT, GUEST_LIMIT_EXPORT]
        .map(|name| caller.get_export(name).and_then(Extern::into_global));
    let state = caller.data_mut();
    state.memory = Some(memory);
    state.fence = match fence {
        [Some(pages), Some(limit)] => Some([pages, limit]),
        _ => None,
    };
    Ok(memory)
}

/// Runs the root of a call tree; dropping the future cancels its descendants.
pub(super) fn root(
    running: BoxFuture<'static, Result<Outcome, ClusterError>>,
    root: Root,
) -> BoxFuture<'static, Result<Outcome, ClusterError>> {
    Box::pin(async move {
        let outcome = running.await;
        root.ended();
        outcome
    })
}

/// Runs a function by name.
pub(super) fn call(
    inner: Arc<Inner>,
    call: Call,
    origin: Origin,
) -> BoxFuture<'static, Result<Outcome, ClusterError>> {
    Box::pin(async move {
        let program = match inner.find(&call.user, &call.function).await {
            Ok(Some(program)) => program,
            Ok(None) => {
                let message = format!(
                    "function {}/{} does not exist: upload it with faasm-asyncify upload",
                    call.user, call.function
                );
                return Ok(Outcome::failed(failure::MISSING_FUNCTION, message));
            }
            // The upload compiled it, but with another version of this relay.
            Err(ClusterError::NotAFunction(reason)) => {
                let message =
                    format!("function {}/{} cannot run here: {reason}", call.user, call.function);
                return Ok(Outcome::failed(failure::CANNOT_LOAD, message));
            }
            Err(error) => return Err(error),
        };
        call_program(inner, program, call, origin).await
    })
}

/// Runs a program until the deadline of its call tree. A function with imports that only a Faasm cluster implements is
/// rejected.
pub(super) fn call_program(
    inner: Arc<Inner>,
    program: Arc<Program>,
    call: Call,
    origin: Origin,
) -> BoxFuture<'static, Result<Outcome, ClusterError>> {
    Box::pin(async move {
        if let Some(imports) = &program.cluster_only {
            let message = format!(
                "function {}/{} was not run: it imports host calls that only a Faasm cluster implements ({imports}); put the relay in front of \
                 one (setting cluster.planner), or build the function without them",
                call.user, call.function
            );
            return Ok(Outcome::failed(failure::CLUSTER_ONLY, message));
        }
        let _permit = InstancePermits::take(&inner.permits, &call.user)?;
        // A cancelled run is dropped before `within` returns, which releases its locks.
        let tree = origin.tree.clone();
        let (turns, user) = (Arc::clone(&inner.turns), call.user.clone());
        let running = Turns::take(&turns, &user, run(inner, program, call, origin));
        Ok(match tree.within(running).await {
            Ok(ended) => ended?,
            Err(CutOff::Deadline(time)) => {
                let message = format!("timed out after {} s", time.as_secs_f64());
                Outcome::failed(failure::TIMEOUT, message)
            }
            Err(CutOff::Cancelled) => {
                let message = "the root of its call tree was cancelled";
                Outcome::failed(failure::CANCELLED, message)
            }
        })
    })
}

async fn run(
    inner: Arc<Inner>,
    program: Arc<Program>,
    call: Call,
    origin: Origin,
) -> Result<Outcome, ClusterError> {
    let pointer = match call.entry {
        CallEntry::Main | CallEntry::Index(_) => None,
        CallEntry::Pointer(index) => Some((index, call.input.clone())),
    };
    let engine = inner.engine.clone();
    let state = RunState::new(inner, Arc::clone(&program), call, origin)?;
    let mut store = Store::new(&engine, state);
    store.limiter(|run| &mut run.limiter);
    store.set_epoch_deadline(YIELD_TICKS);
    store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(YIELD_TICKS)));
    let instance = match program.pre.instantiate_async(&mut store).await {
        Ok(instance) => instance,
        Err(error) => {
            if let Some(over) = error.downcast_ref::<OverBudget>() {
                return Err(over.clone().into());
            }
            let message = format!("the function cannot be instantiated: {}", error.root_cause());
            return Ok(Outcome::failed(failure::CANNOT_LOAD, message));
        }
    };
    store.data_mut().limiter.is_beginning = false;
    let ended = match pointer {
        Some((index, input)) => enter_pointer(&mut store, &instance, &program, index, &input).await,
        None => enter_main(&mut store, &instance, &program).await,
    };
    let output = end(&mut store);
    store.data_mut().locks.end().await;
    Ok(match ended.map_err(|error| RunEnd::of(&error)) {
        Ok(return_value) | Err(RunEnd::Exit(return_value)) => {
            Outcome::Returned(CallResult { return_value, output })
        }
        Err(RunEnd::Failed(outcome)) => outcome,
    })
}

/// Ends a run whose instance still exists, also after a trap: copies its mappings to the local tier, releases its
/// locks, and returns its output.
fn end(store: &mut Store<RunState>) -> Vec<u8> {
    // Without a memory there was no host call, so there is nothing to end.
    let Some(memory) = store.data().memory else { return Vec::new() };
    let mut view = View { memory, store: store.as_context_mut() };
    let ended = view.with(None, |guest, host, tier| {
        guest.end(host, tier);
        Ok(guest.take_output())
    });
    ended.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::embedded::{Embedded, EmbeddedConfig};
    use crate::store::Stores;
    use faasm_bridge::guest::{GuestMemory, GuestMemoryExt};

    const MIB: usize = 1024 * 1024;

    #[tokio::test]
    async fn memory_grows_within_a_host_call_up_to_the_limit() {
        let config = EmbeddedConfig { max_memory: 32 * MIB, ..EmbeddedConfig::default() };
        let cluster = Embedded::new(config, Stores::in_memory().unwrap()).unwrap();
        let wat = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;
        let wasm = wat::parse_str(wat).unwrap();
        let inner = Arc::clone(&cluster.inner);
        let program = {
            let original = std::future::ready(Ok(Arc::new(wasm)));
            inner.programs.compile("ada", "f".into(), original).await.unwrap()
        };
        let call = Call::new("u", "f", vec![]);
        let (origin, _root) = Origin::root(&cluster.inner.config, &call);
        let state = RunState::new(inner, Arc::clone(&program), call, origin).unwrap();
        let mut store = Store::new(&cluster.inner.engine, state);
        store.limiter(|run| &mut run.limiter);
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = program.pre.instantiate_async(&mut store).await.unwrap();
        let memory = instance.get_memory(&mut store, &program.entry.memory).unwrap();
        let mut view = View { memory, store: store.as_context_mut() };
        view.write(65_532, b"last").unwrap();
        assert!(view.write(65_533, b"last").is_err());
        assert_eq!(view.grow(511), Some(1));
        assert_eq!(view.size(), 32 * MIB as u64);
        assert_eq!(view.read(65_532, 8).unwrap(), b"last\0\0\0\0");
        view.write(32 * MIB as u32 - 4, b"last").unwrap();
        for pages in [1, 65_535, u32::MAX] {
            assert_eq!(view.grow(pages), None, "{pages}");
        }
        assert_eq!((view.grow(0), view.size()), (Some(512), 32 * MIB as u64));
    }
}
