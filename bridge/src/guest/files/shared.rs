//! Files that the cluster shares: `faasm://a/b`, read-only, fetched at their first use and cached for the run.

use super::Files;
use super::lookup::check_path;
use super::transfer::NO_FILE;
use super::tree::{Content, Inode};
use crate::guest::errno::{Errno, Stop};
use crate::guest::wasi::is_wasi;
use crate::guest::{Args, Clock, Context, Fault, Flow, Guest, Operation};
use crate::host::HostCall;
use crate::sorted_map::SortedMap;

/// The shared files that a run has requested.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared {
    /// By name without scheme; `None` if the cluster has no such file.
    known: SortedMap<String, Option<Inode>>,
    /// The file that the run waits for.
    awaited: Option<String>,
}

/// The name of a shared file, if the path refers to one.
///
/// A C library makes paths absolute before it passes them on, and may merge slashes: `faasm://a`, `/faasm://a` and
/// `faasm:/a` are the same. After a change of the working folder the path is `folder/faasm://a`.
pub(super) fn shared_name(path: &str) -> Result<Option<String>, Errno> {
    let rooted = path.trim_start_matches('/');
    let name = match path.rfind("/faasm://") {
        Some(at) => &path[at + "/faasm://".len()..],
        None => match rooted.strip_prefix("faasm:/") {
            Some(name) => name,
            None => return Ok(None),
        },
    };
    check_path(path)?;
    let mut names = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(Errno::NotCapable),
            part => names.push(part),
        }
    }
    if names.is_empty() { Err(Errno::NoEntry) } else { Ok(Some(names.join("/"))) }
}

impl Files {
    /// The node of a shared file; waits if the run has not requested it before.
    pub(super) fn shared_node(&mut self, name: String) -> Result<Inode, Stop> {
        match self.shared.known.get(&name) {
            Some(Some(inode)) => Ok(*inode),
            Some(None) => Err(Errno::NoEntry.into()),
            None => {
                self.shared.awaited = Some(name.clone());
                Err(Stop::Wait(Operation::ReadFile { path: name }))
            }
        }
    }

    /// Stores the awaited file and returns its node; `None` if there is no such file.
    pub(in crate::guest) fn shared_arrived(
        &mut self,
        bytes: Option<Vec<u8>>,
        now: u64,
    ) -> Result<Option<Inode>, Errno> {
        let name = self.shared.awaited.take().ok_or(Errno::Io)?;
        self.tree.charge(name.len() as u64 + super::NODE_BYTES)?;
        let inode = match bytes {
            Some(bytes) => {
                let inode = self.tree.add(Content::Shared(bytes), now)?;
                self.tree.node_mut(inode)?.links = 1;
                Some(inode)
            }
            None => None,
        };
        self.shared.known.insert(name, inode);
        Ok(inode)
    }
}

impl Guest {
    /// Second half of the calls that wait for a shared file.
    ///
    /// A call that writes a file to state uses the key read in its first half. The other calls are performed again and
    /// find the file. They keep nothing from their first half: if the guest's memory has changed meanwhile, the new
    /// arguments apply, and a path to another shared file that is not fetched yet is refused.
    pub(in crate::guest) fn shared_file_arrived(
        &mut self,
        (call, key): (HostCall, Option<&str>),
        args: &Args,
        bytes: Option<Vec<u8>>,
        cx: &mut Context<'_>,
    ) -> Result<Flow, Fault> {
        let now = cx.host.now(Clock::Realtime);
        let errno = match self.files.shared_arrived(bytes, now) {
            Ok(file) if call == HostCall::WriteStateFromFile => {
                return match file.zip(key) {
                    Some((file, key)) => self.write_state_from_shared(key, file, cx),
                    None => Ok(Flow::Return(NO_FILE)),
                };
            }
            Ok(_) => match self.handle(call, args, cx)? {
                // The path was overwritten meanwhile, and names another shared file that is not fetched yet.
                Flow::Wait(_) => Errno::Io,
                flow => return Ok(flow),
            },
            Err(errno) => errno,
        };
        Ok(Flow::Return(match call {
            HostCall::WriteStateFromFile => NO_FILE,
            call if is_wasi(call) => errno.wasi().into(),
            _ => -errno.linux(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_shared_files() {
        for path in ["faasm://a/b", "/faasm://a/b", "faasm:/a/b", "/faasm:/a//./b", "x/faasm://a/b"]
        {
            assert_eq!(shared_name(path), Ok(Some("a/b".into())), "{path}");
        }
        for path in ["faasm", "faasm:", "a/faasm:/b", "xfaasm://a", "."] {
            assert_eq!(shared_name(path), Ok(None), "{path}");
        }
        assert_eq!(shared_name("faasm://"), Err(Errno::NoEntry));
        assert_eq!(shared_name("faasm://a/../b"), Err(Errno::NotCapable));
        assert_eq!(shared_name(&format!("faasm://{}", "a".repeat(5000))), Err(Errno::NameTooLong));
    }
}
