//! One run: instantiate, call the entries in order, and make an outcome of however it ends.

use super::chain::{Chain, Origin};
use super::host::{Printer, View};
use super::program::Program;
use super::{Inner, lock};
use crate::cluster::{Call, ClusterError, Outcome};
use faasm_bridge::guest::{CallResult, Completion, Fault, Guest, Host, Invocation, Operation};
use faasm_bridge::state::LocalTier;
use faasm_bridge::wire::CallEntry;
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wasmtime::{
    AsContextMut, Caller, Error, Extern, Func, Instance, Memory, Ref, Result, Store, StoreLimits,
    StoreLimitsBuilder, Trap, UpdateDeadline, Val, ValType, WasmBacktrace,
};

/// Most elements a table may have.
const MAX_TABLE_ELEMENTS: usize = 1 << 20;

/// Most functions named in a trap message, innermost first.
const MAX_BACKTRACE: usize = 16;

/// Epochs between two yields of a running function.
const YIELD_TICKS: u64 = 1;

/// What a store holds: the host side of one run.
pub(super) struct RunState {
    pub(super) guest: Guest,
    pub(super) chain: Chain,
    tier: Arc<Mutex<LocalTier>>,
    printer: Printer,
    limits: StoreLimits,
    memory: Option<Memory>,
}

impl RunState {
    fn new(inner: Arc<Inner>, program: Arc<Program>, call: Call, origin: Origin) -> Self {
        let Call { user, function, input, args, env, .. } = call;
        let limits = StoreLimitsBuilder::new()
            .memory_size(inner.config.max_memory)
            .table_elements(MAX_TABLE_ELEMENTS)
            .instances(1)
            .memories(1)
            .tables(8)
            .build();
        let printing = inner.config.printing;
        let printer = Printer { printing, user: user.clone(), function: function.clone() };
        let tier = inner.tier(&user);
        let guest = Guest::new(Invocation { function: function.clone(), input, args, env });
        let results = HashMap::new();
        let chain = Chain { inner, program, user, function, origin, results };
        Self { guest, chain, tier, printer, limits, memory: None }
    }

    /// Gives `work` the kernel, this host with the guest's memory, and the user's local tier.
    pub(super) fn with<T>(
        caller: &mut Caller<'_, RunState>,
        work: impl FnOnce(&mut Guest, &mut dyn Host, &mut LocalTier) -> Result<T, Fault>,
    ) -> Result<T> {
        let memory = memory(caller)?;
        let (memory, run) = memory.data_and_store_mut(caller.as_context_mut());
        let RunState { guest, chain, tier, printer, .. } = run;
        let tier = Arc::clone(tier);
        let mut view = View { memory, chain, printer };
        Ok(work(guest, &mut view, &mut lock(&tier))?)
    }
}

/// The guest's memory; the handle stays good when the memory grows.
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
    caller.data_mut().memory = Some(memory);
    Ok(memory)
}

/// Performs what the kernel asks for while the function is suspended.
pub(super) async fn perform(run: &mut RunState, operation: Operation) -> Completion {
    let chain = &mut run.chain;
    match operation {
        Operation::AwaitCall(id) => match chain.results.remove(&id) {
            Some(result) => match result.await {
                Ok(result) => Completion::Call(result),
                Err(_) => Completion::Failed("the chained call was lost".into()),
            },
            None => Completion::Failed(format!("no chained call has id {}", id.0)),
        },
        Operation::Sleep { nanoseconds } => {
            tokio::time::sleep(Duration::from_nanos(nanoseconds)).await;
            Completion::Done
        }
        Operation::ReadState { key, offset, length } => {
            match chain.inner.state.read(&chain.user, &key, offset, length).await {
                Ok(read) => Completion::State { size: read.size, chunk: read.chunk },
                Err(error) => Completion::Failed(error.to_string()),
            }
        }
        Operation::WriteState { key, size, chunks } => {
            match chain.inner.state.write(&chain.user, &key, size, chunks).await {
                Ok(()) => Completion::Done,
                Err(error) => Completion::Failed(error.to_string()),
            }
        }
    }
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
                return Ok(Outcome::Failed(format!(
                    "function {}/{} is not there: upload it with faasm-asyncify upload",
                    call.user, call.function
                )));
            }
            // It could be compiled when it was uploaded, by another version of this relay.
            Err(ClusterError::NotAFunction(reason)) => {
                return Ok(Outcome::Failed(format!(
                    "function {}/{} cannot run here: {reason}",
                    call.user, call.function
                )));
            }
            Err(error) => return Err(error),
        };
        call_program(inner, program, call, origin).await
    })
}

/// Runs a function at hand, for as long as a call may take.
pub(super) fn call_program(
    inner: Arc<Inner>,
    program: Arc<Program>,
    call: Call,
    origin: Origin,
) -> BoxFuture<'static, Result<Outcome, ClusterError>> {
    Box::pin(async move {
        let timeout = inner.config.call_timeout;
        match tokio::time::timeout(timeout, run(inner, program, call, origin)).await {
            Ok(outcome) => Ok(outcome),
            Err(_) => Ok(Outcome::Failed(format!("timed out after {} s", timeout.as_secs_f64()))),
        }
    })
}

