//! The calls that can suspend, by where they lie in the module's bytes.
//!
//! The analysis works on the module as walrus has it, this pass on bytes. walrus gives functions the indices that they
//! have in the bytes, and keeps with each instruction where it was.

use crate::asyncify::analyse::{Analysis, constant};
use std::collections::{BTreeMap, BTreeSet};
use walrus::ir::{Instr, InstrLocId, InstrSeq, Visitor, dfs_in_order};
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
                let mut find = Find { analysis, index: None, calls: &mut sites.calls };
                dfs_in_order(&mut find, function, function.entry_block());
            }
        }
        sites
    }
}

struct Find<'a> {
    analysis: &'a Analysis,
    /// The constant just before, in the same sequence.
    index: Option<i32>,
    calls: &'a mut BTreeSet<usize>,
}

impl<'instr> Visitor<'instr> for Find<'_> {
    fn start_instr_seq(&mut self, _: &'instr InstrSeq) {
        self.index = None;
    }

    fn end_instr_seq(&mut self, _: &'instr InstrSeq) {
        self.index = None;
    }

    fn visit_instr(&mut self, instr: &'instr Instr, at: &'instr InstrLocId) {
        let index = std::mem::replace(&mut self.index, constant(instr));
        let site = self.analysis.graph().site(instr, index);
        if site.is_some_and(|site| self.analysis.leads_to_suspension(site)) {
            self.calls.insert(at.data() as usize);
        }
    }
}
