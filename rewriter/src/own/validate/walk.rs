//! Input and output of one function, side by side, as they run while nothing suspends.
//!
//! Each has an operand stack of *terms*: the same term is the same value. Instructions that depend on their operands only make a
//! term of these, and each side does as many of them as it likes. Everything else is an event: both sides have to come to the
//! same one, with the same operands, in the same order. Where paths meet, what may differ becomes a new term; what a block can
//! neither reach on the stack nor writes stays.
//!
//! The output may do more: keep terms in locals of its own, set the number of a call, and ask the phase, which is 0 here, so
//! that nothing follows from it. A block of the input that holds sites has no beginning in the output, but its end.

mod blocks;
mod way_back;

use super::code::{Code, Op, is_end_of_path, is_pure};
use super::frames::Place;
use super::live::Site;
use super::{Fault, Module, alike};
use std::collections::{BTreeSet, HashMap};
use wasmparser::{Operator, ValType};

type Term = u32;
type Done = Result<(), Fault>;

fn fault<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::new(what))
}

/// Terms by what they are of.
#[derive(Default)]
struct Terms {
    count: Term,
    known: HashMap<Vec<u8>, Term>,
}

impl Terms {
    fn fresh(&mut self) -> Term {
        self.count += 1;
        self.count
    }

    fn of(&mut self, bytes: &[u8], operands: &[Term]) -> Term {
        let mut key = bytes.to_vec();
        operands.iter().for_each(|term| key.extend(term.to_le_bytes()));
        let next = self.count + 1;
        let term = *self.known.entry(key).or_insert(next);
        self.count = self.count.max(term);
        term
    }
}

fn pop(stack: &mut Vec<Term>, count: usize) -> Result<Vec<Term>, Fault> {
    match stack.len().checked_sub(count) {
        Some(left) => Ok(stack.split_off(left)),
        None => fault("fewer operands than it takes"),
    }
}

fn top(stack: &[Term], count: usize) -> Result<&[Term], Fault> {
    match stack.len().checked_sub(count) {
        Some(left) => Ok(&stack[left..]),
        None => fault("fewer operands than it takes"),
    }
}

/// A function, and how far it has run.
struct Side<'c, 'a> {
    code: &'c Code<'a>,
    at: usize,
    stack: Vec<Term>,
    is_live: bool,
}

impl<'c, 'a> Side<'c, 'a> {
    fn new(code: &'c Code<'a>) -> Self {
        Self { code, at: 0, stack: Vec::new(), is_live: true }
    }

    fn op(&self) -> Result<&'c Op<'a>, Fault> {
        self.code.ops.get(self.at).ok_or_else(|| Fault::new("an early end"))
    }
}

/// A block of the input that is open.
struct InputFrame {
    block: usize,
    is_dissolved: bool,
    height: usize,
    params: Vec<Term>,
    /// Where the alternative begins in the output.
    otherwise: Option<usize>,
    /// How many locals had been written, on both sides, when it was opened.
    input_writes: usize,
    output_writes: usize,
}

/// A block of the output that is open.
struct OutputFrame {
    block: usize,
    height: usize,
    /// It begins where a region does; else it is one of the input.
    is_hoisted: bool,
}

/// Where a rewinding goes from a region's beginning.
#[derive(Debug)]
enum Dispatch {
    One(usize),
    Table {
        first: u32,
        targets: Vec<usize>,
    },
    /// To each, up to a number; and else.
    Chain(Vec<(u32, usize)>, usize),
}

impl Dispatch {
    fn target(&self, site: u32) -> usize {
        match self {
            Dispatch::One(target) => *target,
            Dispatch::Table { first, targets } => {
                let index = site.wrapping_sub(*first) as usize;
                targets[index.min(targets.len() - 1)]
            }
            Dispatch::Chain(chain, otherwise) => {
                let found = chain.iter().find(|(last, _)| site <= *last);
                found.map_or(*otherwise, |(_, target)| *target)
            }
        }
    }
}

/// What code follows a label that only rewinding goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Site(u32),
    Region(usize),
}

