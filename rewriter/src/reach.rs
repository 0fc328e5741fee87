//! Which functions can be on the stack when the function suspends: those Asyncify instruments.
//!
//! With the default reach, as here, every indirect call may lead anywhere. It over-approximates: sound, and large.

use crate::shim;
use crate::{BRIDGE_MODULE, Error, normalise::parse};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use walrus::ir::{Instr, InstrLocId, Visitor, dfs_in_order};
use walrus::{FunctionId, Module};

/// How much of a module can suspend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// Names of the functions that can be on the stack during a suspension, or `#index` without a name, sorted.
    pub functions: Vec<String>,
    /// Number of functions with a body.
    pub total: usize,
}

/// The default reach of a shimmed module.
pub(crate) fn of(shimmed: &[u8]) -> Result<Reach, Error> {
    let module = parse(shimmed)?;
    let total = module.funcs.iter_local().count();
    let suspend = module.imports.iter().find_map(|import| match import.kind {
        walrus::ImportKind::Function(function)
            if import.module == BRIDGE_MODULE && import.name == shim::SUSPEND =>
        {
            Some(function)
        }
        _ => None,
    });
    let Some(suspend) = suspend else { return Ok(Reach { functions: Vec::new(), total }) };

    let mut callers: BTreeMap<FunctionId, Vec<FunctionId>> = BTreeMap::new();
    let mut pending = vec![suspend];
    for (id, function) in module.funcs.iter_local() {
        let mut calls = Calls::default();
        dfs_in_order(&mut calls, function, function.entry_block());
        for callee in calls.direct {
            callers.entry(callee).or_default().push(id);
        }
        if calls.indirect {
            pending.push(id);
        }
    }
    let mut reached = BTreeSet::new();
    while let Some(function) = pending.pop() {
        if reached.insert(function) {
            pending.extend(callers.get(&function).into_iter().flatten());
        }
    }
    reached.remove(&suspend);
    let mut functions: Vec<String> = reached.iter().map(|id| name(&module, *id)).collect();
    functions.sort();
    Ok(Reach { functions, total })
}

/// A function's debug name, or its index.
pub(crate) fn name(module: &Module, id: FunctionId) -> String {
    module.funcs.get(id).name.clone().unwrap_or_else(|| format!("#{}", id.index()))
}

/// Names of the functions with tail calls.
#[cfg(feature = "cli")]
pub(crate) fn tail_callers(module: &Module) -> Vec<String> {
    module
        .funcs
        .iter_local()
        .filter(|(_, function)| {
            let mut calls = Calls::default();
            dfs_in_order(&mut calls, function, function.entry_block());
            calls.tail
        })
        .map(|(id, _)| name(module, id))
        .collect()
}

#[derive(Default)]
struct Calls {
    direct: Vec<FunctionId>,
    indirect: bool,
    tail: bool,
}

impl<'instr> Visitor<'instr> for Calls {
    fn visit_instr(&mut self, instr: &'instr Instr, _: &'instr InstrLocId) {
        match instr {
            Instr::Call(call) => self.direct.push(call.func),
            Instr::ReturnCall(call) => {
                self.direct.push(call.func);
                self.tail = true;
            }
            Instr::CallIndirect(_) | Instr::CallRef(_) => self.indirect = true,
            Instr::ReturnCallIndirect(_) | Instr::ReturnCallRef(_) => {
                self.indirect = true;
                self.tail = true;
            }
            _ => {}
        }
    }
}
