//! Required results in a Faasm cluster where they differ from those in other columns: by what a case does, and by name,
//! each with the reason.

use crate::case::{After, Case, End, Instead, Limit, Text};
use crate::outcome::Code;

const FAASM: &[&str] = &["faasm"];
const ORIGINALS: &[&str] = &["faasm-originals"];
const GUARDED: &[&str] = &["faasm-guarded"];
const BUILT: &[&str] = &["faasm-built"];
/// Functions as the toolchain linked them, guarded or not.
const UNBUILT: &[&str] = &["faasm-originals", "faasm-guarded"];
/// Functions that the relay guards, built for Faasm or not.
const CHECKED: &[&str] = &["faasm-guarded", "faasm-built"];

const NOT_CARRIED: &str = "Faasm passes no environment variables, and no arguments with blanks";
const REPLACED: &str = "Faasm replaces the output of a call that does not return 0";
const LACKING: &str = "WAMR does not have this host call";
const REFUSED: &str = "rejected at upload: a Faasm cluster does not support one of its imports";
const NOT_COMPILED: &str = "rejected at upload: WAMR cannot compile it";
const NOT_TEXT: &str = "an output that is not UTF-8 ends the planner";
const ONE_TEXT: &str = "Faasm reports all failures with the same text";
const POINTERS: &str = "Faasm reports 0 for a chained function pointer, whatever it returned";
const CLOCK: &str = "clock_time_get of WAMR writes the lower 32 bits only";
const ENDS_WORKER: &str = "the call ends the worker";
const LENGTHS: &str =
    "a worker does not report the size of a list: bytes after its elements read as zeros";
const ZEROS: &str = "a missing value reads as zeros, and its size is the requested one";
const FIRST_PUSH: &str = "a guarded function pushes the first value of a key at once";
const UNSEEN: &str = "a guarded pull leaves a missing key missing";
const LONG_KEY: &str = "artefacts accept keys of up to 1024 bytes";
const SLOTS: &str = "a chained call without a free slot traps";
const ROOM: &str = "the worker chooses the memory of an awaited output";
const NAME_NOT_TEXT: &str = "a chained name that is not UTF-8 ends the planner";
const HARMLESS: &str = "a guarded function makes only calls that are known to be harmless";
const ANY_KEY: &str = "Faasm accepts keys that are not UTF-8";
const BEHIND: &str = "the artefact uses the memory after the end that the guest sees";
const SAYS_NOTHING: &str = "an artefact prints no message there";
const CONSTRUCTORS: &str = "constructors run before a pointer only if they are exported";
const OLD: &str = "Faasm 0.29 does not have the host calls of 2019 and 2020";

const SIZES: &str = "a worker's copy of a value has the size of its first use";

/// Commands of scripts that need host calls WAMR does not have.
const LACKED: &[&str] = &[
    "map",
    "map_at",
    "read_at",
    "write_at",
    "flag",
    "flag_at",
    "push_partial",
    "push_mask",
    "clear",
    "lock_read",
    "lock_write",
    "unlock_read",
    "unlock_write",
    "lock_global",
    "unlock_global",
    "conf",
    "from_file",
    "oob_read_state_at",
    "oob_conf",
    "oob_mask",
];

/// Commands of scripts that need host calls a Faasm cluster does not support: it rejects functions that import them.
pub(crate) const HOST_ONLY: &[&str] = &[
    "map",
    "map_at",
    "lock_read",
    "lock_write",
    "unlock_read",
    "unlock_write",
    "lock_global",
    "unlock_global",
    "push_partial",
    "push_mask",
    "oob_mask",
    "test_hook",
    "from_file",
];

