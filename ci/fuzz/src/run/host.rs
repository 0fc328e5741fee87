//! The host side: answers imports according to a scenario, in every form.

use super::{Asyncify, Ending, Event, FinalState, Form, Observed};
use crate::scenario::{Effect, Moment, Scenario};
use faasm_asyncify::{BRIDGE_MODULE, SUSPEND};
use faasm_bridge::host::{HostCall, ImportClass, classify};
use faasm_bridge::manifest::GROW_EXPORT;
use std::fmt;
use wasmtime::{
    Caller, Error, Extern, Func, Instance, Memory, Module, Result, Store, StoreLimits, TypedFunc,
    Val, WasmBacktrace,
};

/// Maximum number of suspensions at which memory and stacks are recorded.
const MOST_MEMORIES: usize = 4;
const MOST_STACKS: usize = 40;
/// Maximum number of host calls of a run; budgets keep it lower in practice.
const MOST_CALLS: u64 = 20_000;

/// The host's state in one run.
pub(super) struct Host {
    scenario: Scenario,
    pub(super) limits: StoreLimits,
    /// Number of bytes at the end of memory that are hidden from the guest.
    pub(super) hidden: usize,
    pub(super) memory: Option<Memory>,
    malloc: Option<TypedFunc<i32, i32>>,
    /// The export that grows memory, if there is one.
    grow: Option<TypedFunc<i32, i32>>,
    pub(super) asyncify: Option<Asyncify>,
    events: Vec<Event>,
    memories: usize,
    calls: u64,
    /// The call between `begin` and `finish`.
    pending: Option<Pending>,
    suspensions: u64,
    stacks: Vec<Vec<(u32, usize)>>,
}

struct Pending {
    import: String,
    call: u64,
    /// Whether `begin` returned that the guest must wait.
    waits: bool,
    waited: bool,
}

/// A run that ends in a host call.
#[derive(Debug)]
pub(super) struct Stop(pub(super) Ending);

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Stop {}

pub(super) fn broken<T>(what: impl Into<String>) -> Result<T> {
    Err(Error::new(Stop(Ending::Broken(what.into()))))
}

impl Host {
    pub(super) fn new(scenario: Scenario, hidden: usize, limits: StoreLimits) -> Self {
        Self {
            scenario,
            limits,
            hidden,
            memory: None,
            malloc: None,
            grow: None,
            asyncify: None,
            events: Vec::new(),
            memories: 0,
            calls: 0,
            pending: None,
            suspensions: 0,
            stacks: Vec::new(),
        }
    }

    pub(super) fn observed(self, ending: Ending, final_state: Option<FinalState>) -> Observed {
        let Self { events, suspensions, stacks, asyncify, .. } = self;
        let unwound = asyncify.map_or(0, |engine| engine.most_unwound);
        Observed { events, ending, final_state, suspensions, unwound, stacks }
    }
}

/// The role of an import.
enum Role {
    /// A call of the original, answered at once even if it may block.
    Whole {
        import: String,
        may_wait: bool,
    },
    Begin {
        import: String,
    },
    Finish {
        import: String,
    },
    Suspend,
    /// An unsupported import, `MODULE.NAME`.
    Trap {
        import: String,
    },
    Exit,
}

impl Role {
    fn of(module: &str, name: &str) -> Self {
        if module == BRIDGE_MODULE {
            return match name.split_once(':') {
                Some(("begin", import)) => Role::Begin { import: import.to_owned() },
                Some(("finish", import)) => Role::Finish { import: import.to_owned() },
                Some(("trap", import)) => Role::Trap { import: import.to_owned() },
                _ if name == SUSPEND => Role::Suspend,
                _ => Role::Trap { import: format!("{module}.{name}") },
            };
        }
        let import = format!("{module}.{name}");
        match classify(module, name) {
            ImportClass::Known(HostCall::ProcExit) => Role::Exit,
            ImportClass::Known(call) => {
                let may_wait = call.row().suspends == faasm_bridge::host::Suspends::May;
                Role::Whole { import, may_wait }
            }
            ImportClass::Family(_) | ImportClass::Unknown => Role::Trap { import },
        }
    }
}

/// An implementation of each import of a module.
pub(super) fn imports(store: &mut Store<Host>, module: &Module) -> Vec<Extern> {
    let wanted: Vec<_> = module
        .imports()
        .filter_map(|import| {
            // The rewriter rejects imports that are not functions, or turns them into definitions of the module.
            Some((Role::of(import.module(), import.name()), import.ty().func()?.clone()))
        })
        .collect();
    wanted
        .into_iter()
        .map(|(role, ty)| {
            let function = Func::new(&mut *store, ty, move |caller, arguments, results| {
                let answer = act(caller, &role, arguments)?;
                for result in results {
                    *result = Val::I32(answer);
                }
                Ok(())
            });
            function.into()
        })
        .collect()
}

/// Looks up the exports of an instance that the host needs.
pub(super) fn attach(
    store: &mut Store<Host>,
    instance: &Instance,
    form: Form<'_>,
) -> std::result::Result<(), String> {
    let memory = instance.get_memory(&mut *store, &form.entry.memory);
    let malloc = form.entry.malloc.as_deref();
    let malloc = malloc.and_then(|name| instance.get_typed_func(&mut *store, name).ok());
    let grow = instance.get_typed_func(&mut *store, GROW_EXPORT).ok();
    let asyncify = form.buffer.map(|bytes| Asyncify::of(store, instance, bytes)).transpose()?;
    let host = store.data_mut();
    (host.memory, host.malloc, host.grow, host.asyncify) = (memory, malloc, grow, asyncify);
    Ok(())
}

