//! Files: the in-memory tree of each call.

use crate::case::{Case, files, probe};

pub(super) fn cases() -> Vec<Case> {
    vec![
        files(
            "file/write-then-read",
            &["open /a.txt rwc", "write hello", "seek 0 s", "read 10", "close"],
        )
        .lines(&["open = ok", "write = 5", "seek = 0", "read = \"hello\"", "close = ok"]),
        files(
            "file/relative-path",
            &["open a.txt wc", "write x", "close", "stat /a.txt", "stat a.txt"],
        )
        .lines(&[
            "open = ok",
            "write = 1",
            "close = ok",
            "stat = file of 1",
            "stat = file of 1",
        ]),
        files(
            "file/missing",
            &["open /none r", "stat /none", "unlink /none", "open /no/folder wc", "access /none"],
        )
        .lines(&[
            "open = ENOENT",
            "stat = ENOENT",
            "unlink = ENOENT",
            "open = ENOENT",
            "access = ENOENT",
        ]),
        files("file/exclusive", &["open /a wcx", "close", "open /a wcx"]).lines(&[
            "open = ok",
            "close = ok",
            "open = EEXIST",
        ]),
        files(
            "file/truncated-when-opened",
            &["open /a wc", "write long", "close", "open /a wt", "fstat"],
        )
        .lines(&["open = ok", "write = 4", "close = ok", "open = ok", "fstat = file of 0"]),
        files(
            "file/append",
            &["open /a wca", "write one", "seek 0 s", "write two", "close", "open /a r", "read 20"],
        )
        .lines(&[
            "open = ok",
            "write = 3",
            "seek = 0",
            "write = 3",
            "close = ok",
            "open = ok",
            "read = \"onetwo\"",
        ]),
        files(
            "file/append-mode-later",
            &[
                "open /a rwc",
                "write one",
                "seek 0 s",
                "append_mode",
                "write two",
                "seek 0 s",
                "read 20",
            ],
        )
        .lines(&[
            "open = ok",
            "write = 3",
            "seek = 0",
            "append_mode = ok",
            "write = 3",
            "seek = 0",
            "read = \"onetwo\"",
        ]),
        files(
            "file/overwrite-in-the-middle",
            &["open /a rwc", "write abcdef", "seek 2 s", "write XY", "seek 0 s", "read 9"],
        )
        .lines(&[
            "open = ok",
            "write = 6",
            "seek = 2",
            "write = 2",
            "seek = 0",
            "read = \"abXYef\"",
        ]),
        files(
            "file/seek-everywhere",
            &[
                "open /a rwc",
                "write abcdef",
                "seek -2 e",
                "read 9",
                "seek 1 s",
                "seek 2 c",
                "read 1",
                "tell",
                "seek -1 s",
            ],
        )
        .lines(&[
            "open = ok",
            "write = 6",
            "seek = 4",
            "read = \"ef\"",
            "seek = 1",
            "seek = 3",
            "read = \"d\"",
            "tell = 4",
            "seek = EINVAL",
        ]),
        files(
            "file/write-beyond-the-end",
            &["open /a rwc", "seek 3 s", "write x", "seek 0 s", "read 9"],
        )
        .lines(&[
            "open = ok",
            "seek = 3",
            "write = 1",
            "seek = 0",
            "read = \"\\0\\0\\0x\"",
        ]),
        files("file/read-at-the-end", &["open /a rwc", "read 5", "write abc", "read 5"]).lines(&[
            "open = ok",
            "read = \"\"",
            "write = 3",
            "read = \"\"",
        ]),
        files(
            "file/at-an-offset",
            &[
                "open /a rwc",
                "write abcdef",
                "pread 2 3",
                "pwrite 1 ZZ",
                "tell",
                "seek 0 s",
                "read 9",
                "pread 3 100",
            ],
        )
        .lines(&[
            "open = ok",
            "write = 6",
            "pread = \"de\"",
            "pwrite = 2",
            "tell = 6",
            "seek = 0",
            "read = \"aZZdef\"",
            "pread = \"\"",
        ]),
        files(
            "file/truncate",
            &[
                "open /a rwc",
                "write abcdef",
                "ftruncate 2",
                "fstat",
                "ftruncate 4",
                "seek 0 s",
                "read 9",
                "truncate /a 1",
                "stat /a",
            ],
        )
        .lines(&[
            "open = ok",
            "write = 6",
            "ftruncate = ok",
            "fstat = file of 2",
            "ftruncate = ok",
            "seek = 0",
            "read = \"ab\\0\\0\"",
            "truncate = ok",
            "stat = file of 1",
        ]),
        files("file/allocate", &["open /a wc", "allocate 10", "fstat", "allocate 5", "fstat"])
            .lines(&[
                "open = ok",
                "allocate = ok",
                "fstat = file of 10",
                "allocate = ok",
                "fstat = file of 10",
            ]),
        files("file/sync", &["open /a wc", "write x", "fsync"]).lines(&[
            "open = ok",
            "write = 1",
            "fsync = ok",
        ]),
        files("file/only-for-reading", &["open /a wc", "close", "open /a r", "write x"]).lines(&[
            "open = ok",
            "close = ok",
            "open = ok",
            "write = EBADF",
        ]),
        files("file/only-for-writing", &["open /a wc", "read 1"])
            .lines(&["open = ok", "read = EBADF"]),
        files("file/closed", &["open /a wc", "close", "close", "write x", "fstat"]).lines(&[
            "open = ok",
            "close = ok",
            "close = EBADF",
            "write = EBADF",
            "fstat = EBADF",
        ]),
        files(
            "file/unlinked-but-open",
            &["open /a rwc", "write abc", "unlink /a", "stat /a", "seek 0 s", "read 9"],
        )
        .lines(&[
            "open = ok",
            "write = 3",
            "unlink = ok",
            "stat = ENOENT",
            "seek = 0",
            "read = \"abc\"",
        ]),
        files(
            "file/rename",
            &["open /a wc", "write abc", "close", "rename /a /b", "stat /a", "stat /b"],
        )
        .lines(&[
            "open = ok",
            "write = 3",
            "close = ok",
            "rename = ok",
            "stat = ENOENT",
            "stat = file of 3",
        ]),
        files(
            "file/rename-over-another",
            &[
                "open /a wc",
                "write abc",
                "close",
                "open /b wc",
                "close",
                "rename /a /b",
                "stat /b",
                "list /",
            ],
        )
        .lines(&[
            "open = ok",
            "write = 3",
            "close = ok",
            "open = ok",
            "close = ok",
            "rename = ok",
            "stat = file of 3",
            "list = b tmp/",
        ]),
        files("file/rename-missing", &["rename /a /b"]).lines(&["rename = ENOENT"]),
        files("file/times", &["open /a wc", "close", "touch /a"]).lines(&[
            "open = ok",
            "close = ok",
            "touch = ok",
            "times = 1000 2000",
        ]),
        files(
            "file/a-hundred-kilobytes",
            &["open /a rwc", "write_many 100000", "write_many 100000", "fstat", "pread 3 100248"],
        )
        .lines(&[
            "open = ok",
            "write_many = 100000",
            "write_many = 100000",
            "fstat = file of 200000",
            "pread = \"\\xf8\\xf9\\xfa\"",
        ]),
        private(),
    ]
}

/// The files of a call are private: another call does not see them.
fn private() -> Case {
    probe(
        "file/private-to-a-call",
        &["chain files open /a wc\\nwrite x", "await", "chain files stat /a", "await_output"],
    )
    .lines(&["await = 0", "await_output = 0 \"stat = ENOENT\\n\""])
}