/// Cases that fail only in some columns.
const FAILING: &[(&[&str], Code, &str, &[&str])] = &[
    (
        FAASM,
        Code::CannotLoad,
        NOT_COMPILED,
        &[
            "module/nothing-exported-but-the-entry",
            "module/tail-calls",
            "module/tail-calls-without-end",
            "module/imported-memory-and-table",
            "module/draft-simd",
            "toolchain/state-with-draft-simd",
        ],
    ),
    (
        FAASM,
        Code::Trap,
        OLD,
        &[
            "legacy/chain-by-index",
            "legacy/write-and-exit",
            "legacy/memory",
            "legacy/mapped-file",
            "legacy/files",
            "legacy/unknown-system-call",
            "legacy/clocks",
            "toolchain/hello",
            "toolchain/chain",
        ],
    ),
    (FAASM, Code::Trap, LACKING, &["call/backtrace", "call/shared-memory-regions"]),
    (FAASM, Code::Trap, SLOTS, &["chain/a-hundred-at-once"]),
    (
        ORIGINALS,
        Code::Trap,
        LACKING,
        &[
            "rust/state",
            "module/state-calls-with-results",
            "module/state-calls-without-results",
            "toolchain/heap-by-sbrk",
            "toolchain/heap-by-system-call",
            "toolchain/heap-by-mmap",
            "toolchain/grows-by-itself",
            "toolchain/openmp-runtime",
            "toolchain/sleeps",
            "toolchain/rest-of-the-interface",
            "map/without-malloc",
            "fault/malloc-makes-host-calls",
        ],
    ),
    (
        ORIGINALS,
        Code::OutcomeUnknown,
        NOT_TEXT,
        &["chain/output-of-1-mb", "module/chained-output-of-64-mib"],
    ),
    (
        ORIGINALS,
        Code::OutcomeUnknown,
        ENDS_WORKER,
        &[
            "call/test-hook",
            "chain/no-such-function",
            "chain/no-such-function-without-output",
            "chain/a-name-no-function-can-have",
            "chain/no-name",
            "chain/callee-gives-a-bad-pointer",
            "state/read-into-a-smaller-buffer",
            "state/push-of-nothing",
            "list/into-a-smaller-buffer",
            "toolchain/answers",
            "toolchain/exception",
            "fault/data-beyond-memory",
        ],
    ),
    (
        CHECKED,
        Code::CannotLoad,
        REFUSED,
        &[
            "module/start-function-that-waits",
            "toolchain/heap-by-sbrk",
            "toolchain/heap-by-system-call",
            "toolchain/heap-by-mmap",
            "toolchain/grows-by-itself",
            "toolchain/answers",
            "toolchain/exit",
            "toolchain/exit-at-once",
            "toolchain/abort",
            "toolchain/signal",
        ],
    ),
    (
        GUARDED,
        Code::CannotLoad,
        REFUSED,
        &[
            "rust/collections",
            "rust/dispatch",
            "rust/arithmetic",
            "rust/formatting",
            "rust/files",
            "rust/environment",
            "rust/clocks",
            "rust/chaining",
            "rust/state",
            "rust/recursion",
            "rust/print",
            "rust/panic",
            "rust/index",
            "rust/exit",
        ],
    ),
    (GUARDED, Code::Trap, LONG_KEY, &["state/a-key-of-10000-characters"]),
    (BUILT, Code::BadPointer, LONG_KEY, &["state/a-key-of-10000-characters"]),
    (BUILT, Code::State, SIZES, &["state/another-size-than-global"]),
    (
        FAASM,
        Code::CannotLoad,
        NOT_COMPILED,
        &[
            "module/exceptions",
            "module/exception-uncaught",
            "module/exit-below-a-handler",
            "module/fault-below-a-handler",
            "module/exceptions-without-end",
            "module/exceptions-of-the-draft",
            "module/all-exceptions-of-the-draft",
            "module/atomic-instructions",
        ],
    ),
    (
        ORIGINALS,
        Code::OutcomeUnknown,
        ENDS_WORKER,
        &[
            "bad-pointer/write-output",
            "bad-pointer/negative-length",
            "bad-pointer/key",
            "bad-pointer/write-state",
            "bad-pointer/read-state",
            "bad-pointer/append",
            "bad-pointer/key-without-an-end",
            "bad-pointer/read-input",
            "fault/wasi-arguments",
        ],
    ),
    (ORIGINALS, Code::OutcomeUnknown, NAME_NOT_TEXT, &["bad-pointer/name-not-utf8"]),
    (
        CHECKED,
        Code::CannotLoad,
        REFUSED,
        &[
            "toolchain/exception",
            "toolchain/exception-again",
            "toolchain/exception-caught",
            "toolchain/pure-virtual",
            "toolchain/openmp-runtime",
            "toolchain/no-snapshot",
            "map/without-malloc",
            "fault/start-function-traps",
        ],
    ),
    (
        CHECKED,
        Code::Trap,
        HARMLESS,
        &[
            "toolchain/threads",
            "toolchain/openmp",
            "toolchain/openmp-nested",
            "toolchain/sleeps",
            "toolchain/rest-of-the-interface",
        ],
    ),
    (BUILT, Code::Trap, ROOM, &["fault/malloc-has-no-memory", "fault/malloc-wants-to-wait"]),
    (GUARDED, Code::Trap, ONE_TEXT, &["bad-pointer/wasi-gives-an-errno"]),
];

