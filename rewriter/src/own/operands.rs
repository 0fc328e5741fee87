//! The operand stack of a region while its code is put together, and how values leave it.
//!
//! Where a branch of ours arrives, nothing may be on the operand stack. What is there goes into a local, or is only made
//! again later: a number, or a local that nobody has written since.

use super::code::{Part, Simple};
use super::tree::{Block, Tree};
use super::types::{is_never_null, storable};
use std::collections::BTreeMap;
use wasmparser::ValType;

/// Where an operand came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Somewhere,
    /// A local, at so many writes to it.
    Local(u32, u32),
    /// A number of the input.
    Number {
        start: usize,
        end: usize,
    },
}

/// An operand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operand {
    pub(super) ty: ValType,
    pub(super) origin: Origin,
}

/// How an operand is kept that has left the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a local of its own.
    Own(u32),
    /// In the local that it came from.
    Local(u32),
    Number {
        start: usize,
        end: usize,
    },
}

/// An operand that has left the stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) ty: ValType,
    pub(super) place: Place,
}

impl Kept {
    /// The local that it lies in.
    pub(super) fn local(&self) -> Option<u32> {
        match self.place {
            Place::Own(local) | Place::Local(local) => Some(local),
            Place::Number { .. } => None,
        }
    }

    /// Takes it from the top of the stack.
    pub(super) fn leave(&self, out: &mut Vec<Part>) {
        out.push(match self.place {
            Place::Own(local) => Part::Set(local),
            Place::Local(_) | Place::Number { .. } => Part::Simple(Simple::Drop),
        });
    }

    /// Puts it onto the stack.
    pub(super) fn come_back(&self, out: &mut Vec<Part>) {
        self.come_back_as_stored(out);
        if matches!(self.place, Place::Own(_)) && is_never_null(self.ty) {
            out.push(Part::Simple(Simple::AsNonNull));
        }
    }

    /// The same, with null for a reference that is not there.
    pub(super) fn come_back_as_stored(&self, out: &mut Vec<Part>) {
        out.push(match self.place {
            Place::Own(local) | Place::Local(local) => Part::Get(local),
            Place::Number { start, end } => Part::Copy { start, end },
        });
    }
}

/// The locals of the new body.
#[derive(Debug)]
pub(super) struct Locals {
    types: Vec<ValType>,
    originals: usize,
    /// Locals of ours that hold nothing now.
    free: BTreeMap<ValType, Vec<u32>>,
    /// How often each of the input's locals has been written so far.
    writes: Vec<u32>,
}

impl Locals {
    pub(super) fn of(tree: &Tree) -> Self {
        Self {
            types: tree.locals.clone(),
            originals: tree.locals.len(),
            free: BTreeMap::new(),
            writes: vec![0; tree.locals.len()],
        }
    }

    /// A local that nothing else will ever use.
    pub(super) fn add(&mut self, ty: ValType) -> u32 {
        self.types.push(storable(ty));
        self.types.len() as u32 - 1
    }

    /// A local until it is released.
    pub(super) fn take(&mut self, ty: ValType) -> u32 {
        let ty = storable(ty);
        match self.free.get_mut(&ty).and_then(Vec::pop) {
            Some(local) => local,
            None => self.add(ty),
        }
    }

    pub(super) fn release(&mut self, kept: &Kept) {
        if let Place::Own(local) = kept.place {
            self.free.entry(self.ty(local)).or_default().push(local);
        }
    }

    pub(super) fn ty(&self, local: u32) -> ValType {
        self.types[local as usize]
    }

    /// Types of the locals that the input does not have.
    pub(super) fn added(&self) -> &[ValType] {
        &self.types[self.originals..]
    }

    /// Operands that came from the local are no longer its value.
    pub(super) fn write(&mut self, local: u32) {
        self.writes[local as usize] += 1;
    }

    /// The present value of a local of the input.
    pub(super) fn origin(&self, local: u32) -> Origin {
        Origin::Local(local, self.writes[local as usize])
    }

    /// The local whose present value an operand is.
    pub(super) fn local_of(&self, operand: &Operand) -> Option<u32> {
        match operand.origin {
            Origin::Local(local, writes) if self.writes[local as usize] == writes => Some(local),
            _ => None,
        }
    }

    /// How to keep an operand, until after a `block` if there is one.
    pub(super) fn keep(&mut self, operand: &Operand, across: Option<(&Tree, &Block)>) -> Kept {
        let ty = operand.ty;
        let place = match (operand.origin, self.local_of(operand)) {
            (Origin::Number { start, end }, _) => Place::Number { start, end },
            (_, Some(local))
                if across.is_none_or(|(tree, block)| !tree.is_written(local, block)) =>
            {
                Place::Local(local)
            }
            _ => Place::Own(self.take(ty)),
        };
        Kept { ty, place }
    }

    /// How to keep an operand for as long as it takes, whatever is written meanwhile.
    pub(super) fn keep_apart(&mut self, operand: &Operand) -> Kept {
        let place = match operand.origin {
            Origin::Number { start, end } => Place::Number { start, end },
            _ => Place::Own(self.take(operand.ty)),
        };
        Kept { ty: operand.ty, place }
    }

    /// What an operand is that comes back.
    pub(super) fn operand(&self, kept: &Kept) -> Operand {
        let origin = match kept.place {
            Place::Own(_) => Origin::Somewhere,
            Place::Local(local) => self.origin(local),
            Place::Number { start, end } => Origin::Number { start, end },
        };
        Operand { ty: kept.ty, origin }
    }
}
