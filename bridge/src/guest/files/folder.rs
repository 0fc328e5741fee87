//! One folder: its names, and the order in which they are listed.

use super::tree::Inode;
use crate::sorted_map::SortedMap;

/// Positions in a listing below this are `.` and `..`.
const FIRST_PLACE: u64 = 3;

/// Names of a folder.
///
/// Every name has a *place*, a position that it keeps as long as it exists, and that is never reused. A listing
/// continues after a place, so a program that removes files while listing them misses none and sees none twice.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    pub(super) parent: Inode,
    names: SortedMap<String, (Inode, u64)>,
    places: SortedMap<u64, String>,
    next_place: u64,
}

/// An entry of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::guest) struct Listed<'a> {
    /// The cookie that continues after this entry.
    pub(in crate::guest) place: u64,
    pub(in crate::guest) name: &'a str,
    pub(in crate::guest) inode: Inode,
}

impl Folder {
    pub(super) fn new(parent: Inode) -> Self {
        let (names, places) = (SortedMap::new(), SortedMap::new());
        Self { parent, names, places, next_place: FIRST_PLACE }
    }

    pub(super) fn get(&self, name: &str) -> Option<Inode> {
        self.names.get(name).map(|(inode, _)| *inode)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Adds a name, or changes the target of an existing one.
    pub(super) fn insert(&mut self, name: &str, inode: Inode) {
        if let Some((target, _)) = self.names.get_mut(name) {
            *target = inode;
            return;
        }
        let place = self.next_place;
        self.next_place += 1;
        self.names.insert(name.to_owned(), (inode, place));
        self.places.insert(place, name.to_owned());
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Inode> {
        let (inode, place) = self.names.remove(name)?;
        self.places.remove(&place);
        Some(inode)
    }

    /// Renames an entry; it keeps its place, so that a program that renames every file it lists terminates. A file that
    /// had the new name loses it.
    pub(super) fn rename(&mut self, old: &str, new: &str) {
        let Some((inode, place)) = self.names.remove(old) else { return };
        self.remove(new);
        self.names.insert(new.to_owned(), (inode, place));
        self.places.insert(place, new.to_owned());
    }

    /// The entries after a place, `.` and `..` first; 0 starts the listing.
    pub(super) fn list(&self, own: Inode, after: u64) -> impl Iterator<Item = Listed<'_>> {
        let dots = [
            Listed { place: 1, name: ".", inode: own },
            Listed { place: 2, name: "..", inode: self.parent },
        ];
        let entries = self.places.iter_from(after.saturating_add(1)).filter_map(|(place, name)| {
            Some(Listed { place: *place, name, inode: self.get(name)? })
        });
        dots.into_iter().filter(move |dot| dot.place > after).chain(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Folder, after: u64) -> Vec<(u64, &str)> {
        folder.list(Inode(1), after).map(|listed| (listed.place, listed.name)).collect()
    }

    #[test]
    fn a_listing_survives_removal_and_renaming() {
        let mut folder = Folder::new(Inode(1));
        for (name, inode) in [("b", 2), ("a", 3), ("c", 4)] {
            folder.insert(name, Inode(inode));
        }
        assert_eq!(names(&folder, 0), [(1, "."), (2, ".."), (3, "b"), (4, "a"), (5, "c")]);
        folder.remove("b");
        assert_eq!(names(&folder, 3), [(4, "a"), (5, "c")]);
        folder.rename("a", "z");
        assert_eq!(names(&folder, 4), [(5, "c")]);
        folder.insert("b", Inode(9));
        assert_eq!(names(&folder, 5), [(6, "b")]);
        folder.rename("b", "c");
        assert_eq!(names(&folder, 2), [(4, "z"), (6, "c")]);
        assert_eq!(names(&folder, u64::MAX), []);
    }
}
