//! Transfers bytes between files and guest memory.

use super::descriptors::{Flags, Rights, Target};
use super::tree::Inode;
use crate::guest::errno::{Errno, Stop};
use crate::guest::mapping::Mappings;
use crate::guest::{Args, Clock, Context, Fault, Flow, Guest, GuestMemoryExt, Stream};

/// Most bytes that one call writes; the guest writes the rest with another call. Parts may overlap, so the size of
/// memory is not a limit.
const MAX_WRITE_BYTES: usize = 64 << 20;

/// Result of `__faasm_write_state_from_file` if the file cannot be read.
pub(super) const NO_FILE: i32 = -1;

/// Parts of guest memory: pointer and length.
pub(in crate::guest) type Parts = [(u32, u32)];

/// Reads a scatter list, which has the same layout in both interfaces: pairs of pointer and length.
pub(in crate::guest) fn read_list(
    list: u32,
    count: u32,
    cx: &Context<'_>,
) -> Result<Vec<(u32, u32)>, Fault> {
    cx.host.check(list, u64::from(count) * 8)?;
    let bytes = cx.host.read(list, count * 8)?;
    let word =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    Ok((0..count as usize).map(|n| (word(n * 8), word(n * 8 + 4))).collect())
}

impl Guest {
    /// Reads into parts of memory, at `offset` or the descriptor's, and returns the number of bytes.
    pub(in crate::guest) fn read_parts(
        &mut self,
        descriptor: u32,
        parts: &Parts,
        at: Option<u64>,
        cx: &mut Context<'_>,
    ) -> Result<u32, Stop> {
        let open = self.files.descriptors.get(descriptor)?;
        if let Target::Node(inode) = open.target
            && self.files.tree.is_folder(inode)
        {
            return Err(Errno::IsFolder.into());
        }
        if open.rights.base & Rights::READ == 0 {
            return Err(Errno::BadDescriptor.into());
        }
        let offset = at.unwrap_or(open.offset);
        let source = match open.target {
            Target::Node(inode) => self.files.tree.read(inode, offset)?,
            _ if at.is_some() => return Err(Errno::NotSeekable.into()),
            _ => self.invocation.input.get(offset as usize..).unwrap_or_default(),
        };
        let mut rest = source;
        for (pointer, length) in parts {
            let (now, later) = rest.split_at(rest.len().min(*length as usize));
            cx.host.write(*pointer, now)?;
            rest = later;
        }
        let count = source.len() - rest.len();
        if at.is_none() {
            self.files.descriptors.get_mut(descriptor)?.offset += count as u64;
        }
        Ok(count as u32)
    }

    /// Writes parts of memory, at `offset` or the descriptor's, and returns the number of bytes.
    pub(in crate::guest) fn write_parts(
        &mut self,
        descriptor: u32,
        parts: &Parts,
        at: Option<u64>,
        cx: &mut Context<'_>,
    ) -> Result<u32, Stop> {
        let open = self.files.descriptors.get(descriptor)?;
        if open.rights.base & Rights::WRITE == 0 {
            return Err(Errno::BadDescriptor.into());
        }
        let (target, appends) = (open.target, open.flags.has(Flags::APPEND));
        let mut offset = at.unwrap_or(open.offset);
        let mut bytes = Vec::new();
        for (pointer, length) in parts {
            let room = MAX_WRITE_BYTES - bytes.len();
            bytes.extend(cx.host.read(*pointer, (*length).min(room as u32))?);
        }
        let stream = match target {
            Target::Stdout => Stream::Stdout,
            Target::Stderr => Stream::Stderr,
            Target::Stdin => return Err(Errno::BadDescriptor.into()),
            Target::Node(inode) => {
                if appends && at.is_none() {
                    offset = self.files.tree.read(inode, 0)?.len() as u64;
                }
                let now = cx.host.now(Clock::Realtime);
                self.files.tree.write(inode, offset, &bytes, now)?;
                if at.is_none() {
                    self.files.descriptors.get_mut(descriptor)?.offset =
                        offset + bytes.len() as u64;
                }
                return Ok(bytes.len() as u32);
            }
        };
        if at.is_some() {
            return Err(Errno::NotSeekable.into());
        }
        if !bytes.is_empty() {
            cx.host.print(stream, &bytes);
        }
        Ok(bytes.len() as u32)
    }

    /// `__faasm_write_state_from_file(key, path) -> size`; -1 if there is no such file, or it is a folder.
    ///
    /// The file's contents become the local value, as with `__faasm_write_state`.
    pub(in crate::guest) fn write_state_from_file(
        &mut self,
        args: &Args,
        cx: &mut Context<'_>,
    ) -> Result<Flow, Fault> {
        let key = cx.host.read_string(args.u32(0))?;
        let path = cx.host.read_string(args.u32(1))?;
        let bytes = match self.files.read_whole(&path) {
            Ok(bytes) => bytes,
            Err(Stop::Wait(operation)) => return Ok(Flow::Wait(operation)),
            Err(Stop::Errno(_)) => return Ok(Flow::Return(NO_FILE)),
            Err(Stop::Fault(fault)) => return Err(fault),
        };
        store(bytes, &key, &mut self.mappings, cx)
    }

    /// Its second half, once a shared file has arrived: neither key nor path is read again.
    pub(super) fn write_state_from_shared(
        &mut self,
        key: &str,
        file: Inode,
        cx: &mut Context<'_>,
    ) -> Result<Flow, Fault> {
        match self.files.tree.read(file, 0) {
            Ok(bytes) => store(bytes, key, &mut self.mappings, cx),
            Err(_) => Ok(Flow::Return(NO_FILE)),
        }
    }
}

/// Makes the contents of a file the local value.
fn store(
    bytes: &[u8],
    key: &str,
    mappings: &mut Mappings,
    cx: &mut Context<'_>,
) -> Result<Flow, Fault> {
    mappings.absorb(cx.host, cx.tier);
    cx.tier.write(key, bytes.len() as u64, 0, bytes)?;
    mappings.refresh(cx.host, cx.tier);
    Ok(Flow::Return(bytes.len() as i32))
}
