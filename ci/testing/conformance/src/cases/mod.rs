//! The table, by topic. Add a case to the list of a file here; see `docs/conformance.md`.

mod calls;
mod chain;
mod exceptions;
mod faasm;
mod faults;
mod files;
mod folders;
mod global_locks;
mod languages;
mod legacy;
mod lists;
mod mapping;
mod modules;
mod state;
mod toolchain;
mod wasi;

pub(crate) use faasm::HOST_ONLY;

use crate::case::Case;

/// Every case, in the order of the matrix.
pub fn all() -> Vec<Case> {
    let topics = [
        calls::cases(),
        chain::cases(),
        state::cases(),
        mapping::cases(),
        lists::cases(),
        global_locks::cases(),
        files::cases(),
        folders::cases(),
        wasi::cases(),
        languages::cases(),
        exceptions::cases(),
        modules::cases(),
        legacy::cases(),
        toolchain::cases(),
        faults::cases(),
    ];
    topics.into_iter().flatten().map(faasm::in_faasm).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn names_are_unique_and_can_be_part_of_users() {
        let mut seen = BTreeMap::new();
        for case in all() {
            let legal =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '/';
            assert!(case.name.chars().all(legal) && case.name.len() < 100, "{}", case.name);
            assert!(case.name.contains('/'), "{} has no group", case.name);
            assert_eq!(
                seen.insert(case.name.clone(), ()),
                None,
                "the name {} is used twice",
                case.name
            );
        }
        assert!(seen.len() >= 130, "the suite has become smaller: {}", seen.len());
    }

    #[test]
    fn a_shared_path_has_one_content() {
        let mut seen = BTreeMap::new();
        for (path, bytes) in all().into_iter().flat_map(|case| case.before.files) {
            if let Some(other) = seen.insert(path, bytes.clone()) {
                assert_eq!(other, bytes, "{path}");
            }
        }
    }
}
