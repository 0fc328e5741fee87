//! Modules that few or no toolchains produce today: start functions, growing memory, values of every type across
//! suspensions.

use crate::case::{Case, case, probe};
use crate::outcome::Code;

/// Little-endian words.
fn words(words: &[i32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

pub(super) fn cases() -> Vec<Case> {
    let mut locals = Vec::new();
    locals.extend((-2_i64).to_le_bytes());
    locals.extend((-6_000_000_000_i64).to_le_bytes());
    // NaNs keep their payload.
    locals.extend(0x7fa0_0001_u32.to_le_bytes());
    locals.extend([0; 4]);
    locals.extend(0x7ff4_0000_0000_0123_u64.to_le_bytes());
    locals.extend(words(&[1, 2, 3, -1]));
    locals.extend(0x1122_3344_5566_7788_u64.to_le_bytes());
    locals.extend(words(&[70]));
    locals.extend(3.5_f32.to_le_bytes());
    vec![
        case("module/locals-of-every-type", "locals", "").output(locals),
        case("module/every-kind-of-control-flow", "control", "").output("0122TFabM"),
        case("module/start-function-that-waits", "start_suspends", "")
            .returns(8)
            .output("echo\0\0\0"),
        // The buffer that the host keeps at the end of memory is hidden from the guest: memory sizes do not include it.
        case("module/memory-grows-while-awaiting", "grow_awaiting", "")
            .output(words(&[1, 3, 10, -1, 0])),
        case("module/nothing-exported-but-the-entry", "unexported", "").output("hiddenh"),
        case("module/some-names-only", "some_names", "").output("named"),
        case("module/bulk-operations", "bulk", "").output("paspassive!!6009"),
        case("module/passive-data-only-dropped", "data_drop", "").output("read"),
        case("module/tail-calls", "tail_calls", "").returns(1_001_001),
        // In functions that may suspend, tail calls need stack.
        case("module/tail-calls-without-end", "tail_calls_deep", "")
            .returns(1_000_001)
            .limit(&["asyncify"], Code::StackExhausted)
            .limit(&["own"], Code::StackExhausted),
        // What Asyncify cannot rewind, or Binaryen cannot read, is built for JSPI only, and not run wrongly.
        case("module/references-to-functions", "references", "")
            .returns(6)
            .limit(&["asyncify"], Code::BadOptions),
        case("module/bulk-operations-on-tables", "bulk_tables", "")
            .returns(6)
            .limit(&["asyncify"], Code::BadOptions),
        case("module/references-from-outside", "references_external", "")
            .returns(6)
            .limit(&["asyncify"], Code::BadOptions),
        case("module/exceptions", "exceptions", "")
            .returns(26)
            .limit(&["asyncify"], Code::BadOptions),
        case("module/exception-uncaught", "exceptions_uncaught", "")
            .fails(Code::Trap)
            .limit(&["asyncify"], Code::BadOptions),
        case("module/exit-below-a-handler", "exceptions_exit", "").returns(5),
        case("module/fault-below-a-handler", "exceptions_fault", "")
            .fails(Code::BadPointer)
            .limit(&["asyncify"], Code::BadOptions),
        case("module/exceptions-without-end", "exceptions_many", "").returns(42),
        // Translated by the build and by the cluster. In originals the browser reads them.
        case("module/exceptions-of-the-draft", "exceptions_legacy", "").returns(6),
        case("module/all-exceptions-of-the-draft", "exceptions_draft", "")
            .output(words(&[11, 12, 7, 9, 5, 6, 24, 2, 7, 9, 8, 9, 1]))
            .limit(&["asyncify"], Code::BadOptions),
        case("module/atomic-instructions", "atomics", "")
            .returns(42)
            .limit(&["asyncify"], Code::BadOptions),
        case("module/garbage-collection", "garbage_collected", "").fails(Code::CannotLoad),
        case("module/imported-memory-and-table", "imported_memory", "").output("importedi"),
        // Translated by the build.
        case("module/draft-simd", "draft_simd", "")
            .returns(110)
            .output(words(&[11, 22, 33, 44]))
            .limit(&["original"], Code::CannotLoad),
        case("module/state-calls-with-results", "results", "")
            .output("\x05vllueue")
            .leaves("k", "vllue"),
        case("module/state-calls-without-results", "no_results", "")
            .output("vllueue")
            .leaves("k", "vllue"),
        case("module/output-of-64-mib", "big_output", "")
            .output(super::calls::pattern(64 * 1024 * 1024)),
        probe("module/chained-output-of-64-mib", &["chain big_output x", "await_big"])
            .lines(&["await_big = 0, 67108864 bytes, 0 wrong"]),
    ]
}
