//! Stage 2: try, then suspend. Every host call that *can* wait becomes a local function.
//!
//! Before:
//!
//! ```wat
//! (import "env" "__faasm_read_state" (func $read (param i32 i32 i32) (result i32)))
//! ```
//!
//! After:
//!
//! ```wat
//! (import "faasm_bridge" "begin:env.__faasm_read_state" (func $begin (param i32 i32 i32) (result i32)))
//! (import "faasm_bridge" "suspend" (func $suspend))
//! (import "faasm_bridge" "finish:env.__faasm_read_state" (func $finish (result i32)))
//! (func $read (param i32 i32 i32) (result i32)
//!   (if (call $begin (local.get 0) (local.get 1) (local.get 2)) ;; 0: done, 1: has to wait
//!     (then (call $suspend)))                                   ;; the only import that suspends
//!   (call $finish))                                             ;; gives the result, once there is one
//! ```
//!
//! An engine then has one suspending import, and pays for a suspension only when there is one: a JSPI import would
//! suspend even with the value at hand.
//!
//! Why it is safe: the local function has the type of the import it replaces and is the same function to everyone who
//! names it, so calls, table slots and `ref.func` mean what they meant; the table is compared afterwards. The guest
//! cannot run between `begin` and `finish` except through the host, which is suspended or busy with this call. During
//! `finish` the guest is running, not suspended, so that the host may call its `malloc` there.
//!
//! A call that calls a function of the guest (`__kmpc_fork_call`, `pthread_once`) does so in WebAssembly, where Asyncify can
//! unwind: nothing suspends below a host frame. The host says whether to, which function, and with what:
//!
//! ```wat
//! (func $fork (param i32 i32 i32 i32)
//!   (if (call $begin (local.get 0) (local.get 1) (local.get 2) (local.get 3)) ;; "begin:env.__kmpc_fork_call"; 0: no call
//!     (then
//!       (local.set $count (call $arguments))                  ;; "faasm_bridge" "call:arguments"
//!       (if (i32.eq (local.get $count) (i32.const 2))          ;; and so on, for each number that functions here take
//!         (then (call_indirect (param i32 i32)
//!           (call $argument (i32.const 0)) (call $argument (i32.const 1))     ;; "call:argument"
//!           (call $function))))                                               ;; "call:function"
//!       …))
//!   (call $finish))
//! ```
//!
//! The analysis, which comes after, sees these calls as it sees those of the guest. A pointer to a function of another
//! signature traps, as does a number of arguments that no function here takes.
//!
//! What no host answers in a browser (unknown imports, families of the cluster) becomes a trap that the host hears of
//! by name: `faasm_bridge` `trap:MODULE.NAME`, then `unreachable`. Loading the function never fails over it.

use crate::imports::{self, Import};
use crate::layout::Layout;
use crate::normalise::{function_table, parse};
use crate::{BRIDGE_MODULE, Error};
use faasm_bridge::host::{HostCall, ImportClass, Suspends};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use walrus::ir::BinaryOp;
use walrus::{FunctionId, Module, TypeId, ValType};

/// The one import that suspends, in module [`BRIDGE_MODULE`].
pub const SUSPEND: &str = "suspend";

/// Replaces the imports of a normalised module that can wait, and those that nobody answers.
///
/// # Errors
/// Only on a module that [`crate::normalise()`] would refuse.
pub fn shim(wasm: &[u8]) -> Result<Vec<u8>, Error> {
    let mut module = parse(wasm)?;
    let mut bridge = Bridge::default();
    for import in imports::list(&module)? {
        match import.class {
            ImportClass::Unknown | ImportClass::Family(_) => {
                trap(&mut module, &mut bridge, &import)?
            }
            ImportClass::Known(call) => match import.suspends() {
                Suspends::May => try_then_suspend(&mut module, &mut bridge, &import)?,
                Suspends::Calls => call_guest(&mut module, &mut bridge, &import, call)?,
                Suspends::Never => {}
            },
        }
    }
    let shimmed = module.emit_wasm();
    Layout::read(wasm)?.kept_by(&Layout::read(&shimmed)?, "shim")?;
    Ok(shimmed)
}

