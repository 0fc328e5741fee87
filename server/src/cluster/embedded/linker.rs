//! Binds the imports of a module to the guest kernel, each by its row of the host-interface table.

use super::extension::{Answer, Import};
use super::operations::perform;
use super::run::RunState;
use faasm_asyncify::BRIDGE_MODULE;
use faasm_bridge::guest::{Begin, Fault, Finish, may_suspend};
use faasm_bridge::host::{self, HostCall, ImportClass, Returns};
use std::sync::Arc;
use wasmtime::{
    Caller, Engine, Error, Extern, ExternType, InstancePre, Linker, Module, Result, Trap, Val,
};

/// Maximum nesting of host calls that call the guest's `malloc`, which in turn makes host calls. Each level has a stack
/// of its own, which the engine does not count.
const MAX_ALLOCATION_DEPTH: u32 = 16;

/// Binds all function imports; a module with other imports fails to link.
pub(super) fn link(engine: &Engine, module: &Module) -> Result<InstancePre<RunState>> {
    let mut linker = Linker::new(engine);
    // A module may list an import twice.
    linker.allow_shadowing(true);
    for import in module.imports() {
        let ExternType::Func(ty) = import.ty() else { continue };
        let (from, name) = (import.module(), import.name());
        let full = format!("{from}.{name}");
        if let Some(half) = Half::of(from, name) {
            linker.func_new(from, name, ty, move |caller, params, results| {
                half.perform(caller, params, results)
            })?;
            continue;
        }
        let import = Arc::new(Name { module: from.to_owned(), name: name.to_owned() });
        match host::classify(from, name) {
            ImportClass::Known(call) if may_suspend(call) => {
                linker.func_new_async(from, name, ty, move |caller, params, results| {
                    Box::new(two_halves(call, Arc::clone(&import), caller, params, results))
                })?;
            }
            ImportClass::Known(call) if call.row().returns == Returns::F64 => {
                linker.func_new(from, name, ty, move |caller, _, results| {
                    number(call, caller, results)
                })?;
            }
            ImportClass::Known(call) => {
                linker.func_new(from, name, ty, move |mut caller, params, results| {
                    if extended_at_once(&import, &mut caller, params, results)? {
                        return Ok(());
                    }
                    at_once(call, caller, params, results)
                })?;
            }
            // A function with such an import can be uploaded but is not run.
            ImportClass::Family(_) => {
                linker.func_new(from, name, ty, move |mut caller, params, results| {
                    if extended_at_once(&import, &mut caller, params, results)? {
                        return Ok(());
                    }
                    Err(Error::new(Fault::ClusterOnly { import: full.clone() }))
                })?;
            }
            // Loading succeeds; a call of this import ends the run.
            ImportClass::Unknown => {
                linker.func_new(from, name, ty, move |mut caller, params, results| {
                    if extended_at_once(&import, &mut caller, params, results)? {
                        return Ok(());
                    }
                    Err(Error::new(Fault::UnknownImport { import: full.clone() }))
                })?;
            }
        }
    }
    linker.instantiate_pre(module)
}

/// A part of a host call that calls a function of the guest; the rewriter has split it
/// (`rewriter/src/module/guest_calls.rs`).
#[derive(Clone, Copy)]
enum Half {
    Begin(HostCall),
    /// Number of the function's arguments.
    Arguments,
    Argument,
    Function,
    Finish(HostCall),
}

impl Half {
    fn of(module: &str, name: &str) -> Option<Self> {
        if module != BRIDGE_MODULE {
            return None;
        }
        let row = |import: &str| {
            let (module, name) = import.split_once('.')?;
            HostCall::by_import(module, name)
        };
        match name.split_once(':')? {
            ("begin", import) => row(import).map(Half::Begin),
            ("finish", import) => row(import).map(Half::Finish),
            ("call", "arguments") => Some(Half::Arguments),
            ("call", "argument") => Some(Half::Argument),
            ("call", "function") => Some(Half::Function),
            _ => None,
        }
    }

    fn perform(
        self,
        mut caller: Caller<'_, RunState>,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<()> {
        let args = slots(params);
        let out_of_order = |call: &'static str| Error::new(Fault::Order { call });
        let called = |caller: &Caller<'_, RunState>| {
            caller.data().called.clone().ok_or_else(|| out_of_order("a call of the guest"))
        };
        let value = match self {
            Half::Begin(call) => {
                let begun = RunState::with(&mut caller, call, |guest, host, tier| {
                    guest.begin(call, &args, host, tier)
                })?;
                match begun {
                    Begin::Ready => 0,
                    Begin::Call(called) => {
                        caller.data_mut().called = Some(called);
                        1
                    }
                    Begin::Wait(_) => return Err(out_of_order(call.row().name)),
                }
            }
            Half::Arguments => called(&caller)?.arguments.len() as i32,
            Half::Argument => {
                let position = args.first().map_or(0, |position| *position as usize);
                called(&caller)?.arguments.get(position).map_or(0, |argument| *argument as i32)
            }
            Half::Function => called(&caller)?.function as i32,
            Half::Finish(call) => {
                let finished = RunState::with(&mut caller, call, |guest, host, tier| {
                    guest.finish(call, host, tier)
                })?;
                match finished {
                    Finish::Return(value) => value,
                    Finish::Allocate { .. } => return Err(out_of_order(call.row().name)),
                }
            }
        };
        give(results, value);
        Ok(())
    }
}

/// Converts arguments to the kernel's form.
fn slots(params: &[Val]) -> Vec<u64> {
    let slot = |value: &Val| match value {
        Val::I32(value) => u64::from(*value as u32),
        Val::I64(value) => *value as u64,
        // Normalising rejects imports whose type differs from the table's.
        _ => 0,
    };
    params.iter().map(slot).collect()
}

