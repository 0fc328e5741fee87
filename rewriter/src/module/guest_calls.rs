//! Host calls that call a guest function (`__kmpc_fork_call`, `pthread_once`) do so in WebAssembly: Asyncify cannot
//! unwind through a host frame, and in a cluster each host frame in between would need a stack of its own. The host
//! returns whether to call, which function, and with which arguments:
//!
//! ```wat
//! (func $fork (param i32 i32 i32 i32)
//!   (if (call $begin (local.get 0) (local.get 1) (local.get 2) (local.get 3)) ;; "begin:env.__kmpc_fork_call"; 0: no call
//!     (then
//!       (local.set $count (call $arguments))                  ;; "faasm_bridge" "call:arguments"
//!       (if (i32.eq (local.get $count) (i32.const 2))          ;; and so on, for each number of parameters here
//!         (then (call_indirect (param i32 i32)
//!           (call $argument (i32.const 0)) (call $argument (i32.const 1))     ;; "call:argument"
//!           (call $function))))                                               ;; "call:function"
//!       …))
//!   (call $finish))
//! ```
//!
//! The analysis, which runs later, treats these calls like those of the guest. A pointer to a function of another
//! signature traps, as does a number of arguments that no function of the module takes.

use crate::module::imports::Import;
use crate::stages::normalise::function_table;
use crate::stages::shim::{Bridge, replace};
use faasm_bridge::host::{HostCall, ImportClass, Suspends};
use std::ops::RangeInclusive;
use walrus::ir::BinaryOp;
use walrus::{Module, TypeId, ValType};

/// Replaces the imports that call guest functions.
pub(crate) fn settle(module: &mut Module, imports: &[Import]) {
    let mut bridge = Bridge::default();
    for import in imports {
        if let ImportClass::Known(call) = import.class
            && import.suspends() == Suspends::Calls
        {
            replace_call(module, &mut bridge, import, call);
        }
    }
}

/// Replaces an import that calls a guest function if the host returns one.
fn replace_call(module: &mut Module, bridge: &mut Bridge, import: &Import, call: HostCall) {
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
    });
}

/// The types of the module's own functions with so many `i32` parameters and no result, by this number.
fn callable(module: &Module, counts: RangeInclusive<u32>) -> Vec<(u32, TypeId)> {
    let of_functions = |count: u32| {
        let ty = module.types.find(&vec![ValType::I32; count as usize], &[])?;
        let is_there = module.funcs.iter_local().any(|(_, function)| function.ty() == ty);
        is_there.then_some((count, ty))
    };
    counts.filter_map(of_functions).collect()
}
