//! Random sequences of file operations, against a model that keeps full paths in one map.

use super::*;
use std::collections::BTreeMap;

const SEQUENCES: u64 = 2000;
const STEPS: usize = 60;

/// Small, fast, and the same on every machine.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn path(&mut self) -> String {
        let mut path = String::new();
        for _ in 0..=self.below(3) {
            path.push_str(["a", "bb", "cccc", "a", "bb", "cccc", ".", ".."][self.below(8)]);
            path.push('/');
        }
        if self.below(5) > 0 {
            path.pop();
        }
        path
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Thing {
    Folder,
    File(usize),
}

/// Folders and files by full path, `/a/b`; the root is the empty path.
struct Model {
    things: BTreeMap<String, Thing>,
    contents: Vec<Vec<u8>>,
}

/// A resolved path in the model: its full path, whether its last part is a name, and whether it must be a folder.
struct Led {
    whole: String,
    named: bool,
    slash: bool,
}

impl Model {
    fn new() -> Self {
        Self {
            things: [String::new(), "/tmp".to_owned()].map(|path| (path, Thing::Folder)).into(),
            contents: Vec::new(),
        }
    }

    fn resolve(&self, path: &str) -> Result<Led, Errno> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (mut at, mut named) = (String::new(), false);
        for (position, part) in parts.iter().enumerate() {
            match self.things.get(&at) {
                Some(Thing::Folder) => {}
                Some(Thing::File(_)) => return Err(Errno::NotFolder),
                None => return Err(Errno::NoEntry),
            }
            named = !part.starts_with('.');
            match *part {
                "." => {}
                ".." => at.truncate(at.rfind('/').unwrap_or(0)),
                part => at = format!("{at}/{part}"),
            }
            if position + 1 < parts.len() && !self.things.contains_key(&at) {
                return Err(Errno::NoEntry);
            }
        }
        let slash = path.ends_with('/');
        if slash && matches!(self.things.get(&at), Some(Thing::File(_))) {
            return Err(Errno::NotFolder);
        }
        Ok(Led { whole: at, named, slash })
    }

    fn children(&self, whole: &str) -> Vec<String> {
        let prefix = format!("{whole}/");
        let below = self.things.keys().filter_map(|path| path.strip_prefix(&prefix));
        below.filter(|name| !name.contains('/')).map(str::to_owned).collect()
    }

    fn mkdir(&mut self, path: &str) -> Result<(), Errno> {
        let Led { whole, .. } = self.resolve(path.trim_end_matches('/'))?;
        if self.things.contains_key(&whole) {
            return Err(Errno::Exists);
        }
        self.things.insert(whole, Thing::Folder);
        Ok(())
    }

    fn rmdir(&mut self, path: &str) -> Result<(), Errno> {
        let Led { whole, named, .. } = self.resolve(path)?;
        match self.things.get(&whole) {
            None => Err(Errno::NoEntry),
            Some(Thing::File(_)) => Err(Errno::NotFolder),
            Some(Thing::Folder) if !named => Err(Errno::Invalid),
            Some(Thing::Folder) if !self.children(&whole).is_empty() => Err(Errno::NotEmpty),
            Some(Thing::Folder) => {
                self.things.remove(&whole);
                Ok(())
            }
        }
    }

    fn unlink(&mut self, path: &str) -> Result<(), Errno> {
        let Led { whole, .. } = self.resolve(path)?;
        match self.things.get(&whole) {
            None => Err(Errno::NoEntry),
            Some(Thing::Folder) => Err(Errno::IsFolder),
            Some(Thing::File(_)) => {
                self.things.remove(&whole);
                Ok(())
            }
        }
    }

    fn write(&mut self, path: &str, bytes: &[u8]) -> Result<(), Errno> {
        let Led { whole, slash, .. } = self.resolve(path)?;
        match self.things.get(&whole) {
            Some(Thing::Folder) => return Err(Errno::IsFolder),
            Some(Thing::File(id)) => self.contents[*id] = bytes.to_vec(),
            None if slash => return Err(Errno::IsFolder),
            None => {
                self.things.insert(whole, Thing::File(self.contents.len()));
                self.contents.push(bytes.to_vec());
            }
        }
        Ok(())
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, Errno> {
        match self.things.get(&self.resolve(path)?.whole) {
            None => Err(Errno::NoEntry),
            Some(Thing::Folder) => Err(Errno::IsFolder),
            Some(Thing::File(id)) => Ok(self.contents[*id].clone()),
        }
    }

    fn link(&mut self, old: &str, new: &str) -> Result<(), Errno> {
        let old = self.resolve(old)?;
        let thing = *self.things.get(&old.whole).ok_or(Errno::NoEntry)?;
        if thing == Thing::Folder {
            return Err(Errno::Permission);
        }
        let slash = new.ends_with('/');
        let new = self.resolve(new.trim_end_matches('/'))?;
        if self.things.contains_key(&new.whole) {
            return Err(Errno::Exists);
        }
        if slash {
            return Err(Errno::NoEntry);
        }
        self.things.insert(new.whole, thing);
        Ok(())
    }

    fn rename(&mut self, old: &str, new: &str) -> Result<(), Errno> {
        let (old, new) = (self.resolve(old)?, self.resolve(new)?);
        let thing = *self.things.get(&old.whole).ok_or(Errno::NoEntry)?;
        if !old.named || !new.named {
            return Err(Errno::Busy);
        }
        let folder = thing == Thing::Folder;
        if new.slash && !folder {
            return Err(Errno::NotFolder);
        }
        if folder && new.whole.starts_with(&format!("{}/", old.whole)) {
            return Err(Errno::Invalid);
        }
        match self.things.get(&new.whole) {
            _ if new.whole == old.whole => return Ok(()),
            Some(there) if *there == thing && !folder => return Ok(()),
            Some(Thing::File(_)) if folder => return Err(Errno::NotFolder),
            Some(Thing::Folder) if !folder => return Err(Errno::IsFolder),
            Some(Thing::Folder) if !self.children(&new.whole).is_empty() => {
                return Err(Errno::NotEmpty);
            }
            _ => {}
        }
        let prefix = format!("{}/", old.whole);
        let moved: Vec<String> = self
            .things
            .keys()
            .filter(|path| **path == old.whole || path.starts_with(&prefix))
            .cloned()
            .collect();
        self.things.remove(&new.whole);
        for path in moved {
            if let Some(thing) = self.things.remove(&path) {
                self.things.insert(format!("{}{}", new.whole, &path[old.whole.len()..]), thing);
            }
        }
        Ok(())
    }
}

