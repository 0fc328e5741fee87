//! The calls that can suspend, by where they lie in the module's bytes.
//!
//! The analysis works on the module as walrus has it, this pass on bytes. walrus gives functions the indices that they
//! have in the bytes, and keeps with each instruction where it was.

use crate::asyncify::analyse::{Analysis, call_sites};
use std::collections::{BTreeMap, BTreeSet};
use walrus::{FunctionId, FunctionKind, Module};

/// What has to be instrumented.
#[derive(Debug, Default)]
pub(super) struct Sites {
    /// The functions that can suspend, by index.
    pub(super) functions: BTreeMap<u32, FunctionId>,
    /// Offsets of the calls in them that can.
    pub(super) calls: BTreeSet<usize>,
}

impl Sites {
    /// Of a module that was read from bytes and not changed since.
    pub(super) fn of(module: &Module, analysis: &Analysis) -> Self {
        let mut sites = Self::default();
        for id in analysis.suspending() {
            if let FunctionKind::Local(function) = &module.funcs.get(id).kind {
                // A module has at most a million functions.
                sites.functions.insert(id.index() as u32, id);
                for call in call_sites(function) {
                    let site = analysis.graph().site(&call);
                    if site.is_some_and(|site| analysis.leads_to_suspension(site)) {
                        let (_, at) = function.block(call.sequence).instrs[call.position];
                        sites.calls.insert(at.data() as usize);
                    }
                }
            }
        }
        sites
    }
}
