//! Calls of other functions, by name and by pointer: return values, outputs, failures, order.

use crate::case::{Case, case, probe};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        probe("chain/by-name", &["chain echo abcd", "await"]).lines(&["await = 4"]),
        probe("chain/by-name-with-output", &["chain echo ab\\0d", "await_output"])
            .lines(&["await_output = 4 \"ab\\0d\""]),
        probe("chain/by-name-empty-output", &["chain silent x", "await_output"])
            .lines(&["await_output = 0 \"\""]),
        probe("chain/itself-by-name", &["chain probe count\\nreturn 6", "count", "await_output"])
            .lines(&["count = 1", "await_output = 6 \"count = 1\\n\""]),
        probe("chain/by-pointer", &["chain_ptr forty_two", "await"]).lines(&["await = 42"]),
        probe("chain/by-pointer-with-output", &["chain_ptr echo hello", "await_output"])
            .lines(&["await_output = 5 \"hello\""]),
        probe("chain/negative-value", &["chain_ptr negative", "await"]).lines(&["await = -7"]),
        probe("chain/pointer-with-argument", &["chain_ptr twice 21", "await"])
            .lines(&["await = 42"]),
        probe("chain/pointer-with-negative-argument", &["chain_ptr twice -4", "await"])
            .lines(&["await = -8"]),
        probe("chain/pointer-without-result", &["chain_ptr nothing", "await_output"])
            .lines(&["await_output = 0 \"nothing to return\""]),
        probe("chain/callee-exits", &["chain_ptr exits", "await_output"])
            .lines(&["await_output = 5 \"before the exit\""]),
        probe("chain/callee-chains", &["chain_ptr nested abc", "await_output"])
            .lines(&["await_output = 103 \"nested 3: abc\""]),
        probe("chain/callee-waits", &["chain_ptr script sleep 20\\nsay done", "await_output"])
            .lines(&["await_output = 0 \"sleep = 0 long enough\\ndone\""]),
        probe(
            "chain/three-deep",
            &[
                "chain_ptr script chain_ptr script chain_ptr echo \
x\\\\nawait_output\\nawait_output",
                "await_output",
            ],
        )
        .lines(&["await_output = 0 \"await_output = 0 \\\"await_output = 1 \
\\\\\\\"x\\\\\\\"\\\\n\\\"\\n\""]),
        // Every call has a fresh instance: it shares globals neither with the caller nor with other calls.
        probe(
            "chain/instances-are-fresh",
            &["count", "chain_ptr count_calls", "chain_ptr count_calls", "await", "await", "count"],
        )
        .lines(&["count = 1", "await = 1", "await = 1", "count = 2"]),
        probe(
            "chain/heap-of-the-caller-is-left-alone",
            &[
                "pattern 100000",
                "chain_ptr script pattern 300000\\nverify",
                "await_output",
                "verify",
            ],
        )
        .lines(&["await_output = 0 \"verify = 0 wrong\\n\"", "verify = 0 wrong"]),
        probe(
            "chain/output-before-the-first-malloc",
            &[
                "chain_ptr echo first",
                "await_output",
                "pattern 100000",
                "chain_ptr echo second",
                "await_output",
                "verify",
            ],
        )
        .lines(&[
            "await_output = 5 \"first\"",
            "await_output = 6 \"second\"",
            "verify = 0 wrong",
        ]),
        probe(
            "chain/several-at-once",
            &[
                "chain_ptr echo a",
                "chain_ptr echo bb",
                "chain echo ccc",
                "await_output",
                "await_output",
                "await_output",
            ],
        )
        .lines(&[
            "await_output = 1 \"a\"",
            "await_output = 2 \"bb\"",
            "await_output = 3 \"ccc\"",
        ]),
        probe(
            "chain/awaited-in-another-order",
            &[
                "chain_ptr script sleep 30\\nreturn 1",
                "chain_ptr echo bb",
                "chain_ptr echo ccc",
                "await 2",
                "await 0",
                "await 1",
            ],
        )
        .lines(&["await = 3", "await = 1", "await = 2"]),
        probe("chain/awaited-long-after", &["chain_ptr echo abc", "sleep 60", "await_output"])
            .lines(&["sleep = 0 long enough", "await_output = 3 \"abc\""]),
        probe("chain/never-awaited", &["chain_ptr echo abc", "chain echo d", "say gone"])
            .output("gone"),
        probe("chain/exit-while-a-call-is-under-way", &["chain_ptr script sleep 30", "exit 2"])
            .returns(2),
        probe(
            "chain/work-of-a-call-shows-in-state",
            &["chain_ptr script write k made\\npush k", "await"],
        )
        .lines(&["await = 0"])
        .leaves("k", "made"),
        probe(
            "chain/state-goes-there-and-back",
            &[
                "write k one",
                "push k",
                "chain_ptr script pull k 3\\nread k 3\\nwrite k two\\npush k",
                "await_output",
                "pull k 3",
                "read k 3",
            ],
        )
        .lines(&["await_output = 0 \"read = 3 \\\"one\\\"\\n\"", "read = 3 \"two\""])
        .leaves("k", "two"),
        // The output of a chained call goes to the log of its place.
        probe("chain/what-a-call-prints-is-not-the-callers", &["chain cxx locals", "await_output"])
            .lines(&["await_output = 6 \"7\""]),
        probe("chain/output-of-1-mb", &["chain_ptr script big_output 1000000", "await_big"])
            .lines(&["await_big = 0, 1000000 bytes, 0 wrong"]),
        // Errors that the caller sees as return value 1.
        probe("chain/unknown-id", &["await_id 77", "await_id 0", "await_id -1", "say on"])
            .output("await_id = 1\nawait_id = 1\nawait_id = 1\non"),
        probe("chain/unknown-id-with-output", &["await_output_id 77"])
            .lines(&["await_output = 1 \"\""]),
        probe(
            "chain/awaited-twice",
            &["chain_ptr forty_two", "await 0", "await 0", "await_output 0"],
        )
        .lines(&["await = 42", "await = 1", "await_output = 1 \"\""]),
        probe("chain/no-such-function", &["chain missing x", "await_reason"])
            .lines(&["await_output = 1 with a reason"]),
        probe("chain/no-such-function-without-output", &["chain missing x", "await"])
            .lines(&["await = 1"]),
        probe(
            "chain/a-name-no-function-can-have",
            &["chain ../echo x", "chain a/b x", "await_reason", "await"],
        )
        .lines(&["await_output = 1 with a reason", "await = 1"]),
        probe("chain/no-name", &["chain  x", "await"]).lines(&["await = 1"]),
        probe("chain/callee-traps", &["chain_ptr traps", "await_reason"])
            .lines(&["await_output = 1 with a reason"]),
        probe("chain/callee-divides-by-zero", &["chain_ptr divides_by_zero", "await"])
            .lines(&["await = 1"]),
        probe(
            "chain/callee-gives-a-bad-pointer",
            &["chain_ptr script oob_write_output", "await_reason"],
        )
        .lines(&["await_output = 1 with a reason"]),
        probe(
            "chain/callee-needs-more-stack-than-there-is",
            &["chain recursion x", "await_reason"],
        )
        .lines(&["await_output = 1 with a reason"]),
        probe("chain/callee-is-for-a-cluster", &["chain cluster_only x", "await_reason"])
            .lines(&["await_output = 1 with a reason"]),
        probe(
            "chain/goes-on-after-a-failure",
            &[
                "chain_ptr traps",
                "chain_ptr echo ab",
                "await",
                "await_output",
                "chain_ptr forty_two",
                "await",
            ],
        )
        .lines(&["await = 1", "await_output = 2 \"ab\"", "await = 42"]),
        probe("chain/null-pointer", &["chain_index 0", "await_reason"])
            .lines(&["await_output = 1 with a reason"]),
        probe(
            "chain/pointer-beyond-the-table",
            &["chain_index 99999", "chain_index -1", "await_reason", "await_reason"],
        )
        .lines(&["await_output = 1 with a reason", "await_output = 1 with a reason"]),
        probe(
            "chain/pointer-of-another-signature",
            &["chain_ptr two_arguments 1", "chain_ptr long_result", "await_reason", "await_reason"],
        )
        .lines(&["await_output = 1 with a reason", "await_output = 1 with a reason"]),
        probe(
            "chain/argument-that-is-no-number",
            &["chain_ptr twice abc", "chain_ptr twice ", "await_reason", "await_reason"],
        )
        .lines(&["await_output = 1 with a reason", "await_output = 1 with a reason"]),
        case("chain/no-table", "no_table", "").returns(11),
    ];
    cases.extend(crowds());
    cases
}

fn crowds() -> [Case; 3] {
    // Sequentially, then concurrently.
    let one = "chain_ptr echo abc\nawait\n".repeat(60);
    let all = format!("repeat 100 chain_ptr echo ab\n{}", "await\n".repeat(100));
    let waiting =
        format!("repeat 20 chain_ptr script sleep 20\\nreturn 5\n{}", "await\n".repeat(20));
    [
        case("chain/sixty-in-a-row", "probe", one).output("await = 3\n".repeat(60)),
        case("chain/a-hundred-at-once", "probe", all).output("await = 2\n".repeat(100)),
        case("chain/twenty-that-wait", "probe", waiting).output("await = 5\n".repeat(20)),
    ]
}