async fn run(inner: Arc<Inner>, program: Arc<Program>, call: Call, origin: Origin) -> Outcome {
    let pointer = match call.entry {
        CallEntry::Main => None,
        CallEntry::Pointer(index) => Some((index, call.input.clone())),
    };
    let engine = inner.engine.clone();
    let state = RunState::new(inner, Arc::clone(&program), call, origin);
    let mut store = Store::new(&engine, state);
    store.limiter(|run| &mut run.limits);
    store.set_epoch_deadline(YIELD_TICKS);
    store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(YIELD_TICKS)));
    let ended = async {
        let instance = program.pre.instantiate_async(&mut store).await?;
        match pointer {
            Some((index, input)) => {
                enter_pointer(&mut store, &instance, &program, index, &input).await
            }
            None => enter_main(&mut store, &instance, &program).await,
        }
    }
    .await;
    let return_value = match ended {
        Ok(value) => value,
        Err(error) => match error.downcast_ref::<Fault>() {
            Some(Fault::Exit(value)) => *value,
            _ => return Outcome::Failed(describe(&error)),
        },
    };
    Outcome::Returned(CallResult { return_value, output: store.data_mut().guest.take_output() })
}

async fn enter_main(
    store: &mut Store<RunState>,
    instance: &Instance,
    program: &Program,
) -> Result<i32> {
    let mut value = 0;
    for name in &program.entry.main {
        value = enter_export(store, instance, name).await?;
    }
    Ok(value)
}

async fn enter_export(store: &mut Store<RunState>, instance: &Instance, name: &str) -> Result<i32> {
    let function = instance
        .get_func(&mut *store, name)
        .ok_or_else(|| Error::msg(format!("export `{name}` is not a function")))?;
    let ty = function.ty(&*store);
    // A `main` with argc and argv gets neither: arguments come by the host interface.
    if !ty.params().all(|param| matches!(param, ValType::I32)) {
        return Err(Error::msg(format!(
            "entry `{name}` has parameters that nobody can give: {ty}"
        )));
    }
    let params = vec![Val::I32(0); ty.params().len()];
    enter(store, &function, &params).await
}

async fn enter_pointer(
    store: &mut Store<RunState>,
    instance: &Instance,
    program: &Program,
    index: u32,
    input: &[u8],
) -> Result<i32> {
    let name = program.entry.table.as_deref();
    let table = name
        .and_then(|name| instance.get_table(&mut *store, name))
        .ok_or_else(|| Error::msg("the function has no table, and so no function pointers"))?;
    let size = table.size(&*store);
    let function = match table.get(&mut *store, u64::from(index)) {
        Some(Ref::Func(Some(function))) => function,
        Some(_) => return Err(Error::msg(format!("function pointer {index} is null"))),
        None => {
            return Err(Error::msg(format!(
                "function pointer {index} lies outside the table, which has {size} entries"
            )));
        }
    };
    let ty = function.ty(&*store);
    let params: Vec<ValType> = ty.params().collect();
    let results: Vec<ValType> = ty.results().collect();
    let params = match (params.as_slice(), results.as_slice()) {
        ([], [] | [ValType::I32]) => vec![],
        ([ValType::I32], [ValType::I32]) => vec![Val::I32(decimal(input)?)],
        _ => {
            return Err(Error::msg(format!(
                "function pointer {index} has signature {ty}; () -> i32, (i32) -> i32 and () -> () can be chained"
            )));
        }
    };
    for name in &program.entry.before_pointer {
        enter_export(store, instance, name).await?;
    }
    enter(store, &function, &params).await
}

/// The argument of a chained `(i32) -> i32`.
fn decimal(input: &[u8]) -> Result<i32> {
    let text = String::from_utf8_lossy(input);
    let digits = text.trim_matches(['\0', ' ', '\n']);
    digits.parse().map_err(|_| {
        let shown: String = text.chars().take(40).collect();
        Error::msg(format!("a chained (i32) -> i32 takes a decimal number as input, not `{shown}`"))
    })
}

async fn enter(store: &mut Store<RunState>, function: &Func, params: &[Val]) -> Result<i32> {
    let count = function.ty(&*store).results().len();
    let mut results = vec![Val::I32(0); count];
    function.call_async(&mut *store, params, &mut results).await?;
    match results.as_slice() {
        [] => Ok(0),
        [Val::I32(value)] => Ok(*value),
        _ => Err(Error::msg("the entry returns something other than one i32")),
    }
}

/// What ended a run, and in which functions.
fn describe(error: &Error) -> String {
    let message = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string().trim_start_matches("wasm trap: ").to_owned(),
        None => error.root_cause().to_string(),
    };
    let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames);
    let names: Vec<String> = frames
        .unwrap_or_default()
        .iter()
        .take(MAX_BACKTRACE)
        .map(|frame| match frame.func_name() {
            Some(name) => name.to_owned(),
            None => format!("function {}", frame.func_index()),
        })
        .collect();
    if names.is_empty() {
        format!("trap: {message}")
    } else {
        format!("trap: {message} (in {})", names.join(", called by "))
    }
}
