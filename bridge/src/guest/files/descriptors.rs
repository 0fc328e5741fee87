//! The descriptors of a run, and the open files they refer to.

use super::tree::{Inode, ROOT};
use super::{Files, MAX_DESCRIPTORS};
use crate::guest::errno::Errno;
use crate::sorted_map::SortedMap;

/// What a descriptor may be used for, as WASI defines it.
///
/// Only reading and writing are checked: nothing else is worth protecting from a program that has the root folder. The
/// others are stored for programs that query them, such as `isatty` and `fcntl` of wasi-libc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::guest) struct Rights {
    pub(in crate::guest) base: u64,
    pub(in crate::guest) inheriting: u64,
}

impl Rights {
    pub(in crate::guest) const READ: u64 = 1 << 1;
    pub(in crate::guest) const WRITE: u64 = 1 << 6;
    const ALLOCATE: u64 = 1 << 8;
    const READ_FOLDER: u64 = 1 << 14;
    const SET_SIZE: u64 = 1 << 22;
    /// Any of these opens a file for writing.
    pub(super) const WRITES: u64 = Self::WRITE | Self::ALLOCATE | Self::SET_SIZE;
    /// Rights that apply to files: the `fd_*` calls.
    pub(super) const OF_FILE: u64 = 0x1ff | 0b111 << 21 | 1 << 27;
    /// Rights that apply to folders: the `path_*` calls, and the `fd_*` calls that do not access contents.
    pub(super) const OF_FOLDER: u64 =
        1 << 3 | 1 << 4 | 1 << 7 | 0x1f_fe00 | 1 << 21 | 1 << 23 | 0b111 << 24;
    /// The rights of a program that opens files by mode instead of rights.
    pub(in crate::guest) fn of_mode(read: bool, write: bool) -> Self {
        let without = |may: bool, bits: u64| if may { 0 } else { bits };
        let base = (Self::OF_FILE | Self::OF_FOLDER)
            & !without(read, Self::READ | Self::READ_FOLDER)
            & !without(write, Self::WRITES);
        Self { base, inheriting: Self::OF_FILE | Self::OF_FOLDER }
    }
}

/// Flags of an open file, with WASI's values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::guest) struct Flags(pub(in crate::guest) u16);

impl Flags {
    pub(in crate::guest) const APPEND: u16 = 1;
    pub(in crate::guest) const NONBLOCK: u16 = 1 << 2;
    const ALL: u16 = 0b1_1111;

    /// # Errors
    /// If a flag is not in the specification.
    pub(in crate::guest) fn new(flags: u32) -> Result<Self, Errno> {
        match u16::try_from(flags) {
            Ok(flags) if flags & !Self::ALL == 0 => Ok(Self(flags)),
            _ => Err(Errno::Invalid),
        }
    }

    pub(in crate::guest) fn has(self, flag: u16) -> bool {
        self.0 & flag != 0
    }
}

/// What an open file refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::guest) enum Target {
    Stdin,
    Stdout,
    Stderr,
    Node(Inode),
}

/// The position to which an offset is relative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::guest) enum Whence {
    Start,
    Current,
    End,
}

impl Whence {
    /// From the number, which is the same in WASI and Linux.
    pub(in crate::guest) fn new(number: u32) -> Result<Self, Errno> {
        match number {
            0 => Ok(Whence::Start),
            1 => Ok(Whence::Current),
            2 => Ok(Whence::End),
            _ => Err(Errno::Invalid),
        }
    }
}

/// An open file; duplicated descriptors share it, including its offset.
#[derive(Clone, Debug)]
pub(in crate::guest) struct Open {
    pub(in crate::guest) target: Target,
    pub(in crate::guest) offset: u64,
    pub(in crate::guest) flags: Flags,
    pub(in crate::guest) rights: Rights,
    /// The name of a preopened folder; `None` for files that the run opened itself.
    pub(in crate::guest) preopened: Option<&'static str>,
}

