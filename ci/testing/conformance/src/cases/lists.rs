//! Appended lists of the global tier, and the locks of the local one.

use crate::case::{Case, probe};
use crate::outcome::Code;

pub(super) fn cases() -> Vec<Case> {
    vec![
        probe("list/append", &["append k one", "append k two", "append k three"])
            .leaves_list("k", "onetwothree"),
        probe("list/append-and-read", &["append k one", "append k two", "appended k 2 8"])
            .lines(&["appended = \"onetwo..\""])
            .leaves_list("k", "onetwo"),
        probe("list/read-the-first", &["appended k 2 6"])
            .with_list("k", &[b"abc", b"de", b"fgh"])
            .lines(&["appended = \"abcde.\""]),
        probe("list/read-more-than-there-are", &["appended k 9 6"])
            .with_list("k", &[b"abc", b"de"])
            .lines(&["appended = \"abcde.\""]),
        probe("list/read-none", &["appended k 0 3"])
            .with_list("k", &[b"abc"])
            .lines(&["appended = \"...\""]),
        probe("list/read-what-was-never-appended", &["appended k 2 3"])
            .lines(&["appended = \"...\""]),
        probe("list/into-a-smaller-buffer", &["appended k 2 4"])
            .with_list("k", &[b"abc", b"def"])
            .lines(&["appended = \"abcd\""]),
        probe(
            "list/binary-and-empty-elements",
            &["append k \\0\\xff", "append k ", "append k z", "appended k 3 4"],
        )
        .lines(&["appended = \"\\0\\xffz.\""])
        .leaves_list("k", [0, 255, b'z']),
        probe("list/clear", &["clear k", "appended k 1 3"])
            .with_list("k", &[b"abc"])
            .lines(&["appended = \"...\""])
            .leaves_list("k", ""),
        probe("list/clear-what-is-empty", &["clear k"]).leaves_list("k", ""),
        probe("list/append-after-clear", &["clear k", "append k new"])
            .with_list("k", &[b"old"])
            .leaves_list("k", "new"),
        probe("list/lists-are-apart", &["append a 1", "append b 2", "append a 3", "clear b"])
            .leaves_list("a", "13")
            .leaves_list("b", ""),
        probe("list/many-elements", &["repeat 120 append k ab"]).leaves_list("k", "ab".repeat(120)),
        probe(
            "list/others-append-too",
            &["append k a", "chain_ptr script append k b", "await", "append k c", "appended k 3 3"],
        )
        .lines(&["await = 0", "appended = \"abc\""])
        .leaves_list("k", "abc"),
        probe("lock/write", &["lock_write k", "write k abc", "unlock_write k", "push k"])
            .leaves("k", "abc"),
        probe(
            "lock/again-after-unlock",
            &[
                "lock_write k",
                "unlock_write k",
                "lock_write k",
                "unlock_write k",
                "lock_read k",
                "unlock_read k",
                "say free",
            ],
        )
        .output("free"),
        probe(
            "lock/read-twice",
            &[
                "lock_read k",
                "lock_read k",
                "unlock_read k",
                "unlock_read k",
                "lock_write k",
                "say free",
            ],
        )
        .output("free"),
        probe("lock/keys-are-apart", &["lock_write a", "lock_write b", "lock_read c", "say held"])
            .output("held"),
        probe(
            "lock/unlock-of-what-is-not-held",
            &["unlock_write k", "unlock_read k", "lock_write k", "say held"],
        )
        .output("held"),
        probe("lock/held-across-a-wait", &["lock_write k", "sleep 5", "unlock_write k"])
            .lines(&["sleep = 0 long enough"]),
        probe(
            "lock/ends-with-the-run",
            &[
                "chain_ptr script lock_write k\\nreturn 1",
                "await",
                "chain_ptr script lock_write k\\nreturn 2",
                "await",
            ],
        )
        .lines(&["await = 1", "await = 2"]),
        probe(
            "lock/ends-with-a-trap",
            &[
                "chain_ptr script lock_write k\\ntrap",
                "await",
                "chain_ptr script lock_write k\\nreturn 2",
                "await",
            ],
        )
        .lines(&["await = 1", "await = 2"]),
        // Both read, yield, and append: without the lock one of the two updates would be lost.
        probe(
            "lock/one-after-the-other",
            &[
                "write k 0",
                "push k",
                "repeat 5 chain_ptr script lock_write k\\npull k 1\\nsleep 5\\nappend \
l x\\nunlock_write k",
                "repeat 5 await",
            ],
        )
        .lines(&["await = 0"; 5])
        .leaves_list("l", "xxxxx"),
        probe(
            "lock/readers-side-by-side",
            &[
                "repeat 5 chain_ptr script lock_read k\\nsleep 20\\nunlock_read \
k\\nreturn 3",
                "repeat 5 await",
            ],
        )
        .lines(&["await = 3"; 5]),
        probe("lock/write-twice-is-a-deadlock", &["lock_write k", "lock_write k"])
            .fails(Code::Deadlock),
        probe("lock/read-then-write-is-a-deadlock", &["lock_read k", "lock_write k"])
            .fails(Code::Deadlock),
        probe("lock/write-then-read-is-a-deadlock", &["lock_write k", "lock_read k"])
            .fails(Code::Deadlock),
    ]
}
