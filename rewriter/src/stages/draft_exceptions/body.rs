//! One function body: what its `try`s are, then the body with others in their place.

use super::Declared;
use wasm_encoder::{Encode, Instruction, ValType};
use wasmparser::{BlockType, FuncType, FunctionBody, Operator, RefType};

/// Gives the body without its size.
pub(super) fn translate(
    wasm: &[u8],
    body: &FunctionBody<'_>,
    parameters: usize,
    declared: &mut Declared,
) -> Option<Vec<u8>> {
    let found = Found::of(body)?;
    let whole = wasm.get(body.range())?;
    if found.tries.is_empty() {
        return Some(whole.to_vec());
    }
    let mut locals = body.get_locals_reader().ok()?;
    let groups = locals.get_count();
    let first = locals.original_position();
    let mut held = u32::try_from(parameters).ok()?;
    for _ in 0..groups {
        held = held.checked_add(locals.read().ok()?.0)?;
    }
    let mut code = Vec::with_capacity(whole.len() + whole.len() / 2);
    let more = found.tries.iter().filter_map(|it| it.held).max().map_or(0, |most| most + 1);
    (groups + u32::from(more > 0)).encode(&mut code);
    code.extend(wasm.get(first..locals.original_position())?);
    if more > 0 {
        more.encode(&mut code);
        ValType::EXNREF.encode(&mut code);
    }
    let mut writer =
        Writer { declared, tries: &found.tries, held, code, open: Vec::new(), height: 1 };
    writer.open.push(Open { label: 0, tried: None });
    writer.all(wasm, body, found.out)?;
    Some(writer.code)
}

/// What there is to know of a `try` where it begins.
#[derive(Default)]
struct Try {
    /// The tag of each handler; none for those of any exception.
    handlers: Vec<Option<u32>>,
    /// It has none: its exceptions go to this one's body, or out of the function.
    delegates: Option<Option<usize>>,
    /// Others delegate to it.
    is_target: bool,
    /// What its handlers caught is thrown again: the number of the local for it.
    held: Option<u32>,
}

struct Found {
    /// In the order in which they begin.
    tries: Vec<Try>,
    /// Whether some delegate out of the function.
    out: bool,
}

impl Found {
    fn of(body: &FunctionBody<'_>) -> Option<Self> {
        let mut tries: Vec<Try> = Vec::new();
        let mut out = false;
        // Each open block: the `try` that it is, and whether its handlers have begun.
        let mut open: Vec<(Option<usize>, bool)> = vec![(None, false)];
        let mut rethrown: Vec<bool> = Vec::new();
        let mut depths: Vec<u32> = Vec::new();
        let mut operators = body.get_operators_reader().ok()?;
        while !operators.eof() {
            match operators.read().ok()? {
                Operator::Block { .. }
                | Operator::Loop { .. }
                | Operator::If { .. }
                | Operator::TryTable { .. } => open.push((None, false)),
                Operator::Try { .. } => {
                    let around = open.iter().filter(|(tried, _)| tried.is_some()).count();
                    depths.push(u32::try_from(around).ok()?);
                    open.push((Some(tries.len()), false));
                    tries.push(Try::default());
                    rethrown.push(false);
                }
                Operator::Catch { tag_index } => {
                    handler(&mut open, &mut tries)?.handlers.push(Some(tag_index));
                }
                Operator::CatchAll => handler(&mut open, &mut tries)?.handlers.push(None),
                Operator::Delegate { relative_depth } => {
                    let (tried, _) = open.pop()?;
                    let from = open.len().checked_sub(1 + relative_depth as usize)?;
                    let in_body =
                        |(tried, handles): &(Option<usize>, bool)| tried.filter(|_| !handles);
                    let target = open.get(..=from)?.iter().rev().find_map(in_body);
                    tries.get_mut(tried?)?.delegates = Some(target);
                    match target {
                        Some(target) => tries.get_mut(target)?.is_target = true,
                        None => out = true,
                    }
                }
                Operator::Rethrow { relative_depth } => {
                    let at = open.len().checked_sub(1 + relative_depth as usize)?;
                    *rethrown.get_mut(open.get(at)?.0?)? = true;
                }
                Operator::End => drop(open.pop()?),
                _ => {}
            }
        }
        for ((tried, rethrown), depth) in tries.iter_mut().zip(rethrown).zip(depths) {
            // Those inside each other have locals of their own, which others may have after them.
            tried.held = rethrown.then_some(depth);
        }
        Some(Self { tries, out })
    }
}

