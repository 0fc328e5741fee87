//! The live code of a function: its instructions in order, and its blocks as a tree.
//!
//! Both are flat lists, since a function can be nested as deep as it is long. Code that nothing reaches is left out, as
//! the validator tells it: what follows an unconditional branch, up to the end of the block.

use super::types::{Types, inconsistent, is_never_null, storable};
use super::unsupported;
use crate::Error;
use std::collections::BTreeSet;
use std::ops::Range;
use wasmparser::{
    Catch, FuncToValidate, FuncValidator, FuncValidatorAllocations, FunctionBody, Operator,
    ValType, ValidatorResources,
};

/// Number of a block; branches lead to one. 0 is the function itself.
pub(super) type Label = u32;

/// The function's own label.
pub(super) const FUNCTION: Label = 0;

/// What an instruction is to the rewriting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Anything with an effect, or that can trap.
    Plain,
    /// A call that cannot suspend: it can throw.
    Call,
    /// Gives the same result for the same operands, whenever, and has no effect: it can be done again.
    Harmless,
    /// A number.
    Const,
    Get(u32),
    Set(u32),
    Tee(u32),
    Branch(Label),
    /// A branch by a condition or a reference, with its opcode.
    BranchIf(u8, Label),
    /// Index into [`Tree::tables`].
    BranchTable(u32),
    Return,
    /// Nothing follows: `unreachable`, `throw`, a tail call that cannot suspend.
    Stop,
    /// `rethrow`, of the legacy `try` with this label.
    Rethrow(Label),
    Open(Label),
    Else(Label),
    /// `catch` or `catch_all` of a legacy `try`.
    Catch(Label),
    /// The end of a legacy `try` without handlers of its own, and whose it has.
    Delegate(Label, Label),
    End(Label),
    /// A call that can suspend, by its number.
    Site(u32),
}

/// One instruction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instr {
    pub(super) kind: Kind,
    /// Where it lies in the module.
    pub(super) start: usize,
    pub(super) end: usize,
    /// How many operands it takes.
    pub(super) pops: usize,
    /// Range in [`Tree::results`] of the types that it gives.
    first: u32,
    count: u32,
}

/// How a block is entered and left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Block,
    Loop,
    If,
    TryTable,
    LegacyTry,
}

/// A block of the function.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) form: Form,
    pub(super) params: Vec<ValType>,
    pub(super) results: Vec<ValType>,
    /// Calls inside that can suspend.
    pub(super) sites: u32,
    /// Index of the instruction that ends it.
    pub(super) end: usize,
    /// Whether its first part, before an alternative or handlers, runs to its end.
    pub(super) falls: bool,
    pub(super) has_else: bool,
    /// Index of the first handler of a legacy `try`.
    pub(super) handlers: Option<usize>,
    /// Whose handlers a `delegate` takes.
    pub(super) catches: Vec<(Catch, Label)>,
    /// Range in [`Tree::writes`] of the locals written inside.
    pub(super) writes: Range<usize>,
}

/// How a call that can suspend finds its callee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Callee {
    Direct,
    /// By the last operand: an index, or a reference.
    Operand,
}

/// A call that can suspend.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site {
    pub(super) callee: Callee,
    /// Whether it ends its function.
    pub(super) is_tail: bool,
}

/// A function.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) code: Vec<Instr>,
    pub(super) blocks: Vec<Block>,
    pub(super) sites: Vec<Site>,
    /// Calls that could suspend if anything reached them.
    pub(super) dead_sites: usize,
    /// Targets of `br_table`, and where it goes otherwise.
    pub(super) tables: Vec<(Vec<Label>, Label)>,
    /// Types of all locals, parameters first.
    pub(super) locals: Vec<ValType>,
    /// Locals that are not parameters, as written.
    pub(super) declared: Vec<(u32, ValType)>,
    /// Locals that held references which are never null, and are made to hold nulls: the rewriting moves the starts of blocks,
    /// and with them the code that the validator takes for certain to have run.
    pub(super) relaxed: BTreeSet<u32>,
    /// Locals in the order in which they are written.
    writes: Vec<u32>,
    /// For each local, where in that order it is.
    written: Vec<Vec<usize>>,
    results: Vec<ValType>,
}

impl Tree {
    /// The types of what an instruction gives.
    pub(super) fn results(&self, instr: &Instr) -> &[ValType] {
        &self.results[instr.first as usize..(instr.first + instr.count) as usize]
    }

    /// What the function returns.
    pub(super) fn returned(&self) -> &[ValType] {
        &self.blocks[FUNCTION as usize].results
    }

