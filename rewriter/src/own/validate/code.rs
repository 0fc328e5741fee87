//! A function's instructions with what each takes and gives, and its blocks.

use super::Fault;
use std::ops::Range;
use wasmparser::{
    BlockType, Catch, CompositeInnerType, FuncToValidate, FuncValidatorAllocations, FunctionBody,
    Operator, SubType, ValType, ValidatorResources, WasmModuleResources,
};

#[derive(Debug)]
pub(super) struct Op<'a> {
    pub(super) operator: Operator<'a>,
    pub(super) bytes: &'a [u8],
    pub(super) offset: usize,
    pub(super) pops: usize,
    pub(super) pushes: usize,
    /// The block that it opens, divides or ends.
    pub(super) block: usize,
    /// Range in [`Code::targets`] of the blocks that it can branch to.
    pub(super) targets: Range<usize>,
}

#[derive(Debug)]
pub(super) struct Block {
    pub(super) params: Vec<ValType>,
    pub(super) results: Vec<ValType>,
    pub(super) is_loop: bool,
    pub(super) is_try: bool,
    pub(super) has_else: bool,
    /// Indices of the instructions that open and end it.
    pub(super) open: usize,
    pub(super) end: usize,
    /// Range in [`Code::targets`].
    pub(super) catches: Range<usize>,
}

impl Block {
    /// How many values a branch to it carries.
    pub(super) fn arity(&self) -> usize {
        if self.is_loop { self.params.len() } else { self.results.len() }
    }
}

#[derive(Debug)]
pub(super) struct Code<'a> {
    /// Types of parameters, then of other locals.
    pub(super) locals: Vec<ValType>,
    pub(super) params: usize,
    pub(super) ops: Vec<Op<'a>>,
    /// In the order in which they are opened; 0 is the function.
    pub(super) blocks: Vec<Block>,
    pub(super) targets: Vec<usize>,
    /// Locals in the order in which they are written, with the instruction that does.
    pub(super) writes: Vec<(usize, u32)>,
}

fn signature(
    ty: BlockType,
    resources: &ValidatorResources,
) -> Result<(Vec<ValType>, Vec<ValType>), Fault> {
    Ok(match ty {
        BlockType::Empty => (Vec::new(), Vec::new()),
        BlockType::Type(ty) => (Vec::new(), vec![ty]),
        BlockType::FuncType(index) => match resources.sub_type_at(index) {
            Some(SubType { composite_type, .. }) => match &composite_type.inner {
                CompositeInnerType::Func(ty) => (ty.params().to_vec(), ty.results().to_vec()),
                _ => return Err(Fault::new("a block of strange type")),
            },
            None => return Err(Fault::new("a block of unknown type")),
        },
    })
}