fn handler<'a>(open: &mut [(Option<usize>, bool)], tries: &'a mut [Try]) -> Option<&'a mut Try> {
    let (tried, handles) = open.last_mut()?;
    *handles = true;
    tries.get_mut((*tried)?)
}

/// An open block of the original.
struct Open {
    /// What a branch to it goes to: so many labels are around that one.
    label: u32,
    tried: Option<Inside>,
}

/// Where in a `try` this is.
#[derive(Clone, Copy)]
struct Inside {
    index: usize,
    /// Its handlers have begun.
    handles: bool,
    /// The label that takes what others delegate to it.
    target: u32,
}

struct Writer<'a> {
    declared: &'a mut Declared,
    tries: &'a [Try],
    /// The first local for caught exceptions.
    held: u32,
    code: Vec<u8>,
    open: Vec<Open>,
    /// Open labels of what is written, that of the function included.
    height: u32,
}

impl Writer<'_> {
    fn all(&mut self, wasm: &[u8], body: &FunctionBody<'_>, out: bool) -> Option<()> {
        if out {
            self.begin(Instruction::Block, wasm_encoder::BlockType::Result(ValType::EXNREF));
        }
        let mut next = 0;
        let mut operators = body.get_operators_reader().ok()?;
        while !operators.eof() {
            let start = operators.original_position();
            let operator = operators.read().ok()?;
            if self.operator(&operator, &mut next)? {
                continue;
            }
            let end = operators.original_position();
            if matches!(operator, Operator::End) && self.open.is_empty() && out {
                self.write(&Instruction::Return);
                self.end();
                self.write(&Instruction::ThrowRef);
            }
            self.code.extend(wasm.get(start..end)?);
        }
        self.open.is_empty().then_some(())
    }

    /// Whether it was written; else it is to be copied.
    fn operator(&mut self, operator: &Operator<'_>, next: &mut usize) -> Option<bool> {
        match operator {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                self.open.push(Open { label: self.height, tried: None });
                self.height += 1;
                return Some(false);
            }
            Operator::TryTable { try_table } => {
                let depth = |label| self.depth(label);
                let catches = try_table.catches.iter().map(|catch| {
                    use wasmparser::Catch as Was;
                    Some(match *catch {
                        Was::One { tag, label } => {
                            wasm_encoder::Catch::One { tag, label: depth(label)? }
                        }
                        Was::OneRef { tag, label } => {
                            wasm_encoder::Catch::OneRef { tag, label: depth(label)? }
                        }
                        Was::All { label } => wasm_encoder::Catch::All { label: depth(label)? },
                        Was::AllRef { label } => {
                            wasm_encoder::Catch::AllRef { label: depth(label)? }
                        }
                    })
                });
                let catches: Option<Vec<_>> = catches.collect();
                let ty = try_table.ty.try_into().ok()?;
                self.write(&Instruction::TryTable(ty, catches?.into()));
                self.open.push(Open { label: self.height, tried: None });
                self.height += 1;
            }
            Operator::Try { blockty } => {
                self.begin_try(*next, *blockty)?;
                *next += 1;
            }
            Operator::Catch { .. } | Operator::CatchAll => self.begin_handler()?,
            Operator::Delegate { .. } => {
                self.end_body()?;
                self.open.pop()?;
                self.end();
            }
            Operator::Rethrow { relative_depth } => {
                let at = self.open.len().checked_sub(1 + *relative_depth as usize)?;
                let tried = self.tries.get(self.open.get(at)?.tried?.index)?;
                self.write(&Instruction::LocalGet(self.held + tried.held?));
                self.write(&Instruction::ThrowRef);
            }
            Operator::End => {
                self.end_body()?;
                self.open.pop()?;
                self.height -= 1;
                return Some(false);
            }
            Operator::Br { relative_depth } => {
                let depth = self.depth(*relative_depth)?;
                self.write(&Instruction::Br(depth));
            }
            Operator::BrIf { relative_depth } => {
                let depth = self.depth(*relative_depth)?;
                self.write(&Instruction::BrIf(depth));
            }
            Operator::BrOnNull { relative_depth } => {
                let depth = self.depth(*relative_depth)?;
                self.write(&Instruction::BrOnNull(depth));
            }
            Operator::BrOnNonNull { relative_depth } => {
                let depth = self.depth(*relative_depth)?;
                self.write(&Instruction::BrOnNonNull(depth));
            }
            Operator::BrTable { targets } => {
                let depths: Option<Vec<u32>> =
                    targets.targets().map(|depth| self.depth(depth.ok()?)).collect();
                let default = self.depth(targets.default())?;
                self.write(&Instruction::BrTable(depths?.into(), default));
            }
            // Other branches are of proposals that no function may use.
            _ => return Some(false),
        }
        Some(true)
    }

    fn begin_try(&mut self, index: usize, ty: BlockType) -> Option<()> {
        let tried = self.tries.get(index)?;
        let (params, results) = match ty {
            BlockType::Empty => (Vec::new(), Vec::new()),
            BlockType::Type(ty) => (Vec::new(), vec![ty]),
            BlockType::FuncType(index) => {
                let ty = self.declared.types.get(index as usize)?;
                (ty.params().to_vec(), ty.results().to_vec())
            }
        };
        let ty = self.block(&params, &results)?;
        let exception = wasmparser::ValType::Ref(RefType::EXNREF);
        let outer = self.height;
        let mut catches = Vec::new();
        match tried.delegates {
            Some(to) => {
                let label = match to {
                    // The first label within the function's.
                    None => 1,
                    Some(to) => {
                        let inside = self.open.iter().rev().filter_map(|open| open.tried);
                        inside.into_iter().find(|inside| inside.index == to)?.target
                    }
                };
                catches.push(wasm_encoder::Catch::AllRef { label: self.height - 1 - label });
            }
            None => self.begin(Instruction::Block, ty),
        }
        for handler in tried.handlers.iter().rev() {
            let mut given = match handler {
                Some(tag) => self.declared.tag(*tag)?.params().to_vec(),
                None => Vec::new(),
            };
            given.extend(tried.held.map(|_| exception));
            let ty = self.block(&params, &given)?;
            self.begin(Instruction::Block, ty);
        }
        for (label, handler) in (0..).zip(&tried.handlers) {
            use wasm_encoder::Catch;
            catches.push(match (*handler, tried.held.is_some()) {
                (Some(tag), false) => Catch::One { tag, label },
                (Some(tag), true) => Catch::OneRef { tag, label },
                (None, false) => Catch::All { label },
                (None, true) => Catch::AllRef { label },
            });
        }
        if !catches.is_empty() {
            self.begin(|ty| Instruction::TryTable(ty, catches.into()), ty);
        }
        let target = self.height;
        if tried.is_target {
            let ty = self.block(&params, &[exception])?;
            self.begin(Instruction::Block, ty);
        }
        self.open
            .push(Open { label: outer, tried: Some(Inside { index, handles: false, target }) });
        Some(())
    }

    fn begin_handler(&mut self) -> Option<()> {
        self.end_body()?;
        let open = self.open.last_mut()?;
        let (outer, inside) = (open.label, open.tried.as_mut()?);
        let is_first = !std::mem::replace(&mut inside.handles, true);
        let held = self.tries.get(inside.index)?.held;
        if is_first {
            self.end();
        }
        self.write(&Instruction::Br(self.height - 1 - outer));
        self.end();
        if let Some(held) = held {
            self.write(&Instruction::LocalSet(self.held + held));
        }
        Some(())
    }

    /// Where the body of a `try` ends that others delegate to: ends the block that takes what they do.
    fn end_body(&mut self) -> Option<()> {
        let open = self.open.last()?;
        let (outer, Some(inside)) = (open.label, open.tried) else { return Some(()) };
        if !inside.handles && self.tries.get(inside.index)?.is_target {
            self.write(&Instruction::Br(self.height - 1 - outer));
            self.end();
            self.write(&Instruction::ThrowRef);
        }
        Some(())
    }

    /// What a branch of the original to this depth is now.
    fn depth(&self, depth: u32) -> Option<u32> {
        let at = self.open.len().checked_sub(1 + depth as usize)?;
        Some(self.height - 1 - self.open.get(at)?.label)
    }

    fn block(
        &mut self,
        params: &[wasmparser::ValType],
        results: &[wasmparser::ValType],
    ) -> Option<wasm_encoder::BlockType> {
        let ty = match (params, results) {
            ([], []) => BlockType::Empty,
            ([], [one]) => BlockType::Type(*one),
            _ => {
                let ty = FuncType::new(params.iter().copied(), results.iter().copied());
                BlockType::FuncType(self.declared.index(ty))
            }
        };
        ty.try_into().ok()
    }

    fn begin<'b>(
        &mut self,
        block: impl FnOnce(wasm_encoder::BlockType) -> Instruction<'b>,
        ty: wasm_encoder::BlockType,
    ) {
        self.write(&block(ty));
        self.height += 1;
    }

    fn end(&mut self) {
        self.write(&Instruction::End);
        self.height -= 1;
    }

    fn write(&mut self, instruction: &Instruction<'_>) {
        instruction.encode(&mut self.code);
    }
}
