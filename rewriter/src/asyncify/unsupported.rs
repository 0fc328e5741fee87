//! Detects constructs that Asyncify does not support, and reports the functions that use them.
//!
//! * **Exceptions** in a function that can suspend: a rewinding cannot re-enter a `try`. In other functions a newer
//!   Binaryen can read them; the built-in one cannot.
//! * **Bulk operations on tables**: the built-in Binaryen cannot read them.
//! * **A wait below a call through a table that the module writes to**: rewinding repeats the call, which reads the
//!   slot again. If the slot then holds another function, that function would read the frame of the first.
//! * **References across a wait**: the unwind buffer is in linear memory, which cannot hold references. Only Binaryen
//!   knows which ones live across a wait, so they are reported after it has run ([`holds_references`]).

use crate::Error;
use crate::asyncify::analyse::{Analysis, Labels};
use crate::module::features::Feature;
use std::collections::BTreeSet;
use walrus::ir::{Instr, InstrLocId, InstrSeq, InstrSeqId, InstrSeqType, Visitor, dfs_in_order};
use walrus::{FunctionId, Module, ValType};

/// Rejects a shimmed module with functions that cannot be instrumented, or read.
///
/// # Errors
/// [`Error::Unsupported`] with the functions, or [`Error::Feature`] if no function is to blame.
pub(crate) fn check(
    module: &Module,
    analysis: &Analysis,
    features: &[Feature],
    newer: bool,
) -> Result<(), Error> {
    let uses: Vec<(FunctionId, Uses)> =
        module.funcs.iter_local().map(|(id, _)| (id, Uses::of(module, id))).collect();
    let labels = Labels::of(module);
    let by = |uses_it: &dyn Fn(&Uses) -> bool, suspending: bool| -> Vec<String> {
        let found = uses
            .iter()
            .filter(|(id, uses)| uses_it(uses) && (!suspending || analysis.suspends(*id)));
        found.map(|(id, _)| labels.get(*id)).collect()
    };
    let refuse = |what, functions: Vec<String>, advice| match functions.is_empty() {
        true => Ok(()),
        false => Err(Error::Unsupported { what, functions: list(&functions), advice }),
    };
    let plain = "build the function without them";
    refuse(
        "exceptions in a function that can suspend, which Asyncify cannot rewind into,",
        by(&|uses| uses.exceptions, true),
        plain,
    )?;
    check_tables(&labels, analysis)?;
    if !newer {
        let newer = "build the function without them, or give a newer Binaryen with `--wasm-opt`";
        refuse(
            "exceptions, which Binaryen 116 cannot read,",
            by(&|uses| uses.exceptions, false),
            newer,
        )?;
        refuse(
            "bulk operations on tables, which Binaryen 116 cannot read,",
            by(&|uses| uses.tables, false),
            newer,
        )?;
    }
    crate::module::features::instrumentable(features, newer)
}

/// Refuses calls that rewinding could not repeat, whoever instruments.
///
/// # Errors
/// [`Error::Unsupported`] with the functions.
pub(crate) fn check_tables(labels: &Labels<'_>, analysis: &Analysis) -> Result<(), Error> {
    let through: Vec<String> =
        analysis.suspend_through_overwritten().map(|id| labels.get(id)).collect();
    if through.is_empty() {
        return Ok(());
    }
    Err(Error::Unsupported {
        what: "calls that can suspend, through a table whose slots the module overwrites,",
        functions: list(&through),
        advice: "call through a table that the module does not write to",
    })
}

/// Those of the functions that can suspend which have references at all.
pub(crate) fn holds_references(module: &Module, analysis: &Analysis) -> Vec<FunctionId> {
    let holds = |id: &FunctionId| {
        let function = module.funcs.get(*id);
        let types = module.types.get(function.ty());
        let is_reference = |ty: &ValType| matches!(ty, ValType::Ref(_));
        types.params().iter().any(is_reference) || Uses::of(module, *id).references
    };
    analysis.suspending().filter(holds).collect()
}

/// Functions that have a block with parameters.
pub(crate) fn have_block_parameters(module: &Module) -> Vec<FunctionId> {
    let functions = module.funcs.iter_local().filter(|(_, function)| {
        let mut blocks = Blocks { module, entry: function.entry_block(), have_parameters: false };
        dfs_in_order(&mut blocks, function, function.entry_block());
        blocks.have_parameters
    });
    functions.map(|(id, _)| id).collect()
}

/// Whether a block takes parameters from the operand stack.
struct Blocks<'a> {
    module: &'a Module,
    entry: InstrSeqId,
    have_parameters: bool,
}

impl<'instr> Visitor<'instr> for Blocks<'_> {
    fn start_instr_seq(&mut self, seq: &'instr InstrSeq) {
        if let InstrSeqType::MultiValue(ty) = seq.ty {
            let has_parameters = !self.module.types.get(ty).params().is_empty();
            self.have_parameters |= has_parameters && seq.id() != self.entry;
        }
    }
}

/// Function names for a message.
pub(crate) fn list(functions: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> =
        functions.iter().take(SHOWN).map(|name| format!("`{}`", name.escape_debug())).collect();
    match functions.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The constructs in one function that Asyncify does not support.
#[derive(Default)]
struct Uses {
    exceptions: bool,
    tables: bool,
    references: bool,
    locals: BTreeSet<walrus::LocalId>,
}

impl Uses {
    fn of(module: &Module, id: FunctionId) -> Self {
        let mut uses = Self::default();
        let function = module.funcs.get(id).kind.unwrap_local();
        dfs_in_order(&mut uses, function, function.entry_block());
        let is_reference =
            |local: &walrus::LocalId| matches!(module.locals.get(*local).ty(), ValType::Ref(_));
        uses.references |= uses.locals.iter().any(is_reference);
        uses
    }
}

impl<'instr> Visitor<'instr> for Uses {
    fn visit_instr(&mut self, instr: &'instr Instr, _: &'instr InstrLocId) {
        match instr {
            Instr::TryTable(_)
            | Instr::Throw(_)
            | Instr::ThrowRef(_)
            | Instr::Try(_)
            | Instr::Rethrow(_) => self.exceptions = true,
            Instr::TableInit(_)
            | Instr::TableCopy(_)
            | Instr::TableFill(_)
            | Instr::ElemDrop(_) => {
                self.tables = true;
            }
            Instr::RefFunc(_) | Instr::RefNull(_) | Instr::TableGet(_) | Instr::CallRef(_) => {
                self.references = true;
            }
            Instr::LocalGet(get) => drop(self.locals.insert(get.local)),
            _ => {}
        }
    }
}