fn try_then_suspend(
    module: &mut Module,
    bridge: &mut Bridge,
    import: &Import,
) -> Result<(), Error> {
    let (params, results) = module.types.params_results(module.funcs.get(import.function).ty());
    let (params, results) = (params.to_vec(), results.to_vec());
    let begin = bridge.import(module, &format!("begin:{}", import.name), &params, &[ValType::I32]);
    let suspend = bridge.import(module, SUSPEND, &[], &[]);
    let finish = bridge.import(module, &format!("finish:{}", import.name), &[], &results);
    replace(module, import, |body, arguments| {
        for argument in arguments {
            body.local_get(*argument);
        }
        body.call(begin).if_else(
            None,
            |then| {
                then.call(suspend);
            },
            |_| {},
        );
        body.call(finish);
    })
}

/// A call that calls a function of the guest, where the host says so.
fn call_guest(
    module: &mut Module,
    bridge: &mut Bridge,
    import: &Import,
    call: HostCall,
) -> Result<(), Error> {
    let (params, results) = module.types.params_results(module.funcs.get(import.function).ty());
    let (params, results) = (params.to_vec(), results.to_vec());
    let begin = bridge.import(module, &format!("begin:{}", import.name), &params, &[ValType::I32]);
    let count = bridge.import(module, "call:arguments", &[], &[ValType::I32]);
    let argument = bridge.import(module, "call:argument", &[ValType::I32], &[ValType::I32]);
    let function = bridge.import(module, "call:function", &[], &[ValType::I32]);
    let finish = bridge.import(module, &format!("finish:{}", import.name), &[], &results);
    let table = function_table(module);
    let types = call.calls_with().map_or_else(Vec::new, |counts| callable(module, counts));
    let have = module.locals.add(ValType::I32);
    let called = module.locals.add(ValType::I32);
    replace(module, import, |body, arguments| {
        for argument in arguments {
            body.local_get(*argument);
        }
        body.call(begin).if_else(
            None,
            |then| {
                let Some(table) = table else {
                    // Without a table there are no function pointers.
                    then.unreachable();
                    return;
                };
                then.call(count).local_set(have).i32_const(0).local_set(called);
                for (count, ty) in &types {
                    then.local_get(have).i32_const(*count as i32).binop(BinaryOp::I32Eq);
                    then.if_else(
                        None,
                        |this| {
                            this.i32_const(1).local_set(called);
                            for position in 0..*count {
                                this.i32_const(position as i32).call(argument);
                            }
                            this.call(function).call_indirect(*ty, table);
                        },
                        |_| {},
                    );
                }
                then.local_get(called).if_else(
                    None,
                    |_| {},
                    |none| {
                        none.unreachable();
                    },
                );
            },
            |_| {},
        );
        body.call(finish);
    })
}

/// The types of a module's own functions that take so many `i32` and give nothing, by their number.
fn callable(module: &Module, counts: RangeInclusive<u32>) -> Vec<(u32, TypeId)> {
    let of_functions = |count: u32| {
        let ty = module.types.find(&vec![ValType::I32; count as usize], &[])?;
        let is_there = module.funcs.iter_local().any(|(_, function)| function.ty() == ty);
        is_there.then_some((count, ty))
    };
    counts.filter_map(of_functions).collect()
}

fn trap(module: &mut Module, bridge: &mut Bridge, import: &Import) -> Result<(), Error> {
    let trap = bridge.import(module, &format!("trap:{}", import.name), &[], &[]);
    replace(module, import, |body, _| {
        body.call(trap).unreachable();
    })
}

/// Gives an imported function a body; it keeps its identity.
fn replace(
    module: &mut Module,
    import: &Import,
    build: impl FnOnce(&mut walrus::InstrSeqBuilder<'_>, &[walrus::LocalId]),
) -> Result<(), Error> {
    module
        .replace_imported_func(import.function, |(body, arguments)| build(body, arguments))
        .map_err(|error| Error::Rewrite { message: format!("{error:#}") })?;
    module.funcs.get_mut(import.function).name.get_or_insert_with(|| import.name.clone());
    Ok(())
}

/// The imports of [`BRIDGE_MODULE`] so far, by name and type: an import can occur twice, with two types.
#[derive(Debug, Default)]
struct Bridge(BTreeMap<String, Vec<FunctionId>>);

impl Bridge {
    fn import(
        &mut self,
        module: &mut Module,
        name: &str,
        params: &[ValType],
        results: &[ValType],
    ) -> FunctionId {
        let ty = module.types.add(params, results);
        let known = self.0.entry(name.to_owned()).or_default();
        if let Some(function) = known.iter().find(|id| module.funcs.get(**id).ty() == ty) {
            return *function;
        }
        let (function, _) = module.add_import_func(BRIDGE_MODULE, name, ty);
        module.funcs.get_mut(function).name = Some(format!("{BRIDGE_MODULE}.{name}"));
        known.push(function);
        function
    }
}
