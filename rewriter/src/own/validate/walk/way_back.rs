//! The way from a function's beginning to its sites, and what is saved and restored on it.

use super::super::Fault;
use super::super::code::is_pure;
use super::{Dispatch, Done, OutputFrame, Purpose, Walk, fault};
use wasmparser::{Operator, ValType};

impl Walk<'_, '_> {
    /// The beginnings of blocks, and the way to the sites inside.
    pub(super) fn region_begins(&mut self, is_function: bool) -> Done {
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

    pub(super) fn phase(&mut self) -> Done {
        match self.output.op()?.operator {
            Operator::GlobalGet { global_index } if global_index == self.module.state => {
                self.skip();
                Ok(())
            }
            ref other => fault(format!("the phase is not asked, but {other:?}")),
        }
    }

    pub(super) fn target(&self) -> Result<usize, Fault> {
        let op = self.output.op()?;
        self.output.code.targets(op).first().copied().ok_or_else(|| Fault::new("no branch"))
    }

    pub(super) fn dispatch(&mut self, is_function: bool) -> Result<Dispatch, Fault> {
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
    pub(super) fn label(&mut self, purpose: Purpose) -> Result<usize, Fault> {
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

    /// What is saved is what is restored, the other way round.
    pub(super) fn epilogue(&mut self) -> Done {
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
    pub(super) fn ways_back(&self) -> Done {
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
