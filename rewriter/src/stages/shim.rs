//! Stage 2: try, then suspend. Replaces every host call that *can* block by a local function.
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
//!   (call $finish))                                             ;; returns the result
//! ```
//!
//! So an engine has one suspending import, and suspends only if the call has to wait: a JSPI import would suspend even
//! with the value at hand.
//!
//! Why it is safe: the local function has the type of the import that it replaces, and keeps its identity for all
//! references, so calls, table slots and `ref.func` mean what they meant; the table is compared afterwards. The guest
//! cannot run between `begin` and `finish` except through the host, which is suspended or busy with this call. During
//! `finish` the guest is running, not suspended, so the host may call its `malloc`.
//!
//! An import that no host in a browser supports (unknown imports, families of the cluster) reports its name to the
//! host, then traps: `faasm_bridge` `trap:MODULE.NAME`, then `unreachable`. It never prevents the function from
//! loading.

use crate::module::encode::encode;
use crate::module::imports::{self, Import};
use crate::module::layout::Layout;
use crate::stages::normalise::parse;
use crate::{BRIDGE_MODULE, Error};
use faasm_bridge::host::{ImportClass, Suspends};
use std::collections::BTreeMap;
use walrus::{FunctionBuilder, FunctionId, FunctionKind, Module, ValType};

/// The one import that suspends, in module [`BRIDGE_MODULE`].
pub const SUSPEND: &str = "suspend";

/// Replaces blocking imports of a normalised module by begin/suspend/finish stubs, and unsupported imports by traps.
///
/// # Errors
/// Only on a module that [`crate::normalise()`] would reject.
pub fn shim(wasm: &[u8]) -> Result<Vec<u8>, Error> {
    let mut module = parse(wasm)?;
    let mut bridge = Bridge::default();
    for import in imports::list(&module)? {
        match import.class {
            // Added by the previous stage; see `guest_calls`.
            ImportClass::Unknown if import.is_of_bridge() => {}
            ImportClass::Unknown | ImportClass::Family(_) => {
                trap(&mut module, &mut bridge, &import)
            }
            ImportClass::Known(_) if import.suspends() == Suspends::May => {
                try_then_suspend(&mut module, &mut bridge, &import);
            }
            ImportClass::Known(_) => {}
        }
    }
    let shimmed = encode(&mut module);
    Layout::read(wasm)?.kept_by(&Layout::read(&shimmed)?, "shim")?;
    Ok(shimmed)
}

fn try_then_suspend(module: &mut Module, bridge: &mut Bridge, import: &Import) {
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
    });
}

fn trap(module: &mut Module, bridge: &mut Bridge, import: &Import) {
    let trap = bridge.import(module, &format!("trap:{}", import.name), &[], &[]);
    replace(module, import, |body, _| {
        body.call(trap).unreachable();
    });
}

/// Gives an imported function a body; it keeps its identity.
pub(crate) fn replace(
    module: &mut Module,
    import: &Import,
    build: impl FnOnce(&mut walrus::InstrSeqBuilder<'_>, &[walrus::LocalId]),
) {
    // walrus's own function searches all imports each time.
    let (params, results) = module.types.params_results(module.funcs.get(import.function).ty());
    let (params, results) = (params.to_vec(), results.to_vec());
    let arguments: Vec<_> = params.iter().map(|ty| module.locals.add(*ty)).collect();
    let mut body = FunctionBuilder::new(&mut module.types, &params, &results);
    build(&mut body.func_body(), &arguments);
    let function = module.funcs.get_mut(import.function);
    function.kind = FunctionKind::Local(body.local_func(arguments));
    function.name.get_or_insert_with(|| import.name.clone());
    module.imports.delete(import.id);
}

/// The imports of [`BRIDGE_MODULE`] added so far, by name and type: an import can occur twice, with two types.
#[derive(Debug, Default)]
pub(crate) struct Bridge(BTreeMap<String, Vec<FunctionId>>);

impl Bridge {
    pub(crate) fn import(
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
