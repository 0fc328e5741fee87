//! The new body of a function that can suspend, in one walk over its code.

use super::code::{self, BR, BR_IF, Opcode, Part, RETHROW, Simple, Type, value_type};
use super::frame::{self, Additions};
use super::liveness::{self, Locals as Set};
use super::operands::{Kept, Locals, Operand, Origin, Place};
use super::region::{Done, Region};
use super::tree::{Block, Callee, FUNCTION, Form, Instr, Kind, Label, Tree};
use super::types::{inconsistent, is_never_null, storable};
use super::unsupported;
use crate::Error;
use std::collections::BTreeSet;
use wasm_encoder::Encode;
use wasmparser::ValType;

/// A new body.
#[derive(Debug)]
pub(super) struct Emitted {
    /// With its locals and its end, without its length.
    pub(super) body: Vec<u8>,
    /// Bytes that it saves when it unwinds.
    pub(super) frame: u32,
    /// Whether it saves references.
    pub(super) holds_references: bool,
}

/// Where the code around is kept while a block that holds calls that can suspend is put together.
#[derive(Debug)]
struct Open {
    /// Operands below the block.
    below: Vec<Kept>,
    /// What an alternative gets.
    params: Vec<Kept>,
    /// Where an alternative begins.
    otherwise: Option<Label>,
    region: Option<Entry>,
    /// How many operands had been parked.
    parked: usize,
}

/// With twice as many operands on the stack, all but so many are parked where they leave it: else code with many calls above many
/// values would become the product of both.
const ON_STACK: usize = 16;

/// How a region is entered.
#[derive(Debug)]
struct Entry {
    label: Label,
    /// Locals that the parameters lie in until the region's code begins.
    params: Vec<u32>,
}

struct Emitter<'a> {
    tree: &'a Tree,
    additions: &'a mut Additions,
    asserts: bool,
    locals: Locals,
    /// The labels that there are.
    labels: Label,
    /// Where a function goes that unwinds.
    save: Label,
    /// The local with the number of the call, where there are several.
    pc: Option<u32>,
    saved: BTreeSet<u32>,
    /// Operands of the innermost region.
    stack: Vec<Operand>,
    /// Whether anything comes here.
    is_live: bool,
    regions: Vec<Region>,
    open: Vec<Open>,
}

/// Instruments a function.
///
/// # Errors
/// What cannot be instrumented, with the function's `name`.
pub(super) fn function(
    wasm: &[u8],
    tree: &Tree,
    additions: &mut Additions,
    asserts: bool,
    name: &str,
) -> Result<Emitted, Error> {
    if tree.returned().iter().any(|ty| is_never_null(*ty)) {
        return Err(unsupported(
            "a returned reference that is never null, which a function that unwinds does not have,",
            name,
            "return one that can be null",
        ));
    }
    let mut emitter = Emitter::new(tree, additions, asserts);
    emitter.saved = Set::iter(&liveness::across_sites(tree)).collect();
    emitter.code()?;
    emitter.finish(wasm)
}

/// A function that cannot suspend, which traps when what it calls unwinds all the same.
pub(super) fn asserting(
    wasm: &[u8],
    tree: &Tree,
    additions: &mut Additions,
) -> Result<Vec<u8>, Error> {
    let mut emitter = Emitter::new(tree, additions, true);
    for instr in &tree.code[..tree.code.len() - 1] {
        emitter.copy(instr);
    }
    let parts = emitter.regions.pop().map(|region| region.content).unwrap_or_default();
    emitter.body(wasm, &parts)
}

impl<'a> Emitter<'a> {
    fn new(tree: &'a Tree, additions: &'a mut Additions, asserts: bool) -> Self {
        let mut locals = Locals::of(tree);
        let pc = (tree.sites.len() > 1).then(|| locals.add(ValType::I32));
        let save = tree.blocks.len() as Label;
        Self {
            tree,
            additions,
            asserts,
            locals,
            labels: save + 1,
            save,
            pc,
            saved: BTreeSet::new(),
            stack: Vec::new(),
            is_live: true,
            regions: vec![Region::default()],
            open: Vec::new(),
        }
    }