/// Both sides of a function.
pub(super) struct Walk<'c, 'a> {
    module: &'c Module<'a>,
    /// Offsets of calls that can suspend.
    sites: &'c BTreeSet<usize>,
    input: Side<'c, 'a>,
    output: Side<'c, 'a>,
    terms: Terms,
    /// Values of the input's locals, and of those the output has besides.
    locals: Vec<Term>,
    ours: Vec<Term>,
    input_writes: Vec<u32>,
    output_writes: Vec<u32>,
    inputs: Vec<InputFrame>,
    outputs: Vec<OutputFrame>,
    /// Blocks of the output by those of the input whose label they have, and the other way round.
    bound: HashMap<usize, usize>,
    bound_by: HashMap<usize, usize>,
    regions: Vec<Option<Dispatch>>,
    purposes: HashMap<usize, Purpose>,
    pc: Option<u32>,
    save: usize,
    restored: Vec<(u32, Place)>,
    /// Locals that take the parameters of a region while rewinding.
    given: BTreeSet<u32>,
    found: Vec<Site>,
    /// Instructions of the output that do nothing in phase 0.
    skipped: Vec<bool>,
}

impl<'c, 'a> Walk<'c, 'a> {
    pub(super) fn new(
        module: &'c Module<'a>,
        sites: &'c BTreeSet<usize>,
        input: &'c Code<'a>,
        output: &'c Code<'a>,
    ) -> Self {
        let mut terms = Terms::default();
        let locals = input.locals.iter().map(|_| terms.fresh()).collect();
        let ours = output.locals.iter().skip(input.locals.len()).map(|_| terms.fresh()).collect();
        Self {
            module,
            sites,
            input: Side::new(input),
            output: Side::new(output),
            terms,
            locals,
            ours,
            input_writes: Vec::new(),
            output_writes: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            bound: HashMap::from([(0, 0)]),
            bound_by: HashMap::from([(0, 0)]),
            regions: Vec::new(),
            purposes: HashMap::new(),
            pc: None,
            save: 0,
            restored: Vec::new(),
            given: BTreeSet::new(),
            found: Vec::new(),
            skipped: vec![false; output.ops.len()],
        }
    }

    /// Checks the whole function.
    pub(super) fn check(mut self) -> Done {
        self.types()?;
        self.inputs.push(InputFrame {
            block: 0,
            is_dissolved: false,
            height: 0,
            params: Vec::new(),
            otherwise: None,
            input_writes: 0,
            output_writes: 0,
        });
        let op = self.output.op()?;
        self.save = op.block;
        self.expect(|operator| matches!(operator, Operator::Block { .. }), "the outermost block")?;
        self.outputs.push(OutputFrame { block: 0, height: 0, is_hoisted: false });
        self.outputs.push(OutputFrame { block: self.save, height: 0, is_hoisted: false });
        self.region_begins(true)?;
        while !self.inputs.is_empty() {
            self.pure_input()?;
            self.pure_output(false)?;
            self.event()?;
        }
        let end = self.output.at;
        self.epilogue()?;
        self.ways_back()?;
        let restored: BTreeSet<u32> = self.restored.iter().map(|(local, _)| *local).collect();
        if self.given.iter().any(|local| restored.contains(local)) {
            return fault("a restored local is written on the way back");
        }
        super::live::check(self.output.code, end, &self.skipped, &self.found, &restored)
    }

    fn types(&self) -> Done {
        let (input, output) = (self.input.code, self.output.code);
        let same = input.params == output.params
            && input.locals.len() <= output.locals.len()
            && input.locals.iter().zip(&output.locals).all(|(one, two)| alike(*one, *two));
        if same { Ok(()) } else { fault("other locals") }
    }

    // The output, by itself.

