//! Functions in the form that Faasm's own toolchain produces: a C library that takes its heap from the host and exports
//! no allocator, zygotes, old names and signatures, and all imports of its libraries.

use crate::case::{Case, case};
use crate::outcome::Code;

/// The lines that `calls.c` outputs; error numbers are WASI's.
const ANSWERS: &[&str] = &[
    "getpid = 1",
    "getppid = 1",
    "users = 0",
    "getpwuid = 0",
    "getpwnam = 0",
    "signal = 0",
    "kill = -1 errno 52",
    "fork = -1 errno 52",
    "wait = -1 errno 12",
    "execv = -1 errno 52",
    "execve = -1 errno 52",
    "system = -1 errno 52",
    "a shell = 0",
    "syscall = -1 errno 52",
    "setrlimit = -1 errno 63",
    "getrlimit = 0",
    "unlimited = 1",
    "socket = -1 errno 5",
    "connect = -1 errno 5",
    "bind = -1 errno 5",
    "listen = -1 errno 5",
    "accept = -1 errno 5",
    "gethostbyname = 0",
    "uname = 0",
    "machine = wasm32",
    "getcwd = /",
    "getcwd of one byte = 0",
    "errno = 68",
    "chdir to the root = 0",
    "chdir = -1 errno 52",
    "ioctl = -1 errno 59",
    "ioctl of nothing = -1 errno 8",
    "tmpfile = 0",
    "pipe = -1 errno 52",
    "ttyname = 0",
    // 0 to 2 are the streams, 3 and 4 the preopened folders.
    "dup = 5",
    "through it = 23",
    "dup of nothing = -1 errno 8",
    "fd_dup = 0",
    "fd_dup gave = 6",
    "copy_tls = 123",
    "config = 0",
    "flags = 1",
    "old signature = 1",
    "args = 1",
    "argv[0] = function.wasm",
    "random = 0",
    "prestat = 0",
    "preopened = /",
    "prestat = 0",
    "preopened = .",
    "prestat = 8",
    "tmp = 0",
    "is a folder = 1",
    "mkdir = 0",
    "open = 0",
    "written = 7",
    "close = 0",
    "by the root = 0",
    "size = 7",
];

const OPENMP: &[&str] = &[
    "threads = 1",
    "level = 1",
    "sum = 11",
    "level then = 0",
    "reduction = 5050",
    "chunks = 45",
    "wide = 55",
    "unsigned wide = 10",
    "dynamic = 22",
    "guided = 15",
    "ordered = 1234",
    "last = 6",
    "sections = 1237",
    "copyprivate = 42",
    "seen = kkkk",
    "inner = llll",
    "levels = 21",
    "serialized = 1",
    // A valid execution of the requested parallelism.
    "threads at most = 1",
    "limit = 1",
    "processors = 1",
    "in parallel = 0",
    "levels at most = 1",
    "levels set = 3",
    "dynamic, nested = 0",
    "device = 2",
    "devices = 1",
    "test = 0",
    "test then = 1",
    "time = 1",
];

const SLEPT: &[&str] = &[
    "nanosleep = 0",
    "slept enough = 1",
    "poll = 0",
    "slept enough = 1",
    "select = 0",
    "slept enough = 1",
    "pselect = 0",
    "slept enough = 1",
];

const HEAP: [&str; 6] =
    ["zygote = 18", "await = 9", "length = 9", "differs = 0", "damaged = 0", "damaged again = 0"];

/// The program with one kind of heap, and the additional lines of that kind.
fn heap(name: &str, function: &'static str, more: &[&str]) -> Case {
    let mut changed = vec![b'.'; 100_000];
    changed[90_000] = b'Y';
    case(name, function, "")
        .with_value("k", "abcdefgh")
        .with_value("l", vec![b'.'; 100_000])
        .lines(&[&HEAP[..], more].concat())
        .leaves("k", "Xbcdefgh")
        .leaves("l", changed)
}