    fn code(&mut self) -> Result<(), Error> {
        let tree = self.tree;
        let mut at = 0;
        while let Some(instr) = tree.code.get(at) {
            match instr.kind {
                Kind::Open(label) => {
                    let block = &tree.blocks[label as usize];
                    match block.form {
                        _ if block.sites == 0 => {
                            self.whole(at, block)?;
                            at = block.end;
                        }
                        Form::Block => self.block(block)?,
                        Form::If => self.condition(label, block)?,
                        Form::Loop | Form::TryTable | Form::LegacyTry => {
                            self.enter(label, block)?;
                        }
                    }
                }
                Kind::Else(label) => self.alternative(label)?,
                Kind::Catch(label) => {
                    self.results_on_stack(label)?;
                    self.close_region()?;
                    let end = tree.blocks[label as usize].end;
                    for instr in &tree.code[at..end] {
                        self.copy(instr);
                    }
                    at = end;
                    self.leave(label, Part::End)?;
                }
                Kind::End(FUNCTION) => self.results_on_stack(FUNCTION)?,
                Kind::End(label) => {
                    self.results_on_stack(label)?;
                    self.close_region()?;
                    self.leave(label, Part::End)?;
                }
                Kind::Delegate(label, to) => {
                    self.results_on_stack(label)?;
                    self.close_region()?;
                    self.leave(label, Part::Delegate(to))?;
                }
                Kind::Site(site) => self.site(instr, site)?,
                _ => self.instr(instr)?,
            }
            at += 1;
        }
        Ok(())
    }

    // What is copied.

    fn is_relaxed(&self, local: u32) -> bool {
        self.tree.relaxed.contains(&local)
    }

    /// An instruction as it is, but for the depth of labels.
    fn copy(&mut self, instr: &Instr) {
        let Instr { start, end, .. } = *instr;
        let part = match instr.kind {
            Kind::Branch(label) => Part::Branch(BR, label),
            Kind::BranchIf(opcode, label) => Part::Branch(opcode, label),
            Kind::BranchTable(table) => {
                let (labels, otherwise) = &self.tree.tables[table as usize];
                Part::Table(labels.clone(), *otherwise)
            }
            Kind::Rethrow(label) => Part::Branch(RETHROW, label),
            Kind::Open(label) => {
                let block = &self.tree.blocks[label as usize];
                let ty = self.block_type(&block.params, &block.results);
                opening(block, ty, label)
            }
            Kind::Else(_) => Part::Else,
            Kind::End(_) => Part::End,
            Kind::Delegate(_, to) => Part::Delegate(to),
            _ => Part::Copy { start, end },
        };
        self.out(part);
        match instr.kind {
            Kind::Get(local) | Kind::Tee(local) if self.is_relaxed(local) => {
                self.out(Part::Simple(Simple::AsNonNull));
            }
            Kind::Call if self.asserts => self.assert_normal(),
            _ => {}
        }
    }

    /// Traps while the function unwinds.
    fn assert_normal(&mut self) {
        let (state, scratch) = (self.additions.state(), self.label());
        self.region().content.extend([
            Part::Global(state),
            Part::Number(1),
            Part::Simple(Simple::IsEqual),
            Part::Open(Opcode::If, Type::Empty, scratch),
            Part::Simple(Simple::Unreachable),
            Part::End,
        ]);
    }

    /// A block without calls that can suspend.
    fn whole(&mut self, at: usize, block: &Block) -> Result<(), Error> {
        let tree = self.tree;
        self.ensure(tree.code[at].pops)?;
        for instr in &tree.code[at..=block.end] {
            self.copy(instr);
        }
        for local in tree.writes(block) {
            self.locals.write(*local);
        }
        self.take(tree.code[at].pops)?;
        self.give(&block.results);
        self.region().restart();
        Ok(())
    }

    // Operands that are parked.

    /// How many operands had been parked when the innermost block began.
    fn parked_around(&self) -> usize {
        self.open.last().filter(|open| open.region.is_none()).map_or(0, |open| open.parked)
    }

    /// At the end of a block's part, nothing of it is parked.
    fn results_on_stack(&mut self, label: Label) -> Result<(), Error> {
        if self.is_live {
            self.ensure(self.tree.blocks[label as usize].results.len())?;
        }
        self.forget_parked();
        Ok(())
    }

    /// Nothing follows.
    fn end_path(&mut self) {
        self.stack.clear();
        self.forget_parked();
        self.is_live = false;
    }

