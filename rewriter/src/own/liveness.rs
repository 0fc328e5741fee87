//! Which locals are read after a call that can suspend.
//!
//! Backwards over the code, until what lives at the labels does not change any more. Whatever throws can go to each handler
//! around it, so what these read lives there too.

use super::tree::{Form, Kind, Label, Tree};

/// A set of locals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Locals(Vec<u64>);

impl Locals {
    pub(super) fn none(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    pub(super) fn insert(&mut self, local: u32) {
        self.0[local as usize / 64] |= 1 << (local % 64);
    }

    fn remove(&mut self, local: u32) {
        self.0[local as usize / 64] &= !(1 << (local % 64));
    }

    /// Adds all of another set; whether there are more now.
    fn extend(&mut self, other: &Self) -> bool {
        let mut grew = false;
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            let both = *mine | *theirs;
            grew |= both != *mine;
            *mine = both;
        }
        grew
    }

    fn clear(&mut self) {
        self.0.fill(0);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let bits = |(word, bits): (usize, &u64)| {
            let bits = *bits;
            (0..64).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| (word * 64 + bit) as u32)
        };
        self.0.iter().enumerate().flat_map(bits)
    }
}

/// The locals of a function that live across any of its calls that can suspend.
pub(super) fn across_sites(tree: &Tree) -> Locals {
    let none = Locals::none(tree.locals.len());
    let mut pass = Pass {
        tree,
        at_label: vec![none.clone(); tree.blocks.len()],
        across: none.clone(),
        live: none.clone(),
        open: Vec::new(),
        thrown: vec![none],
        grew: true,
    };
    while pass.grew {
        pass.grew = false;
        pass.live.clear();
        for instr in tree.code.iter().enumerate().rev() {
            pass.instr(instr.0, instr.1.kind);
        }
    }
    pass.across
}

struct Pass<'a> {
    tree: &'a Tree,
    /// What lives where a branch to a label arrives.
    at_label: Vec<Locals>,
    across: Locals,
    live: Locals,
    /// Of the blocks around: what lives after each, and at the start of an alternative or of handlers.
    open: Vec<(Locals, Option<Locals>)>,
    /// What the handlers around read, of the inner ones with the outer ones.
    thrown: Vec<Locals>,
    grew: bool,
}

impl Pass<'_> {
    fn instr(&mut self, at: usize, kind: Kind) {
        match kind {
            Kind::Plain | Kind::Harmless | Kind::Const => {}
            Kind::Call => self.throws(),
            Kind::Get(local) => self.live.insert(local),
            Kind::Set(local) | Kind::Tee(local) => self.live.remove(local),
            Kind::Branch(label) => self.live.clone_from(&self.at_label[label as usize]),
            Kind::BranchIf(_, label) => {
                self.live.extend(&self.at_label[label as usize]);
            }
            Kind::BranchTable(table) => {
                let (labels, otherwise) = &self.tree.tables[table as usize];
                self.live.clone_from(&self.at_label[*otherwise as usize]);
                let mut last = *otherwise;
                for label in labels {
                    // Tables repeat themselves.
                    if *label != last {
                        self.live.extend(&self.at_label[*label as usize]);
                        last = *label;
                    }
                }
            }
            Kind::Return => self.live.clear(),
            Kind::Stop | Kind::Rethrow(_) => {
                self.live.clear();
                self.throws();
            }
            Kind::Site(site) => {
                if self.tree.sites[site as usize].is_tail {
                    self.live.clear();
                }
                self.throws();
                self.across.extend(&self.live);
            }
            Kind::End(label) | Kind::Delegate(label, _) => self.end(label),
            Kind::Else(_) => {
                if let Some((after, other)) = self.open.last_mut() {
                    *other = Some(std::mem::replace(&mut self.live, after.clone()));
                }
            }
            Kind::Catch(label) => self.handler(at, label),
            Kind::Open(label) => self.start(label),
        }
    }

    fn throws(&mut self) {
        if let Some(thrown) = self.thrown.last() {
            self.live.extend(thrown);
        }
    }

    fn end(&mut self, label: Label) {
        let block = &self.tree.blocks[label as usize];
        if block.form != Form::Loop {
            self.grew |= self.at_label[label as usize].extend(&self.live);
        }
        self.open.push((self.live.clone(), None));
        if block.form == Form::TryTable {
            let mut thrown = self.thrown.last().cloned().unwrap_or_else(|| self.live.clone());
            for (_, label) in &block.catches {
                thrown.extend(&self.at_label[*label as usize]);
            }
            self.thrown.push(thrown);
        }
    }

    /// The start of a handler of a legacy `try`; the first one ends what it is for.
    fn handler(&mut self, at: usize, label: Label) {
        let Some((after, handlers)) = self.open.last_mut() else { return };
        let read = std::mem::replace(&mut self.live, after.clone());
        let handlers = handlers.get_or_insert_with(|| read.clone());
        handlers.extend(&read);
        if self.tree.blocks[label as usize].handlers == Some(at) {
            let mut thrown = handlers.clone();
            if let Some(outer) = self.thrown.last() {
                thrown.extend(outer);
            }
            self.thrown.push(thrown);
        }
    }

    fn start(&mut self, label: Label) {
        let block = &self.tree.blocks[label as usize];
        let Some((after, other)) = self.open.pop() else { return };
        match block.form {
            Form::Block => {}
            Form::If => {
                self.live.extend(&other.unwrap_or(after));
            }
            Form::Loop => {
                self.grew |= self.at_label[label as usize].extend(&self.live);
                self.live.clone_from(&self.at_label[label as usize]);
            }
            Form::TryTable => drop(self.thrown.pop()),
            Form::LegacyTry => {
                if block.handlers.is_some() {
                    self.thrown.pop();
                }
            }
        }
    }
}
