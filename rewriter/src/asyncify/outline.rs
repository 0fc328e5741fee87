//! Outlines calls that Asyncify must not see: while it runs, they are calls of placeholder imports.
//!
//! Before, in a function that can suspend and one that cannot:
//!
//! ```wat
//! (func $can (call_indirect (type $t) (local.get 0) (local.get 1)) (call $waits))
//! (func $cannot (return_call $other (local.get 0)))
//! ```
//!
//! While Asyncify runs:
//!
//! ```wat
//! (import "faasm_outlined" "0" (func $outlined0 (param i32 i32)))    ;; the operands of call_indirect
//! (import "faasm_outlined" "1" (func $outlined1 (param i32)))        ;; those of $other
//! (func $can (call $outlined0 (local.get 0) (local.get 1)) (call $waits))
//! (func $cannot (call $outlined1 (local.get 0)) (unreachable))
//! ```
//!
//! Afterwards the calls of the imports become the instructions again, and the imports go.
//!
//! * An **indirect call that cannot lead to a suspension**, in a function that can suspend: Asyncify takes every indirect
//!   call of a listed function for one that suspends, and would guard it.
//! * A **tail call** in a function that cannot suspend: Asyncify refuses a module that has one anywhere. In a function that
//!   can suspend it becomes a call and a return, for the frame is needed to come back to.
//!
//! Why it is safe: only calls that the analysis of these very bytes has ruled out are hidden, and to it an import other
//! than `suspend` does not suspend, so that the analysis of the outlined module has to give the same functions (it is
//! compared). An import can do whatever the hidden instruction can, so nothing may be moved across it. What Asyncify adds
//! around the rest does not touch the operands, and the instruction that comes back has the type of the import.

use crate::Error;
use crate::asyncify::analyse::{Analysis, Labels, constant};
use crate::asyncify::frames::by_name;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use walrus::ir::{
    Call, CallIndirect, Instr, InstrLocId, InstrSeq, Return, ReturnCall, ReturnCallIndirect,
    Unreachable, Visitor, VisitorMut, dfs_in_order, dfs_pre_order_mut,
};
use walrus::{FunctionId, ImportKind, Module, TableId, TypeId, ValType};

/// Import module of the placeholders, which are named by number.
const MODULE: &str = "faasm_outlined";

/// An outlined instruction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum OutlinedCall {
    Indirect(Through),
    /// To the function of this name.
    Tail(String),
    TailIndirect(Through),
}

/// A call through the table of this position.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Through {
    table: usize,
    params: Vec<ValType>,
    results: Vec<ValType>,
}

/// The outlined instructions, by the number of their placeholder.
#[derive(Debug)]
pub(crate) struct Outlined(Vec<OutlinedCall>);

impl Outlined {
    /// Outlines calls of a module whose functions all have unique names; also gives the functions in which a tail call became a
    /// plain one.
    pub(crate) fn apply(module: &mut Module, analysis: &Analysis) -> (Outlined, Vec<FunctionId>) {
        let plan = Plan::of(module, analysis);
        let (mut hidden, mut lowered) = (BTreeSet::new(), Vec::new());
        for (id, function) in module.funcs.iter_local() {
            let mut look = FindCalls {
                plan: &plan,
                suspends: analysis.suspends(id),
                hidden,
                lowers: false,
                index: None,
            };
            dfs_in_order(&mut look, function, function.entry_block());
            if look.lowers {
                lowered.push(id);
            }
            hidden = look.hidden;
        }
        let hidden: Vec<OutlinedCall> = hidden.into_iter().collect();
        let named = by_name(module);
        let mut imports = BTreeMap::new();
        for (index, hidden) in hidden.iter().enumerate() {
            imports.insert(hidden.clone(), hidden.import(module, &named, index));
        }
        for (id, function) in module.funcs.iter_local_mut() {
            let mut hide =
                ReplaceCalls { plan: &plan, suspends: analysis.suspends(id), imports: &imports };
            let entry = function.entry_block();
            dfs_pre_order_mut(&mut hide, function, entry);
        }
        (Outlined(hidden), lowered)
    }

