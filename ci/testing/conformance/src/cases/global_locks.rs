//! Cluster-wide locks.

use crate::case::{Case, probe};
use crate::outcome::Code;

/// A run that starts by taking such a lock: Faasm's workers do not have this host call, so the run fails there.
fn locking(name: &str, script: &[&'static str]) -> Case {
    let script = [&["lock_global first", "unlock_global first"], script].concat();
    probe(name, &script)
}

/// Columns in which such a run gets far enough to leave state.
const NOT_IN_FAASM: &[&str] = &["embedded", "chromium", "firefox", "webkit"];

pub(super) fn cases() -> Vec<Case> {
    vec![
        locking(
            "global-lock/take-and-release",
            &["lock_global k", "write k abc", "push k", "unlock_global k", "say done"],
        )
        .output("done")
        .leaves("k", "abc")
        .only(NOT_IN_FAASM),
        locking(
            "global-lock/again-after-unlock",
            &["lock_global k", "unlock_global k", "lock_global k", "say held"],
        )
        .output("held"),
        locking("global-lock/keys-are-apart", &["lock_global a", "lock_global b", "say held"])
            .output("held"),
        locking(
            "global-lock/local-ones-are-apart",
            &["lock_write k", "lock_global k", "unlock_write k", "lock_read k", "say held"],
        )
        .output("held"),
        locking(
            "global-lock/unlock-of-what-is-not-held",
            &["unlock_global k", "lock_global k", "unlock_global k", "unlock_global k", "say free"],
        )
        .output("free"),
        locking(
            "global-lock/ends-with-the-run",
            &[
                "chain_ptr script lock_global k\\nreturn 1",
                "await",
                "chain_ptr script lock_global k\\nreturn 2",
                "await",
            ],
        )
        .lines(&["await = 1", "await = 2"]),
        locking(
            "global-lock/ends-with-a-trap",
            &[
                "chain_ptr script lock_global k\\ntrap",
                "await",
                "chain_ptr script lock_global k\\nreturn 2",
                "await",
            ],
        )
        .lines(&["await = 1", "await = 2"]),
        // Two elements each: without the lock, elements of other calls would be interleaved.
        locking(
            "global-lock/one-after-the-other",
            &[
                "repeat 5 chain_ptr script lock_global k\\nappend l a\\nsleep 20\\nappend l \
b\\nunlock_global k\\nreturn 3",
                "repeat 5 await",
            ],
        )
        .lines(&["await = 3"; 5])
        .leaves_list("l", "ababababab")
        .only(NOT_IN_FAASM),
        // The lock does not refresh the local copy.
        locking(
            "global-lock/pull-after-taking-it",
            &[
                "map k 3",
                "chain_ptr script lock_global k\\nwrite k new\\npush k\\nunlock_global k",
                "await",
                "lock_global k",
                "pull k 3",
                "peek 0 3",
            ],
        )
        .with_value("k", "old")
        .lines(&["map = \"old\"", "await = 0", "peek = \"new\""])
        .leaves("k", "new")
        .only(NOT_IN_FAASM),
        locking("global-lock/twice-is-a-deadlock", &["lock_global k", "lock_global k"])
            .fails(Code::Deadlock),
    ]
}
