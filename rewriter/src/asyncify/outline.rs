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
use crate::asyncify::analyse::{Analysis, CallSite, Called, Labels, call_sites};
use crate::asyncify::frames::by_name;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use walrus::ir::{
    Call, CallIndirect, Instr, InstrLocId, InstrSeq, InstrSeqId, Return, ReturnCall,
    ReturnCallIndirect, Unreachable, VisitorMut, dfs_pre_order_mut,
};
use walrus::{FunctionId, FunctionKind, ImportKind, Module, TableId, TypeId, ValType};

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
        let mut fates: BTreeMap<(FunctionId, InstrSeqId), Vec<(CallSite, Fate)>> = BTreeMap::new();
        let (mut hidden, mut lowered) = (BTreeSet::new(), BTreeSet::new());
        for (id, function) in module.funcs.iter_local() {
            let suspends = analysis.suspends(id);
            for call in call_sites(function) {
                let Some(fate) = plan.fate(&call, suspends) else { continue };
                match &fate {
                    Fate::Hides(instr) => drop(hidden.insert(instr.clone())),
                    Fate::Lowers(_) => drop(lowered.insert(id)),
                }
                fates.entry((id, call.sequence)).or_default().push((call, fate));
            }
        }
        let hidden: Vec<OutlinedCall> = hidden.into_iter().collect();
        let named = by_name(module);
        let mut imports = BTreeMap::new();
        for (index, hidden) in hidden.iter().enumerate() {
            imports.insert(hidden.clone(), hidden.import(module, &named, index));
        }
        for ((id, sequence), fates) in fates {
            if let FunctionKind::Local(function) = &mut module.funcs.get_mut(id).kind {
                apply(function.block_mut(sequence), fates, &imports);
            }
        }
        let lowered = lowered.into_iter().collect();
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

/// What becomes of a call that does not stay as it is.
enum Fate {
    Hides(OutlinedCall),
    /// A tail call becomes this, and a return.
    Lowers(Instr),
}

/// Puts into effect what becomes of calls of one sequence, in their order there.
fn apply(
    sequence: &mut InstrSeq,
    fates: Vec<(CallSite, Fate)>,
    imports: &BTreeMap<OutlinedCall, FunctionId>,
) {
    let mut instrs = Vec::with_capacity(sequence.instrs.len() + fates.len());
    let mut fates = fates.into_iter().peekable();
    for (position, (instr, at)) in sequence.instrs.drain(..).enumerate() {
        match fates.next_if(|(call, _)| call.position == position) {
            None => instrs.push((instr, at)),
            Some((_, Fate::Lowers(call))) => {
                instrs.extend([(call, at), (Return {}.into(), at)]);
            }
            Some((call, Fate::Hides(hidden))) => {
                let import = imports.get(&hidden).map(|func| Call { func: *func }.into());
                instrs.push((import.unwrap_or(instr), at));
                if call.is_tail {
                    instrs.push((Unreachable {}.into(), at));
                }
            }
        }
    }
    sequence.instrs = instrs;
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

    /// Of a call in a function that can suspend or not; none where it stays.
    fn fate(&self, call: &CallSite, suspends: bool) -> Option<Fate> {
        let leads_to_suspension = || {
            let site = self.analysis.graph().site(call);
            site.is_none_or(|site| self.analysis.leads_to_suspension(site))
        };
        match (call.called, call.is_tail) {
            (Called::Through(None, _), _) | (Called::Function(_), false) => None,
            (Called::Through(Some(table), ty), false) => {
                let is_hidden = suspends && !leads_to_suspension();
                let through = is_hidden.then(|| self.through(table, ty))??;
                Some(Fate::Hides(OutlinedCall::Indirect(through)))
            }
            (Called::Function(func), true) if leads_to_suspension() => {
                Some(Fate::Lowers(Call { func }.into()))
            }
            (Called::Through(Some(table), ty), true) if leads_to_suspension() => {
                Some(Fate::Lowers(CallIndirect { ty, table }.into()))
            }
            (Called::Function(function), true) => {
                Some(Fate::Hides(OutlinedCall::Tail(self.names.get(&function)?.clone())))
            }
            (Called::Through(Some(table), ty), true) => {
                Some(Fate::Hides(OutlinedCall::TailIndirect(self.through(table, ty)?)))
            }
        }
    }

    fn through(&self, table: TableId, ty: TypeId) -> Option<Through> {
        let (params, results) = self.types.get(&ty)?.clone();
        Some(Through { table: *self.tables.get(&table)?, params, results })
    }
}

/// Shows it again.
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
    fn calls_that_are_hidden_or_stay_are_those_that_the_analysis_saw() {
        // A slot that is known, beside one that is not: after a constant, after a block, and in one.
        let calls = r#"(func $slots (param i32) (result i32)
            i32.const 7
            i32.const 0
            call_indirect (param i32)
            local.get 0
            i32.const 1
            block call $waits_too end
            call_indirect (param i32) (result i32))
          (func $waits_too (call $suspend)))"#;
        let wat = format!("{}{calls}", WAT.strip_suffix(')').unwrap());
        let mut module = parse(&wat::parse_str(wat).unwrap()).unwrap();
        let analysis = Analysis::of(&module);
        let mut count = 0;
        for (id, function) in module.funcs.iter_local() {
            let calls = call_sites(function);
            count += calls.len();
            let resolved: BTreeSet<_> =
                calls.iter().map(|call| analysis.graph().site(call).unwrap()).collect();
            assert_eq!(resolved, analysis.graph().sites(id).collect());
        }
        assert_eq!(count, 12);
        Outlined::apply(&mut module, &analysis);
        // What is left of calls by pointer where something can suspend leads to a suspension, by the same analysis.
        for (id, function) in module.funcs.iter_local().filter(|(id, _)| analysis.suspends(*id)) {
            for call in call_sites(function) {
                if matches!(call.called, Called::Through(..)) {
                    let site = analysis.graph().site(&call).unwrap();
                    assert!(analysis.leads_to_suspension(site), "{id:?}: {call:?}");
                }
            }
        }
    }

    #[test]
    fn what_was_hidden_comes_back() {
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