    /// Forgets what was parked in the innermost block, which nothing takes any more.
    fn forget_parked(&mut self) {
        let around = self.parked_around();
        if self.region().parked.len() > around {
            let forgotten = self.region().parked.split_off(around);
            self.release(&forgotten);
        }
    }

    /// Has so many operands on the stack, of those that there are.
    fn ensure(&mut self, count: usize) -> Result<(), Error> {
        while self.stack.len() < count {
            let around = self.parked_around();
            let parked = self.region().parked.len();
            let left = parked.saturating_sub(ON_STACK).max(around);
            if left >= parked {
                return Err(inconsistent("an instruction without its operands"));
            }
            let back = self.region().parked.split_off(left);
            let above: Vec<Kept> = std::mem::take(&mut self.stack)
                .iter()
                .map(|operand| self.locals.keep(operand, None))
                .collect();
            for kept in above.iter().rev() {
                kept.leave(&mut self.region().content);
            }
            for kept in [back, above] {
                self.come_back(&kept);
                self.release(&kept);
            }
            self.region().restart();
        }
        Ok(())
    }

    fn instr(&mut self, instr: &Instr) -> Result<(), Error> {
        let reads = match instr.kind {
            Kind::Get(local) if self.is_relaxed(local) => None,
            Kind::Get(local) => Some(Some(local)),
            Kind::Const | Kind::Harmless => Some(None),
            _ => None,
        };
        self.ensure(instr.pops)?;
        let height = self.stack.len();
        let taken = self.take(instr.pops)?;
        if let Some(reads) = reads {
            let region = self.region();
            region.done.push(Done { height, pops: instr.pops, reads });
            region.taken.extend(&taken);
        }
        self.copy(instr);
        let results = self.tree.results(instr);
        match instr.kind {
            Kind::Branch(_)
            | Kind::BranchTable(_)
            | Kind::Return
            | Kind::Stop
            | Kind::Rethrow(_) => self.end_path(),
            Kind::Get(local) if reads.is_some() => {
                let origin = self.locals.origin(local);
                self.stack.extend(results.iter().map(|ty| Operand { ty: *ty, origin }));
            }
            Kind::Const => {
                let origin = Origin::Number { start: instr.start, end: instr.end };
                self.stack.extend(results.iter().map(|ty| Operand { ty: *ty, origin }));
            }
            Kind::Set(local) => self.locals.write(local),
            Kind::Tee(local) => {
                self.locals.write(local);
                let origin = match self.is_relaxed(local) {
                    true => Origin::Somewhere,
                    false => self.locals.origin(local),
                };
                self.stack.extend(results.iter().map(|ty| Operand { ty: *ty, origin }));
            }
            Kind::BranchIf(BR_IF, _) => {
                let passed = results.iter().zip(taken);
                self.stack.extend(passed.map(|(ty, operand)| Operand { ty: *ty, ..operand }));
            }
            _ => self.give(results),
        }
        if reads.is_none() {
            self.region().restart();
        }
        Ok(())
    }

    // Calls that can suspend.

