//! Resolves a path in the tree.

use super::tree::{Content, Inode, ROOT, Tree};
use super::{MAX_NAME_BYTES, MAX_PATH_BYTES};
use crate::guest::errno::Errno;

/// The result of resolving a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The folder that contains the last name, and that name; `None` if the path ends in `.`, `..` or the root.
    pub(super) name: Option<(Inode, String)>,
    /// The node that the path leads to, if it exists.
    pub(super) node: Option<Inode>,
    /// The path ends in a slash: the node must be a folder.
    pub(super) folder_only: bool,
}

/// The folder that a path is relative to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::guest) struct Base {
    pub(in crate::guest) folder: Inode,
    /// Whether the path must stay below the folder, as in WASI.
    pub(in crate::guest) confined: bool,
}

impl Base {
    /// The root. It is its own parent, so no path leaves it.
    pub(in crate::guest) const ROOT: Base = Base { folder: ROOT, confined: false };
}

/// Most symbolic links followed in one path.
const MAX_LINKS: u32 = 40;

impl Tree {
    /// Resolves a path. Symbolic links are followed; the last name only if `follow` is set.
    pub(super) fn resolve(&self, base: Base, path: &str, follow: bool) -> Result<Place, Errno> {
        check_path(path)?;
        let mut at = base.folder;
        let mut rest = Vec::new();
        let mut folder_only = path.ends_with('/');
        push_names(&mut rest, path);
        if path.starts_with('/') {
            at = outermost(base)?;
        }
        let mut followed = 0;
        let mut last = None;
        while let Some(name) = rest.pop() {
            let folder = self.folder(at)?;
            last = None;
            match name.as_str() {
                "." => continue,
                ".." => {
                    if base.confined && at == base.folder && at != ROOT {
                        return Err(Errno::NotCapable);
                    }
                    at = folder.parent;
                    continue;
                }
                name if name.len() > MAX_NAME_BYTES => return Err(Errno::NameTooLong),
                _ => {}
            }
            let is_last = rest.is_empty();
            let Some(inode) = folder.get(&name) else {
                return match is_last {
                    true => Ok(Place { name: Some((at, name)), node: None, folder_only }),
                    false => Err(Errno::NoEntry),
                };
            };
            match &self.node(inode)?.content {
                Content::Link(target) if follow || !is_last => {
                    followed += 1;
                    if followed > MAX_LINKS {
                        return Err(Errno::Loop);
                    }
                    if target.starts_with('/') {
                        at = outermost(base)?;
                    }
                    folder_only |= is_last && target.ends_with('/');
                    push_names(&mut rest, target);
                }
                _ if is_last => {
                    if folder_only && !self.is_folder(inode) {
                        return Err(Errno::NotFolder);
                    }
                    last = Some((at, name));
                    at = inode;
                }
                _ => at = inode,
            }
        }
        self.node(at)?;
        Ok(Place { name: last, node: Some(at), folder_only })
    }
}

/// The start of an absolute path: a program that has only a folder below the root cannot leave it.
fn outermost(base: Base) -> Result<Inode, Errno> {
    if base.confined && base.folder != ROOT { Err(Errno::NotCapable) } else { Ok(ROOT) }
}

/// Checks the limits of a path.
pub(super) fn check_path(path: &str) -> Result<(), Errno> {
    match path {
        "" => Err(Errno::NoEntry),
        _ if path.len() > MAX_PATH_BYTES => Err(Errno::NameTooLong),
        _ if path.contains('\0') => Err(Errno::Invalid),
        _ => Ok(()),
    }
}

fn push_names(rest: &mut Vec<String>, path: &str) {
    rest.extend(path.split('/').rev().filter(|name| !name.is_empty()).map(str::to_owned));
}