fn give(results: &mut [Val], value: i32) {
    if let Some(result) = results.first_mut() {
        *result = Val::I32(value);
    }
}

/// An import by its module and name.
struct Name {
    module: String,
    name: String,
}

/// Offers a host call to the extension; returns whether it answered.
fn extended_at_once(
    import: &Name,
    caller: &mut Caller<'_, RunState>,
    params: &[Val],
    results: &mut [Val],
) -> Result<bool> {
    let Some(extension) = caller.data().chain.origin.extension.clone() else { return Ok(false) };
    let arguments = slots(params);
    let mut memory = RunState::view(caller)?;
    let Name { module, name } = import;
    let (arguments, has_result) = (&*arguments, !results.is_empty());
    let memory = &mut memory;
    let import = Import { module, name, arguments, has_result, may_wait: false, memory };
    let value = match extension.host_call(import)? {
        Answer::Cluster => return Ok(false),
        Answer::Value(value) => value,
        Answer::Wait(_) => {
            return Err(Error::msg(format!(
                "the extension suspends in `{module}.{name}`, which cannot suspend"
            )));
        }
    };
    give(results, value);
    Ok(true)
}

/// Offers a host call that may suspend to the extension.
async fn extended(
    import: &Name,
    caller: &mut Caller<'_, RunState>,
    params: &[Val],
    results: &mut [Val],
) -> Result<bool> {
    let Some(extension) = caller.data().chain.origin.extension.clone() else { return Ok(false) };
    let arguments = slots(params);
    let may_wait = caller.data().allocating == 0;
    let mut memory = RunState::view(caller)?;
    let Name { module, name } = import;
    let (arguments, has_result) = (&*arguments, !results.is_empty());
    let memory = &mut memory;
    let import = Import { module, name, arguments, has_result, may_wait, memory };
    let value = match extension.host_call(import)? {
        Answer::Cluster => return Ok(false),
        Answer::Value(value) => value,
        Answer::Wait(_) if !may_wait => {
            return Err(Error::msg(format!(
                "the extension suspends in `{module}.{name}`, which cannot suspend during the guest's malloc"
            )));
        }
        Answer::Wait(waiting) => waiting.await?,
    };
    give(results, value);
    Ok(true)
}

fn at_once(
    call: HostCall,
    mut caller: Caller<'_, RunState>,
    params: &[Val],
    results: &mut [Val],
) -> Result<()> {
    let args = slots(params);
    let value =
        RunState::with(&mut caller, call, |guest, host, tier| guest.call(call, &args, host, tier))?;
    give(results, value);
    Ok(())
}

/// Binds a host call that returns a floating-point number.
fn number(call: HostCall, mut caller: Caller<'_, RunState>, results: &mut [Val]) -> Result<()> {
    let value =
        RunState::with(&mut caller, call, |guest, host, tier| Ok(guest.number(call, host, tier)))?;
    if let Some(result) = results.first_mut() {
        *result = Val::F64(value.to_bits());
    }
    Ok(())
}

/// Binds a host call that may suspend. While it is suspended, the run's fiber is suspended and no lock is held.
async fn two_halves(
    call: HostCall,
    import: Arc<Name>,
    mut caller: Caller<'_, RunState>,
    params: &[Val],
    results: &mut [Val],
) -> Result<()> {
    if extended(&import, &mut caller, params, results).await? {
        return Ok(());
    }
    let args = slots(params);
    let begun = RunState::with(&mut caller, call, |guest, host, tier| {
        guest.begin(call, &args, host, tier)
    })?;
    if let Begin::Wait(operation) = begun {
        if caller.data().allocating > 0 {
            // In a page, Asyncify cannot unwind through the host's own call of `malloc`; the cluster behaves the same.
            let message =
                "the guest's malloc makes a host call that suspends, which is not supported"
                    .to_owned();
            return Err(Error::new(Fault::Operation { call, message }));
        }
        let completion = perform(caller.data_mut(), operation).await?;
        caller.data_mut().kernel()?.complete(completion)?;
    }
    loop {
        let finished =
            RunState::with(&mut caller, call, |guest, host, tier| guest.finish(call, host, tier))?;
        // The completion's bytes are now in the guest, in the tier or in the kernel, which charge for them.
        caller.data_mut().moving.set_anyway(0);
        match finished {
            Finish::Return(value) => {
                give(results, value);
                return Ok(());
            }
            Finish::Allocate { bytes } => {
                let pointer = allocate(call, &mut caller, bytes).await?;
                caller.data_mut().kernel()?.allocated(pointer)?;
            }
        }
    }
}

/// Calls the guest's allocator, which may itself make host calls.
async fn allocate(call: HostCall, caller: &mut Caller<'_, RunState>, bytes: u32) -> Result<u32> {
    let name = caller.data().chain.program.entry.malloc.clone();
    let export = name.and_then(|name| caller.get_export(&name)).and_then(Extern::into_func);
    let malloc = export.and_then(|malloc| malloc.typed::<u32, u32>(&*caller).ok());
    let malloc = malloc.ok_or_else(|| Error::new(Fault::NoMalloc { call }))?;
    if caller.data().allocating >= MAX_ALLOCATION_DEPTH {
        return Err(Error::new(Trap::StackOverflow));
    }
    caller.data_mut().allocating += 1;
    let pointer = malloc.call_async(&mut *caller, bytes).await;
    caller.data_mut().allocating -= 1;
    pointer
}