/// Cases whose chained pointers report 0.
const POINTED: &[&str] = &[
    "chain/by-pointer",
    "chain/by-pointer-with-output",
    "chain/negative-value",
    "chain/pointer-with-argument",
    "chain/pointer-with-negative-argument",
    "chain/callee-exits",
    "chain/output-before-the-first-malloc",
    "chain/awaited-in-another-order",
    "chain/awaited-long-after",
    "chain/sixty-in-a-row",
    "chain/twenty-that-wait",
];

/// Cases that return another value or output in some columns.
const RETURNING: &[(&[&str], &str, i32, &str, &str)] = &[
    (
        BUILT,
        "start/malloc-exported-without-names",
        1,
        "1 constructed, value 8; 0 from callee: 0 constructed, value 0",
        CONSTRUCTORS,
    ),
    (UNBUILT, "chain/callee-chains", 0, "await_output = 0 \"nested 0: abc\"\n", POINTERS),
    (
        UNBUILT,
        "chain/instances-are-fresh",
        0,
        "count = 1\nawait = 0\nawait = 0\ncount = 2\n",
        POINTERS,
    ),
    (UNBUILT, "chain/awaited-twice", 0, "await = 0\nawait = 1\nawait_output = 1 \"\"\n", POINTERS),
    (
        UNBUILT,
        "chain/goes-on-after-a-failure",
        0,
        "await = 1\nawait_output = 0 \"ab\"\nawait = 0\n",
        POINTERS,
    ),
    (
        UNBUILT,
        "chain/by-name-with-output",
        0,
        "await_output = 4 \"Call failed (return value=4)\"\n",
        REPLACED,
    ),
    (
        UNBUILT,
        "chain/itself-by-name",
        0,
        "count = 1\nawait_output = 6 \"Call failed (return value=6)\"\n",
        REPLACED,
    ),
    (
        UNBUILT,
        "chain/what-a-call-prints-is-not-the-callers",
        0,
        "await_output = 6 \"Call failed (return value=6)\"\n",
        REPLACED,
    ),
    (FAASM, "clock/moves-forward", 0, "clocks = forward wrong 0\n", CLOCK),
    (ORIGINALS, "state/missing", 0, "size = 0\nread = 4 \"\\0\\0\\0\\0\"\n", ZEROS),
    (ORIGINALS, "state/read-into-a-larger-buffer", 0, "read = 9 \"global\\0\\0\\0\"\n", ZEROS),
    (
        ORIGINALS,
        "state/a-key-of-10000-characters",
        0,
        "read_long_key = 4 \"long\"\nread_long_key = 4 \"\\0\\0\\0\\0\"\n",
        ZEROS,
    ),
    (ORIGINALS, "state/another-size-locally", 0, "", SIZES),
    (ORIGINALS, "state/pull-of-another-size", 0, "", SIZES),
    (ORIGINALS, "list/read-none", 0, "appended = \"abc\"\n", LENGTHS),
    (CHECKED, "state/pull-of-nothing", 0, "read = 0 \"....\"\nsize = 0\n", UNSEEN),
    (CHECKED, "list/append-and-read", 0, "appended = \"onetwo\\0\\0\"\n", LENGTHS),
    (CHECKED, "list/read-the-first", 0, "appended = \"abcde\\0\"\n", LENGTHS),
    (CHECKED, "list/read-more-than-there-are", 0, "appended = \"abcde\\0\"\n", LENGTHS),
    (CHECKED, "list/read-what-was-never-appended", 0, "appended = \"\\0\\0\\0\"\n", LENGTHS),
    (CHECKED, "list/binary-and-empty-elements", 0, "appended = \"\\0\\xffz\\0\"\n", LENGTHS),
    (CHECKED, "list/clear", 0, "appended = \"\\0\\0\\0\"\n", LENGTHS),
    (
        UNBUILT,
        "chain/several-at-once",
        0,
        "await_output = 0 \"a\"\nawait_output = 0 \"bb\"\nawait_output = 3 \"Call failed (return value=3)\"\n",
        POINTERS,
    ),
    (ORIGINALS, "chain/null-pointer", 0, "await_output = 0 without a reason\n", POINTERS),
    (
        ORIGINALS,
        "chain/pointer-beyond-the-table",
        0,
        "await_output = 1 with a reason\nawait_output = 0 without a reason\n",
        POINTERS,
    ),
    (ORIGINALS, "chain/no-table", 631, "Call failed (return value=631)", REPLACED),
    (UNBUILT, "chain/output-without-malloc", 28, "Call failed (return value=28)", REPLACED),
    (ORIGINALS, "rust/chaining", 95, "Call failed (return value=95)", REPLACED),
    (
        UNBUILT,
        "toolchain/zygote-of-start",
        0,
        "constructed 1, zygote 101, pointer 0: chained 1 101",
        POINTERS,
    ),
    (
        UNBUILT,
        "toolchain/zygote-with-wrapped-exports",
        0,
        "constructed 1, zygote 101, pointer 0: chained 1 101",
        POINTERS,
    ),
    (ORIGINALS, "lock/ends-with-the-run", 0, "await = 1\nawait = 1\n", LACKING),
    (ORIGINALS, "lock/ends-with-a-trap", 0, "await = 1\nawait = 1\n", LACKING),
    (
        ORIGINALS,
        "lock/one-after-the-other",
        0,
        "await = 1\nawait = 1\nawait = 1\nawait = 1\nawait = 1\n",
        LACKING,
    ),
    (
        ORIGINALS,
        "lock/readers-side-by-side",
        0,
        "await = 1\nawait = 1\nawait = 1\nawait = 1\nawait = 1\n",
        LACKING,
    ),
    (
        ORIGINALS,
        "state/two-writers-push-their-parts",
        0,
        "await = 1\nawait = 1\nread = 8 \"........\"\n",
        LACKING,
    ),
    (ORIGINALS, "bad-pointer/key-not-utf8", 0, "not reached", ANY_KEY),
    (
        ORIGINALS,
        "bad-pointer/wasi-gives-an-errno",
        0,
        "oob_fd_write = 21\noob_fd_write_list = 21\noob_random = 21\noob_clock = 0\noob_args = 21\noob_poll = 21\n",
        CLOCK,
    ),
    (
        BUILT,
        "bad-pointer/wasi-gives-an-errno",
        0,
        "oob_fd_write = 21\noob_fd_write_list = 21\noob_random = 0\noob_clock = 0\noob_args = 21\noob_poll = 21\n",
        BEHIND,
    ),
    (CHECKED, "fault/malloc-gives-a-bad-pointer", 0, "", ROOM),
];

