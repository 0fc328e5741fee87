//! Binds the imports of a module to the guest kernel, each by its row of the host-interface table.

use super::run::{RunState, perform};
use faasm_bridge::guest::{Begin, Fault, Finish, is_two_halved};
use faasm_bridge::host::{self, HostCall, ImportClass};
use thiserror::Error;
use wasmtime::{
    Caller, Engine, Error, ExternType, FuncType, InstancePre, Linker, Module, Result, Val,
};

/// A call of an import that has no meaning here; ends the run.
#[derive(Debug, Error)]
enum Unbound {
    #[error("the function called `{import}`, which nothing here provides")]
    Unknown { import: String },
    #[error(
        "the function called `{import}` ({family}: {summary}), which the embedded cluster does not have; run it in a Faasm cluster"
    )]
    Family { import: String, family: &'static str, summary: &'static str },
}

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
            ImportClass::Known(call) => {
                linker.func_new(from, name, ty, move |caller, params, results| {
                    at_once(call, caller, params, results)
                })?;
            }
            ImportClass::Family(family) => {
                trap(&mut linker, from, name, ty, move || Unbound::Family {
                    import: full.clone(),
                    family: family.name,
                    summary: family.summary,
                })?;
            }
            ImportClass::Unknown => {
                trap(&mut linker, from, name, ty, move || Unbound::Unknown {
                    import: full.clone(),
                })?;
            }
        }
    }
    linker.instantiate_pre(module)
}

/// Loading succeeds; only calling it ends the run.
fn trap(
    linker: &mut Linker<RunState>,
    module: &str,
    name: &str,
    ty: FuncType,
    why: impl Fn() -> Unbound + Send + Sync + 'static,
) -> Result<()> {
    linker.func_new(module, name, ty, move |_, _, _| Err(Error::new(why())))?;
    Ok(())
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
    if let Begin::Wait(operation) = begun {
        let completion = perform(caller.data_mut(), operation).await;
        caller.data_mut().guest.complete(completion)?;
    }
    loop {
        match RunState::with(&mut caller, |guest, host, tier| guest.finish(host, tier))? {
            Finish::Return(value) => {
                give(results, value);
                return Ok(());
            }
            Finish::Allocate { bytes } => {
                let pointer = allocate(&mut caller, bytes).await?;
                caller.data_mut().guest.allocated(pointer)?;
            }
        }
    }
}

/// Calls the guest's own allocator, which may make host calls itself.
async fn allocate(caller: &mut Caller<'_, RunState>, bytes: u32) -> Result<u32> {
    let Some(name) = caller.data().chain.program.entry.malloc.clone() else {
        return Err(Error::new(Fault::Operation {
            call: HostCall::AwaitCallOutput,
            message: "the function exports no `malloc`; link it with `-Wl,--export=malloc`".into(),
        }));
    };
    let Some(malloc) = caller.get_export(&name).and_then(wasmtime::Extern::into_func) else {
        return Err(Error::msg(format!("export `{name}` is not a function")));
    };
    let malloc = malloc.typed::<u32, u32>(&*caller)?;
    malloc.call_async(caller, bytes).await
}