fn act(mut caller: Caller<'_, Host>, role: &Role, arguments: &[Val]) -> Result<i32> {
    match role {
        Role::Trap { import } => Err(Error::new(Stop(Ending::Unanswered(import.clone())))),
        Role::Exit => {
            let code = arguments.first().and_then(Val::i32).unwrap_or_default();
            Err(Error::new(Stop(Ending::Exited(code))))
        }
        Role::Whole { import, may_wait } => {
            let call = begin(&mut caller, import, arguments)?;
            if *may_wait && caller.data().scenario.suspends(call) {
                keep_memory(&mut caller);
            }
            finish(&mut caller, call)
        }
        Role::Begin { import } => {
            if caller.data().pending.is_some() {
                return broken(format!("`begin:{import}` inside another call"));
            }
            let call = begin(&mut caller, import, arguments)?;
            let waits = caller.data().scenario.suspends(call);
            let pending = Pending { import: import.clone(), call, waits, waited: false };
            caller.data_mut().pending = Some(pending);
            Ok(waits.into())
        }
        Role::Suspend => suspend(&mut caller).map(|()| 0),
        Role::Finish { import } => {
            let Some(pending) = caller.data_mut().pending.take() else {
                return broken(format!("`finish:{import}` without its `begin`"));
            };
            if pending.import != *import || pending.waits != pending.waited {
                return broken(format!("`finish:{import}` instead of the end of another call"));
            }
            finish(&mut caller, pending.call)
        }
    }
}

fn begin(caller: &mut Caller<'_, Host>, import: &str, arguments: &[Val]) -> Result<u64> {
    let pages = seen_bytes(caller) as u64 / 65536;
    let numbers = arguments.iter().map(|value| match value {
        Val::I32(value) => i64::from(*value),
        Val::I64(value) => *value,
        _ => 0,
    });
    let event = Event::Call { import: import.to_owned(), arguments: numbers.collect(), pages };
    let host = caller.data_mut();
    host.events.push(event);
    host.calls += 1;
    if host.calls > MOST_CALLS {
        return broken("more host calls than any budget allows");
    }
    let call = host.calls;
    effect(caller, call, Moment::Begin)?;
    Ok(call)
}

fn finish(caller: &mut Caller<'_, Host>, call: u64) -> Result<i32> {
    effect(caller, call, Moment::Finish)?;
    Ok(caller.data().scenario.answer(call))
}

fn suspend(caller: &mut Caller<'_, Host>) -> Result<()> {
    let Some(pending) = &mut caller.data_mut().pending else {
        return broken("suspended outside a call");
    };
    if !pending.waits {
        return broken("suspended although the result was available");
    }
    if super::asyncify::is_rewinding(caller.data()) {
        return super::asyncify::stop_rewind(caller);
    }
    if let Some(pending) = &mut caller.data_mut().pending {
        if pending.waited {
            return broken("suspended twice in one call");
        }
        pending.waited = true;
    }
    keep_memory(caller);
    caller.data_mut().suspensions += 1;
    if caller.data().asyncify.is_some() {
        return super::asyncify::start_unwind(caller);
    }
    if caller.data().stacks.len() < MOST_STACKS {
        let stack = WasmBacktrace::force_capture(&*caller);
        let frames = stack.frames().iter();
        let places = frames.filter_map(|frame| Some((frame.func_index(), frame.module_offset()?)));
        let places = places.collect();
        caller.data_mut().stacks.push(places);
    }
    Ok(())
}

/// Size of the memory that the guest sees.
fn seen_bytes(caller: &mut Caller<'_, Host>) -> usize {
    let (memory, hidden) = (caller.data().memory, caller.data().hidden);
    memory.map_or(0, |memory| memory.data_size(&*caller).saturating_sub(hidden))
}

/// Records the guest's memory while it waits, the first few times.
pub(super) fn keep_memory(caller: &mut Caller<'_, Host>) {
    let seen = seen_bytes(caller);
    if caller.data().memories >= MOST_MEMORIES {
        return;
    }
    let memory = caller.data().memory.map(|memory| memory.data(&*caller)[..seen].to_vec());
    let host = caller.data_mut();
    host.memories += 1;
    host.events.push(Event::Waiting { memory: memory.unwrap_or_default() });
}

fn effect(caller: &mut Caller<'_, Host>, call: u64, moment: Moment) -> Result<()> {
    match caller.data().scenario.effect(call, moment) {
        Effect::Nothing => Ok(()),
        Effect::Write { address, bytes } => {
            write(caller, address, bytes);
            Ok(())
        }
        Effect::Grow { pages } => {
            let before = match (caller.data().grow.clone(), caller.data().memory) {
                (Some(grow), _) => grow.call(&mut *caller, pages as i32)?,
                (None, Some(memory)) => {
                    let before = memory.grow(&mut *caller, u64::from(pages));
                    before.map_or(-1, |pages| pages as i32)
                }
                (None, None) => -1,
            };
            caller.data_mut().events.push(Event::Grown { before });
            Ok(())
        }
        Effect::Allocate { size, bytes } => {
            let Some(malloc) = caller.data().malloc.clone() else { return Ok(()) };
            let address = malloc.call(&mut *caller, size as i32)?;
            caller.data_mut().events.push(Event::Allocated { address });
            write(caller, u64::from(address.cast_unsigned()), bytes);
            Ok(())
        }
    }
}

fn write(caller: &mut Caller<'_, Host>, address: u64, bytes: u64) {
    let seen = seen_bytes(caller);
    let Some(memory) = caller.data().memory else { return };
    if let Some(places) = seen.checked_sub(8).filter(|places| *places > 0) {
        let start = (address % places as u64) as usize;
        memory.data_mut(&mut *caller)[start..start + 8].copy_from_slice(&bytes.to_le_bytes());
    }
}
