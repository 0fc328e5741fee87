//! Random sequences of opening, closing, duplicating and moving descriptors, including the initial ones, against a
//! model that records the open file of each descriptor.

use super::model::Random;
use super::*;
use std::collections::BTreeMap;

const SEQUENCES: u64 = 2000;
const STEPS: usize = 80;
const FILES: [&str; 3] = ["a/f", "a/b", "tmp"];

/// An open file: its number, and the path by which it was opened; `None` for a stream.
type Opened = (usize, Option<&'static str>);

struct Model {
    slots: BTreeMap<u32, Opened>,
    opened: usize,
}

impl Model {
    fn new() -> Self {
        let paths = [None, None, None, Some("/"), Some("/")];
        let slots = paths.into_iter().enumerate();
        Self { slots: slots.map(|(n, path)| (n as u32, (n, path))).collect(), opened: paths.len() }
    }

    fn lowest(&self, from: u32) -> Result<u32, Errno> {
        (from..MAX_DESCRIPTORS).find(|fd| !self.slots.contains_key(fd)).ok_or(Errno::TooManyOpen)
    }

    fn get(&self, fd: u32) -> Result<Opened, Errno> {
        self.slots.get(&fd).copied().ok_or(Errno::BadDescriptor)
    }

    fn open(&mut self, path: &'static str) -> Result<u32, Errno> {
        let slot = self.lowest(0)?;
        self.opened += 1;
        self.slots.insert(slot, (self.opened, Some(path)));
        Ok(slot)
    }

    fn close(&mut self, fd: u32) -> Result<(), Errno> {
        self.slots.remove(&fd).map(drop).ok_or(Errno::BadDescriptor)
    }

    fn duplicate(&mut self, fd: u32, from: u32) -> Result<u32, Errno> {
        let open = self.get(fd)?;
        let slot = self.lowest(from)?;
        self.slots.insert(slot, open);
        Ok(slot)
    }

    fn duplicate_onto(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        let open = self.get(from)?;
        if to >= MAX_DESCRIPTORS {
            return Err(Errno::BadDescriptor);
        }
        self.slots.insert(to, open);
        Ok(())
    }

    fn renumber(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        self.get(to)?;
        self.duplicate_onto(from, to)?;
        if from != to { self.close(from) } else { Ok(()) }
    }
}

#[test]
fn descriptors_agree_with_a_plain_model() {
    for seed in 1..=SEQUENCES {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (mut files, mut model) = (tree(), Model::new());
        let mut trace = Vec::new();
        for _ in 0..STEPS {
            let mut fd = || match random.below(20) {
                0 => MAX_DESCRIPTORS - 1 + random.below(2) as u32,
                1 => u32::MAX,
                _ => random.below(9) as u32,
            };
            let (from, to) = (fd(), fd());
            let (kind, path) = (random.below(6), FILES[random.below(FILES.len())]);
            trace.push(format!("{kind} {from} {to} {path}"));
            let (got, expected) = match kind {
                0 => {
                    let got = files.open(Base::ROOT, path, &options(false), 1);
                    (got.map_err(|stop| errno::<()>(Err(stop))), model.open(path))
                }
                1 | 2 => (files.close(from).map(|()| 0), model.close(from).map(|()| 0)),
                3 => (files.duplicate(from, to), model.duplicate(from, to)),
                4 => {
                    let got = files.duplicate_onto(from, to);
                    (got.map(|()| 0), model.duplicate_onto(from, to).map(|()| 0))
                }
                _ => (files.renumber(from, to).map(|()| 0), model.renumber(from, to).map(|()| 0)),
            };
            assert_eq!(got, expected, "seed {seed}: {trace:#?}");
            for fd in 0..10 {
                check(&mut files, &model, fd, &format!("seed {seed}, {fd}: {trace:#?}"));
            }
        }
        // All open descriptors can be closed, and the tree is then as before.
        for fd in model.slots.keys() {
            assert_eq!(files.close(*fd), Ok(()), "seed {seed}: {trace:#?}");
        }
        assert_eq!(files.descriptors.nodes().count(), 0, "seed {seed}");
        assert_eq!(bytes(&mut files, "a/f"), Ok(b"one".to_vec()), "seed {seed}");
        let (counted, used) = files.tree.counted();
        assert_eq!(counted, used, "seed {seed}");
    }
}

/// Checks that a descriptor refers to the model's file, and that descriptors of one open file share its offset.
fn check(files: &mut Files, model: &Model, fd: u32, at: &str) {
    let Ok((number, path)) = model.get(fd) else {
        assert_eq!(files.stat(fd).err(), Some(Errno::BadDescriptor), "{at}");
        assert!(files.base(fd, true).is_err(), "{at}");
        return;
    };
    let stat = files.stat(fd).map(|stat| stat.inode);
    let expected = match path {
        None => 0,
        Some(path) => files.stat_path(Base::ROOT, path, true).map_or(0, |stat| stat.inode),
    };
    assert_eq!(stat, Ok(expected), "{at}");
    if path.is_some() {
        let offset = number as i64;
        assert_eq!(files.seek(fd, offset, Whence::Start), Ok(number as u64), "{at}");
        let same = model.slots.iter().filter(|(_, open)| open.0 == number);
        for other in same.map(|(fd, _)| *fd) {
            assert_eq!(files.seek(other, 0, Whence::Current), Ok(number as u64), "{at}");
        }
    }
}