    /// The locals that a block writes, more than once where it does.
    pub(super) fn writes(&self, block: &Block) -> &[u32] {
        &self.writes[block.writes.clone()]
    }

    /// Whether a block writes a local.
    pub(super) fn is_written(&self, local: u32, block: &Block) -> bool {
        let places = &self.written[local as usize];
        let first = places.partition_point(|place| *place < block.writes.start);
        places.get(first).is_some_and(|place| *place < block.writes.end)
    }
}

/// Reads a function, of which the calls at `sites` can suspend.
///
/// # Errors
/// What cannot be instrumented, with the function's `name`.
pub(super) fn read(
    wasm: &[u8],
    function: FuncToValidate<ValidatorResources>,
    body: &FunctionBody<'_>,
    types: &Types,
    sites: &BTreeSet<usize>,
    name: &str,
) -> Result<Tree, Error> {
    let ty = types.get(function.ty)?.clone();
    let validator = function.into_validator(FuncValidatorAllocations::default());
    let tree = Tree {
        code: Vec::new(),
        blocks: Vec::new(),
        sites: Vec::new(),
        dead_sites: 0,
        tables: Vec::new(),
        locals: ty.params().to_vec(),
        declared: Vec::new(),
        relaxed: BTreeSet::new(),
        writes: Vec::new(),
        written: Vec::new(),
        results: Vec::new(),
    };
    let mut reader = Reader { wasm, validator, types, sites, name, tree, open: Vec::new() };
    reader.locals(body)?;
    reader.open(Form::Block, (Vec::new(), ty.results().to_vec()), Vec::new());
    reader.body(body)?;
    let mut tree = reader.tree;
    tree.written = vec![Vec::new(); tree.locals.len()];
    for (place, local) in tree.writes.iter().enumerate() {
        tree.written[*local as usize].push(place);
    }
    Ok(tree)
}

struct Reader<'a> {
    wasm: &'a [u8],
    validator: FuncValidator<ValidatorResources>,
    types: &'a Types,
    sites: &'a BTreeSet<usize>,
    name: &'a str,
    tree: Tree,
    /// Blocks that are not closed yet.
    open: Vec<Label>,
}

fn unread(error: &wasmparser::BinaryReaderError) -> Error {
    Error::Rewrite { message: error.to_string() }
}

