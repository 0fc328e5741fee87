//! The nodes of a run's file tree, and their memory limit.

use super::folder::{Folder, Listed};
use super::{MAX_NAME_BYTES, MAX_TREE_BYTES, NODE_BYTES};
use crate::guest::errno::Errno;
use crate::sorted_map::SortedMap;

/// Number of a node; never reused in a run, and never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::guest) struct Inode(pub(in crate::guest) u64);

/// The root folder.
pub(super) const ROOT: Inode = Inode(1);

/// Type and contents of a node.
#[derive(Clone, Debug)]
pub(super) enum Content {
    File(Vec<u8>),
    Folder(Folder),
    Link(String),
    /// A shared file of the cluster; it has no name in the tree.
    Shared(Vec<u8>),
}

impl Content {
    fn bytes(&self) -> u64 {
        match self {
            Content::File(bytes) | Content::Shared(bytes) => bytes.len() as u64,
            Content::Link(target) => target.len() as u64,
            Content::Folder(_) => 0,
        }
    }
}

/// Nanoseconds since 1970.
///
/// Reading does not change the time of access, as on most systems: otherwise every read would be a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::guest) struct Times {
    pub(in crate::guest) accessed: u64,
    pub(in crate::guest) modified: u64,
    pub(in crate::guest) changed: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) content: Content,
    /// Number of names.
    pub(super) links: u32,
    /// Number of open files; a node exists as long as it has names or open files.
    opens: u32,
    pub(super) times: Times,
}

/// All nodes of a run.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: SortedMap<Inode, Node>,
    next: u64,
    /// Bytes counted against [`MAX_TREE_BYTES`].
    used: u64,
}

impl Default for Tree {
    fn default() -> Self {
        let mut tree = Self { nodes: SortedMap::new(), next: ROOT.0, used: 0 };
        let node = Node {
            content: Content::Folder(Folder::new(ROOT)),
            links: 1,
            opens: 0,
            times: Times::default(),
        };
        tree.nodes.insert(ROOT, node);
        tree.next += 1;
        let empty = Content::Folder(Folder::new(ROOT));
        tree.create(ROOT, "tmp", empty, 0).expect("an empty tree has capacity for a folder");
        tree
    }
}

impl Tree {
    pub(super) fn node(&self, inode: Inode) -> Result<&Node, Errno> {
        self.nodes.get(&inode).ok_or(Errno::NoEntry)
    }

