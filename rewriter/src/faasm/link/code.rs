//! Re-encodes functions of the original and of the support with new indices.

use super::super::generated::Types;
use super::super::module::Sections;
use super::{Added, Linker, Target, reencoded};
use crate::Error;
use std::collections::{BTreeSet, HashMap};
use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{GlobalSection, Instruction};
use wasmparser::{Operator, TypeRef};

/// Re-encodes the original.
pub(super) struct Guest {
    /// New indices of its functions.
    pub(super) functions: Vec<u32>,
    /// Replacements of `memory.size` and `memory.grow`.
    pub(super) memory: Option<[u32; 2]>,
}

impl Reencode for Guest {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, reencode::Error> {
        Ok(self.functions.get(function as usize).copied().unwrap_or(function))
    }

    fn instruction<'a>(
        &mut self,
        operator: Operator<'a>,
    ) -> Result<Instruction<'a>, reencode::Error> {
        match (operator, self.memory) {
            (Operator::MemorySize { .. }, Some([size, _])) => Ok(Instruction::Call(size)),
            (Operator::MemoryGrow { .. }, Some([_, grow])) => Ok(Instruction::Call(grow)),
            (operator, _) => reencode::utils::instruction(self, operator),
        }
    }
}

/// Re-encodes support functions.
pub(super) struct SupportCode {
    functions: HashMap<u32, u32>,
    /// New indices of its globals; imported ones come first.
    globals: Vec<u32>,
    constants: Vec<Option<i32>>,
    /// New indices of the types of indirect calls.
    types: HashMap<u32, u32>,
    /// Globals of its own that it can reach, in order.
    used: Vec<u32>,
}

impl SupportCode {
    pub(super) fn new(
        linker: &Linker<'_, '_>,
        kept: u32,
        first_added: u32,
        guest: &[u32],
        types: &mut Types,
    ) -> Result<Self, Error> {
        let sections = &linker.support.sections;
        let mut functions = HashMap::new();
        for (function, target) in &linker.targets {
            let index = match target {
                Target::Raw(import) => {
                    let position = linker.raw.iter().position(|raw| raw == import);
                    kept + position.unwrap_or_default() as u32
                }
                Target::Guest(function) => {
                    guest.get(*function as usize).copied().unwrap_or_default()
                }
                Target::Added(added) => {
                    first_added + linker.numbers.get(added).copied().unwrap_or_default()
                }
            };
            functions.insert(*function, index);
        }
        let mut constants = Vec::new();
        for import in &sections.imports {
            if let TypeRef::Global(_) = import.ty {
                let known = linker.plan.constants.iter().find(|(name, _)| *name == import.name);
                constants.push(known.map(|(_, value)| *value));
            }
        }
        let imported = sections.imported_globals();
        let mut used = BTreeSet::new();
        let mut indirect = BTreeSet::new();
        for added in &linker.added {
            let Added::Support(function) = added else { continue };
            let Some(body) = sections.body(*function) else { continue };
            let mut reader = body.get_operators_reader()?;
            while !reader.eof() {
                match reader.read()? {
                    Operator::GlobalGet { global_index } | Operator::GlobalSet { global_index }
                        if global_index >= imported =>
                    {
                        used.insert(global_index);
                    }
                    Operator::CallIndirect { type_index, .. } => {
                        indirect.insert(type_index);
                    }
                    _ => {}
                }
            }
        }
        let own = linker.original.globals.as_ref().map_or(0, |section| section.count());
        let first = linker.original.imported_globals() + own;
        let used: Vec<u32> = used.into_iter().collect();
        let count = imported + sections.globals.as_ref().map_or(0, |section| section.count());
        let globals = (0..count)
            .map(|global| {
                let position = used.iter().position(|other| *other == global);
                first + position.unwrap_or_default() as u32
            })
            .collect();
        let of_call = |ty| Some((ty, types.index(sections.signature_of_type(ty)?)));
        let types = indirect.into_iter().filter_map(of_call).collect();
        Ok(Self { functions, globals, constants, types, used })
    }

    pub(super) fn function(&self, function: u32) -> u32 {
        self.functions.get(&function).copied().unwrap_or_default()
    }

    pub(super) fn write_globals(
        &mut self,
        sections: &Sections<'_>,
        section: &mut GlobalSection,
    ) -> Result<(), Error> {
        let imported = sections.imported_globals();
        for (index, global) in (imported..).zip(sections.globals.clone().into_iter().flatten()) {
            let global = global?;
            if self.used.contains(&index) {
                self.parse_global(section, global).map_err(reencoded)?;
            }
        }
        Ok(())
    }
}

impl Reencode for SupportCode {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, reencode::Error> {
        Ok(self.function(function))
    }

    fn global_index(&mut self, global: u32) -> Result<u32, reencode::Error> {
        Ok(self.globals.get(global as usize).copied().unwrap_or(global))
    }

    fn type_index(&mut self, ty: u32) -> Result<u32, reencode::Error> {
        Ok(self.types.get(&ty).copied().unwrap_or(ty))
    }

    fn instruction<'a>(
        &mut self,
        operator: Operator<'a>,
    ) -> Result<Instruction<'a>, reencode::Error> {
        if let Operator::GlobalGet { global_index } = operator
            && let Some(Some(value)) = self.constants.get(global_index as usize)
        {
            return Ok(Instruction::I32Const(*value));
        }
        reencode::utils::instruction(self, operator)
    }
}
