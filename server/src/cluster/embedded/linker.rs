//! Binds the imports of a module to the guest kernel, each by its row of the host-interface table.

use super::operations::perform;
use super::run::RunState;
use faasm_bridge::guest::{Begin, Fault, Finish, GuestCall, is_two_halved};
use faasm_bridge::host::{self, HostCall, ImportClass, Returns};
use wasmtime::{
    Caller, Engine, Error, Extern, ExternType, InstancePre, Linker, Module, Ref, Result, Trap, Val,
    ValType,
};

/// How deep the guest's `malloc` may make host calls that hand out memory from `malloc`. Each level has a stack of its own,
/// which the engine does not count.
const MAX_ALLOCATION_DEPTH: u32 = 16;

/// How deep the parallel regions of a guest may nest.
const MAX_REGION_DEPTH: u32 = 64;

/// Binds every function import; a module with other imports does not link.
pub(super) fn link(engine: &Engine, module: &Module) -> Result<InstancePre<RunState>> {
    let mut linker = Linker::new(engine);
    // One import may be listed twice.
    linker.allow_shadowing(true);
    for import in module.imports() {
        let ExternType::Func(ty) = import.ty() else { continue };
        let (from, name) = (import.module(), import.name());
        let full = format!("{from}.{name}");
        match host::classify(from, name) {
            ImportClass::Known(call) if is_two_halved(call) => {
                linker.func_new_async(from, name, ty, move |caller, params, results| {
                    Box::new(two_halves(call, caller, params, results))
                })?;
            }
            ImportClass::Known(call) if call.row().returns == Returns::F64 => {
                linker.func_new(from, name, ty, move |caller, _, results| {
                    number(call, caller, results)
                })?;
            }
            ImportClass::Known(call) => {
                linker.func_new(from, name, ty, move |caller, params, results| {
                    at_once(call, caller, params, results)
                })?;
            }
            // Functions with one of these can be uploaded, and are not run.
            ImportClass::Family(_) => {
                linker.func_new(from, name, ty, move |_, _, _| {
                    Err(Error::new(Fault::ClusterOnly { import: full.clone() }))
                })?;
            }
            // Loading succeeds; only calling it ends the run.
            ImportClass::Unknown => {
                linker.func_new(from, name, ty, move |_, _, _| {
                    Err(Error::new(Fault::UnknownImport { import: full.clone() }))
                })?;
            }
        }
    }
    linker.instantiate_pre(module)
}

/// Arguments as the kernel takes them.
fn slots(params: &[Val]) -> Vec<u64> {
    let slot = |value: &Val| match value {
        Val::I32(value) => u64::from(*value as u32),
        Val::I64(value) => *value as u64,
        // Normalising refuses imports of other types than the table's.
        _ => 0,
    };
    params.iter().map(slot).collect()
}

fn give(results: &mut [Val], value: i32) {
    if let Some(result) = results.first_mut() {
        *result = Val::I32(value);
    }
}

fn at_once(
    call: HostCall,
    mut caller: Caller<'_, RunState>,
    params: &[Val],
    results: &mut [Val],
) -> Result<()> {
    let args = slots(params);
    let value =
        RunState::with(&mut caller, |guest, host, tier| guest.call(call, &args, host, tier))?;
    give(results, value);
    Ok(())
}

/// A call that gives a number with a fraction.
fn number(call: HostCall, mut caller: Caller<'_, RunState>, results: &mut [Val]) -> Result<()> {
    let value =
        RunState::with(&mut caller, |guest, host, tier| Ok(guest.number(call, host, tier)))?;
    if let Some(result) = results.first_mut() {
        *result = Val::F64(value.to_bits());
    }
    Ok(())
}

/// A call that may wait. While it waits, the fiber of the run is suspended and no lock is held.
async fn two_halves(
    call: HostCall,
    mut caller: Caller<'_, RunState>,
    params: &[Val],
    results: &mut [Val],
) -> Result<()> {
    let args = slots(params);
    let begun =
        RunState::with(&mut caller, |guest, host, tier| guest.begin(call, &args, host, tier))?;
    if let Begin::Call(called) = begun {
        call_guest(&mut caller, called).await?;
    } else if let Begin::Wait(operation) = begun {
        if caller.data().allocating > 0 {
            // The browser's engine cannot unwind through its own call of `malloc`; what works must work in both places.
            let message = "the guest's malloc wants to wait, which it cannot".to_owned();
            return Err(Error::new(Fault::Operation { call, message }));
        }
        let completion = perform(caller.data_mut(), operation).await;
        caller.data_mut().kernel()?.complete(completion)?;
    }
    loop {
        match RunState::with(&mut caller, |guest, host, tier| guest.finish(host, tier))? {
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

/// Calls a function of the guest's table, which may wait.
async fn call_guest(caller: &mut Caller<'_, RunState>, called: GuestCall) -> Result<()> {
    let name = caller.data().chain.program.entry.table.clone();
    let table = name.and_then(|name| caller.get_export(&name)).and_then(Extern::into_table);
    let table = table.ok_or(Trap::TableOutOfBounds)?;
    let function = match table.get(&mut *caller, u64::from(called.function)) {
        Some(Ref::Func(Some(function))) => function,
        Some(_) => return Err(Trap::IndirectCallToNull.into()),
        None => return Err(Trap::TableOutOfBounds.into()),
    };
    let ty = function.ty(&*caller);
    let is_word = |ty: ValType| matches!(ty, ValType::I32);
    let fits = ty.params().len() == called.arguments.len()
        && ty.params().all(is_word)
        && ty.results().len() == 0;
    if !fits {
        return Err(Trap::BadSignature.into());
    }
    if caller.data().depth >= MAX_REGION_DEPTH {
        return Err(Trap::StackOverflow.into());
    }
    let arguments: Vec<Val> =
        called.arguments.iter().map(|argument| Val::I32(*argument as i32)).collect();
    caller.data_mut().depth += 1;
    let returned = function.call_async(&mut *caller, &arguments, &mut []).await;
    caller.data_mut().depth -= 1;
    returned
}

/// Calls the guest's own allocator, which may make host calls itself.
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