impl Open {
    pub(super) fn new(target: Target, flags: Flags, rights: Rights) -> Self {
        Self { target, offset: 0, flags, rights, preopened: None }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Descriptors {
    /// From descriptor to open file.
    slots: SortedMap<u32, u32>,
    open: SortedMap<u32, Open>,
    next: u32,
}

impl Default for Descriptors {
    fn default() -> Self {
        let mut descriptors = Self { slots: SortedMap::new(), open: SortedMap::new(), next: 0 };
        let only = |base| Rights { base, inheriting: 0 };
        let all = Rights { base: Rights::OF_FOLDER, ..Rights::of_mode(true, true) };
        for (target, rights, preopened) in [
            (Target::Stdin, only(Rights::READ), None),
            (Target::Stdout, only(Rights::WRITE), None),
            (Target::Stderr, only(Rights::WRITE), None),
            (Target::Node(ROOT), all, Some("/")),
            // The working folder, for C libraries that pass relative paths unchanged.
            (Target::Node(ROOT), all, Some(".")),
        ] {
            let slot = descriptors.next;
            let open = Open { preopened, ..Open::new(target, Flags::default(), rights) };
            descriptors.put(slot, open);
        }
        descriptors
    }
}

impl Descriptors {
    pub(super) fn get(&self, descriptor: u32) -> Result<&Open, Errno> {
        let id = self.slots.get(&descriptor).ok_or(Errno::BadDescriptor)?;
        self.open.get(id).ok_or(Errno::BadDescriptor)
    }

    pub(super) fn get_mut(&mut self, descriptor: u32) -> Result<&mut Open, Errno> {
        let id = self.slots.get(&descriptor).ok_or(Errno::BadDescriptor)?;
        self.open.get_mut(id).ok_or(Errno::BadDescriptor)
    }

    /// The nodes of all open files, each once per open file.
    pub(super) fn nodes(&self) -> impl Iterator<Item = Inode> + '_ {
        self.open.values().filter_map(|open| match open.target {
            Target::Node(inode) => Some(inode),
            Target::Stdin | Target::Stdout | Target::Stderr => None,
        })
    }

    /// The lowest free descriptor from `lowest` on.
    pub(super) fn free(&self, lowest: u32) -> Result<u32, Errno> {
        let free = (lowest..MAX_DESCRIPTORS).find(|slot| !self.slots.contains_key(slot));
        free.ok_or(Errno::TooManyOpen)
    }

    pub(super) fn put(&mut self, slot: u32, open: Open) {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        self.open.insert(id, open);
        self.slots.insert(slot, id);
    }

    /// Removes a descriptor; returns the open file if this was its last one.
    fn take(&mut self, descriptor: u32) -> Result<Option<Open>, Errno> {
        let id = self.slots.remove(&descriptor).ok_or(Errno::BadDescriptor)?;
        let shared = self.slots.values().any(|other| *other == id);
        Ok(if shared { None } else { self.open.remove(&id) })
    }
}

impl Files {
    pub(in crate::guest) fn descriptor(&self, descriptor: u32) -> Result<&Open, Errno> {
        self.descriptors.get(descriptor)
    }

    pub(in crate::guest) fn close(&mut self, descriptor: u32) -> Result<(), Errno> {
        if let Some(Open { target: Target::Node(inode), .. }) = self.descriptors.take(descriptor)? {
            self.tree.closed(inode);
        }
        Ok(())
    }

    pub(in crate::guest) fn set_flags(
        &mut self,
        descriptor: u32,
        flags: Flags,
    ) -> Result<(), Errno> {
        self.descriptors.get_mut(descriptor)?.flags = flags;
        Ok(())
    }

    /// Drops rights.
    ///
    /// # Errors
    /// If `rights` contains rights that the descriptor does not have.
    pub(in crate::guest) fn set_rights(
        &mut self,
        descriptor: u32,
        rights: Rights,
    ) -> Result<(), Errno> {
        let open = self.descriptors.get_mut(descriptor)?;
        let Rights { base, inheriting } = open.rights;
        if rights.base & !base != 0 || rights.inheriting & !inheriting != 0 {
            return Err(Errno::NotCapable);
        }
        open.rights = rights;
        Ok(())
    }

    /// Moves `from` to `to`, which must be open and is closed.
    pub(in crate::guest) fn renumber(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        self.descriptors.get(to)?;
        self.duplicate_onto(from, to)?;
        if from != to { self.close(from) } else { Ok(()) }
    }

    /// Duplicates a descriptor to the lowest free one from `lowest` on.
    pub(in crate::guest) fn duplicate(
        &mut self,
        descriptor: u32,
        lowest: u32,
    ) -> Result<u32, Errno> {
        self.descriptors.get(descriptor)?;
        let free = self.descriptors.free(lowest)?;
        self.duplicate_onto(descriptor, free)?;
        Ok(free)
    }

    /// Makes `to` a second descriptor of the open file of `from`.
    pub(in crate::guest) fn duplicate_onto(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        let Descriptors { slots, .. } = &self.descriptors;
        let id = *slots.get(&from).ok_or(Errno::BadDescriptor)?;
        if to >= MAX_DESCRIPTORS {
            return Err(Errno::BadDescriptor);
        }
        if from != to {
            if self.descriptors.slots.contains_key(&to) {
                self.close(to)?;
            }
            self.descriptors.slots.insert(to, id);
        }
        Ok(())
    }

    /// Moves the offset and returns the new one. In a folder the offset is a position in the listing.
    pub(in crate::guest) fn seek(
        &mut self,
        descriptor: u32,
        offset: i64,
        whence: Whence,
    ) -> Result<u64, Errno> {
        let Some(inode) = self.node_of(descriptor)? else { return Err(Errno::NotSeekable) };
        let from = match whence {
            Whence::Start => 0,
            Whence::Current => self.descriptors.get(descriptor)?.offset,
            Whence::End if self.tree.is_folder(inode) => return Err(Errno::Invalid),
            Whence::End => self.stat_node(inode)?.size,
        };
        let offset = from.checked_add_signed(offset).ok_or(Errno::Invalid)?;
        // An offset beyond the signed range could not be passed back by the program.
        if offset > i64::MAX as u64 {
            return Err(Errno::Invalid);
        }
        self.descriptors.get_mut(descriptor)?.offset = offset;
        Ok(offset)
    }
}
