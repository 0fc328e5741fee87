//! Runs one form of a function under a scenario, and records everything that its host observes.
//!
//! Three forms answer the same calls in the same way:
//!
//! * the *original*, normalised: host calls are answered at once, as by the cluster's fibers;
//! * the *shimmed* one: calls are split by the shim, and `suspend` returns when the guest may continue, as with JSPI;
//! * the *instrumented* one: `suspend` unwinds and rewinds the guest's stack, as the browser's engine does.

mod asyncify;
mod engine;
mod host;

pub use engine::{THREAD_STACK_BYTES, engine};

use crate::scenario::Scenario;
use asyncify::Asyncify;
use faasm_bridge::manifest::Entry;
use host::Host;
use wasmtime::{Engine, Extern, Instance, Module, Ref, Store, Trap, Val};

/// A form of a function, and how it is run.
#[derive(Clone, Copy, Debug)]
pub struct Form<'a> {
    pub wasm: &'a [u8],
    pub entry: &'a Entry,
    /// Size of the unwind buffer in bytes, if the form is instrumented.
    pub buffer: Option<u32>,
}

/// One event that the host observes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Call {
        import: String,
        arguments: Vec<i64>,
        /// Size of the guest's memory, as the guest sees it.
        pages: u64,
    },
    /// The guest's memory while the guest waits.
    Waiting { memory: Vec<u8> },
    /// The result of the guest's allocator.
    Allocated { address: i32 },
    /// Whether the host could make memory grow.
    Grown { before: i32 },
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The return values of the entries.
    Returned(Vec<Option<i32>>),
    Exited(i32),
    Trapped(Trap),
    /// The guest called an unsupported import.
    Unanswered(String),
    /// The module was not instantiated.
    NotStarted(String),
    /// The unwound stack did not fit into its buffer.
    BufferFull,
    /// The artefact violated the protocol of its form.
    Broken(String),
}

/// The final state of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalState {
    /// The memory that the guest sees.
    pub memory: Vec<u8>,
    /// Exported globals by name: numbers as bits, references by whether they are null.
    pub globals: Vec<(String, String)>,
    /// Exported tables by name: the type of the function in each slot.
    pub tables: Vec<(String, Vec<String>)>,
}

/// Everything that was observed in a run.
#[derive(Clone, Debug)]
pub struct Observed {
    pub events: Vec<Event>,
    pub ending: Ending,
    /// `None` if there was no instance.
    pub final_state: Option<FinalState>,
    pub suspensions: u64,
    /// Most bytes that an instrumented form unwound at once.
    pub unwound: usize,
    /// At the first suspensions of a shimmed form: function and offset in the module of each frame, innermost first.
    pub stacks: Vec<Vec<(u32, usize)>>,
}

/// Runs a form of a function to its end.
///
/// # Errors
/// wasmtime cannot compile it.
pub fn run(engine: &Engine, form: Form<'_>, scenario: Scenario) -> Result<Observed, String> {
    let module = Module::new(engine, form.wasm).map_err(|error| format!("{error:#}"))?;
    let hidden = form.buffer.unwrap_or(0) as usize;
    let mut store = Store::new(engine, Host::new(scenario, hidden, engine::limits(hidden)));
    store.limiter(|host| &mut host.limits);
    store.set_epoch_deadline(engine::MOST_TICKS);
    let imports = host::imports(&mut store, &module);
    let instance = match Instance::new(&mut store, &module, &imports) {
        Ok(instance) => instance,
        Err(error) => return Ok(store.into_data().observed(not_started(&error), None)),
    };
    let ending = match host::attach(&mut store, &instance, form) {
        Ok(()) => enter(&mut store, &instance, form.entry),
        Err(missing) => Ending::Broken(missing),
    };
    let final_state = final_state(&mut store, &instance, &module, form);
    Ok(store.into_data().observed(ending, final_state))
}

/// Calls the entries in order.
fn enter(store: &mut Store<Host>, instance: &Instance, entry: &Entry) -> Ending {
    let mut returned = Vec::new();
    for name in &entry.main {
        let Some(function) = instance.get_func(&mut *store, name) else {
            return Ending::Broken(format!("there is no export `{name}`"));
        };
        let results = function.ty(&mut *store).results().len();
        match asyncify::call(store, &function, results) {
            Ok(values) => returned.push(values.first().and_then(Val::i32)),
            Err(error) => return ending(&error),
        }
    }
    Ending::Returned(returned)
}

/// The end of an instance, derived from its error.
fn ending(error: &wasmtime::Error) -> Ending {
    if let Some(ending) = error.downcast_ref::<host::Stop>() {
        return ending.0.clone();
    }
    match error.downcast_ref::<Trap>() {
        Some(trap) => Ending::Trapped(*trap),
        None => Ending::Broken(format!("{error:#}")),
    }
}

fn not_started(error: &wasmtime::Error) -> Ending {
    match error.downcast_ref::<Trap>() {
        Some(trap) => Ending::Trapped(*trap),
        None => Ending::NotStarted(format!("{error:#}")),
    }
}

fn final_state(
    store: &mut Store<Host>,
    instance: &Instance,
    module: &Module,
    form: Form<'_>,
) -> Option<FinalState> {
    let memory = instance.get_memory(&mut *store, &form.entry.memory)?;
    let hidden = form.buffer.unwrap_or(0) as usize;
    let data = memory.data(&*store);
    let memory = data.get(..data.len().checked_sub(hidden)?)?.to_vec();
    let (mut globals, mut tables) = (Vec::new(), Vec::new());
    for export in module.exports() {
        let name = export.name().to_owned();
        match instance.get_export(&mut *store, export.name()) {
            Some(Extern::Global(global)) => {
                let value = show(&global.get(&mut *store));
                globals.push((name, value));
            }
            Some(Extern::Table(table)) => {
                let slots =
                    (0..table.size(&*store)).map(|slot| match table.get(&mut *store, slot) {
                        Some(Ref::Func(Some(function))) => format!("{}", function.ty(&*store)),
                        Some(reference) => format!("null: {}", reference.is_null()),
                        None => "beyond the table".to_owned(),
                    });
                tables.push((name, slots.collect()));
            }
            _ => {}
        }
    }
    globals.sort();
    tables.sort();
    Some(FinalState { memory, globals, tables })
}

fn show(value: &Val) -> String {
    match value {
        Val::I32(bits) => format!("{bits:#x}"),
        Val::I64(bits) => format!("{bits:#x}"),
        Val::F32(bits) => format!("{bits:#x}"),
        Val::F64(bits) => format!("{bits:#x}"),
        Val::V128(bits) => format!("{:#x}", bits.as_u128()),
        other => format!("null: {}", other.ref_().is_some_and(|reference| reference.is_null())),
    }
}

impl Ending {
    /// Without details, for figures.
    pub fn name(&self) -> String {
        match self {
            Ending::Trapped(trap) => format!("Trapped({trap:?})"),
            other => crate::refusal::variant(other),
        }
    }
}