    /// Restores all outlined calls.
    ///
    /// # Errors
    /// A function, table or type that one of them needs is gone.
    pub(crate) fn restore(&self, module: &mut Module) -> Result<(), Error> {
        let mut behind = BTreeMap::new();
        let mut imports = Vec::new();
        for import in module.imports.iter().filter(|import| import.module == MODULE) {
            let hidden = import.name.parse().ok().and_then(|index: usize| self.0.get(index));
            if let (ImportKind::Function(function), Some(hidden)) = (&import.kind, hidden) {
                behind.insert(*function, hidden);
                imports.push((import.id(), *function));
            }
        }
        let named = by_name(module);
        let mut instrs = BTreeMap::new();
        for (function, hidden) in behind {
            instrs.insert(function, hidden.instr(module, &named)?);
        }
        let mut show = RestoreCalls { instrs };
        for (_, function) in module.funcs.iter_local_mut() {
            let entry = function.entry_block();
            dfs_pre_order_mut(&mut show, function, entry);
        }
        for (import, function) in imports {
            module.imports.delete(import);
            module.funcs.delete(function);
        }
        Ok(())
    }
}

impl OutlinedCall {
    /// The placeholder import, which takes the operands of the instruction.
    fn import(
        &self,
        module: &mut Module,
        named: &HashMap<String, FunctionId>,
        index: usize,
    ) -> FunctionId {
        let (mut params, results) = match self {
            Self::Indirect(through) => (through.params.clone(), through.results.clone()),
            // Its results are never used.
            Self::TailIndirect(through) => (through.params.clone(), Vec::new()),
            Self::Tail(function) => {
                let callee = named.get(function).map(|id| module.funcs.get(*id).ty());
                let params = callee.map(|ty| module.types.get(ty).params().to_vec());
                (params.unwrap_or_default(), Vec::new())
            }
        };
        if !matches!(self, Self::Tail(_)) {
            params.push(ValType::I32);
        }
        let ty = module.types.add(&params, &results);
        let (function, _) = module.add_import_func(MODULE, &index.to_string(), ty);
        module.funcs.get_mut(function).name = Some(format!("{MODULE}{index}"));
        function
    }

    /// The instruction.
    fn instr(
        &self,
        module: &mut Module,
        named: &HashMap<String, FunctionId>,
    ) -> Result<Instr, Error> {
        let gone = |what: String| Error::changed("instrument", format!("{what} (it is gone)"));
        match self {
            Self::Tail(function) => {
                let func = named.get(function).copied();
                Ok(ReturnCall { func: func.ok_or_else(|| gone(format!("function `{function}`")))? }
                    .into())
            }
            Self::Indirect(through) | Self::TailIndirect(through) => {
                let table = module.tables.iter().nth(through.table).map(walrus::Table::id);
                let table = table.ok_or_else(|| gone(format!("table {}", through.table)))?;
                let ty = module.types.add(&through.params, &through.results);
                Ok(match self {
                    Self::Indirect(_) => CallIndirect { ty, table }.into(),
                    _ => ReturnCallIndirect { ty, table }.into(),
                })
            }
        }
    }
}

/// What happens to a call.
enum Fate {
    Stays,
    Hides(OutlinedCall),
    /// A tail call becomes this, and a return.
    Lowers(Instr),
}

/// Decides the fate of each call.
struct Plan<'a> {
    analysis: &'a Analysis,
    names: BTreeMap<FunctionId, String>,
    /// Positions.
    tables: BTreeMap<TableId, usize>,
    types: BTreeMap<TypeId, (Vec<ValType>, Vec<ValType>)>,
}

impl<'a> Plan<'a> {
    fn of(module: &Module, analysis: &'a Analysis) -> Self {
        let types = module.types.iter().filter(|ty| ty.is_function());
        let labels = Labels::of(module);
        Self {
            analysis,
            names: module.funcs.iter().map(|f| (f.id(), labels.get(f.id()))).collect(),
            tables: module.tables.iter().map(walrus::Table::id).zip(0..).collect(),
            types: types
                .map(|ty| (ty.id(), (ty.params().to_vec(), ty.results().to_vec())))
                .collect(),
        }
    }

