//! File operations by path.

use super::descriptors::Open;
use super::lookup::{Place, check_path};
use super::shared::shared_name;
use super::tree::{Content, Inode};
use super::{Base, Files, Flags, Rights, Stat, Target};
use crate::guest::errno::{Errno, Stop};

/// How a path is opened.
#[derive(Clone, Copy, Debug)]
pub(in crate::guest) struct OpenOptions {
    /// Follow a symbolic link at the end of the path. A link with a slash after it is always followed, as in POSIX.
    pub(in crate::guest) follow: bool,
    pub(in crate::guest) create: bool,
    /// With `create`: fail if the file exists.
    pub(in crate::guest) exclusive: bool,
    pub(in crate::guest) truncate: bool,
    /// Fail if it is not a folder.
    pub(in crate::guest) folder: bool,
    pub(in crate::guest) flags: Flags,
    pub(in crate::guest) rights: Rights,
}

impl OpenOptions {
    fn writes(&self) -> bool {
        self.rights.base & Rights::WRITES != 0
    }
}

/// A change of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::guest) enum TimeChange {
    Keep,
    Now,
    /// Nanoseconds since 1970.
    To(u64),
}

impl TimeChange {
    pub(super) fn apply(self, time: &mut u64, now: u64) {
        match self {
            TimeChange::Keep => {}
            TimeChange::Now => *time = now,
            TimeChange::To(to) => *time = to,
        }
    }
}

impl Files {
    /// Opens a file and returns its descriptor, the lowest free one. Waits for a shared file that is not fetched yet.
    pub(in crate::guest) fn open(
        &mut self,
        base: Base,
        path: &str,
        options: &OpenOptions,
        now: u64,
    ) -> Result<u32, Stop> {
        let slot = self.descriptors.free(0)?;
        if options.create && options.folder {
            return Err(Errno::Invalid.into());
        }
        let inode = match shared_name(path)? {
            Some(_) if options.writes() || options.create || options.truncate => {
                return Err(Errno::ReadOnly.into());
            }
            Some(name) => self.shared_node(name)?,
            None => self.open_node(base, path, options, now)?,
        };
        let possible = match &self.tree.node(inode)?.content {
            Content::Folder(_) if options.writes() || options.truncate || options.create => {
                return Err(Errno::IsFolder.into());
            }
            Content::Folder(_) => Rights::OF_FOLDER,
            // A link is not a folder.
            Content::Link(_) if options.folder => return Err(Errno::NotFolder.into()),
            Content::Link(_) => return Err(Errno::Loop.into()),
            Content::File(_) | Content::Shared(_) if options.folder => {
                return Err(Errno::NotFolder.into());
            }
            Content::File(_) | Content::Shared(_) => Rights::OF_FILE,
        };
        if options.truncate {
            self.tree.resize(inode, 0, now)?;
        }
        let rights = Rights { base: options.rights.base & possible, ..options.rights };
        self.tree.opened(inode);
        self.descriptors.put(slot, Open::new(Target::Node(inode), options.flags, rights));
        Ok(slot)
    }

    fn open_node(
        &mut self,
        base: Base,
        path: &str,
        options: &OpenOptions,
        now: u64,
    ) -> Result<Inode, Errno> {
        let exclusive = options.create && options.exclusive;
        let follow = (options.follow || path.ends_with('/')) && !exclusive;
        let place = self.tree.resolve(base, path, follow)?;
        match place {
            Place { node: Some(_), .. } if exclusive => Err(Errno::Exists),
            Place { node: Some(inode), .. } => Ok(inode),
            Place { node: None, .. } if !options.create => Err(Errno::NoEntry),
            Place { folder_only: true, .. } => Err(Errno::IsFolder),
            Place { name: Some((folder, name)), .. } => {
                self.tree.create(folder, &name, Content::File(Vec::new()), now)
            }
            Place { name: None, .. } => Err(Errno::NoEntry),
        }
    }

    /// Attributes of the file at a path. Waits for a shared file that is not fetched yet.
    pub(in crate::guest) fn stat_path(
        &mut self,
        base: Base,
        path: &str,
        follow: bool,
    ) -> Result<Stat, Stop> {
        let inode = self.existing(base, path, follow)?;
        Ok(self.stat_node(inode)?)
    }

    /// All bytes of a file. Waits for a shared file that is not fetched yet.
    pub(in crate::guest) fn read_whole(&mut self, path: &str) -> Result<&[u8], Stop> {
        let inode = self.existing(Base::ROOT, path, true)?;
        Ok(self.tree.read(inode, 0)?)
    }

    fn existing(&mut self, base: Base, path: &str, follow: bool) -> Result<Inode, Stop> {
        match shared_name(path)? {
            Some(name) => self.shared_node(name),
            None => Ok(self.existing_node(base, path, follow)?),
        }
    }

    /// A path that ends in a slash is always followed, as in POSIX.
    fn existing_node(&self, base: Base, path: &str, follow: bool) -> Result<Inode, Errno> {
        let place = self.tree.resolve(base, path, follow || path.ends_with('/'))?;
        place.node.ok_or(Errno::NoEntry)
    }

    pub(in crate::guest) fn create_folder(
        &mut self,
        base: Base,
        path: &str,
        now: u64,
    ) -> Result<(), Errno> {
        refuse_shared(path)?;
        match self.place_of_new(base, path)? {
            Place { node: Some(_), .. } => Err(Errno::Exists),
            Place { name: Some((folder, name)), .. } => {
                let content = Content::Folder(super::folder::Folder::new(folder));
                self.tree.create(folder, &name, content, now).map(drop)
            }
            Place { name: None, .. } => Err(Errno::NoEntry),
        }
    }