    fn site(&mut self, instr: &Instr, number: u32) -> Result<(), Error> {
        let site = self.tree.sites[number as usize];
        let by_operand = site.callee == Callee::Operand;
        self.ensure(instr.pops)?;
        let below = self.stack.len().checked_sub(instr.pops);
        let below = below.ok_or_else(|| inconsistent("a call without its operands"))?;
        if by_operand && let Some(callee) = self.stack.last().copied() {
            // To find the callee again, what it is found by has to be the same.
            match (self.locals.local_of(&callee), callee.origin) {
                (Some(local), _) => drop(self.saved.insert(local)),
                (None, Origin::Number { .. }) => {}
                (None, _) => self.region().restart(),
            }
        }
        let label = self.label();
        let region = self.regions.last_mut().ok_or_else(|| inconsistent("code outside"))?;
        let done = std::mem::take(&mut region.done);
        let mut taken = std::mem::take(&mut region.taken);
        // The operands as they were before all that can be done again.
        let mut before = self.stack.clone();
        for step in done.iter().rev() {
            before.truncate(step.untouched());
            before.extend(taken.split_off(taken.len() - step.pops));
        }
        // Some of that may have made operands that stay below the arguments. These have to be right again.
        let touched = before.len() < below || done.iter().any(|step| step.untouched() < below);
        if touched {
            let height = |step: usize| done.get(step).map_or(self.stack.len(), |it| it.height);
            let until = (0..=done.len()).rev().find(|step| height(*step) == below);
            let until = until.ok_or_else(|| inconsistent("arguments of unknown origin"))?;
            self.saved.extend(done[..until].iter().filter_map(|step| step.reads));
        }
        let needed = if touched { before.len() } else { below };
        // Nobody takes the deepest ones before the call is over.
        let quiet = done.iter().map(Done::untouched).fold(below, usize::min);
        let deep = if quiet > 2 * ON_STACK { quiet - ON_STACK } else { 0 };
        let mut kept: Vec<Kept> = Vec::with_capacity(before.len());
        for (index, operand) in before.iter().enumerate() {
            kept.push(match index < deep {
                true => self.locals.keep_apart(operand),
                false => self.locals.keep(operand, None),
            });
        }
        let callee = (by_operand && done.is_empty()).then(|| kept.len() - 1);
        for (index, kept) in kept.iter().enumerate() {
            if index < needed || Some(index) == callee || is_never_null(kept.ty) {
                self.saved.extend(kept.local());
            }
        }

        let again = region.content.split_off(region.start);
        for kept in kept.iter().rev() {
            kept.leave(&mut region.content);
        }
        region.enter_at(label, number..number + 1);
        if let Some(pc) = self.pc {
            region.content.extend([Part::Number(number as i32), Part::Set(pc)]);
        }
        region.parked.extend(&kept[..deep]);
        for kept in &kept[deep..] {
            kept.come_back(&mut region.content);
            self.locals.release(kept);
        }
        region.content.extend(again);
        let (start, end) = (instr.start, instr.end);
        region.content.push(match site.is_tail {
            true => Part::Lowered { start, end },
            false => Part::Copy { start, end },
        });
        region.content.push(Part::Global(self.additions.state()));
        region.content.push(Part::Branch(BR_IF, self.save));
        if site.is_tail {
            region.content.push(Part::Simple(Simple::Return));
            self.end_path();
        } else {
            self.stack.truncate(below);
            self.stack.drain(..deep);
            self.give(self.tree.results(instr));
        }
        self.region().restart();
        Ok(())
    }

    // Blocks that hold such calls.

    /// Takes all operands off the stack, and gives those below the block and its parameters.
    fn spill(&mut self, block: &Block) -> Result<(Vec<Kept>, Vec<Kept>), Error> {
        self.ensure(block.params.len())?;
        let operands = std::mem::take(&mut self.stack);
        let around = Some((self.tree, block));
        let count = operands.len() - block.params.len();
        let deep = if count > 2 * ON_STACK { count - ON_STACK } else { 0 };
        let mut below: Vec<Kept> = Vec::with_capacity(operands.len());
        for (index, operand) in operands.iter().enumerate() {
            below.push(match index < deep {
                true => self.locals.keep_apart(operand),
                false => self.locals.keep(operand, around),
            });
        }
        let region = self.region();
        for kept in below.iter().rev() {
            kept.leave(&mut region.content);
        }
        let params = below.split_off(count);
        self.saved.extend(below.iter().filter_map(Kept::local));
        let below_it = below.split_off(deep);
        self.region().parked.extend(below);
        Ok((below_it, params))
    }

    fn come_back(&mut self, kept: &[Kept]) {
        for kept in kept {
            kept.come_back(&mut self.region().content);
            self.stack.push(self.locals.operand(kept));
        }
    }

    fn release(&mut self, kept: &[Kept]) {
        for kept in kept {
            self.locals.release(kept);
        }
    }

    fn block(&mut self, block: &Block) -> Result<(), Error> {
        let mut below = Vec::new();
        self.ensure(block.params.len())?;
        if self.stack.len() > block.params.len() {
            let params;
            (below, params) = self.spill(block)?;
            self.come_back(&params);
            self.release(&params);
        }
        let parked = self.region().parked.len();
        self.open.push(Open { below, params: Vec::new(), otherwise: None, region: None, parked });
        self.region().restart();
        Ok(())
    }