impl<'a> Code<'a> {
    /// Reads and validates a function; of code that cannot be reached, nothing is kept.
    pub(super) fn read(
        wasm: &'a [u8],
        function: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'a>,
    ) -> Result<Self, Fault> {
        let ty = function.ty;
        let mut validator = function.into_validator(FuncValidatorAllocations::default());
        let (params, results) = signature(BlockType::FuncType(ty), validator.resources())?;
        let mut code = Self {
            locals: params.clone(),
            params: params.len(),
            ops: Vec::new(),
            blocks: Vec::new(),
            targets: Vec::new(),
            writes: Vec::new(),
        };
        let mut locals = body.get_locals_reader()?;
        for _ in 0..locals.get_count() {
            let offset = locals.original_position();
            let (count, ty) = locals.read()?;
            validator.define_locals(offset, count, ty)?;
            code.locals.extend(std::iter::repeat_n(ty, count as usize));
        }
        let mut open = vec![code.open((Vec::new(), results))];
        // Blocks that were opened since an unconditional branch.
        let mut skipped: Option<usize> = None;
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            let offset = reader.original_position();
            let operator = reader.read()?;
            let bytes = &wasm[offset..reader.original_position()];
            let opens = matches!(
                operator,
                Operator::Block { .. }
                    | Operator::Loop { .. }
                    | Operator::If { .. }
                    | Operator::Try { .. }
                    | Operator::TryTable { .. }
            );
            let ends = matches!(operator, Operator::End | Operator::Delegate { .. });
            let divides =
                matches!(operator, Operator::Else | Operator::Catch { .. } | Operator::CatchAll);
            match &mut skipped {
                Some(depth) if opens => *depth += 1,
                Some(depth) if ends && *depth > 0 => *depth -= 1,
                Some(0) if ends || divides => skipped = None,
                _ => {}
            }
            if skipped.is_some() {
                validator.op(offset, &operator)?;
                continue;
            }
            let arity = operator.operator_arity(&validator);
            let (pops, pushes) = arity.ok_or_else(|| Fault::new("an unknown instruction"))?;
            let mut op = Op {
                bytes,
                offset,
                pops: pops as usize,
                pushes: pushes as usize,
                block: open.last().copied().ok_or_else(|| Fault::new("code after the end"))?,
                targets: 0..0,
                operator,
            };
            code.note(&mut op, &mut open, validator.resources())?;
            validator.op(offset, &op.operator)?;
            if is_end_of_path(&op.operator) {
                skipped = Some(0);
            }
            code.ops.push(op);
        }
        Ok(code)
    }

    fn open(&mut self, (params, results): (Vec<ValType>, Vec<ValType>)) -> usize {
        let open = self.ops.len();
        self.blocks.push(Block {
            params,
            results,
            is_loop: false,
            is_try: false,
            has_else: false,
            open,
            end: open,
            catches: 0..0,
        });
        self.blocks.len() - 1
    }

    /// Notes blocks, targets and writes of an instruction.
    fn note(
        &mut self,
        op: &mut Op<'a>,
        open: &mut Vec<usize>,
        resources: &ValidatorResources,
    ) -> Result<(), Fault> {
        let at = |depth: u32, open: &[usize]| {
            let index = open.len().checked_sub(1 + depth as usize);
            index.map(|index| open[index]).ok_or_else(|| Fault::new("a branch to nowhere"))
        };
        let first = self.targets.len();
        match &op.operator {
            Operator::Block { blockty }
            | Operator::Loop { blockty }
            | Operator::If { blockty }
            | Operator::Try { blockty } => {
                op.block = self.open(signature(*blockty, resources)?);
                let block = &mut self.blocks[op.block];
                block.is_loop = matches!(op.operator, Operator::Loop { .. });
                block.is_try = matches!(op.operator, Operator::Try { .. });
                open.push(op.block);
            }
            Operator::TryTable { try_table } => {
                for catch in &try_table.catches {
                    let (Catch::One { label, .. }
                    | Catch::OneRef { label, .. }
                    | Catch::All { label }
                    | Catch::AllRef { label }) = catch;
                    self.targets.push(at(*label, open)?);
                }
                op.block = self.open(signature(try_table.ty, resources)?);
                let end = self.targets.len();
                let block = &mut self.blocks[op.block];
                (block.catches, block.is_try) = (first..end, true);
                open.push(op.block);
                return Ok(());
            }
            Operator::Else => self.blocks[op.block].has_else = true,
            Operator::End => {
                self.blocks[op.block].end = self.ops.len();
                open.pop();
            }
            Operator::Delegate { relative_depth } => {
                self.targets.push(at(relative_depth + 1, open)?);
                self.blocks[op.block].end = self.ops.len();
                open.pop();
            }
            Operator::Br { relative_depth }
            | Operator::BrIf { relative_depth }
            | Operator::BrOnNull { relative_depth }
            | Operator::BrOnNonNull { relative_depth }
            | Operator::Rethrow { relative_depth } => self.targets.push(at(*relative_depth, open)?),
            Operator::BrTable { targets } => {
                for depth in targets.targets() {
                    self.targets.push(at(depth?, open)?);
                }
                self.targets.push(at(targets.default(), open)?);
            }
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                self.writes.push((self.ops.len(), *local_index));
            }
            _ => {}
        }
        op.targets = first..self.targets.len();
        Ok(())
    }

    pub(super) fn targets(&self, op: &Op<'_>) -> &[usize] {
        &self.targets[op.targets.clone()]
    }

    /// The locals written by the instructions of a range.
    pub(super) fn written(&self, ops: Range<usize>) -> impl Iterator<Item = u32> + '_ {
        let first = self.writes.partition_point(|(at, _)| *at < ops.start);
        let rest = self.writes[first..].iter();
        rest.take_while(move |(at, _)| *at < ops.end).map(|(_, local)| *local)
    }
}

/// Whether nothing follows an instruction.
pub(super) fn is_end_of_path(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::Br { .. }
            | Operator::BrTable { .. }
            | Operator::Return
            | Operator::Unreachable
            | Operator::Throw { .. }
            | Operator::ThrowRef
            | Operator::Rethrow { .. }
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. }
    )
}

/// Whether an instruction depends on nothing but its operands, has no effect, and cannot trap.
pub(super) fn is_pure(op: &Op<'_>) -> bool {
    let second = op.bytes.get(1).copied().unwrap_or(0);
    match op.bytes[0] {
        // Numbers.
        0x41..=0x44 => true,
        // Comparisons and counting bits of integers.
        0x45..=0x69 => true,
        // Integers: all but quotients and remainders.
        0x6a..=0x6c | 0x71..=0x78 | 0x79..=0x7e | 0x83..=0x8a => true,
        // Floats.
        0x8b..=0xa6 => true,
        // Conversions: all but those that trap on what does not fit.
        0xa7 | 0xac | 0xad | 0xb2..=0xc4 => true,
        // Choice, and references as such.
        0x1b | 0x1c | 0xd0 | 0xd1 | 0xd2 => true,
        0xfc => second < 8,
        // SIMD but for memory; with a second byte, up to 255.
        0xfd => match second {
            0x0c..=0x53 | 0x5e..=0x7f => true,
            0x80.. => op.bytes.get(2) == Some(&1),
            _ => false,
        },
        _ => false,
    }
}
