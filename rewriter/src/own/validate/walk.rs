//! Input and output of one function, side by side, as they run while nothing suspends.
//!
//! Each has an operand stack of *terms*: the same term is the same value. Instructions that depend on their operands only make a
//! term of these, and each side does as many of them as it likes. Everything else is an event: both sides have to come to the
//! same one, with the same operands, in the same order. Where paths meet, what may differ becomes a new term; what a block can
//! neither reach on the stack nor writes stays.
//!
//! The output may do more: keep terms in locals of its own, set the number of a call, and ask the phase, which is 0 here, so
//! that nothing follows from it. A block of the input that holds sites has no beginning in the output, but its end.

use super::code::{Block, Code, Op, is_end_of_path, is_pure};
use super::frames::Place;
use super::live::Site;
use super::{Fault, Module, alike, all_alike};
use std::collections::{BTreeSet, HashMap};
use wasmparser::{Catch, Operator, ValType};

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

    // Regions.

    /// The beginnings of blocks, and the way to the sites inside.
    fn region_begins(&mut self, is_function: bool) -> Done {
        while let Operator::Block { .. } = self.output.op()?.operator {
            let block = self.output.op()?.block;
            if !self.output.code.blocks[block].params.is_empty() {
                return fault("a moved block with parameters");
            }
            let height = self.output.stack.len();
            self.outputs.push(OutputFrame { block, height, is_hoisted: true });
            self.output.at += 1;
        }
        let dispatch = self.dispatch(is_function)?;
        self.regions.push(Some(dispatch));
        Ok(())
    }

    fn phase(&mut self) -> Done {
        match self.output.op()?.operator {
            Operator::GlobalGet { global_index } if global_index == self.module.state => {
                self.skip();
                Ok(())
            }
            ref other => fault(format!("the phase is not asked, but {other:?}")),
        }
    }

    fn target(&self) -> Result<usize, Fault> {
        let op = self.output.op()?;
        self.output.code.targets(op).first().copied().ok_or_else(|| Fault::new("no branch"))
    }

    fn dispatch(&mut self, is_function: bool) -> Result<Dispatch, Fault> {
        self.phase()?;
        if let Operator::BrIf { .. } = self.output.op()?.operator {
            let target = self.target()?;
            self.skip();
            return Ok(Dispatch::One(target));
        }
        if !matches!(self.output.op()?.operator, Operator::If { .. }) {
            return fault("no question after the phase");
        }
        self.skip();
        while let Operator::Call { function_index } = self.output.op()?.operator {
            self.skip();
            if let Operator::RefAsNonNull = self.output.op()?.operator {
                self.skip();
            }
            let Operator::LocalSet { local_index } = self.output.op()?.operator else {
                return fault("what is restored goes nowhere");
            };
            let ty = self.output.code.locals[local_index as usize];
            let place = self.module.restores(function_index, ty).filter(|_| is_function);
            let Some(place) = place else { return fault("a call on the way back") };
            self.restored.push((local_index, place));
            self.skip();
        }
        let mut chain = Vec::new();
        let dispatch = loop {
            match self.output.op()?.operator {
                Operator::Br { .. } => {
                    let target = self.target()?;
                    self.skip();
                    break match chain.is_empty() {
                        true => Dispatch::One(target),
                        false => Dispatch::Chain(chain, target),
                    };
                }
                Operator::LocalGet { local_index } => {
                    if self.pc.is_some_and(|pc| pc != local_index) || !self.is_ours(local_index) {
                        return fault("two numbers of the call");
                    }
                    self.pc = Some(local_index);
                    self.skip();
                }
                _ => return fault("no way to a site"),
            }
            let number = match self.output.op()?.operator {
                Operator::I32Const { value } => {
                    self.skip();
                    Some(value as u32)
                }
                _ => None,
            };
            match (number, &self.output.op()?.operator) {
                (Some(last), Operator::I32LeU) => {
                    self.skip();
                    chain.push((last, self.target()?));
                    if !matches!(self.output.op()?.operator, Operator::BrIf { .. }) {
                        return fault("a question without a branch");
                    }
                    self.skip();
                    continue;
                }
                (Some(_), Operator::I32Sub) => self.skip(),
                (None, _) => {}
                _ => return fault("a number that is not used"),
            }
            let op = self.output.op()?;
            if !matches!(op.operator, Operator::BrTable { .. }) || !chain.is_empty() {
                return fault("no table");
            }
            let targets = self.output.code.targets(op).to_vec();
            self.skip();
            break Dispatch::Table { first: number.unwrap_or(0), targets };
        };
        if !matches!(self.output.op()?.operator, Operator::End) {
            return fault("the way to the sites goes on");
        }
        self.skip();
        Ok(dispatch)
    }

    /// A label that only rewinding goes to, and what lies between it and the next event.
    fn label(&mut self, purpose: Purpose) -> Result<usize, Fault> {
        let at = self.output.at;
        let op =
            self.expect(|operator| matches!(operator, Operator::End), "label before a site")?;
        let frame = self.outputs.pop().ok_or_else(|| Fault::new("an end of nothing"))?;
        let is_free = frame.is_hoisted
            && frame.block == op.block
            && !self.bound_by.contains_key(&op.block)
            && self.output.code.blocks[op.block].results.is_empty();
        if !is_free || self.output.stack.len() != frame.height {
            return fault("a label with something on the stack, or of another block");
        }
        self.purposes.insert(op.block, purpose);
        self.pure_output(true)?;
        Ok(at)
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

    fn has_sites(&self, block: &Block) -> bool {
        let ops = &self.input.code.ops;
        self.sites.range(ops[block.open].offset..ops[block.end].offset).next().is_some()
    }

    fn open(&mut self, op: &Op<'a>) -> Done {
        let block = &self.input.code.blocks[op.block];
        let has_sites = self.has_sites(block);
        let frame = |walk: &Self, is_dissolved, params: usize| -> Result<InputFrame, Fault> {
            Ok(InputFrame {
                block: op.block,
                is_dissolved,
                height: walk.input.stack.len() - top(&walk.input.stack, params)?.len(),
                params: top(&walk.input.stack, params)?.to_vec(),
                otherwise: None,
                input_writes: walk.input_writes.len(),
                output_writes: walk.output_writes.len(),
            })
        };
        let count = block.params.len();
        if has_sites && matches!(op.operator, Operator::Block { .. }) {
            self.inputs.push(frame(self, true, count)?);
            self.input.at += 1;
            return Ok(());
        }
        if has_sites && matches!(op.operator, Operator::If { .. }) {
            let condition = pop(&mut self.input.stack, 1)?;
            let unless = self.terms.of(&[0x45], &condition);
            let target = match self.output.op()?.operator {
                Operator::BrIf { .. } if pop(&mut self.output.stack, 1)? == [unless] => {
                    self.target()?
                }
                _ => return fault("another condition"),
            };
            self.output.at += 1;
            let mut frame = frame(self, true, count)?;
            if block.has_else {
                frame.otherwise = Some(target);
            } else {
                self.bind(op.block, target)?;
                self.same_top(count)?;
            }
            self.inputs.push(frame);
            self.input.at += 1;
            return Ok(());
        }
        if has_sites {
            let region = self.regions.len();
            self.label(Purpose::Region(region))?;
        }
        let output = self.output.op()?;
        let now = &self.output.code.blocks[output.block];
        let same = op.bytes[0] == output.bytes[0]
            && all_alike(&now.params, &block.params)
            && all_alike(&now.results, &block.results);
        if !same {
            return fault(format!("{:?} where the input has {:?}", output.operator, op.operator));
        }
        if let (Operator::TryTable { try_table: one }, Operator::TryTable { try_table: two }) =
            (&op.operator, &output.operator)
        {
            let kind = |catch: &Catch| match catch {
                Catch::One { tag, .. } => (0, *tag),
                Catch::OneRef { tag, .. } => (1, *tag),
                Catch::All { .. } => (2, 0),
                Catch::AllRef { .. } => (3, 0),
            };
            if !one.catches.iter().map(kind).eq(two.catches.iter().map(kind)) {
                return fault("other handlers");
            }
            let from = self.input.code.targets[block.catches.clone()].iter();
            let to = &self.output.code.targets[now.catches.clone()];
            let pairs: Vec<(usize, usize)> = from.copied().zip(to.iter().copied()).collect();
            for (from, to) in pairs {
                self.bind(from, to)?;
            }
        }
        if matches!(op.operator, Operator::If { .. }) {
            self.pop_same(1)?;
        }
        self.same_top(count)?;
        self.bind(op.block, output.block)?;
        let mut frame = frame(self, false, count)?;
        if block.is_loop {
            let written = self.input.code.written(block.open..block.end).collect::<BTreeSet<_>>();
            let ours = self.output.code.written(now.open..now.end).collect::<BTreeSet<_>>();
            self.forget(written.into_iter(), ours.into_iter());
            pop(&mut self.input.stack, count)?;
            pop(&mut self.output.stack, count)?;
            self.give(count);
            frame.params = top(&self.input.stack, count)?.to_vec();
        }
        let height = self.output.stack.len() - count;
        self.outputs.push(OutputFrame { block: output.block, height, is_hoisted: false });
        self.inputs.push(frame);
        (self.input.at, self.output.at) = (self.input.at + 1, self.output.at + 1);
        if has_sites {
            // Its parameters go to locals first, which only this region has.
            for _ in 0..count {
                let op = self.expect(
                    |operator| matches!(operator, Operator::LocalSet { .. }),
                    "place for a parameter",
                )?;
                match op.operator {
                    Operator::LocalSet { local_index } if self.is_ours(local_index) => {
                        self.set_ours(local_index)?;
                        if !self.given.insert(local_index) {
                            return fault("two parameters in one place");
                        }
                    }
                    _ => return fault("a parameter that overwrites a local"),
                }
            }
            self.region_begins(false)?;
        }
        Ok(())
    }

    fn frame(&self) -> Result<&InputFrame, Fault> {
        self.inputs.last().ok_or_else(|| Fault::new("code outside"))
    }

    /// The end of a block that was moved, in the output.
    fn hoisted_end(&mut self) -> Result<OutputFrame, Fault> {
        let op =
            self.expect(|operator| matches!(operator, Operator::End), "end of a moved block")?;
        match self.outputs.pop() {
            Some(frame) if frame.is_hoisted && frame.block == op.block => Ok(frame),
            _ => fault("the end of another block"),
        }
    }

    fn alternative(&mut self) -> Done {
        let frame = self.frame()?;
        let (block, is_dissolved, otherwise) = (frame.block, frame.is_dissolved, frame.otherwise);
        let results = self.input.code.blocks[block].results.len();
        if !is_dissolved {
            if self.input.is_live {
                self.same_top(results)?;
            }
            self.expect(|operator| matches!(operator, Operator::Else), "alternative")?;
            let height = self.outputs.last().map_or(0, |frame| frame.height);
            self.output.stack.truncate(height);
        } else {
            if self.input.is_live {
                if !matches!(self.output.op()?.operator, Operator::Br { .. }) {
                    return fault("no way around an alternative");
                }
                self.same_top(results)?;
                let target = self.target()?;
                self.bind(block, target)?;
                self.output.at += 1;
            }
            let ended = self.hoisted_end()?;
            if Some(ended.block) != otherwise || self.bound_by.contains_key(&ended.block) {
                return fault("an alternative elsewhere");
            }
            self.output.stack.truncate(ended.height);
        }
        let frame = self.inputs.pop().ok_or_else(|| Fault::new("code outside"))?;
        self.join(&frame);
        self.input.stack.truncate(frame.height);
        self.input.stack.extend(&frame.params);
        if !frame.is_dissolved {
            self.output.stack.extend(&frame.params);
        }
        self.inputs.push(frame);
        (self.input.is_live, self.output.is_live) = (true, true);
        self.input.at += 1;
        Ok(())
    }

    fn handler(&mut self, op: &Op<'a>) -> Done {
        let frame = self.inputs.pop().ok_or_else(|| Fault::new("code outside"))?;
        if self.input.is_live {
            self.same_top(self.input.code.blocks[frame.block].results.len())?;
        }
        self.same_bytes()?;
        self.join(&frame);
        self.input.stack.truncate(frame.height);
        let height = self.outputs.last().map_or(0, |frame| frame.height);
        self.output.stack.truncate(height);
        self.inputs.push(frame);
        self.give(op.pushes);
        (self.input.is_live, self.output.is_live) = (true, true);
        Ok(())
    }

    fn end(&mut self, op: &Op<'a>) -> Done {
        let frame = self.inputs.pop().ok_or_else(|| Fault::new("an end of nothing"))?;
        let results = self.input.code.blocks[frame.block].results.len();
        if self.inputs.is_empty() {
            if self.input.is_live {
                self.same_top(results)?;
                self.expect(|operator| matches!(operator, Operator::Return), "return")?;
            }
            return Ok(());
        }
        if self.input.is_live {
            self.same_top(results)?;
        }
        let height = if frame.is_dissolved {
            let ended = self.hoisted_end()?;
            self.bind(frame.block, ended.block)?;
            ended.height
        } else {
            let output = self.output.op()?;
            if let (Operator::Delegate { .. }, Operator::Delegate { .. }) =
                (&op.operator, &output.operator)
            {
                let (from, to) =
                    (self.input.code.targets(op)[0], self.output.code.targets(output)[0]);
                self.bind(from, to)?;
            } else if op.bytes != output.bytes {
                return fault("another end");
            }
            self.output.at += 1;
            match self.outputs.pop() {
                Some(ended)
                    if !ended.is_hoisted
                        && ended.block == output.block
                        && self.bound.get(&frame.block) == Some(&ended.block) =>
                {
                    ended.height
                }
                _ => return fault("the end of another block"),
            }
        };
        self.join(&frame);
        self.input.stack.truncate(frame.height);
        self.output.stack.truncate(height);
        self.give(results);
        (self.input.is_live, self.output.is_live) = (true, true);
        self.input.at += 1;
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

    // What comes after.

    /// What is saved is what is restored, the other way round.
    fn epilogue(&mut self) -> Done {
        let ended = self.expect(|operator| matches!(operator, Operator::End), "end")?;
        if ended.block != self.save {
            return fault("code is left");
        }
        let mut saved = Vec::new();
        let mut group = Vec::new();
        loop {
            let op = self.output.op()?;
            match op.operator {
                Operator::LocalGet { local_index } => group.push(local_index),
                Operator::Call { function_index } if !group.is_empty() => {
                    let types: Vec<ValType> = group
                        .iter()
                        .map(|local| self.output.code.locals[*local as usize])
                        .collect();
                    let Some(place) = self.module.saves(function_index, &types) else {
                        return fault("something else is saved");
                    };
                    saved.extend(group.drain(..).map(|local| (local, place)));
                }
                Operator::End => break,
                _ if is_pure(op) && op.pops == 0 && group.is_empty() => {}
                _ => return fault("more than saving after the end"),
            }
            self.output.at += 1;
        }
        saved.reverse();
        let is_numbered = self.pc.is_none_or(|pc| saved.iter().any(|(local, _)| *local == pc));
        match saved == self.restored && is_numbered && group.is_empty() {
            true => Ok(()),
            false => fault("what is saved is not what is restored"),
        }
    }

    /// From the function's beginning, each number leads to its site.
    fn ways_back(&self) -> Done {
        for site in 0..self.found.len() as u32 {
            let mut region = 0;
            loop {
                let dispatch = self.regions.get(region).and_then(Option::as_ref);
                let target = dispatch.map(|dispatch| dispatch.target(site));
                match target.and_then(|target| self.purposes.get(&target)) {
                    Some(Purpose::Site(found)) if *found == site => break,
                    // Regions are numbered from outside.
                    Some(Purpose::Region(inner)) if *inner > region => region = *inner,
                    _ => return fault(format!("no way back to site {site}")),
                }
            }
        }
        match self.found.len() {
            0 => fault("no site"),
            1 => Ok(()),
            _ if self.pc.is_none() => fault("several sites without a number"),
            _ => Ok(()),
        }
    }
}