    fn condition(&mut self, label: Label, block: &Block) -> Result<(), Error> {
        self.ensure(1 + block.params.len())?;
        self.take(1)?;
        let (mut below, mut params) = (Vec::new(), Vec::new());
        let otherwise = if block.has_else { self.label() } else { label };
        let unless = [Part::Simple(Simple::IsZero), Part::Branch(BR_IF, otherwise)];
        if self.stack.is_empty() {
            self.region().content.extend(unless);
        } else {
            let condition =
                Kept { ty: ValType::I32, place: Place::Own(self.locals.take(ValType::I32)) };
            condition.leave(&mut self.region().content);
            (below, params) = self.spill(block)?;
            if !block.has_else {
                // They are the results, then.
                self.come_back(&params);
            }
            condition.come_back(&mut self.region().content);
            self.locals.release(&condition);
            self.region().content.extend(unless);
            if block.has_else {
                self.come_back(&params);
            }
        }
        let otherwise = block.has_else.then_some(otherwise);
        let parked = self.region().parked.len();
        self.open.push(Open { below, params, otherwise, region: None, parked });
        self.region().restart();
        Ok(())
    }

    fn alternative(&mut self, label: Label) -> Result<(), Error> {
        let block = &self.tree.blocks[label as usize];
        self.results_on_stack(label)?;
        let open = self.open.last_mut().ok_or_else(|| inconsistent("an `else` of nothing"))?;
        let params = std::mem::take(&mut open.params);
        let otherwise = open.otherwise.ok_or_else(|| inconsistent("an `else` too many"))?;
        let region = self.region();
        if block.falls {
            region.content.push(Part::Branch(BR, label));
        }
        region.end(otherwise, Type::Empty);
        self.stack.clear();
        self.is_live = true;
        self.come_back(&params);
        self.release(&params);
        self.region().restart();
        Ok(())
    }

    /// The start of a loop or `try`.
    fn enter(&mut self, label: Label, block: &Block) -> Result<(), Error> {
        let (below, params) = self.spill(block)?;
        let entry = self.label();
        // Which calls it is for is known at its end.
        self.region().end(entry, Type::Empty);
        for kept in &params {
            kept.come_back_as_stored(&mut self.region().content);
        }
        self.release(&params);
        // While the function is rewound, what is given to the block is whatever there is: null, too.
        let given: Vec<ValType> = block.params.iter().map(|ty| storable(*ty)).collect();
        let ty = self.block_type(&given, &block.results);
        self.out(opening(block, ty, label));
        let locals: Vec<u32> = given.iter().map(|ty| self.locals.add(*ty)).collect();
        self.regions.push(Region::default());
        for (local, ty) in locals.iter().zip(&block.params) {
            let kept = Kept { ty: *ty, place: Place::Own(*local) };
            kept.come_back(&mut self.region().content);
        }
        self.give(&block.params);
        self.region().restart();
        let region = Some(Entry { label: entry, params: locals });
        self.open.push(Open { below, params: Vec::new(), otherwise: None, region, parked: 0 });
        Ok(())
    }

    /// The end of what can be entered again of the innermost block, if that is a loop or `try`.
    fn close_region(&mut self) -> Result<(), Error> {
        let open = self.open.last_mut().ok_or_else(|| inconsistent("an end of nothing"))?;
        let Some(Entry { label, params }) = open.region.take() else { return Ok(()) };
        let inner = self.regions.pop().ok_or_else(|| inconsistent("a loop that ends twice"))?;
        let (scratch, state, pc) = (self.label(), self.additions.state(), self.pc);
        let outer = self.region();
        outer.content.extend(params.iter().rev().map(|local| Part::Set(*local)));
        inner.open(&mut outer.content);
        outer.content.extend(inner.dispatch_if(state, pc, scratch));
        let sites = inner.sites();
        outer.content.extend(inner.content);
        outer.items.push(super::region::Item { label, sites });
        Ok(())
    }

    /// The end of a block.
    fn leave(&mut self, label: Label, end: Part) -> Result<(), Error> {
        let block = &self.tree.blocks[label as usize];
        let Open { below, params, .. } =
            self.open.pop().ok_or_else(|| inconsistent("an end of nothing"))?;
        if matches!(block.form, Form::Block | Form::If) {
            let ty = self.block_type(&[], &block.results);
            self.region().end(label, ty);
        } else {
            self.out(end);
        }
        self.release(&params);
        self.stack.clear();
        self.is_live = true;
        if below.is_empty() {
            self.give(&block.results);
        } else {
            let results: Vec<Kept> = block
                .results
                .iter()
                .map(|ty| Kept { ty: *ty, place: Place::Own(self.locals.take(*ty)) })
                .collect();
            for kept in results.iter().rev() {
                kept.leave(&mut self.region().content);
            }
            self.come_back(&below);
            self.come_back(&results);
            self.release(&below);
            self.release(&results);
        }
        self.region().restart();
        Ok(())
    }