    fn expect(
        &mut self,
        fits: impl FnOnce(&Operator<'a>) -> bool,
        what: &str,
    ) -> Result<&'c Op<'a>, Fault> {
        let op = self.output.op()?;
        if !fits(&op.operator) {
            return fault(format!("no {what} but {:?}", op.operator));
        }
        self.output.at += 1;
        Ok(op)
    }

    fn is_ours(&self, local: u32) -> bool {
        local as usize >= self.locals.len()
    }

    /// Whether the output has made a local hold null that could not, or it is its own.
    fn may_be_null(&self, local: u32) -> bool {
        let ty = |code: &Code<'_>| code.locals.get(local as usize).copied();
        match (ty(self.input.code), ty(self.output.code)) {
            (Some(ValType::Ref(one)), Some(ValType::Ref(two))) => {
                one.is_nullable() != two.is_nullable()
            }
            (was, _) => was.is_none(),
        }
    }

    fn value(&self, local: u32) -> Term {
        match self.ours.get((local as usize).wrapping_sub(self.locals.len())) {
            Some(term) if self.is_ours(local) => *term,
            _ => self.locals[local as usize],
        }
    }

    /// Runs the input up to its next event.
    fn pure_input(&mut self) -> Done {
        while self.input.is_live {
            let op = self.input.op()?;
            match &op.operator {
                Operator::LocalGet { local_index } => {
                    self.input.stack.push(self.locals[*local_index as usize]);
                }
                Operator::Drop => drop(pop(&mut self.input.stack, 1)?),
                _ if is_pure(op) => {
                    let operands = pop(&mut self.input.stack, op.pops)?;
                    let term = self.terms.of(op.bytes, &operands);
                    self.input.stack.push(term);
                }
                _ => return Ok(()),
            }
            self.input.at += 1;
        }
        Ok(())
    }

    /// Runs the output up to its next event. From a label that rewinding goes to, only the number of the call may be set.
    fn pure_output(&mut self, after_label: bool) -> Done {
        while self.output.is_live {
            let op = self.output.op()?;
            match &op.operator {
                Operator::LocalGet { local_index } => {
                    self.output.stack.push(self.value(*local_index));
                }
                Operator::LocalSet { local_index } if self.is_ours(*local_index) => {
                    if after_label && Some(*local_index) != self.pc {
                        return fault("a local is written between a label and its call");
                    }
                    self.set_ours(*local_index)?;
                }
                Operator::RefAsNonNull if self.follows_a_local() => {}
                Operator::GlobalGet { global_index } if *global_index == self.module.state => {
                    if !self.assertion() {
                        return Ok(());
                    }
                    continue;
                }
                Operator::Drop => drop(pop(&mut self.output.stack, 1)?),
                _ if is_pure(op) => {
                    let operands = pop(&mut self.output.stack, op.pops)?;
                    let term = self.terms.of(op.bytes, &operands);
                    self.output.stack.push(term);
                }
                _ => return Ok(()),
            }
            self.output.at += 1;
        }
        Ok(())
    }

    fn set_ours(&mut self, local: u32) -> Done {
        let value = pop(&mut self.output.stack, 1)?;
        self.ours[local as usize - self.locals.len()] = value[0];
        self.output_writes.push(local);
        Ok(())
    }

    /// Goes past a trap in phase 1, which is for tests.
    fn assertion(&mut self) -> bool {
        let rest = &self.output.code.ops[self.output.at..];
        let mut operators = rest.iter().skip(1).map(|op| &op.operator);
        let mut next = || operators.next();
        let asserts = matches!(next(), Some(Operator::I32Const { value: 1 }))
            && matches!(next(), Some(Operator::I32Eq))
            && matches!(next(), Some(Operator::If { .. }))
            && matches!(next(), Some(Operator::Unreachable))
            && matches!(next(), Some(Operator::End));
        if asserts {
            (0..6).for_each(|_| self.skip());
        }
        asserts
    }

    /// Whether the instruction before reads a local that could not hold null, or is our own; then it is no event.
    fn follows_a_local(&self) -> bool {
        let ops = &self.output.code.ops;
        let before = self.output.at.checked_sub(1).map(|at| &ops[at].operator);
        let reads = match before {
            Some(Operator::LocalGet { local_index } | Operator::LocalTee { local_index }) => {
                self.may_be_null(*local_index)
            }
            _ => false,
        };
        let again = ops.get(self.output.at + 1).map(|op| &op.operator);
        reads && (!self.input_asks_for_null() || matches!(again, Some(Operator::RefAsNonNull)))
    }

    /// Whether the input's next event is `ref.as_non_null`.
    fn input_asks_for_null(&self) -> bool {
        let rest = self.input.code.ops[self.input.at..].iter();
        let mut events = rest.filter(|op| {
            let silent = matches!(
                op.operator,
                Operator::LocalGet { .. } | Operator::Drop | Operator::Block { .. }
            );
            !silent && !is_pure(op)
        });
        events.next().is_some_and(|op| matches!(op.operator, Operator::RefAsNonNull))
    }

    fn skip(&mut self) {
        self.skipped[self.output.at] = true;
        self.output.at += 1;
    }

    // Both.

    fn bind(&mut self, input: usize, output: usize) -> Done {
        let same = *self.bound.entry(input).or_insert(output) == output
            && *self.bound_by.entry(output).or_insert(input) == input
            && !self.purposes.contains_key(&output);
        if same { Ok(()) } else { fault("a branch elsewhere") }
    }

    fn same_top(&self, count: usize) -> Done {
        match top(&self.input.stack, count)? == top(&self.output.stack, count)? {
            true => Ok(()),
            false => fault("another operand"),
        }
    }

    fn pop_same(&mut self, count: usize) -> Result<Vec<Term>, Fault> {
        self.same_top(count)?;
        pop(&mut self.output.stack, count)?;
        pop(&mut self.input.stack, count)
    }

    fn give(&mut self, count: usize) {
        for _ in 0..count {
            let term = self.terms.fresh();
            self.input.stack.push(term);
            self.output.stack.push(term);
        }
    }

    fn forget(&mut self, input: impl Iterator<Item = u32>, output: impl Iterator<Item = u32>) {
        for local in input {
            self.locals[local as usize] = self.terms.fresh();
        }
        for local in output.filter(|local| *local as usize >= self.locals.len()) {
            self.ours[local as usize - self.locals.len()] = self.terms.fresh();
        }
    }

    /// What was written since a block was opened may be one thing or another.
    fn join(&mut self, frame: &InputFrame) {
        let input: BTreeSet<u32> =
            self.input_writes[frame.input_writes..].iter().copied().collect();
        let output: BTreeSet<u32> =
            self.output_writes[frame.output_writes..].iter().copied().collect();
        self.forget(input.into_iter(), output.into_iter());
    }

    fn end_path(&mut self) {
        (self.input.is_live, self.output.is_live) = (false, false);
    }

    fn both(&mut self) -> Result<(&'c Op<'a>, &'c Op<'a>), Fault> {
        Ok((self.input.op()?, self.output.op()?))
    }

    /// Both sides make the same step that is no branch.
    fn same_bytes(&mut self) -> Result<(&'c Op<'a>, &'c Op<'a>), Fault> {
        let (input, output) = self.both()?;
        if input.bytes != output.bytes {
            return fault(format!(
                "{:?} where the input has {:?}",
                output.operator, input.operator
            ));
        }
        (self.input.at, self.output.at) = (self.input.at + 1, self.output.at + 1);
        Ok((input, output))
    }

    fn event(&mut self) -> Done {
        let op = self.input.op()?;
        match &op.operator {
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                self.same_bytes()?;
                let term = self.pop_same(1)?[0];
                self.locals[*local_index as usize] = term;
                self.input_writes.push(*local_index);
                if matches!(op.operator, Operator::LocalTee { .. }) {
                    self.input.stack.push(term);
                    self.output.stack.push(term);
                }
                Ok(())
            }
            Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::Try { .. }
            | Operator::TryTable { .. } => self.open(op),
            Operator::Else => self.alternative(),
            Operator::Catch { .. } | Operator::CatchAll => self.handler(op),
            Operator::End | Operator::Delegate { .. } => self.end(op),
            Operator::Br { .. }
            | Operator::BrIf { .. }
            | Operator::BrTable { .. }
            | Operator::BrOnNull { .. }
            | Operator::BrOnNonNull { .. } => self.branch(op),
            Operator::Return => {
                self.same_bytes()?;
                self.same_top(self.input.code.blocks[0].results.len())?;
                self.end_path();
                Ok(())
            }
            Operator::Rethrow { .. } => {
                let (input, output) = self.both()?;
                if !matches!(output.operator, Operator::Rethrow { .. }) {
                    return fault("another exception");
                }
                let (from, to) =
                    (self.input.code.targets(input)[0], self.output.code.targets(output)[0]);
                self.bind(from, to)?;
                (self.input.at, self.output.at) = (self.input.at + 1, self.output.at + 1);
                self.end_path();
                Ok(())
            }
            _ if self.sites.contains(&op.offset) => self.site(op),
            _ => {
                if let Operator::Call { function_index } | Operator::ReturnCall { function_index } =
                    op.operator
                    && self.module.suspend(function_index)
                {
                    return fault("a call of what can suspend is no site");
                }
                self.same_bytes()?;
                self.pop_same(op.pops)?;
                if is_end_of_path(&op.operator) {
                    self.end_path();
                } else {
                    self.give(op.pushes);
                }
                Ok(())
            }
        }
    }

