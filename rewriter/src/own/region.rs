//! Where code can be entered again: a function, a loop, or a `try`.
//!
//! In a region, every block that holds a call that can suspend is dissolved: it begins where the region does, and only
//! its end stays in its place. So from the region's beginning, one branch leads to any of these calls.

use super::code::{BR, BR_IF, Opcode, Part, Simple, Type};
use super::operands::{Kept, Operand};
use super::tree::Label;
use std::ops::Range;

/// An instruction that can be done again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    /// Operands on the stack before it.
    pub(super) height: usize,
    pub(super) pops: usize,
    /// The local that it reads.
    pub(super) reads: Option<u32>,
}

impl Done {
    /// Operands that it leaves as they are.
    pub(super) fn untouched(&self) -> usize {
        self.height - self.pops
    }
}

/// A place in a region where code is entered again, and for which calls.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) label: Label,
    pub(super) sites: Range<u32>,
}

/// The code of a region.
#[derive(Debug, Default)]
pub(super) struct Region {
    pub(super) content: Vec<Part>,
    /// Labels in the order in which they end.
    pub(super) ends: Vec<(Label, Type)>,
    pub(super) items: Vec<Item>,
    /// Operands that lie in locals until somebody takes them, deepest first: below all that are on the stack.
    pub(super) parked: Vec<Kept>,
    /// Index in the content, after which there is nothing but what can be done again.
    pub(super) start: usize,
    pub(super) done: Vec<Done>,
    /// The operands that those took.
    pub(super) taken: Vec<Operand>,
}

impl Region {
    /// From here on, things can be done again.
    pub(super) fn restart(&mut self) {
        self.start = self.content.len();
        self.done.clear();
        self.taken.clear();
    }

    /// Ends a label here, to which nothing but a branch of ours leads, and notes which calls it is for.
    pub(super) fn enter_at(&mut self, label: Label, sites: Range<u32>) {
        self.end(label, Type::Empty);
        self.items.push(Item { label, sites });
    }

    pub(super) fn end(&mut self, label: Label, ty: Type) {
        self.content.push(Part::End);
        self.ends.push((label, ty));
    }

    /// The calls of the region.
    pub(super) fn sites(&self) -> Range<u32> {
        let first = self.items.first().map_or(0, |item| item.sites.start);
        first..self.items.last().map_or(first, |item| item.sites.end)
    }

    /// The beginnings of all blocks.
    pub(super) fn open(&self, out: &mut Vec<Part>) {
        let opened = self.ends.iter().rev();
        out.extend(opened.map(|(label, ty)| Part::Open(Opcode::Block, *ty, *label)));
    }

    /// Goes on where the call lies whose number is in the local `pc`, if the function is rewound.
    pub(super) fn dispatch_if(&self, state: u32, pc: Option<u32>, scratch: Label) -> Vec<Part> {
        let mut out = vec![Part::Global(state)];
        if let [item] = self.items.as_slice() {
            out.push(Part::Branch(BR_IF, item.label));
            return out;
        }
        out.push(Part::Open(Opcode::If, Type::Empty, scratch));
        self.dispatch(pc, &mut out);
        out.push(Part::End);
        out
    }

    /// Goes on where the call lies whose number is in the local `pc`.
    ///
    /// By a table, unless most of it would be the same label over and over, which costs space and slows compilers.
    pub(super) fn dispatch(&self, pc: Option<u32>, out: &mut Vec<Part>) {
        const REPEATED: usize = 8;
        let (Some((last, others)), sites) = (self.items.split_last(), self.sites()) else { return };
        let (Some(pc), false) = (pc, others.is_empty()) else {
            out.push(Part::Branch(BR, last.label));
            return;
        };
        // What it would take to reach the last one is not in the table.
        let listed = (last.sites.start - sites.start) as usize;
        if listed > REPEATED * others.len() {
            for item in others {
                out.extend([
                    Part::Get(pc),
                    Part::Number(item.sites.end as i32 - 1),
                    Part::Simple(Simple::IsAtMost),
                    Part::Branch(BR_IF, item.label),
                ]);
            }
            out.push(Part::Branch(BR, last.label));
            return;
        }
        out.push(Part::Get(pc));
        if sites.start > 0 {
            let first = sites.start as i32;
            out.extend([Part::Number(first), Part::Simple(Simple::Subtract)]);
        }
        let labels = others.iter().flat_map(|item| item.sites.clone().map(|_| item.label));
        out.push(Part::Table(labels.collect(), last.label));
    }
}
