//! Faults of functions: each has one outcome, the same everywhere.

use crate::case::{Case, case, probe};
use crate::outcome::Code;
use crate::test_bed::MISSING_FUNCTION;

/// Commands of the probe that pass a bad pointer to a host call.
const BAD_POINTERS: [(&str, &str); 19] = [
    ("write-output", "oob_write_output"),
    ("wraps-around", "oob_wraps"),
    ("negative-length", "oob_negative_length"),
    ("chain-name", "oob_chain_name"),
    ("chain-input", "oob_chain_input"),
    ("chain-pointer-input", "oob_chain_ptr_input"),
    ("conf-flag", "oob_conf"),
    ("key", "oob_key"),
    ("write-state", "oob_write_state"),
    ("read-state", "oob_read_state"),
    ("read-state-chunk", "oob_read_state_at"),
    ("append", "oob_append"),
    ("await-output", "oob_await_output"),
    ("mask", "oob_mask"),
    ("key-without-an-end", "unterminated_key"),
    ("name-without-an-end", "unterminated_name"),
    ("key-not-utf8", "bad_utf8_key"),
    ("name-not-utf8", "bad_utf8_name"),
    ("read-input", "oob_read_input"),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = BAD_POINTERS
        .iter()
        .map(|(name, command)| {
            // Enough input and state for the call to reach the pointer.
            probe(&format!("bad-pointer/{name}"), &[command, "say not reached"])
                .with_value("k", "value")
                .fails(Code::BadPointer)
        })
        .collect();
    cases.extend([
        probe("bad-pointer/the-last-bytes-are-good", &["oob_write_output_fits"]).output("last"),
        // WASI reports errno 21.
        probe(
            "bad-pointer/wasi-gives-an-errno",
            &[
                "oob_fd_write",
                "oob_fd_write_list",
                "oob_random",
                "oob_clock",
                "oob_args",
                "oob_poll",
            ],
        )
        .lines(&[
            "oob_fd_write = 21",
            "oob_fd_write_list = 21",
            "oob_random = 21",
            "oob_clock = 21",
            "oob_args = 21",
            "oob_poll = 21",
        ]),
        probe("fault/wasi-arguments", &["bad_clock", "bad_descriptor", "poll_nothing"]).lines(&[
            "bad_clock = 28",
            "bad_descriptor = 8",
            "poll_nothing = 28",
        ]),
        probe("fault/trap", &["trap"]).fails(Code::Trap),
        probe("fault/trap-after-a-wait", &["sleep 1", "trap"]).fails(Code::Trap),
        probe(
            "fault/trap-keeps-what-was-pushed",
            &["write k abc", "push k", "write k xyz", "trap"],
        )
        .fails(Code::Trap)
        .leaves("k", "abc"),
        probe("fault/abort", &["abort"]).fails(Code::Trap),
        case("fault/unreachable", "traps", "0").fails(Code::Trap),
        case("fault/division-by-zero", "traps", "1").fails(Code::Trap),
        case("fault/load-beyond-memory", "traps", "2").fails(Code::Trap),
        case("fault/indirect-call-of-another-type", "traps", "3").fails(Code::Trap),
        case("fault/indirect-call-of-null", "traps", "4").fails(Code::Trap),
        case("fault/indirect-call-beyond-the-table", "traps", "5").fails(Code::Trap),
        case("fault/conversion-of-what-does-not-fit", "traps", "6").fails(Code::Trap),
        case("fault/division-overflow", "traps", "7").fails(Code::Trap),
        case("fault/stack-exhausted", "recursion", "").fails(Code::StackExhausted),
        case("fault/stack-exhausted-after-a-wait", "recursion_waiting", "")
            .fails(Code::StackExhausted),
        // The break provides the memory instead.
        case("chain/output-without-malloc", "no_malloc", "abc").returns(3).output("abcited"),
        case("chain/no-output-without-malloc", "no_malloc", "").returns(0).output("awaited"),
        case("map/without-malloc", "no_malloc_map", "").with_value("k", "abcdefgh").returns(104),
        case("fault/malloc-has-no-memory", "malloc_none", "").fails(Code::OutOfMemory),
        case("fault/malloc-gives-a-bad-pointer", "malloc_wild", "").fails(Code::BadPointer),
        case("fault/malloc-traps", "malloc_traps", "").fails(Code::Trap),
        case("fault/malloc-exits", "malloc_exits", "").returns(33),
        // A function that was not built suspends at every call that may block, which is impossible below `malloc`.
        case("fault/malloc-wants-to-wait", "malloc_suspends", "")
            .fails(Code::OperationFailed)
            .limit(&["original"], Code::Trap),
        case("fault/malloc-makes-host-calls", "malloc_calls_host", "")
            .returns(24)
            .output("echo")
            .limit(&["original"], Code::Trap),
        case("fault/unknown-import-not-called", "unknown_import", "").output("not called"),
        case("fault/unknown-import-called", "unknown_import", "x").fails(Code::UnknownImport),
        // Rejected when it is built for pages, and when a cluster first runs it.
        case("fault/import-of-another-signature", "wrong_signature", "").fails(Code::CannotLoad),
        case("fault/data-beyond-memory", "data_beyond", "").fails(Code::CannotLoad),
        case("fault/start-function-traps", "start_traps", "").fails(Code::Trap),
        case("fault/no-entry", "no_entry", "").fails(Code::CannotLoad),
        case("fault/no-module", "not_wasm", "").fails(Code::CannotLoad),
        // Reported before the run starts.
        case("fault/cluster-only-import", "cluster_only", "")
            .fails(Code::ClusterOnly)
            .leaves_no("mark"),
        case("fault/cluster-only-host-call", "cluster_only_row", "").fails(Code::ClusterOnly),
        // Only a cluster ends a run by a time limit; a page learns of a missing function before any cluster does.
        case("fault/timeout", "loops", "").fails(Code::Timeout).short_timeout().only(&["embedded"]),
        case("fault/missing-function", MISSING_FUNCTION, "")
            .fails(Code::MissingFunction)
            .only(&["embedded"]),
        case("fault/nothing-to-load", MISSING_FUNCTION, "")
            .fails(Code::CannotLoad)
            .only(&["page", "worker"]),
        // If both were in the cluster, the caller would time out before the callee.
        probe("fault/callee-takes-too-long", &["chain loops x", "await_reason", "say on"])
            .output("await_output = 1 with a reason\non")
            .short_timeout()
            .only(&["page", "worker"]),
    ]);
    cases
}