/// Cases that need a correct clock, and whose result is not deterministic without one.
const BY_THE_CLOCK: &[&str] = &["start/emscripten", "rust/clocks", "clock/poll-tells-what-is-due"];

/// Output of the probe for a sleep, measured by that clock.
const MEASURED: &str = "long enough";

/// The case with its limits in the columns of a Faasm cluster.
pub(super) fn in_faasm(case: Case) -> Case {
    let is_word = |arg: &&str| !arg.is_empty() && !arg.contains(char::is_whitespace);
    if !case.env.is_empty() || !case.args.iter().all(is_word) {
        let guarded = named(&case).into_iter().find(|limit| limit.columns == GUARDED);
        let case = guarded.into_iter().fold(case, Case::limited);
        return case.limited(fails(FAASM, Code::OperationFailed, NOT_CARRIED));
    }
    let limits: Vec<Limit> = named(&case)
        .into_iter()
        .chain(refused(&case))
        .chain(unbuilt(&case))
        .chain(failing(&case))
        .collect();
    limits.into_iter().fold(case, Case::limited)
}

fn fails(columns: &'static [&'static str], code: Code, reason: &'static str) -> Limit {
    Limit { columns, instead: Instead::Fails(code), leaves: false, reason }
}

fn returns(
    columns: &'static [&'static str],
    value: i32,
    output: Text,
    reason: &'static str,
) -> Limit {
    Limit { columns, instead: Instead::Returns { value, output }, leaves: false, reason }
}

