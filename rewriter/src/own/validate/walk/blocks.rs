//! Blocks, of which those with sites begin elsewhere in the output.

use super::super::code::{Block, Op};
use super::super::{Fault, all_alike};
use super::{Done, InputFrame, OutputFrame, Purpose, Walk, fault, pop, top};
use std::collections::BTreeSet;
use wasmparser::{Catch, Operator};

impl<'a> Walk<'_, 'a> {
    pub(super) fn has_sites(&self, block: &Block) -> bool {
        let ops = &self.input.code.ops;
        self.sites.range(ops[block.open].offset..ops[block.end].offset).next().is_some()
    }

    pub(super) fn open(&mut self, op: &Op<'a>) -> Done {
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

    pub(super) fn frame(&self) -> Result<&InputFrame, Fault> {
        self.inputs.last().ok_or_else(|| Fault::new("code outside"))
    }

    /// The end of a block that was moved, in the output.
    pub(super) fn hoisted_end(&mut self) -> Result<OutputFrame, Fault> {
        let op =
            self.expect(|operator| matches!(operator, Operator::End), "end of a moved block")?;
        match self.outputs.pop() {
            Some(frame) if frame.is_hoisted && frame.block == op.block => Ok(frame),
            _ => fault("the end of another block"),
        }
    }

    pub(super) fn alternative(&mut self) -> Done {
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

    pub(super) fn handler(&mut self, op: &Op<'a>) -> Done {
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

    pub(super) fn end(&mut self, op: &Op<'a>) -> Done {
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
}