    pub(in crate::guest) fn remove_folder(
        &mut self,
        base: Base,
        path: &str,
        now: u64,
    ) -> Result<(), Errno> {
        refuse_shared(path)?;
        let place = self.tree.resolve(base, path, false)?;
        let inode = place.node.ok_or(Errno::NoEntry)?;
        let empty = self.tree.folder(inode)?.is_empty();
        match place.name {
            None => Err(Errno::Invalid),
            Some(_) if !empty => Err(Errno::NotEmpty),
            Some((folder, name)) => self.tree.unlink(folder, &name, now),
        }
    }

    pub(in crate::guest) fn remove_file(
        &mut self,
        base: Base,
        path: &str,
        now: u64,
    ) -> Result<(), Errno> {
        refuse_shared(path)?;
        let place = self.tree.resolve(base, path, false)?;
        let inode = place.node.ok_or(Errno::NoEntry)?;
        match place.name {
            Some((folder, name)) if !self.tree.is_folder(inode) => {
                self.tree.unlink(folder, &name, now)
            }
            _ => Err(Errno::IsFolder),
        }
    }

    pub(in crate::guest) fn rename(
        &mut self,
        old: (Base, &str),
        new: (Base, &str),
        now: u64,
    ) -> Result<(), Errno> {
        refuse_shared(old.1)?;
        refuse_shared(new.1)?;
        let from = self.tree.resolve(old.0, old.1, false)?;
        let to = self.tree.resolve(new.0, new.1, false)?;
        let inode = from.node.ok_or(Errno::NoEntry)?;
        let (Some((from_folder, from_name)), Some((to_folder, to_name))) = (from.name, to.name)
        else {
            return Err(Errno::Busy);
        };
        let folder = self.tree.is_folder(inode);
        if to.folder_only && !folder {
            return Err(Errno::NotFolder);
        }
        if folder && self.tree.is_within(to_folder, inode) {
            return Err(Errno::Invalid);
        }
        match to.node {
            Some(there) if there == inode => return Ok(()),
            Some(there) => match (folder, self.tree.folder(there)) {
                (true, Ok(there)) if !there.is_empty() => return Err(Errno::NotEmpty),
                (true, Err(_)) => return Err(Errno::NotFolder),
                (false, Ok(_)) => return Err(Errno::IsFolder),
                _ => {}
            },
            None => {}
        }
        self.tree.rename((from_folder, &from_name), (to_folder, &to_name), now)
    }

    /// Gives a file a second name.
    pub(in crate::guest) fn link(
        &mut self,
        old: (Base, &str),
        follow: bool,
        new: (Base, &str),
        now: u64,
    ) -> Result<(), Errno> {
        refuse_shared(old.1)?;
        refuse_shared(new.1)?;
        let inode = self.existing_node(old.0, old.1, follow)?;
        if self.tree.is_folder(inode) {
            return Err(Errno::Permission);
        }
        let (folder, name) = self.free_name(new)?;
        self.tree.link(folder, &name, inode, now)
    }

    pub(in crate::guest) fn symlink(
        &mut self,
        target: &str,
        new: (Base, &str),
        now: u64,
    ) -> Result<(), Errno> {
        check_path(target)?;
        refuse_shared(new.1)?;
        let (folder, name) = self.free_name(new)?;
        self.tree.create(folder, &name, Content::Link(target.to_owned()), now).map(drop)
    }

    /// The position for a new node that is not a folder. A path with a slash at its end is never valid.
    fn free_name(&self, (base, path): (Base, &str)) -> Result<(Inode, String), Errno> {
        match self.place_of_new(base, path)? {
            Place { node: Some(_), .. } => Err(Errno::Exists),
            Place { name: Some(name), .. } if !path.ends_with('/') => Ok(name),
            Place { .. } => Err(Errno::NoEntry),
        }
    }

    /// The position for a new node: a link there is not followed, with or without a slash after it.
    fn place_of_new(&self, base: Base, path: &str) -> Result<Place, Errno> {
        let name = path.trim_end_matches('/');
        self.tree.resolve(base, if name.is_empty() { path } else { name }, false)
    }

    /// Target of a symbolic link.
    pub(in crate::guest) fn read_link(&self, base: Base, path: &str) -> Result<&str, Errno> {
        if shared_name(path)?.is_some() {
            return Err(Errno::Invalid);
        }
        match &self.tree.node(self.existing_node(base, path, false)?)?.content {
            Content::Link(target) => Ok(target),
            _ => Err(Errno::Invalid),
        }
    }

    /// Sets the times of the file at a path.
    pub(in crate::guest) fn set_path_times(
        &mut self,
        base: Base,
        path: &str,
        follow: bool,
        (accessed, modified): (TimeChange, TimeChange),
        now: u64,
    ) -> Result<(), Errno> {
        refuse_shared(path)?;
        let inode = self.existing_node(base, path, follow)?;
        self.change_times(inode, accessed, modified, now)
    }

    /// Sets the size of the file at a path.
    pub(in crate::guest) fn set_path_size(
        &mut self,
        base: Base,
        path: &str,
        size: u64,
        now: u64,
    ) -> Result<(), Errno> {
        refuse_shared(path)?;
        let inode = self.existing_node(base, path, true)?;
        self.tree.resize(inode, size, now)
    }
}

/// Rejects paths of shared files, which are read-only.
fn refuse_shared(path: &str) -> Result<(), Errno> {
    if shared_name(path)?.is_some() { Err(Errno::ReadOnly) } else { Ok(()) }
}