/// Limits of this case alone.
fn named(case: &Case) -> Vec<Limit> {
    let mut limits = Vec::new();
    let name = case.name.as_str();
    let measures = match &case.end {
        End::Returns { output: Text::Exactly(output), .. } => {
            String::from_utf8_lossy(output).contains(MEASURED)
        }
        _ => false,
    };
    if measures || BY_THE_CLOCK.contains(&name) {
        let instead = Instead::Anything;
        limits.push(Limit { columns: FAASM, instead, leaves: false, reason: CLOCK });
    }
    if name.starts_with("exceptions/") {
        limits.push(fails(FAASM, Code::CannotLoad, NOT_COMPILED));
    }
    for (columns, code, reason, cases) in FAILING {
        if cases.contains(&name) {
            limits.push(fails(columns, *code, reason));
        }
    }
    for (columns, of, value, output, reason) in RETURNING {
        if *of == name {
            let output = Text::Exactly(output.as_bytes().to_vec());
            limits.push(returns(columns, *value, output, reason));
        }
    }
    if let (true, End::Returns { value, output: Text::Exactly(output) }) =
        (POINTED.contains(&name), &case.end)
    {
        let output = Text::Exactly(zeroed(&String::from_utf8_lossy(output)).into_bytes());
        limits.push(returns(UNBUILT, *value, output, POINTERS));
    }
    match (name, &case.end) {
        ("chain/three-deep", End::Returns { value, output: Text::Exactly(output) }) => {
            let output = String::from_utf8_lossy(output).replace("= 1", "= 0");
            let output = Text::Exactly(output.into_bytes());
            limits.push(returns(UNBUILT, *value, output, POINTERS));
        }
        ("module/memory-grows-while-awaiting", _) => {
            limits.push(returns(CHECKED, 0, Text::Any, ROOM));
        }
        ("call/migrate-point-stays", _) => {
            let instead = Instead::Leaves(case.after.clone());
            limits.push(Limit { columns: CHECKED, instead, leaves: true, reason: SAYS_NOTHING });
        }
        _ => {}
    }
    let pushed = match name {
        "state/write-then-read" => vec![After::Value("k", b"hello".to_vec())],
        "state/keys-are-apart" => {
            vec![After::Value("a", b"1".to_vec()), After::Value("c", b"333".to_vec())]
        }
        _ => vec![],
    };
    if !pushed.is_empty() {
        let instead = Instead::Leaves(pushed);
        limits.push(Limit { columns: CHECKED, instead, leaves: true, reason: FIRST_PUSH });
    }
    limits
}

/// The output with the values of awaited calls replaced by 0.
fn zeroed(output: &str) -> String {
    let line = |line: &str| match line.split_once(" = ") {
        Some((what @ ("await" | "await_output"), rest)) => {
            let rest = rest.trim_start_matches(|c: char| c == '-' || c.is_ascii_digit());
            format!("{what} = 0{rest}\n")
        }
        _ => format!("{line}\n"),
    };
    output.lines().map(line).collect()
}

/// The limit of a function that is rejected at upload.
fn refused(case: &Case) -> Option<Limit> {
    let wants = case.words().iter().any(|word| HOST_ONLY.contains(&word.as_str()));
    (case.is_script() && wants).then(|| fails(CHECKED, Code::CannotLoad, REFUSED))
}

/// Limits of a function that was not built for Faasm.
fn unbuilt(case: &Case) -> Vec<Limit> {
    let lacks = case.commands().iter().any(|command| LACKED.contains(&command.as_str()));
    let mut limits = Vec::new();
    if case.is_script() && lacks {
        limits.push(fails(ORIGINALS, Code::Trap, LACKING));
    }
    match &case.end {
        End::Returns { value, .. } if *value != 0 => {
            let output = Text::Exactly(format!("Call failed (return value={value})").into_bytes());
            limits.push(Limit { leaves: true, ..returns(UNBUILT, *value, output, REPLACED) });
        }
        End::Returns { output: Text::Exactly(bytes), .. }
            if std::str::from_utf8(bytes).is_err() =>
        {
            limits.push(fails(ORIGINALS, Code::OutcomeUnknown, NOT_TEXT));
        }
        End::Fails(Code::Trap | Code::MissingFunction | Code::CannotLoad) | End::Returns { .. } => {
        }
        End::Fails(_) => limits.push(fails(UNBUILT, Code::Trap, ONE_TEXT)),
    }
    limits
}

/// Failures that artefacts cannot distinguish either.
fn failing(case: &Case) -> Option<Limit> {
    let told = [Code::BadPointer, Code::State, Code::OperationFailed, Code::OutOfMemory];
    match &case.end {
        End::Fails(Code::Trap | Code::MissingFunction | Code::CannotLoad) | End::Returns { .. } => {
            None
        }
        End::Fails(code) if told.contains(code) => None,
        End::Fails(_) => Some(fails(BUILT, Code::Trap, ONE_TEXT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn awaited_values_become_zero() {
        assert_eq!(zeroed("await = -7\nsleep = 3\n"), "await = 0\nsleep = 3\n");
        assert_eq!(zeroed("await_output = 42 \"a = 1\"\n"), "await_output = 0 \"a = 1\"\n");
    }

    #[test]
    fn named_cases_are_there() {
        let all: Vec<String> = super::super::all().into_iter().map(|case| case.name).collect();
        let named = FAILING.iter().flat_map(|(.., cases)| *cases);
        for name in named
            .chain(POINTED)
            .chain(BY_THE_CLOCK)
            .chain(RETURNING.iter().map(|(_, name, ..)| name))
        {
            assert!(all.iter().any(|case| case == name), "{name}");
        }
    }
}