    pub(super) fn node_mut(&mut self, inode: Inode) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&inode).ok_or(Errno::NoEntry)
    }

    pub(super) fn folder(&self, inode: Inode) -> Result<&Folder, Errno> {
        match &self.node(inode)?.content {
            Content::Folder(folder) => Ok(folder),
            _ => Err(Errno::NotFolder),
        }
    }

    pub(super) fn is_folder(&self, inode: Inode) -> bool {
        self.folder(inode).is_ok()
    }

    fn folder_mut(&mut self, inode: Inode) -> Result<&mut Folder, Errno> {
        match &mut self.node_mut(inode)?.content {
            Content::Folder(folder) => Ok(folder),
            _ => Err(Errno::NotFolder),
        }
    }

    pub(super) fn list(
        &self,
        inode: Inode,
        after: u64,
    ) -> Result<impl Iterator<Item = Listed<'_>>, Errno> {
        Ok(self.folder(inode)?.list(inode, after))
    }

    /// Creates a node without a name.
    pub(super) fn add(&mut self, content: Content, now: u64) -> Result<Inode, Errno> {
        self.charge(content.bytes() + NODE_BYTES)?;
        let inode = Inode(self.next);
        self.next += 1;
        let times = Times { accessed: now, modified: now, changed: now };
        self.nodes.insert(inode, Node { content, links: 0, opens: 0, times });
        Ok(inode)
    }

    /// Creates a node with a name.
    pub(super) fn create(
        &mut self,
        folder: Inode,
        name: &str,
        content: Content,
        now: u64,
    ) -> Result<Inode, Errno> {
        let inode = self.add(content, now)?;
        if let Err(errno) = self.link(folder, name, inode, now) {
            self.sweep(inode);
            return Err(errno);
        }
        Ok(inode)
    }

    /// Adds a name to a node; the name must be free.
    pub(super) fn link(
        &mut self,
        folder: Inode,
        name: &str,
        inode: Inode,
        now: u64,
    ) -> Result<(), Errno> {
        if name.len() > MAX_NAME_BYTES {
            return Err(Errno::NameTooLong);
        }
        // A folder that was removed while open accepts no new names.
        if self.node(folder)?.links == 0 {
            return Err(Errno::NoEntry);
        }
        self.charge(name.len() as u64 + NODE_BYTES)?;
        self.folder_mut(folder)?.insert(name, inode);
        self.touch(folder, now);
        let node = self.node_mut(inode)?;
        node.links += 1;
        node.times.changed = now;
        Ok(())
    }

    /// Removes a name, and its node if that has no other name and is not open.
    pub(super) fn unlink(&mut self, folder: Inode, name: &str, now: u64) -> Result<(), Errno> {
        let inode = self.folder_mut(folder)?.remove(name).ok_or(Errno::NoEntry)?;
        self.used -= name.len() as u64 + NODE_BYTES;
        self.touch(folder, now);
        let node = self.node_mut(inode)?;
        node.links -= 1;
        node.times.changed = now;
        self.sweep(inode);
        Ok(())
    }

    /// Moves a name; `new` is free, or names a node that may be replaced.
    pub(super) fn rename(
        &mut self,
        old: (Inode, &str),
        new: (Inode, &str),
        now: u64,
    ) -> Result<(), Errno> {
        if new.1.len() > MAX_NAME_BYTES {
            return Err(Errno::NameTooLong);
        }
        if self.node(new.0)?.links == 0 {
            return Err(Errno::NoEntry);
        }
        let inode = self.folder(old.0)?.get(old.1).ok_or(Errno::NoEntry)?;
        let (longer, shorter) = (new.1.len() as u64, old.1.len() as u64);
        self.charge(longer.saturating_sub(shorter))?;
        self.used -= shorter.saturating_sub(longer);
        if self.folder(new.0)?.get(new.1).is_some() {
            self.unlink(new.0, new.1, now)?;
        }
        if old.0 == new.0 {
            self.folder_mut(old.0)?.rename(old.1, new.1);
        } else {
            self.folder_mut(old.0)?.remove(old.1);
            self.folder_mut(new.0)?.insert(new.1, inode);
            if let Ok(folder) = self.folder_mut(inode) {
                folder.parent = new.0;
            }
        }
        self.touch(old.0, now);
        self.touch(new.0, now);
        self.node_mut(inode)?.times.changed = now;
        Ok(())
    }

    /// Whether `inode` is `folder` or below it.
    pub(super) fn is_within(&self, mut inode: Inode, folder: Inode) -> bool {
        loop {
            if inode == folder {
                return true;
            }
            match self.folder(inode) {
                Ok(inner) if inner.parent != inode => inode = inner.parent,
                _ => return false,
            }
        }
    }

    /// Counts an open file of a node.
    pub(super) fn opened(&mut self, inode: Inode) {
        if let Ok(node) = self.node_mut(inode) {
            node.opens += 1;
        }
    }

    /// Ends the count of an open file by [`Tree::opened`].
    pub(super) fn closed(&mut self, inode: Inode) {
        if let Ok(node) = self.node_mut(inode) {
            node.opens -= 1;
            self.sweep(inode);
        }
    }

    /// The bytes from `offset` on.
    pub(super) fn read(&self, inode: Inode, offset: u64) -> Result<&[u8], Errno> {
        match &self.node(inode)?.content {
            Content::File(bytes) | Content::Shared(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                Ok(&bytes[start..])
            }
            Content::Folder(_) => Err(Errno::IsFolder),
            Content::Link(_) => Err(Errno::Loop),
        }
    }

    /// Writes all of `source`, or fails without changes.
    pub(super) fn write(
        &mut self,
        inode: Inode,
        offset: u64,
        source: &[u8],
        now: u64,
    ) -> Result<(), Errno> {
        if source.is_empty() {
            return Ok(());
        }
        let end = offset.checked_add(source.len() as u64).ok_or(Errno::FileTooLarge)?;
        if end > self.read(inode, 0)?.len() as u64 {
            self.resize(inode, end, now)?;
        }
        let bytes = self.file_mut(inode)?;
        bytes[offset as usize..end as usize].copy_from_slice(source);
        self.touch(inode, now);
        Ok(())
    }

    /// Truncates a file, or extends it with zeros.
    pub(super) fn resize(&mut self, inode: Inode, size: u64, now: u64) -> Result<(), Errno> {
        if size > MAX_TREE_BYTES {
            return Err(Errno::NoSpace);
        }
        let old = self.file_mut(inode)?.len() as u64;
        self.charge(size.saturating_sub(old))?;
        let bytes = self.file_mut(inode)?;
        let more = size.saturating_sub(old);
        if bytes.try_reserve(more as usize).is_err() {
            self.used -= more;
            return Err(Errno::NoSpace);
        }
        bytes.resize(size as usize, 0);
        if size < old {
            bytes.shrink_to_fit();
        }
        self.used -= old.saturating_sub(size);
        self.touch(inode, now);
        Ok(())
    }

    fn file_mut(&mut self, inode: Inode) -> Result<&mut Vec<u8>, Errno> {
        match &mut self.node_mut(inode)?.content {
            Content::File(bytes) => Ok(bytes),
            Content::Shared(_) => Err(Errno::ReadOnly),
            Content::Folder(_) => Err(Errno::IsFolder),
            Content::Link(_) => Err(Errno::Loop),
        }
    }

    fn touch(&mut self, inode: Inode, now: u64) {
        if let Ok(node) = self.node_mut(inode) {
            node.times.modified = now;
            node.times.changed = now;
        }
    }

    /// Bytes in use.
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    pub(super) fn charge(&mut self, bytes: u64) -> Result<(), Errno> {
        let used = self.used.saturating_add(bytes);
        if used > MAX_TREE_BYTES {
            return Err(Errno::NoSpace);
        }
        self.used = used;
        Ok(())
    }

    fn sweep(&mut self, inode: Inode) {
        if let Some(Node { links: 0, opens: 0, content, .. }) = self.nodes.get(&inode) {
            self.used -= content.bytes() + NODE_BYTES;
            self.nodes.remove(&inode);
        }
    }

    /// Bytes in use, counted from scratch.
    #[cfg(test)]
    pub(super) fn counted(&self) -> (u64, u64) {
        let mut counted = 0;
        for (inode, node) in self.nodes.iter().filter(|(inode, _)| **inode != ROOT) {
            counted += node.content.bytes() + NODE_BYTES;
            assert!(node.links + node.opens > 0, "{inode:?} should be gone");
        }
        for (inode, node) in self.nodes.iter() {
            if let Content::Folder(folder) = &node.content {
                let names = folder.list(*inode, 2).map(|listed| listed.name.len() as u64);
                counted += names.map(|name| name + NODE_BYTES).sum::<u64>();
            }
        }
        (counted, self.used)
    }
}