    fn site(&mut self, input: &Op<'a>) -> Done {
        let number = self.found.len() as u32;
        let label = self.label(Purpose::Site(number))?;
        if let Some(pc) = self.pc {
            let mut bytes = vec![0x41];
            wasm_encoder::Encode::encode(&(number as i32), &mut bytes);
            if self.value(pc) != self.terms.of(&bytes, &[]) {
                return fault("a site with another number");
            }
        }
        let output = self.output.op()?;
        let is_tail = is_end_of_path(&input.operator);
        let same = match is_tail {
            false => input.bytes == output.bytes,
            true => {
                input.bytes[1..] == output.bytes[1..]
                    && match output.operator {
                        Operator::Call { .. } => {
                            matches!(input.operator, Operator::ReturnCall { .. })
                        }
                        Operator::CallIndirect { .. } => {
                            matches!(input.operator, Operator::ReturnCallIndirect { .. })
                        }
                        Operator::CallRef { .. } => {
                            matches!(input.operator, Operator::ReturnCallRef { .. })
                        }
                        _ => false,
                    }
            }
        };
        if !same {
            return fault(format!(
                "{:?} where the input has {:?}",
                output.operator, input.operator
            ));
        }
        self.found.push(Site { label, call: self.output.at });
        self.pop_same(input.pops)?;
        (self.input.at, self.output.at) = (self.input.at + 1, self.output.at + 1);
        self.phase()?;
        if !matches!(self.output.op()?.operator, Operator::BrIf { .. })
            || self.target()? != self.save
        {
            return fault("nothing is saved after a site");
        }
        self.skip();
        if is_tail {
            self.expect(
                |operator| matches!(operator, Operator::Return),
                "return after a tail call",
            )?;
            self.end_path();
        } else {
            self.give(input.pushes);
        }
        Ok(())
    }

