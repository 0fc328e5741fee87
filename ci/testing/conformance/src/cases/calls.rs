//! Input, output, standard output, exits, waiting, and the small host calls.

use crate::case::{Case, case, probe};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("io/nothing", "silent", ""),
        case("io/echo", "echo", "abc").returns(3).output("abc"),
        case("io/echo-binary", "echo", [0, 255, 128, 10, 13, 0])
            .returns(6)
            .output([0, 255, 128, 10, 13, 0]),
        case("io/echo-empty", "echo", "").returns(0).output(""),
        case("io/echo-100-kb", "echo", pattern(100_000)).returns(100_000).output(pattern(100_000)),
        probe("io/no-script", &[]),
        probe("io/input-size", &["input_size"]).lines(&["input_size = 10"]),
        // A shorter buffer receives the beginning, a longer one the whole input. Bytes after it are unchanged.
        probe("io/read-input-shorter", &["read_input 4"]).lines(&["read_input = 4 \"read.\""]),
        probe("io/read-input-longer", &["read_input 900"])
            .lines(&["read_input = 14 \"read_input 900.\""]),
        // The input is not a stream: every read starts at the beginning.
        probe("io/read-input-twice", &["read_input 3", "read_input 3"])
            .lines(&["read_input = 3 \"rea.\"", "read_input = 3 \"rea.\""]),
        probe("io/output-is-replaced", &["raw_output longer", "raw_output b"]).output("b"),
        probe("io/output-binary", &["raw_output \\0\\xff\\x80"]).output([0, 255, 128]),
        probe("io/output-emptied", &["raw_output something", "raw_output "]).output(""),
        probe("io/output-before-a-wait", &["raw_output kept", "sleep 1"]).output("kept"),
        probe("io/output-1-mib-and-more", &["big_output 1500000"]).output(pattern(1_500_000)),
        probe("io/return-value", &["return 7"]).returns(7),
        probe("io/return-negative", &["return -1"]).returns(-1),
        probe("io/return-more-than-a-byte", &["return 70000"]).returns(70_000),
        probe("io/exit", &["exit 3", "say not reached"]).returns(3),
        probe("io/exit-0", &["say here", "exit 0", "say not reached"]).output("here"),
        probe("io/exit-256", &["exit 256"]).returns(256),
        probe("io/exit-negative", &["exit -2"]).returns(-2),
        probe("io/exit-after-a-wait", &["say waited", "sleep 1", "exit 4"])
            .returns(4)
            .output("waitedsleep = 0 long enough\n"),
        case("io/exit-from-deep-inside", "exit_suspended", "").returns(300).output("k"),
        probe("print/line", &["print hello\\n", "say output"]).stdout("hello\n").output("output"),
        probe("print/to-standard-error", &["eprint oh\\n"]).stderr_like("oh\n"),
        probe("print/pieces", &["print a", "print b", "sleep 1", "print c"])
            .stdout("abc")
            .lines(&["sleep = 0 long enough"]),
        probe("print/a-character-in-two-pieces", &["print \\xc3", "sleep 1", "print \\xa4\\n"])
            .stdout("ä\n")
            .lines(&["sleep = 0 long enough"]),
        probe("print/not-utf8", &["print a\\xffb\\n"]).stdout("a\u{fffd}b\n"),
        probe("print/ends-within-a-character", &["print a\\xe2\\x82"]).stdout("a\u{fffd}"),
        probe("print/much", &["repeat 2000 print 0123456789abcdefghij\\n"])
            .stdout("0123456789abcdefghij\n".repeat(2000)),
        probe("print/then-trap", &["print last words\\n", "trap"])
            .fails(crate::outcome::Code::Trap)
            .stdout("last words\n"),
        probe("wait/sleep", &["sleep 30"]).lines(&["sleep = 0 long enough"]),
        probe("wait/not-at-all", &["sleep 0"]).lines(&["sleep = 0 long enough"]),
        probe("wait/often", &["repeat 150 sleep 0", "count", "repeat 20 sleep 1"]).output(format!(
            "{0}count = 1\n{1}",
            "sleep = 0 long enough\n".repeat(150),
            "sleep = 0 long enough\n".repeat(20)
        )),
        // The unwind buffer must not overlap memory of the guest, whoever allocates first.
        probe("wait/before-the-first-malloc", &["sleep 1", "pattern 200000", "sleep 1", "verify"])
            .lines(&["sleep = 0 long enough", "sleep = 0 long enough", "verify = 0 wrong"]),
        probe(
            "wait/heap-is-left-alone",
            &["pattern 3000000", "pattern 10", "sleep 1", "pattern 70000", "sleep 1", "verify"],
        )
        .lines(&["sleep = 0 long enough", "sleep = 0 long enough", "verify = 0 wrong"]),
        probe(
            "wait/memory-grows-in-between",
            &[
                "pattern 100000",
                "grow 3",
                "sleep 1",
                "pattern 400000",
                "grow 1",
                "sleep 1",
                "pattern 50000",
                "verify",
            ],
        )
        .lines(&[
            "grow = yes",
            "sleep = 0 long enough",
            "grow = yes",
            "sleep = 0 long enough",
            "verify = 0 wrong",
        ]),
        probe("wait/variables-survive", &["count", "sleep 1", "count", "sleep 1", "count"]).lines(
            &[
                "count = 1",
                "sleep = 0 long enough",
                "count = 2",
                "sleep = 0 long enough",
                "count = 3",
            ],
        ),
        probe("call/conf-flags", &["conf ALWAYS_ON", "conf ALWAYS_OFF", "conf MISSING", "conf "])
            .lines(&["conf = 1", "conf = 0", "conf = 0", "conf = 0"]),
        probe("call/backtrace", &["backtrace 0"]).stderr_like("*Faasm backtrace*command*"),
        probe("call/migrate-point-stays", &["say before ", "migrate 5", "say after"])
            .output("before after")
            .stderr_like("*stays here*"),
        probe("call/test-hook", &["test_hook 3"]),
        probe("call/shared-memory-regions", &["shared_memory"]).lines(&["shared_memory = 5 1 2 3"]),
    ]
}

/// Bytes from 0 to 250, repeated.
pub(super) fn pattern(length: u32) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}
