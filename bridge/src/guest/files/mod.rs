//! The files of one run: a tree in memory, the shared files it has read, and its open files.
//!
//! WASI and the system calls of the older toolchain are two interfaces to this: both call [`Files`], and map its errors
//! to their own numbers. Everything is plain data, so that a run can be saved with its files.

mod descriptors;
mod folder;
mod lookup;
mod paths;
mod shared;
#[cfg(test)]
mod tests;
mod transfer;
mod tree;

pub(super) use descriptors::{Flags, Rights, Target, Whence};
pub(super) use lookup::Base;
pub(super) use paths::{OpenOptions, TimeChange};
pub(super) use transfer::read_list;

use super::errno::Errno;
use descriptors::Descriptors;
use shared::Shared;
use tree::{Content, Inode, Times, Tree};

/// Most bytes that the files of one run may use: contents, names and [`NODE_BYTES`] for each of them, and the shared
/// files that it reads.
const MAX_TREE_BYTES: u64 = 256 << 20;

/// Bytes counted for a node or a name in addition to its contents, so that empty files are limited too.
const NODE_BYTES: u64 = 128;

/// Longest path, bytes.
const MAX_PATH_BYTES: usize = 4096;

/// Longest name within a path, bytes.
const MAX_NAME_BYTES: usize = 255;

/// Most open descriptors of a run.
const MAX_DESCRIPTORS: u32 = 1024;

/// Type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileType {
    CharacterDevice,
    Folder,
    Regular,
    Link,
}

/// Attributes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// 0 for the standard streams, which are not files of the tree.
    pub(super) inode: u64,
    pub(super) kind: FileType,
    pub(super) links: u32,
    pub(super) size: u64,
    pub(super) times: Times,
}

/// An entry of a folder's listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// Position after this entry, to continue the listing.
    pub(super) cookie: u64,
    pub(super) name: &'a str,
    pub(super) inode: u64,
    pub(super) kind: FileType,
}

/// The files of one run.
#[derive(Clone, Debug)]
pub(super) struct Files {
    tree: Tree,
    descriptors: Descriptors,
    shared: Shared,
}

impl Default for Files {
    /// The initial descriptors count as open: the run can close them like any others.
    fn default() -> Self {
        let (mut tree, descriptors) = (Tree::default(), Descriptors::default());
        descriptors.nodes().for_each(|inode| tree.opened(inode));
        Self { tree, descriptors, shared: Shared::default() }
    }
}

impl Files {
    /// Bytes that the files use.
    pub(super) fn held_bytes(&self) -> u64 {
        self.tree.used()
    }

    fn stat_node(&self, inode: Inode) -> Result<Stat, Errno> {
        let node = self.tree.node(inode)?;
        let (kind, size) = match &node.content {
            Content::File(bytes) | Content::Shared(bytes) => (FileType::Regular, bytes.len()),
            Content::Folder(_) => (FileType::Folder, 0),
            Content::Link(target) => (FileType::Link, target.len()),
        };
        let (links, times) = (node.links, node.times);
        Ok(Stat { inode: inode.0, kind, links, size: size as u64, times })
    }

    /// Attributes of a descriptor's file.
    pub(super) fn stat(&self, descriptor: u32) -> Result<Stat, Errno> {
        match self.descriptors.get(descriptor)?.target {
            Target::Node(inode) => self.stat_node(inode),
            Target::Stdin | Target::Stdout | Target::Stderr => Ok(Stat {
                inode: 0,
                kind: FileType::CharacterDevice,
                links: 0,
                size: 0,
                times: Times::default(),
            }),
        }
    }

    /// The entries of an open folder after a cookie; 0 starts the listing.
    pub(super) fn list(
        &self,
        descriptor: u32,
        after: u64,
    ) -> Result<impl Iterator<Item = Entry<'_>>, Errno> {
        let folder = self.node_of(descriptor)?.ok_or(Errno::NotFolder)?;
        let listed = self.tree.list(folder, after)?;
        Ok(listed.map(|listed| Entry {
            cookie: listed.place,
            name: listed.name,
            inode: listed.inode.0,
            // The parent of a removed folder may be gone; it was a folder.
            kind: self.stat_node(listed.inode).map_or(FileType::Folder, |stat| stat.kind),
        }))
    }

    /// The base of paths relative to a descriptor.
    pub(super) fn base(&self, descriptor: u32, confined: bool) -> Result<Base, Errno> {
        match self.node_of(descriptor)? {
            Some(folder) if self.tree.is_folder(folder) => Ok(Base { folder, confined }),
            _ => Err(Errno::NotFolder),
        }
    }

    /// The node of a descriptor; `None` for the standard streams.
    fn node_of(&self, descriptor: u32) -> Result<Option<Inode>, Errno> {
        match self.descriptors.get(descriptor)?.target {
            Target::Node(inode) => Ok(Some(inode)),
            Target::Stdin | Target::Stdout | Target::Stderr => Ok(None),
        }
    }

    /// Sets the size of a file that is open for writing.
    pub(super) fn set_size(&mut self, descriptor: u32, size: u64, now: u64) -> Result<(), Errno> {
        let inode = self.writable(descriptor)?;
        self.tree.resize(inode, size, now)
    }

    /// Extends a file that is open for writing to at least `offset + length` bytes.
    pub(super) fn allocate(
        &mut self,
        descriptor: u32,
        offset: u64,
        length: u64,
        now: u64,
    ) -> Result<(), Errno> {
        let inode = self.writable(descriptor)?;
        let end = offset.checked_add(length).ok_or(Errno::FileTooLarge)?;
        match length {
            0 => Err(Errno::Invalid),
            _ if end <= self.stat_node(inode)?.size => Ok(()),
            _ => self.tree.resize(inode, end, now),
        }
    }

    /// The bytes of a file that is open for reading, from `offset` on.
    pub(super) fn bytes(&self, descriptor: u32, offset: u64) -> Result<&[u8], Errno> {
        let open = self.descriptors.get(descriptor)?;
        match open.target {
            Target::Node(inode) if open.rights.base & Rights::READ != 0 => {
                self.tree.read(inode, offset)
            }
            _ => Err(Errno::BadDescriptor),
        }
    }

    fn writable(&self, descriptor: u32) -> Result<Inode, Errno> {
        let open = self.descriptors.get(descriptor)?;
        match open.target {
            Target::Node(inode) if open.rights.base & Rights::WRITES != 0 => Ok(inode),
            _ => Err(Errno::Invalid),
        }
    }

    /// Sets the times of an open file.
    pub(super) fn set_times(
        &mut self,
        descriptor: u32,
        accessed: TimeChange,
        modified: TimeChange,
        now: u64,
    ) -> Result<(), Errno> {
        match self.node_of(descriptor)? {
            Some(inode) => self.change_times(inode, accessed, modified, now),
            None => Ok(()),
        }
    }

    fn change_times(
        &mut self,
        inode: Inode,
        accessed: TimeChange,
        modified: TimeChange,
        now: u64,
    ) -> Result<(), Errno> {
        let node = self.tree.node_mut(inode)?;
        if let Content::Shared(_) = node.content {
            return Err(Errno::ReadOnly);
        }
        accessed.apply(&mut node.times.accessed, now);
        modified.apply(&mut node.times.modified, now);
        node.times.changed = now;
        Ok(())
    }
}