    fn branch(&mut self, op: &Op<'a>) -> Done {
        let output = self.output.op()?;
        if op.bytes[0] != output.bytes[0] {
            return fault(format!("{:?} where the input has {:?}", output.operator, op.operator));
        }
        let from = self.input.code.targets(op).to_vec();
        let to = self.output.code.targets(output);
        if from.len() != to.len() {
            return fault("a table of another size");
        }
        for (from, to) in from.iter().zip(to) {
            self.bind(*from, *to)?;
        }
        let arity = from.last().map_or(0, |target| self.input.code.blocks[*target].arity());
        match op.operator {
            Operator::BrIf { .. } => drop(self.pop_same(1)?),
            Operator::BrTable { .. } => drop(self.pop_same(1)?),
            Operator::BrOnNull { .. } => {
                let reference = self.pop_same(1)?;
                self.same_top(arity)?;
                self.input.stack.extend(&reference);
                self.output.stack.extend(&reference);
                (self.input.at, self.output.at) = (self.input.at + 1, self.output.at + 1);
                return Ok(());
            }
            _ => {}
        }
        self.same_top(arity)?;
        if matches!(op.operator, Operator::BrOnNonNull { .. }) {
            self.pop_same(1)?;
        }
        (self.input.at, self.output.at) = (self.input.at + 1, self.output.at + 1);
        if is_end_of_path(&op.operator) {
            self.end_path();
        }
        Ok(())
    }
}