    // The whole.

    fn finish(mut self, wasm: &[u8]) -> Result<Emitted, Error> {
        let region = self.regions.pop().ok_or_else(|| inconsistent("a function without code"))?;
        let mut saved: Vec<u32> = self.saved.iter().copied().chain(self.pc).collect();
        let types = |local| self.locals.ty(local);
        let groups = frame::groups(&mut saved, types);
        let frame = saved.iter().map(|local| frame::bytes(types(*local))).sum();
        let holds_references = saved.iter().any(|local| matches!(types(*local), ValType::Ref(_)));

        let mut parts = vec![Part::Open(Opcode::Block, Type::Empty, self.save)];
        region.open(&mut parts);
        let (scratch, state) = (self.label(), self.additions.state());
        if saved.is_empty() {
            parts.extend(region.dispatch_if(state, self.pc, scratch));
        } else {
            parts.push(Part::Global(state));
            parts.push(Part::Open(Opcode::If, Type::Empty, scratch));
            for local in saved.iter().rev() {
                let ty = self.locals.ty(*local);
                parts.push(Part::Call(self.additions.restore(ty)?));
                if is_never_null(ty) {
                    parts.push(Part::Simple(Simple::AsNonNull));
                }
                parts.push(Part::Set(*local));
            }
            region.dispatch(self.pc, &mut parts);
            parts.push(Part::End);
        }
        parts.extend(region.content);
        if self.tree.blocks[FUNCTION as usize].falls {
            parts.push(Part::Simple(Simple::Return));
        }
        parts.push(Part::End);
        for (ty, group) in groups {
            parts.extend(group.iter().map(|local| Part::Get(*local)));
            parts.push(Part::Call(self.additions.save(storable(ty), group.len())?));
        }
        parts.extend(self.tree.returned().iter().map(|ty| Part::Nothing(*ty)));
        Ok(Emitted { body: self.body(wasm, &parts)?, frame, holds_references })
    }

    fn body(&self, wasm: &[u8], parts: &[Part]) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        let added = self.locals.added().chunk_by(|one, two| one == two);
        let added = added.map(|same| (same.len() as u32, same[0]));
        let all: Vec<(u32, ValType)> = self.tree.declared.iter().copied().chain(added).collect();
        all.len().encode(&mut body);
        for (count, ty) in all {
            count.encode(&mut body);
            value_type(ty, &mut body)?;
        }
        code::encode(wasm, parts, self.labels, &mut body)?;
        body.push(0x0b);
        Ok(body)
    }

    fn label(&mut self) -> Label {
        self.labels += 1;
        self.labels - 1
    }

    fn block_type(&mut self, params: &[ValType], results: &[ValType]) -> Type {
        match (params, results) {
            ([], []) => Type::Empty,
            ([], [one]) => Type::Value(*one),
            _ => Type::Function(self.additions.types.add(params, results)),
        }
    }

    fn region(&mut self) -> &mut Region {
        if self.regions.is_empty() {
            self.regions.push(Region::default());
        }
        let last = self.regions.len() - 1;
        &mut self.regions[last]
    }

    fn out(&mut self, part: Part) {
        self.region().content.push(part);
    }

    fn take(&mut self, count: usize) -> Result<Vec<Operand>, Error> {
        let left = self.stack.len().checked_sub(count);
        let left = left.ok_or_else(|| inconsistent("an instruction without its operands"))?;
        Ok(self.stack.split_off(left))
    }

    fn give(&mut self, types: &[ValType]) {
        let operand = |ty: &ValType| Operand { ty: *ty, origin: Origin::Somewhere };
        self.stack.extend(types.iter().map(operand));
    }
}

/// How a block is opened that stays one.
fn opening(block: &Block, ty: Type, label: Label) -> Part {
    let opcode = match block.form {
        Form::Block => Opcode::Block,
        Form::Loop => Opcode::Loop,
        Form::If => Opcode::If,
        Form::LegacyTry => Opcode::LegacyTry,
        Form::TryTable => return Part::TryTable(ty, label, block.catches.clone()),
    };
    Part::Open(opcode, ty, label)
}