fn write(files: &mut Files, path: &str, bytes: &[u8]) -> Result<(), Errno> {
    match files.open(Base::ROOT, path, &options(true), 1) {
        Ok(descriptor) => {
            let inode = files.node_of(descriptor)?.ok_or(Errno::Io)?;
            files.set_size(descriptor, 0, 1)?;
            files.tree.write(inode, 0, bytes, 1)?;
            files.close(descriptor)
        }
        Err(Stop::Errno(errno)) => Err(errno),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn random_sequences_agree_with_a_plain_model() {
    for seed in 1..=SEQUENCES {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (mut files, mut model) = (Files::default(), Model::new());
        let root = Base::ROOT;
        let mut trace = Vec::new();
        for _ in 0..STEPS {
            let (kind, path, other) = (random.below(8), random.path(), random.path());
            let content = vec![random.below(256) as u8; random.below(20)];
            trace.push(format!("{kind} {path} {other}"));
            let (got, expected) = match kind {
                0 | 1 => (files.create_folder(root, &path, 1), model.mkdir(&path)),
                2 => (files.remove_folder(root, &path, 1), model.rmdir(&path)),
                3 => (files.remove_file(root, &path, 1), model.unlink(&path)),
                4 | 5 => (write(&mut files, &path, &content), model.write(&path, &content)),
                6 => {
                    (files.link((root, &path), true, (root, &other), 1), model.link(&path, &other))
                }
                _ => (files.rename((root, &path), (root, &other), 1), model.rename(&path, &other)),
            };
            assert_eq!(got, expected, "seed {seed}: {trace:#?}");
            let path = random.path();
            let got = bytes(&mut files, &path).map_err(|stop| errno::<()>(Err(stop)));
            assert_eq!(got, model.read(&path), "seed {seed}, {path}: {trace:#?}");
        }
        let whole: Vec<_> = model.things.iter().collect();
        for (path, thing) in whole {
            let path = if path.is_empty() { "/" } else { path };
            match thing {
                Thing::Folder => {
                    let mut names = names(&mut files, path);
                    names.sort();
                    assert_eq!(names, model.children(path.trim_end_matches('/')), "seed {seed}");
                }
                Thing::File(id) => {
                    assert_eq!(bytes(&mut files, path).ok().as_ref(), model.contents.get(*id));
                }
            }
        }
        let (counted, used) = files.tree.counted();
        assert_eq!(counted, used, "seed {seed}");
    }
}