    /// Of an instruction after a constant `index`, in a function that can suspend or not.
    fn fate(&self, instr: &Instr, index: Option<i32>, suspends: bool) -> Fate {
        let leads_to_suspension = || {
            let site = self.analysis.graph().site(instr, index);
            site.is_none_or(|site| self.analysis.leads_to_suspension(site))
        };
        match instr {
            Instr::CallIndirect(call) if suspends && !leads_to_suspension() => self
                .through(call.table, call.ty)
                .map_or(Fate::Stays, |it| Fate::Hides(OutlinedCall::Indirect(it))),
            Instr::ReturnCall(call) if leads_to_suspension() => {
                Fate::Lowers(Call { func: call.func }.into())
            }
            Instr::ReturnCallIndirect(call) if leads_to_suspension() => {
                Fate::Lowers(CallIndirect { ty: call.ty, table: call.table }.into())
            }
            Instr::ReturnCall(call) => {
                let name = self.names.get(&call.func).cloned();
                name.map_or(Fate::Stays, |name| Fate::Hides(OutlinedCall::Tail(name)))
            }
            Instr::ReturnCallIndirect(call) => self
                .through(call.table, call.ty)
                .map_or(Fate::Stays, |it| Fate::Hides(OutlinedCall::TailIndirect(it))),
            _ => Fate::Stays,
        }
    }

    fn through(&self, table: TableId, ty: TypeId) -> Option<Through> {
        let (params, results) = self.types.get(&ty)?.clone();
        Some(Through { table: *self.tables.get(&table)?, params, results })
    }
}

/// Collects the calls to outline.
struct FindCalls<'a> {
    plan: &'a Plan<'a>,
    suspends: bool,
    hidden: BTreeSet<OutlinedCall>,
    lowers: bool,
    /// The constant just before, in the same sequence.
    index: Option<i32>,
}

impl<'instr> Visitor<'instr> for FindCalls<'_> {
    fn start_instr_seq(&mut self, _: &'instr InstrSeq) {
        self.index = None;
    }

    fn end_instr_seq(&mut self, _: &'instr InstrSeq) {
        self.index = None;
    }

    fn visit_instr(&mut self, instr: &'instr Instr, _: &'instr InstrLocId) {
        let index = std::mem::replace(&mut self.index, constant(instr));
        match self.plan.fate(instr, index, self.suspends) {
            Fate::Stays => {}
            Fate::Hides(hidden) => drop(self.hidden.insert(hidden)),
            Fate::Lowers(_) => self.lowers = true,
        }
    }
}

/// Replaces calls by calls of placeholders.
struct ReplaceCalls<'a> {
    plan: &'a Plan<'a>,
    suspends: bool,
    imports: &'a BTreeMap<OutlinedCall, FunctionId>,
}

impl VisitorMut for ReplaceCalls<'_> {
    fn start_instr_seq_mut(&mut self, seq: &mut InstrSeq) {
        let mut index = None;
        let mut instrs = Vec::with_capacity(seq.instrs.len());
        for (instr, at) in seq.instrs.drain(..) {
            let before = std::mem::replace(&mut index, constant(&instr));
            let import = |hidden| self.imports.get(hidden).map(|func| Call { func: *func }.into());
            match self.plan.fate(&instr, before, self.suspends) {
                Fate::Stays => instrs.push((instr, at)),
                Fate::Lowers(call) => instrs.extend([(call, at), (Return {}.into(), at)]),
                Fate::Hides(hidden) => {
                    let is_tail = !matches!(hidden, OutlinedCall::Indirect(_));
                    instrs.push((import(&hidden).unwrap_or(instr), at));
                    if is_tail {
                        instrs.push((Unreachable {}.into(), at));
                    }
                }
            }
        }
        seq.instrs = instrs;
    }
}

/// Restores the original calls.
struct RestoreCalls {
    instrs: BTreeMap<FunctionId, Instr>,
}

