//! Other system services of a program: standard descriptors, shared files of the cluster, arguments, environment,
//! clocks, random bytes.

use super::calls::pattern;
use crate::case::{Case, case, files};

const MODEL: &[u8] = b"a shared model";

pub(super) fn cases() -> Vec<Case> {
    vec![
        files("descriptor/standard-input-is-the-input", &["use 0", "read 7", "read 4", "seek 0 s"])
            .lines(&["read = \"use 0\\nr\"", "read = \"ead \"", "seek = ESPIPE"]),
        files("descriptor/standard-output", &["use 1", "write hi", "read 1", "use 0", "write x"])
            .lines(&["write = 2", "read = EBADF", "write = EBADF"])
            .stdout("hi"),
        files("descriptor/not-open", &["use 70", "read 1", "close", "tell"]).lines(&[
            "read = EBADF",
            "close = EBADF",
            "tell = EBADF",
        ]),
        // The target descriptor is open, and is closed first.
        files(
            "descriptor/renumber",
            &["open /a rwc", "write abc", "renumber 1", "pread 5 0", "renumber 70"],
        )
        .lines(&[
            "open = ok",
            "write = 3",
            "renumber = ok",
            "pread = \"abc\"",
            "renumber = EBADF",
        ]),
        // The folder is open twice, as `/` and as `.`.
        files(
            "descriptor/close-the-root",
            &["use 3", "close", "close", "use 4", "close", "open /a rwc"],
        )
        .lines(&["close = ok", "close = EBADF", "close = ok", "open = EBADF"]),
        files("descriptor/replace-the-root", &["mkdir /d", "open /d rd", "renumber 3", "close"])
            .lines(&["mkdir = ok", "open = ok", "renumber = ok", "close = ok"]),
        files(
            "descriptor/close-the-streams",
            &["use 0", "close", "read 1", "use 1", "close", "write x", "use 2", "close", "close"],
        )
        .lines(&[
            "close = ok",
            "read = EBADF",
            "close = ok",
            "write = EBADF",
            "close = ok",
            "close = EBADF",
        ]),
        // A slash after a link refers to the link's target, except when creating or removing.
        files(
            "link/slash-after-it",
            &[
                "mkdir /d",
                "open /d/f wc",
                "symlink d /l",
                "lstat /l",
                "lstat /l/",
                "open /l rdn",
                "open /l/ rdn",
                "list /l/",
                "readlink /l",
                "readlink /l/",
                "symlink x /l/",
                "mkdir /l/",
                "unlink /l/",
                "rmdir /l/",
                "rename /l/ /m",
                "symlink none /dangling",
                "open /dangling/ rdn",
                "mkdir /dangling/",
            ],
        )
        .lines(&[
            "mkdir = ok",
            "open = ok",
            "symlink = ok",
            "stat = link",
            "stat = folder",
            "open = ENOTDIR",
            "open = ok",
            "list = f",
            "readlink = \"d\"",
            "readlink = EINVAL",
            "symlink = EEXIST",
            "mkdir = EEXIST",
            "unlink = ENOTDIR",
            "rmdir = ENOTDIR",
            "rename = ENOTDIR",
            "symlink = ok",
            "open = ENOENT",
            "mkdir = EEXIST",
        ]),
        files(
            "shared/read",
            &["open faasm://models/small r", "read 8", "seek 0 e", "stat faasm://models/small"],
        )
        .with_file("models/small", MODEL)
        .lines(&["open = ok", "read = \"a shared\"", "seek = 14", "stat = file of 14"]),
        files("shared/missing", &["open faasm://models/none r", "stat faasm://models/none"])
            .lines(&["open = ENOENT", "stat = ENOENT"]),
        files(
            "shared/read-only",
            &[
                "open faasm://models/small r",
                "write x",
                "close",
                "open faasm://models/small r",
                "read 20",
            ],
        )
        .with_file("models/small", MODEL)
        .lines(&[
            "open = ok",
            "write = EBADF",
            "close = ok",
            "open = ok",
            "read = \"a shared model\"",
        ]),
        files(
            "shared/one-megabyte",
            &["open faasm://models/large r", "seek 0 e", "pread 4 999998"],
        )
        .with_file("models/large", pattern(1_000_000))
        .lines(&["open = ok", "seek = 1000000", "pread = \"\\x0e\\x0f\""]),
        files(
            "state/from-a-file",
            &["open /a wc", "write content", "close", "from_file k /a", "push k"],
        )
        .lines(&["open = ok", "write = 7", "close = ok", "from_file = 7"])
        .leaves("k", "content"),
        files("state/from-a-shared-file", &["from_file k faasm://models/small", "push k"])
            .with_file("models/small", MODEL)
            .lines(&["from_file = 14"])
            .leaves("k", MODEL),
        case("start/arguments", "files", "standard input")
            .args(&["one", "", "three words here", "ünï"])
            .env(&[("A", "1"), ("EMPTY", ""), ("B", "x=y z")])
            .returns(5)
            .output(
                "argv[0] = function.wasm\nargv[1] = one\nargv[2] = \nargv[3] = three words \
here\nargv[4] = ünï\nenv A=1\nenv EMPTY=\nenv B=x=y z\nstdin = \
standard input\n",
            ),
        files("start/no-environment", &["getenv HOME"]).lines(&["getenv = (none)"]),
        files("start/environment", &["getenv HOME", "getenv OTHER"])
            .env(&[("HOME", "/ada")])
            .lines(&["getenv = /ada", "getenv = (none)"]),
        files("clock/moves-forward", &["clocks"]).lines(&["clocks = forward plausible 0"]),
        // The absolute time is ten seconds away when the relative one is due.
        case("clock/poll-tells-what-is-due", "poll_clocks", "").returns(11),
        files("random/differs", &["randoms"]).lines(&["randoms = differ"]),
        files("print/printf", &["printf text"]).stdout("text and 7 and 0.125\n"),
        // If main returns 0, it depends on the link whether standard output is flushed.
        files("print/flushed-by-exit", &["partial no end", "return 3"]).returns(3).stdout("no end"),
    ]
}