pub(super) fn cases() -> Vec<Case> {
    let ends = |name: &str, how: &'static str| case(name, "faasm_calls", how);
    vec![
        case("toolchain/hello", "faasm_hello", "").stdout("Hello from the zygote\n").lines(&[
            "index = 0",
            "arguments = 0",
            "large = 120",
            "greeting = 0",
        ]),
        // Output printed by the functions that it chains is theirs; in the embedded cluster it goes to the same log.
        case("toolchain/chain", "faasm_chain", "").stdout_like("*this was first\n").lines(&[
            "first = 11",
            "output = this was first",
            "second = 22",
            "before = kept",
        ]),
        heap(
            "toolchain/heap-by-sbrk",
            "faasm_heap_sbrk",
            &[
                "grown = 1",
                "end = 65536",
                "shrunk = 1",
                "reused = 1",
                "clean = 0",
                "too much = -1",
                "below = -1",
            ],
        ),
        heap("toolchain/heap-by-system-call", "faasm_heap_223", &[]),
        heap(
            "toolchain/heap-by-mmap",
            "faasm_heap_mmap",
            &[
                "aligned = 0",
                "unmapped = 0",
                "reused = 1",
                "clean = 0",
                "unmapped badly = -1",
                "too much = -1",
            ],
        ),
        // In a module that is not rewritten, the host's pages cannot be separated.
        case("toolchain/grows-by-itself", "faasm_grows", "")
            .with_value("k", "abcd")
            .lines(&["damaged = 0", "outputs = 1", "mapped = 1", "grows = 1"])
            .limit(&["original"], Code::NoMalloc),
        case("toolchain/answers", "faasm_calls", "")
            .stdout("by a second descriptor\n")
            .stderr_like("a line\ncopy from * to *: copied\n")
            .lines(ANSWERS),
        ends("toolchain/exit", "exit").returns(7),
        ends("toolchain/exit-at-once", "_Exit").returns(8),
        ends("toolchain/abort", "abort").fails(Code::Trap),
        ends("toolchain/signal", "raise").fails(Code::Trap),
        ends("toolchain/exception", "throw").fails(Code::Trap),
        ends("toolchain/exception-again", "rethrow").fails(Code::Trap),
        ends("toolchain/exception-caught", "catch"),
        ends("toolchain/pure-virtual", "virtual").fails(Code::Trap),
        case("toolchain/abort-of-assemblyscript", "abort_text", "").fails(Code::Trap),
        case("toolchain/threads", "faasm_threads", "").with_value("k", "abcd").lines(&[
            "failed = 0",
            "self = 1",
            "once = 0",
            "again = 0",
            "runs = 1",
            "seen = abcd",
            "key = 0",
            "at first = 0",
            "set = 0",
            "is = 1",
            "deleted = 0",
            "set then = 28",
        ]),
        case("toolchain/openmp", "faasm_openmp", "")
            .with_value("k", "kkkk")
            .with_value("l", "llll")
            .lines(OPENMP),
        case("toolchain/openmp-nested", "faasm_openmp", "nested")
            .with_value("k", "kkkk")
            .lines(&["deepest = 200"]),
        case("toolchain/openmp-waits-for-itself", "faasm_openmp", "deadlock").fails(Code::Deadlock),
        case("toolchain/openmp-runtime", "faasm_runtime", "").lines(&[
            "threads = 11",
            "thread = 0",
            "masked = 10",
            "master = 1",
            "reduce = 2",
            "4u = 1",
            "8 = 11",
            "8u = -7",
            "next 4u = 12",
            "range 4u = 1",
            "end 4u = 0",
            "empty 8 = 0",
            "next 8u = 1",
            "step 8u = -3",
            "number = 1",
        ]),
        case("toolchain/no-snapshot", "faasm_runtime", "no snapshot").fails(Code::OperationFailed),
        case("toolchain/sleeps", "faasm_sleeps", "").lines(SLEPT),
        case("toolchain/rest-of-the-interface", "faasm_rest", "").lines(&[
            "open = 0",
            "advise = 0",
            "advise badly = 28",
            "datasync = 0",
            "times = 0",
            "stat = 0",
            "accessed = 5",
            "modified = 6",
            "link = 0",
            "link again = 20",
            "links = 2",
            "fewer rights = 0",
            "more rights = 76",
            "raise = 58",
            "yield = 0",
            "accept = 57",
            "receive = 57",
            "send = 57",
            "shutdown = 57",
            "shutdown of nothing = 8",
            "fstatat = 0",
        ]),
        case("toolchain/zygote-of-start", "faasm_zygote", "")
            .output("constructed 1, zygote 101, pointer 101: chained 1 101"),
        case("toolchain/zygote-with-wrapped-exports", "faasm_zygote_wrapped", "")
            .output("constructed 1, zygote 101, pointer 101: chained 1 101"),
        case("toolchain/state-with-draft-simd", "faasm_state", "")
            .with_value("counts", [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0])
            .returns(14)
            .stdout("14\n")
            .leaves("counts", [2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0])
            .limit(&["original"], Code::CannotLoad),
    ]
}