impl VisitorMut for RestoreCalls {
    fn visit_instr_mut(&mut self, instr: &mut Instr, _: &mut InstrLocId) {
        if let Instr::Call(call) = instr
            && let Some(hidden) = self.instrs.get(&call.func)
        {
            *instr = hidden.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::normalise::parse;

    const WAT: &str = r#"(module
        (import "faasm_bridge" "suspend" (func $suspend))
        (memory 1)
        (table 4 funcref)
        (elem (i32.const 0) func $waits $plain $tail)
        (func $waits (param i32) (call $suspend))
        (func $plain (param i32) (result i32) (local.get 0))
        (func $can (param i32) (result i32)
          (call_indirect (param i32) (local.get 0) (local.get 0))
          (call_indirect (param i32) (result i32) (local.get 0) (local.get 0)))
        (func $cannot (param i32) (result i32)
          (call_indirect (param i32) (result i32) (local.get 0) (local.get 0)))
        (func $tail (param i64 i32) (result i32) (return_call $plain (local.get 1)))
        (func $tail_by_pointer (param i32) (result i32)
          (return_call_indirect (param i32) (result i32) (local.get 0) (local.get 0)))
        (func $tail_that_waits (param i32) (return_call $waits (local.get 0)))
        (func $main (export "_start") (call $tail_that_waits (i32.const 1))))"#;

    fn outlined() -> (Module, Outlined, Vec<String>) {
        let mut module = parse(&wat::parse_str(WAT).unwrap()).unwrap();
        let analysis = Analysis::of(&module);
        let (outlined_calls, lowered) = Outlined::apply(&mut module, &analysis);
        let lowered = lowered.iter().map(|id| Labels::of(&module).get(*id)).collect();
        (module, outlined_calls, lowered)
    }

    /// The text of each function by its name.
    fn functions(module: &mut Module) -> BTreeMap<String, String> {
        let wasm = module.emit_wasm();
        wasmparser::validate(&wasm).unwrap();
        let text = wasmprinter::print_bytes(&wasm).unwrap();
        let functions = text.split("\n  (func $").skip(1).map(|function| {
            let (name, body) = function.split_once(' ').unwrap();
            // Types are numbered in the order of the module.
            let body = body.replace(|c: char| c.is_ascii_digit(), "");
            (name.to_owned(), body)
        });
        functions.collect()
    }

    #[test]
    fn only_what_asyncify_must_not_see_is_hidden() {
        let (mut module, outlined_calls, lowered) = outlined();
        assert_eq!(lowered, ["tail_that_waits"]);
        assert_eq!(outlined_calls.0.len(), 3, "{outlined_calls:?}");
        let functions = functions(&mut module);
        assert_eq!(functions["can"].matches("call_indirect").count(), 1);
        assert_eq!(functions["can"].matches("call $faasm_outlined").count(), 1);
        assert_eq!(functions["cannot"].matches("call_indirect").count(), 1);
        for tail in ["tail", "tail_by_pointer", "tail_that_waits"] {
            assert!(!functions[tail].contains("return_call"), "{}", functions[tail]);
        }
        assert_eq!(functions["tail"].matches("unreachable").count(), 1);
    }

    #[test]
    fn outlining_changes_nothing_of_the_analysis() {
        let (module, ..) = outlined();
        let names: Vec<String> =
            Analysis::of(&module).suspending().map(|id| Labels::of(&module).get(id)).collect();
        assert_eq!(names, ["waits", "can", "tail_that_waits", "main"]);
    }

    #[test]
    fn outlined_calls_are_restored() {
        let mut original = parse(&wat::parse_str(WAT).unwrap()).unwrap();
        let (mut module, outlined_calls, _) = outlined();
        outlined_calls.restore(&mut module).unwrap();
        assert!(!module.imports.iter().any(|import| import.module == MODULE));
        let (before, mut after) = (functions(&mut original), functions(&mut module));
        for (name, body) in &mut after {
            if name.starts_with("tail") {
                *body = body.replacen("\n    unreachable", "", 1);
            }
        }
        assert_eq!(after["tail_that_waits"].matches("return").count(), 1);
        after.insert("tail_that_waits".to_owned(), before["tail_that_waits"].clone());
        assert_eq!(before, after);
    }
}