impl Reader<'_> {
    fn locals(&mut self, body: &FunctionBody<'_>) -> Result<(), Error> {
        let mut locals = body.get_locals_reader().map_err(|error| unread(&error))?;
        for _ in 0..locals.get_count() {
            let offset = locals.original_position();
            let (count, ty) = locals.read().map_err(|error| unread(&error))?;
            self.validator.define_locals(offset, count, ty).map_err(|error| unread(&error))?;
            if is_never_null(ty) {
                let first = self.tree.locals.len() as u32;
                self.tree.relaxed.extend(first..first + count);
            }
            let ty = storable(ty);
            self.tree.declared.push((count, ty));
            self.tree.locals.extend(std::iter::repeat_n(ty, count as usize));
        }
        Ok(())
    }

    fn body(&mut self, body: &FunctionBody<'_>) -> Result<(), Error> {
        let mut reader = body.get_operators_reader().map_err(|error| unread(&error))?;
        // How many blocks deep in code that nothing reaches.
        let mut dead: Option<usize> = None;
        while !reader.eof() {
            let start = reader.original_position();
            let operator = reader.read().map_err(|error| unread(&error))?;
            let end = reader.original_position();
            if let Some(depth) = dead {
                let still = match &operator {
                    Operator::Block { .. }
                    | Operator::Loop { .. }
                    | Operator::If { .. }
                    | Operator::TryTable { .. }
                    | Operator::Try { .. } => Some(depth + 1),
                    Operator::End | Operator::Delegate { .. } => depth.checked_sub(1),
                    Operator::Else | Operator::Catch { .. } | Operator::CatchAll if depth == 0 => {
                        None
                    }
                    _ => Some(depth),
                };
                if still.is_some() {
                    self.tree.dead_sites += usize::from(self.sites.contains(&start));
                    self.validate(start, &operator)?;
                    dead = still;
                    continue;
                }
                dead = None;
            }
            self.operator(start, end, &operator)?;
            if !self.open.is_empty() && self.is_dead()? {
                dead = Some(0);
            }
        }
        match self.open.is_empty() {
            true => Ok(()),
            false => Err(inconsistent("a function without an end")),
        }
    }

    fn validate(&mut self, offset: usize, operator: &Operator<'_>) -> Result<(), Error> {
        self.validator.op(offset, operator).map_err(|error| unread(&error))
    }

    fn is_dead(&self) -> Result<bool, Error> {
        let frame = self.validator.get_control_frame(0);
        Ok(frame.ok_or_else(|| inconsistent("code outside a block"))?.unreachable)
    }

    fn operator(&mut self, start: usize, end: usize, operator: &Operator<'_>) -> Result<(), Error> {
        let push = |reader: &mut Self, kind, pops| {
            reader.tree.code.push(Instr { kind, start, end, pops, first: 0, count: 0 });
        };
        let opened = match operator {
            Operator::Block { blockty } => Some((Form::Block, *blockty, Vec::new())),
            Operator::Loop { blockty } => Some((Form::Loop, *blockty, Vec::new())),
            Operator::If { blockty } => Some((Form::If, *blockty, Vec::new())),
            Operator::Try { blockty } => Some((Form::LegacyTry, *blockty, Vec::new())),
            Operator::TryTable { try_table } => {
                let catches = try_table.catches.iter().map(|catch| {
                    let (Catch::One { label, .. }
                    | Catch::OneRef { label, .. }
                    | Catch::All { label }
                    | Catch::AllRef { label }) = catch;
                    Ok((*catch, self.label(*label)?))
                });
                let catches = catches.collect::<Result<_, Error>>()?;
                Some((Form::TryTable, try_table.ty, catches))
            }
            _ => None,
        };
        if let Some((form, ty, catches)) = opened {
            let signature = self.types.of_block(ty)?;
            self.validate(start, operator)?;
            let pops = signature.0.len() + usize::from(form == Form::If);
            let label = self.open(form, signature, catches);
            push(self, Kind::Open(label), pops);
            return Ok(());
        }
        match operator {
            Operator::Else | Operator::Catch { .. } | Operator::CatchAll => {
                let falls = !self.is_dead()?;
                let (label, at) = (self.label(0)?, self.tree.code.len());
                let block = &mut self.tree.blocks[label as usize];
                let kind = match operator {
                    Operator::Else => {
                        (block.has_else, block.falls) = (true, falls);
                        Kind::Else(label)
                    }
                    _ => {
                        block.handlers.get_or_insert(at);
                        Kind::Catch(label)
                    }
                };
                push(self, kind, 0);
                return self.validate(start, operator);
            }
            Operator::End | Operator::Delegate { .. } => {
                let falls = !self.is_dead()?;
                let label = self.label(0)?;
                let kind = match operator {
                    Operator::Delegate { relative_depth } => {
                        // Counted from outside of the `try`.
                        Kind::Delegate(label, self.label(relative_depth + 1)?)
                    }
                    _ => Kind::End(label),
                };
                push(self, kind, 0);
                self.close(label, falls);
                return self.validate(start, operator);
            }
            _ => {}
        }
        let (pops, results) = operator
            .operator_arity(&self.validator)
            .ok_or_else(|| inconsistent("an instruction of unknown type"))?;
        let kind = self.kind(start, end, operator)?;
        self.validate(start, operator)?;
        let first = self.tree.results.len() as u32;
        let mut count = 0;
        if !self.is_dead()? {
            for depth in (0..results as usize).rev() {
                let ty = self.validator.get_operand_type(depth).flatten();
                let ty = ty.ok_or_else(|| inconsistent("a value of unknown type"))?;
                self.tree.results.push(self.types.written(ty)?);
            }
            count = results;
        }
        let pops = pops as usize;
        self.tree.code.push(Instr { kind, start, end, pops, first, count });
        Ok(())
    }

    fn open(
        &mut self,
        form: Form,
        (params, results): (Vec<ValType>, Vec<ValType>),
        catches: Vec<(Catch, Label)>,
    ) -> Label {
        let label = self.tree.blocks.len() as Label;
        let writes = self.tree.writes.len();
        self.tree.blocks.push(Block {
            form,
            params,
            results,
            sites: 0,
            end: 0,
            falls: false,
            has_else: false,
            handlers: None,
            catches,
            writes: writes..writes,
        });
        self.open.push(label);
        label
    }

    fn close(&mut self, label: Label, falls: bool) {
        self.open.pop();
        let block = &mut self.tree.blocks[label as usize];
        block.end = self.tree.code.len() - 1;
        block.writes.end = self.tree.writes.len();
        if !block.has_else && block.handlers.is_none() {
            block.falls = falls;
        }
        let sites = block.sites;
        if let Some(outer) = self.open.last() {
            self.tree.blocks[*outer as usize].sites += sites;
        }
    }

    /// The label of a block around the present place.
    fn label(&self, depth: u32) -> Result<Label, Error> {
        let index = self.open.len().checked_sub(1 + depth as usize);
        let label = index.and_then(|index| self.open.get(index));
        label.copied().ok_or_else(|| inconsistent("a branch to nowhere"))
    }

    fn refuse(&self, what: &'static str, advice: &'static str) -> Error {
        unsupported(what, self.name, advice)
    }

    fn kind(&mut self, start: usize, end: usize, operator: &Operator<'_>) -> Result<Kind, Error> {
        if self.sites.contains(&start) {
            return self.site(operator);
        }
        let number = &self.wasm[start..end];
        Ok(match operator {
            Operator::LocalGet { local_index } => Kind::Get(*local_index),
            Operator::LocalSet { local_index } => {
                self.tree.writes.push(*local_index);
                Kind::Set(*local_index)
            }
            Operator::LocalTee { local_index } => {
                self.tree.writes.push(*local_index);
                Kind::Tee(*local_index)
            }
            Operator::I32Const { .. }
            | Operator::I64Const { .. }
            | Operator::F32Const { .. }
            | Operator::F64Const { .. }
            | Operator::V128Const { .. } => Kind::Const,
            Operator::Br { relative_depth } => Kind::Branch(self.label(*relative_depth)?),
            Operator::BrIf { relative_depth }
            | Operator::BrOnNull { relative_depth }
            | Operator::BrOnNonNull { relative_depth } => {
                Kind::BranchIf(number[0], self.label(*relative_depth)?)
            }
            Operator::BrOnCast { .. } | Operator::BrOnCastFail { .. } => {
                return Err(self.refuse("garbage collection", "build the function without it"));
            }
            Operator::BrTable { targets } => {
                let labels = targets
                    .targets()
                    .map(|depth| self.label(depth.map_err(|error| unread(&error))?));
                let labels = labels.collect::<Result<_, Error>>()?;
                self.tree.tables.push((labels, self.label(targets.default())?));
                Kind::BranchTable(self.tree.tables.len() as u32 - 1)
            }
            Operator::Return => Kind::Return,
            Operator::Unreachable
            | Operator::Throw { .. }
            | Operator::ThrowRef
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. } => Kind::Stop,
            Operator::Rethrow { relative_depth } => Kind::Rethrow(self.label(*relative_depth)?),
            Operator::Call { .. } | Operator::CallIndirect { .. } | Operator::CallRef { .. } => {
                Kind::Call
            }
            _ if is_harmless(number) => Kind::Harmless,
            _ => Kind::Plain,
        })
    }

    fn site(&mut self, operator: &Operator<'_>) -> Result<Kind, Error> {
        let (callee, is_tail) = match operator {
            Operator::Call { .. } => (Callee::Direct, false),
            Operator::ReturnCall { .. } => (Callee::Direct, true),
            Operator::CallIndirect { .. } | Operator::CallRef { .. } => (Callee::Operand, false),
            Operator::ReturnCallIndirect { .. } | Operator::ReturnCallRef { .. } => {
                (Callee::Operand, true)
            }
            _ => return Err(inconsistent("a call that is none")),
        };
        let is_in_handler = |label: &Label| self.tree.blocks[*label as usize].handlers.is_some();
        if self.open.iter().any(is_in_handler) {
            return Err(self.refuse(
                "a wait inside a handler of the draft of exceptions (`catch`), which cannot be entered again,",
                "have the compiler write the standard's `try_table`",
            ));
        }
        let inner = self.label(0)?;
        self.tree.blocks[inner as usize].sites += 1;
        self.tree.sites.push(Site { callee, is_tail });
        Ok(Kind::Site(self.tree.sites.len() as u32 - 1))
    }
}

/// Whether an instruction, by its bytes, neither traps nor has an effect, and gives the same for the same operands.
fn is_harmless(bytes: &[u8]) -> bool {
    match bytes {
        // Division, and floats that are made integers, can trap.
        [0x6d..=0x70 | 0x7f..=0x82 | 0xa8..=0xab | 0xae..=0xb1, ..] => false,
        // `select`, arithmetic, `ref.null`, `ref.is_null`, `ref.func`.
        [0x1b | 0x1c | 0x45..=0xc4 | 0xd0 | 0xd1 | 0xd2, ..] => true,
        // Saturating conversion.
        [0xfc, 0x00..=0x07] => true,
        // SIMD of one or two bytes without loads and stores. What is relaxed lies beyond.
        [0xfd, 0x0d..=0x53 | 0x5e..=0x7f, ..] | [0xfd, 0x80..=0xff, 0x01, ..] => true,
        _ => false,
    }
}
