//! The rows of the host interface. Adding a host call starts here; the compiler then names what is missing.
//!
//! Signatures and meaning follow Faasm's public host interface and WASI preview 1 (`witx` of `wasi_snapshot_preview1`).

use super::{Available, Era, Returns, Row, Status, Suspends, ValType};

/// Module of the WASI calls.
pub(crate) const WASI: &str = "wasi_snapshot_preview1";

/// Rows by who implements them, as `Group(enum of its rows) { rows }`. A row reads
/// `Variant "module"."name" (parameters; further ones of another signature) -> result, …`.
macro_rules! host_calls {
    ($($(#[$doc:meta])* $group:ident($calls:ident) {
        $($variant:ident $module:literal . $name:literal ($($param:ident)* $(; $($more:ident)*)?) -> $returns:ident,
            $era:ident, suspends $suspends:ident, $available:ident, $status:expr, $summary:literal;)*
    })*) => {
        /// One import of the host interface; the variants are the rows of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum HostCall {
            $($(#[doc = concat!("`", $module, ".", $name, "`: ", $summary)] $variant,)*)*
        }

        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            #[allow(clippy::enum_variant_names, reason = "the names are those of the rows")]
            pub(crate) enum $calls {
                $($variant,)*
            }

            impl From<$calls> for HostCall {
                fn from(call: $calls) -> HostCall {
                    match call {
                        $($calls::$variant => HostCall::$variant,)*
                    }
                }
            }
        )*

        /// A row by its group, for whoever implements the groups.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Grouped {
            $($group($calls),)*
        }

        impl HostCall {
            /// Every row, in the order of [`HostCall::index`].
            pub const ALL: &'static [HostCall] = &[$($(HostCall::$variant),*),*];

            /// The row by its group.
            pub(crate) fn grouped(self) -> Grouped {
                match self {
                    $($(HostCall::$variant => Grouped::$group($calls::$variant),)*)*
                }
            }

            /// What the table says of this call.
            pub fn row(self) -> &'static Row {
                match self {
                    $($(HostCall::$variant => const { &Row {
                        module: $module,
                        name: $name,
                        params: &[$(ValType::$param,)* $($(ValType::$more),*)?],
                        required: <[ValType]>::len(&[$(ValType::$param),*]),
                        returns: Returns::$returns,
                        era: Era::$era,
                        suspends: Suspends::$suspends,
                        available: Available::$available,
                        status: $status,
                    } },)*)*
                }
            }

            /// One line for `inspect` and the generated documentation. Not in [`Row`], so that a program that shows
            /// none of them, such as the browser runtime, does not contain them.
            pub fn summary(self) -> &'static str {
                match self {
                    $($(HostCall::$variant => $summary,)*)*
                }
            }

        }
    };
}

impl HostCall {
    /// The row an import belongs to, by its own name or by one that a toolchain has for it.
    pub fn by_import(module: &str, name: &str) -> Option<HostCall> {
        HostCall::by_name(module, name).or_else(|| match (module, name) {
            ("env", "__faasm_chain_function") => Some(HostCall::ChainName),
            // Where the C library's own names of the WASI calls are left undefined, the linker imports them from `env`.
            ("env", _) => HostCall::by_name(WASI, name.strip_prefix("__wasi_")?),
            _ => None,
        })
    }

    /// The row with exactly this import name. A linear search, since comparing with each name in code would be
    /// larger than the table, and web pages download it.
    fn by_name(module: &str, name: &str) -> Option<HostCall> {
        let is_it = |call: &&HostCall| {
            let row = call.row();
            row.name == name && row.module == module
        };
        HostCall::ALL.iter().find(is_it).copied()
    }

    /// The other import that [`HostCall::by_import`] takes for this row, as `module.name`.
    pub fn alias(self) -> Option<String> {
        let row = self.row();
        match self {
            HostCall::ChainName => Some("env.__faasm_chain_function".to_owned()),
            _ if row.module == WASI => Some(format!("env.__wasi_{}", row.name)),
            _ => None,
        }
    }

    /// Position in [`HostCall::ALL`]; good within one build only.
    pub fn index(self) -> u32 {
        self as u32
    }

    /// The inverse of [`HostCall::index`].
    pub fn from_index(index: u32) -> Option<HostCall> {
        HostCall::ALL.get(index as usize).copied()
    }
}

#[rustfmt::skip]
host_calls! {
/// Input, output and calls of functions; a value from a file; what the toolchain and the rewriter ask for beside them.
Core(CoreCall) {
    ReadInput "env"."__faasm_read_input" (I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "copies the input; with length 0 gives its size";
    WriteOutput "env"."__faasm_write_output" (I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "replaces the output of the call";
    ChainName "env"."__faasm_chain_name" (I32 I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "starts another function of the same user";
    ChainPtr "env"."__faasm_chain_ptr" (I32 I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "starts an entry of this function table in a fresh instance";
    ChainThis "env"."__faasm_chain_this" (I32 I32 I32) -> I32, Legacy, suspends Never, Everywhere, Status::Ready,
        "starts this function again with another index";
    AwaitCall "env"."__faasm_await_call" (I32) -> I32, Any, suspends May, Everywhere, Status::Ready,
        "waits for a call and gives its return value";
    AwaitCallOutput "env"."__faasm_await_call_output" (I32 I32 I32) -> I32, Any, suspends May, Everywhere, Status::Ready,
        "waits for a call and gives its return value and output";
    GetIdx "env"."__faasm_get_idx" () -> I32, Legacy, suspends Never, Everywhere, Status::Ready,
        "index this instance was chained with";
    ConfFlag "env"."__faasm_conf_flag" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "value of a configuration flag, 0 when unknown";
    Backtrace "env"."__faasm_backtrace" (I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "prints the calls that led here";
    HostInterfaceTest "env"."__faasm_host_interface_test" (I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "test hook";
    MigratePoint "env"."__faasm_migrate_point" (I32 I32) -> Nothing, Current, suspends May, Everywhere, Status::Ready,
        "says that the function can be moved to another host here";
    SmReduce "env"."__faasm_sm_reduce" (I32 I32 I32 I32) -> Nothing, Current, suspends Never, Everywhere, Status::Ready,
        "reduction of a shared variable";
    SmCriticalLocal "env"."__faasm_sm_critical_local" () -> Nothing, Current, suspends Never, Everywhere, Status::Ready,
        "critical section of a fork-join region";
    SmCriticalLocalEnd "env"."__faasm_sm_critical_local_end" () -> Nothing, Current, suspends Never, Everywhere, Status::Ready,
        "critical section of a fork-join region";
    SmVar "env"."__faasm_sm_var" (I32 I32) -> Nothing, Current, suspends Never, Everywhere, Status::Ready,
        "declares a shared variable";
    SmArray "env"."__faasm_sm_array" (I32 I32 I32) -> Nothing, Current, suspends Never, Everywhere, Status::Ready,
        "declares a shared array";
    SmRaw "env"."__faasm_sm_raw" (I32 I32) -> Nothing, Current, suspends Never, Everywhere, Status::Ready,
        "declares shared bytes";
    WriteStateFromFile "env"."__faasm_write_state_from_file" (I32 I32) -> I32, Any, suspends May, Everywhere, Status::Ready,
        "writes a state value from a file, gives its size; -1 without the file";
    Sleep "faasm_bridge"."sleep" (I64) -> Nothing, Current, suspends May, Everywhere, Status::Ready,
        "waits so many nanoseconds; the rewriter puts it where Emscripten's sleep polls the clock";
    EmscriptenNotifyMemoryGrowth "env"."emscripten_notify_memory_growth" (I32) -> Nothing, Current, suspends Never, Everywhere, Status::Ready,
        "says that memory has grown, which the host sees itself";
}

/// Calls of a Python runtime, which only a cluster has.
Python(PythonCall) {
    ChainPy "env"."__faasm_chain_py" (I32 I32 I32) -> I32, Any, suspends Never, Cluster, Status::Planned("needs the Python runtime of a cluster"),
        "starts a Python entry";
    GetPyUser "env"."__faasm_get_py_user" (I32 I32) -> Nothing, Any, suspends Never, Cluster, Status::Planned("needs the Python runtime of a cluster"),
        "user of the Python call";
    GetPyFunc "env"."__faasm_get_py_func" (I32 I32) -> Nothing, Any, suspends Never, Cluster, Status::Planned("needs the Python runtime of a cluster"),
        "function of the Python call";
    GetPyEntry "env"."__faasm_get_py_entry" (I32 I32) -> Nothing, Any, suspends Never, Cluster, Status::Planned("needs the Python runtime of a cluster"),
        "entry of the Python call";
}

/// State, its locks and snapshots: the calls that look at the local tier of their own accord.
State(StateCall) {
    ReadState "env"."__faasm_read_state" (I32 I32 I32; I32) -> I32OrNothing, Any, suspends May, Everywhere, Status::Ready,
        "copies a state value; with length 0 gives its size";
    ReadStatePtr "env"."__faasm_read_state_ptr" (I32 I32) -> I32, Any, suspends May, Everywhere, Status::Ready,
        "maps a state value into guest memory";
    ReadStateOffset "env"."__faasm_read_state_offset" (I32 I32 I32 I32 I32) -> I32OrNothing, Any, suspends May, Everywhere, Status::Ready,
        "copies a chunk of a state value";
    ReadStateOffsetPtr "env"."__faasm_read_state_offset_ptr" (I32 I32 I32 I32) -> I32, Any, suspends May, Everywhere, Status::Ready,
        "maps a chunk of a state value into guest memory";
    WriteState "env"."__faasm_write_state" (I32 I32 I32; I32) -> I32OrNothing, Any, suspends Never, Everywhere, Status::Ready,
        "writes a whole state value locally";
    WriteStateOffset "env"."__faasm_write_state_offset" (I32 I32 I32 I32 I32) -> I32OrNothing, Any, suspends Never, Everywhere, Status::Ready,
        "writes a chunk of a state value locally";
    FlagStateDirty "env"."__faasm_flag_state_dirty" (I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "marks a state value as changed";
    FlagStateOffsetDirty "env"."__faasm_flag_state_offset_dirty" (I32 I32 I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "marks a chunk of a state value as changed";
    PushState "env"."__faasm_push_state" (I32) -> I32OrNothing, Any, suspends May, Everywhere, Status::Ready,
        "sends a changed state value to the global tier";
    PushStatePartial "env"."__faasm_push_state_partial" (I32) -> I32OrNothing, Any, suspends May, Everywhere, Status::Ready,
        "sends the changed ranges of a state value";
    PushStatePartialMask "env"."__faasm_push_state_partial_mask" (I32 I32) -> I32OrNothing, Any, suspends May, Everywhere, Status::Ready,
        "sends the masked ranges of a state value";
    PullState "env"."__faasm_pull_state" (I32 I32) -> I32OrNothing, Any, suspends May, Everywhere, Status::Ready,
        "refreshes the local copy of a state value";
    AppendState "env"."__faasm_append_state" (I32 I32 I32) -> I32OrNothing, Any, suspends May, Everywhere, Status::Ready,
        "appends an element to the list of a key";
    ReadAppendedState "env"."__faasm_read_appended_state" (I32 I32 I32 I32) -> I32OrNothing, Any, suspends May, Everywhere, Status::Ready,
        "copies the first elements of the list of a key";
    ClearAppendedState "env"."__faasm_clear_appended_state" (I32) -> I32OrNothing, Any, suspends May, Everywhere, Status::Ready,
        "empties the list of a key";
    LockStateRead "env"."__faasm_lock_state_read" (I32) -> Nothing, Any, suspends May, Everywhere, Status::Ready,
        "takes the read lock of a local copy";
    UnlockStateRead "env"."__faasm_unlock_state_read" (I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "releases the read lock of a local copy";
    LockStateWrite "env"."__faasm_lock_state_write" (I32) -> Nothing, Any, suspends May, Everywhere, Status::Ready,
        "takes the write lock of a local copy";
    UnlockStateWrite "env"."__faasm_unlock_state_write" (I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "releases the write lock of a local copy";
    LockStateGlobal "env"."__faasm_lock_state_global" (I32) -> Nothing, Any, suspends May, Everywhere, Status::Ready,
        "takes the lock of a key for the whole cluster; a Faasm backend refuses it";
    UnlockStateGlobal "env"."__faasm_unlock_state_global" (I32) -> Nothing, Any, suspends May, Everywhere, Status::Ready,
        "releases the lock of a key for the whole cluster";
    // The whole memory as a state value; configuration; debugging.
    SnapshotMemory "env"."__faasm_snapshot_memory" (I32) -> I32OrNothing, Any, suspends May, Everywhere, Status::Ready,
        "writes the whole memory to a state value and pushes it";
    RestoreMemory "env"."__faasm_restore_memory" (I32) -> I32OrNothing, Any, suspends May, Everywhere, Status::Ready,
        "pulls a state value into the whole memory";
}

/// System calls of the 2019/20 toolchain.
Legacy(LegacyCall) {
    // A system call waits only where the C library makes one that can, with that many arguments: 2 are `nanosleep`, and
    // `stat`, `access` and `open` of a shared file; 3 are `poll`, and `open` with a mode; 4 are `clock_nanosleep`, and
    // the `…at` forms; 6 are all that can be cancelled (`nanosleep`, `poll`, `select`, `open` …) in musl of 2020. The
    // others never wait, and what calls only them is not instrumented.
    Syscall0 "env"."__syscall0" (I32) -> I32, Legacy, suspends Never, Everywhere, Status::Ready,
        "i386 system call with 0 arguments";
    Syscall1 "env"."__syscall1" (I32 I32) -> I32, Legacy, suspends Never, Everywhere, Status::Ready,
        "i386 system call with 1 argument";
    Syscall2 "env"."__syscall2" (I32 I32 I32) -> I32, Legacy, suspends May, Everywhere, Status::Ready,
        "i386 system call with 2 arguments";
    Syscall3 "env"."__syscall3" (I32 I32 I32 I32) -> I32, Legacy, suspends May, Everywhere, Status::Ready,
        "i386 system call with 3 arguments";
    Syscall4 "env"."__syscall4" (I32 I32 I32 I32 I32) -> I32, Legacy, suspends May, Everywhere, Status::Ready,
        "i386 system call with 4 arguments";
    Syscall5 "env"."__syscall5" (I32 I32 I32 I32 I32 I32) -> I32, Legacy, suspends Never, Everywhere, Status::Ready,
        "i386 system call with 5 arguments";
    Syscall6 "env"."__syscall6" (I32 I32 I32 I32 I32 I32 I32) -> I32, Legacy, suspends May, Everywhere, Status::Ready,
        "i386 system call with 6 arguments";
    Puts "env"."puts" (I32) -> I32, Legacy, suspends Never, Everywhere, Status::Ready,
        "prints a line";
    Getrlimit "env"."getrlimit" (I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "resource limits";
}

/// What C and C++ libraries leave to the host.
Libc(LibcCall) {
    // Memory of Faasm's own C library.
    Sbrk "env"."__sbrk" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "moves the break by bytes and gives the old one; -1 where memory cannot grow";
    Mmap "env"."mmap" (I32 I32 I32 I32 I32 I64) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "new memory at the break, with the bytes of a file if one is given; -1 where there is none";
    Munmap "env"."munmap" (I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "gives back memory of mmap";
    ReadConfig "env"."__faasm_read_config" (I32 I32) -> I32OrNothing, Any, suspends Never, Everywhere, Status::Ready,
        "nothing is configured: gives an empty text";
    DebugCopy "env"."__faasmp_debug_copy" (I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "prints two pointers and the text at the first, for debugging";
    Println "env"."__println" (I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "prints the text at a pointer, for debugging";
    CopyTls "env"."__copy_tls" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "thread-local storage of the one thread: gives its argument";
    // How a program ends.
    Exit "env"."exit" (I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "ends the run with a return value";
    ExitAtOnce "env"."_Exit" (I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "ends the run with a return value";
    Abort "env"."abort" (; I32 I32 I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "ends the run as a trap; AssemblyScript gives message, file, line and column";
    Raise "env"."raise" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "ends the run as a trap: a signal that nothing handles";
    CxaAllocateException "env"."__cxa_allocate_exception" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "memory for a C++ exception";
    CxaFreeException "env"."__cxa_free_exception" (I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "gives up a C++ exception that was not thrown";
    CxaThrow "env"."__cxa_throw" (I32 I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "ends the run as a trap: a C++ exception that nothing catches";
    CxaRethrow "env"."__cxa_rethrow" () -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "ends the run as a trap: a C++ exception that nothing catches";
    CxaBeginCatch "env"."__cxa_begin_catch" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "gives its argument; never reached, since a throw ends the run";
    CxaEndCatch "env"."__cxa_end_catch" () -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "never reached, since a throw ends the run";
    CxaPureVirtual "env"."__cxa_pure_virtual" () -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "ends the run as a trap: a pure virtual function was called";
    // Descriptors outside WASI.
    Dup "env"."dup" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "a second descriptor of an open file";
    Ioctl "env"."ioctl" (I32 I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "no descriptor is a terminal: -1, errno ENOTTY";
    Tmpfile "env"."tmpfile" () -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "no streams without a name: NULL";
    Pipe "env"."pipe" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "no pipes: -1, errno ENOSYS";
    Ttyname "env"."ttyname" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "no descriptor is a terminal: NULL";
    // One process, one user, no network.
    Uname "env"."uname" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "describes the system";
    Getcwd "env"."getcwd" (I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "the working folder, which is the root";
    Chdir "env"."chdir" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "the working folder stays the root: -1 for another";
    Getpid "env"."getpid" () -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "the one process: 1";
    Getppid "env"."getppid" () -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "the parent of the one process: 1";
    Getuid "env"."getuid" () -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "the one user: 0";
    Geteuid "env"."geteuid" () -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "the one user: 0";
    Getgid "env"."getgid" () -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "the one group: 0";
    Getegid "env"."getegid" () -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "the one group: 0";
    Getpwuid "env"."getpwuid" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "no list of users: NULL";
    Getpwnam "env"."getpwnam" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "no list of users: NULL";
    Signal "env"."signal" (I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "no signals arrive: the handler before was the default";
    Kill "env"."kill" (I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "no signals: -1, errno ENOSYS";
    Fork "env"."fork" () -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "no second process: -1, errno ENOSYS";
    Wait "env"."wait" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "no second process: -1, errno ECHILD";
    Execv "env"."execv" (I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "no second program: -1, errno ENOSYS";
    Execve "env"."execve" (I32 I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "no second program: -1, errno ENOSYS";
    System "env"."system" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "no shell: 0 where it is asked whether there is one, else -1, errno ENOSYS";
    Syscall "env"."syscall" (I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "no calls by number outside the older toolchain: -1, errno ENOSYS";
    Setrlimit "env"."setrlimit" (I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "limits cannot be changed: -1, errno EPERM";
    Socket "env"."socket" (I32 I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "no network: -1, errno EAFNOSUPPORT";
    Connect "env"."connect" (I32 I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "no network: -1, errno EAFNOSUPPORT";
    Bind "env"."bind" (I32 I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "no network: -1, errno EAFNOSUPPORT";
    Listen "env"."listen" (I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "no network: -1, errno EAFNOSUPPORT";
    Accept "env"."accept" (I32 I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "no network: -1, errno EAFNOSUPPORT";
    Gethostbyname "env"."gethostbyname" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "no network: NULL";
}

/// POSIX threads, of which there is one.
Thread(ThreadCall) {
    // POSIX threads, of which there is one. Making another and waiting for one are what only a cluster has.
    PthreadMutexInit "env"."pthread_mutex_init" (I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "one thread: succeeds";
    PthreadMutexDestroy "env"."pthread_mutex_destroy" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "one thread: succeeds";
    PthreadMutexLock "env"."pthread_mutex_lock" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "one thread: succeeds";
    PthreadMutexTrylock "env"."pthread_mutex_trylock" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "one thread: succeeds";
    PthreadMutexUnlock "env"."pthread_mutex_unlock" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "one thread: succeeds";
    PthreadMutexattrInit "env"."pthread_mutexattr_init" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "one thread: succeeds";
    PthreadMutexattrDestroy "env"."pthread_mutexattr_destroy" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "one thread: succeeds";
    PthreadMutexattrSettype "env"."pthread_mutexattr_settype" (I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "one thread: succeeds";
    PthreadRwlockInit "env"."pthread_rwlock_init" (I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "one thread: succeeds";
    PthreadRwlockDestroy "env"."pthread_rwlock_destroy" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "one thread: succeeds";
    PthreadRwlockRdlock "env"."pthread_rwlock_rdlock" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "one thread: succeeds";
    PthreadRwlockWrlock "env"."pthread_rwlock_wrlock" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "one thread: succeeds";
    PthreadRwlockUnlock "env"."pthread_rwlock_unlock" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "one thread: succeeds";
    PthreadCondInit "env"."pthread_cond_init" (I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "one thread: succeeds";
    PthreadCondDestroy "env"."pthread_cond_destroy" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "one thread: succeeds";
    PthreadCondSignal "env"."pthread_cond_signal" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "nothing waits: succeeds";
    PthreadCondBroadcast "env"."pthread_cond_broadcast" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "nothing waits: succeeds";
    PthreadAttrInit "env"."pthread_attr_init" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "one thread: succeeds";
    PthreadAttrDestroy "env"."pthread_attr_destroy" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "one thread: succeeds";
    PthreadAttrSetstacksize "env"."pthread_attr_setstacksize" (I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "one thread: succeeds";
    PthreadAttrSetdetachstate "env"."pthread_attr_setdetachstate" (I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "one thread: succeeds";
    PthreadSelf "env"."pthread_self" () -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "the one thread: 1";
    PthreadEqual "env"."pthread_equal" (I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "whether two threads are the same";
    PthreadOnce "env"."pthread_once" (I32 I32) -> I32, Any, suspends Calls, Everywhere, Status::Ready,
        "calls a function of the guest, the first time";
    PthreadKeyCreate "env"."pthread_key_create" (I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "a key for a value of the one thread";
    PthreadKeyDelete "env"."pthread_key_delete" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "gives up a key";
    PthreadSetspecific "env"."pthread_setspecific" (I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "sets the value of a key";
    PthreadGetspecific "env"."pthread_getspecific" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "the value of a key, NULL at first";
}

/// OpenMP, with teams of one thread.
OpenMp(OpenMpCall) {
    // OpenMP, with teams of one thread: clang's interface to its runtime (`kmp.h`), and the functions of the specification.
    KmpcForkCall "env"."__kmpc_fork_call" (I32 I32 I32 I32) -> Nothing, Any, suspends Calls, Everywhere, Status::Ready,
        "a parallel region: calls the outlined function once";
    KmpcPushNumThreads "env"."__kmpc_push_num_threads" (I32 I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "the next team has one thread all the same";
    KmpcSerializedParallel "env"."__kmpc_serialized_parallel" (I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "enters a region that the caller runs itself";
    KmpcEndSerializedParallel "env"."__kmpc_end_serialized_parallel" (I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "leaves it";
    KmpcGlobalThreadNum "env"."__kmpc_global_thread_num" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "the one thread: 0";
    KmpcGlobalNumThreads "env"."__kmpc_global_num_threads" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "threads: 1";
    KmpcBoundThreadNum "env"."__kmpc_bound_thread_num" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "the one thread: 0";
    KmpcBoundNumThreads "env"."__kmpc_bound_num_threads" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "threads: 1";
    KmpcBarrier "env"."__kmpc_barrier" (I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "the whole team is here";
    KmpcFlush "env"."__kmpc_flush" (I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "one thread sees its own memory";
    KmpcMaster "env"."__kmpc_master" (I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "1: this is the master";
    KmpcEndMaster "env"."__kmpc_end_master" (I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "leaves the block";
    KmpcMasked "env"."__kmpc_masked" (I32 I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "1 where thread 0 is asked for, else 0";
    KmpcEndMasked "env"."__kmpc_end_masked" (I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "leaves the block";
    KmpcSingle "env"."__kmpc_single" (I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "1: this thread runs the block";
    KmpcEndSingle "env"."__kmpc_end_single" (I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "leaves the block";
    KmpcCopyprivate "env"."__kmpc_copyprivate" (I32 I32 I32 I32 I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "there is no other thread to copy to";
    KmpcOrdered "env"."__kmpc_ordered" (I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "one thread is in order";
    KmpcEndOrdered "env"."__kmpc_end_ordered" (I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "leaves the block";
    KmpcCritical "env"."__kmpc_critical" (I32 I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "enters a critical section; a second time is a deadlock";
    KmpcCriticalWithHint "env"."__kmpc_critical_with_hint" (I32 I32 I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "enters a critical section; a second time is a deadlock";
    KmpcEndCritical "env"."__kmpc_end_critical" (I32 I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "leaves a critical section";
    KmpcReduce "env"."__kmpc_reduce" (I32 I32 I32 I32 I32 I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "1: this thread combines the values, of which there is one";
    KmpcEndReduce "env"."__kmpc_end_reduce" (I32 I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "leaves the reduction";
    KmpcReduceNowait "env"."__kmpc_reduce_nowait" (I32 I32 I32 I32 I32 I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "1: this thread combines the values, of which there is one";
    KmpcEndReduceNowait "env"."__kmpc_end_reduce_nowait" (I32 I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "leaves the reduction";
    KmpcForStaticInit4 "env"."__kmpc_for_static_init_4" (I32 I32 I32 I32 I32 I32 I32 I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "the whole range of a loop, signed 32 bits";
    KmpcForStaticInit4u "env"."__kmpc_for_static_init_4u" (I32 I32 I32 I32 I32 I32 I32 I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "the whole range of a loop, unsigned 32 bits";
    KmpcForStaticInit8 "env"."__kmpc_for_static_init_8" (I32 I32 I32 I32 I32 I32 I32 I64 I64) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "the whole range of a loop, signed 64 bits";
    KmpcForStaticInit8u "env"."__kmpc_for_static_init_8u" (I32 I32 I32 I32 I32 I32 I32 I64 I64) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "the whole range of a loop, unsigned 64 bits";
    KmpcForStaticFini "env"."__kmpc_for_static_fini" (I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "leaves the loop";
    KmpcDispatchInit4 "env"."__kmpc_dispatch_init_4" (I32 I32 I32 I32 I32 I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "begins a loop that hands out ranges, signed 32 bits";
    KmpcDispatchInit4u "env"."__kmpc_dispatch_init_4u" (I32 I32 I32 I32 I32 I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "begins a loop that hands out ranges, unsigned 32 bits";
    KmpcDispatchInit8 "env"."__kmpc_dispatch_init_8" (I32 I32 I32 I64 I64 I64 I64) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "begins a loop that hands out ranges, signed 64 bits";
    KmpcDispatchInit8u "env"."__kmpc_dispatch_init_8u" (I32 I32 I32 I64 I64 I64 I64) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "begins a loop that hands out ranges, unsigned 64 bits";
    KmpcDispatchNext4 "env"."__kmpc_dispatch_next_4" (I32 I32 I32 I32 I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "1 with the whole range once, then 0";
    KmpcDispatchNext4u "env"."__kmpc_dispatch_next_4u" (I32 I32 I32 I32 I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "1 with the whole range once, then 0";
    KmpcDispatchNext8 "env"."__kmpc_dispatch_next_8" (I32 I32 I32 I32 I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "1 with the whole range once, then 0";
    KmpcDispatchNext8u "env"."__kmpc_dispatch_next_8u" (I32 I32 I32 I32 I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "1 with the whole range once, then 0";
    KmpcDispatchFini4 "env"."__kmpc_dispatch_fini_4" (I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "leaves a range";
    KmpcDispatchFini4u "env"."__kmpc_dispatch_fini_4u" (I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "leaves a range";
    KmpcDispatchFini8 "env"."__kmpc_dispatch_fini_8" (I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "leaves a range";
    KmpcDispatchFini8u "env"."__kmpc_dispatch_fini_8u" (I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "leaves a range";
    KmpcDispatchDeinit "env"."__kmpc_dispatch_deinit" (I32 I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "leaves a loop that hands out ranges";
    OmpGetThreadNum "env"."omp_get_thread_num" () -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "the one thread: 0";
    OmpGetNumThreads "env"."omp_get_num_threads" () -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "threads of the team: 1";
    OmpGetMaxThreads "env"."omp_get_max_threads" () -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "threads of the next team: 1";
    OmpGetThreadLimit "env"."omp_get_thread_limit" () -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "threads in all: 1";
    OmpGetNumProcs "env"."omp_get_num_procs" () -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "processors: 1";
    OmpInParallel "env"."omp_in_parallel" () -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "0: a team of one is not parallel";
    OmpGetLevel "env"."omp_get_level" () -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "how many regions enclose this";
    OmpGetActiveLevel "env"."omp_get_active_level" () -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "how many of them have several threads: 0";
    OmpGetMaxActiveLevels "env"."omp_get_max_active_levels" () -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "what was set, 1 at first";
    OmpSetMaxActiveLevels "env"."omp_set_max_active_levels" (I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "is kept, and changes nothing";
    OmpSetNumThreads "env"."omp_set_num_threads" (I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "teams have one thread all the same";
    OmpGetDynamic "env"."omp_get_dynamic" () -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "0";
    OmpSetDynamic "env"."omp_set_dynamic" (I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "changes nothing";
    OmpGetNested "env"."omp_get_nested" () -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "0";
    OmpSetNested "env"."omp_set_nested" (I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "changes nothing";
    OmpGetDefaultDevice "env"."omp_get_default_device" () -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "what was set, 0 at first";
    OmpSetDefaultDevice "env"."omp_set_default_device" (I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "is kept, and changes nothing";
    OmpGetNumDevices "env"."omp_get_num_devices" () -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "0";
    OmpIsInitialDevice "env"."omp_is_initial_device" () -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "1";
    OmpInitLock "env"."omp_init_lock" (I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "a lock in guest memory";
    OmpDestroyLock "env"."omp_destroy_lock" (I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "gives it up";
    OmpSetLock "env"."omp_set_lock" (I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "takes it; a second time is a deadlock";
    OmpUnsetLock "env"."omp_unset_lock" (I32) -> Nothing, Any, suspends Never, Everywhere, Status::Ready,
        "releases it";
    OmpTestLock "env"."omp_test_lock" (I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "takes it if it is free: 1, else 0";
}

/// Numbers with fractions, which [`Guest::number`](crate::guest::Guest::number) gives.
Number(NumberCall) {
    OmpGetWtime "env"."omp_get_wtime" () -> F64, Any, suspends Never, Everywhere, Status::Ready,
        "seconds on the monotonic clock";
    OmpGetWtick "env"."omp_get_wtick" () -> F64, Any, suspends Never, Everywhere, Status::Ready,
        "resolution of that clock, seconds";
}

/// WASI preview 1.
Wasi(WasiCall) {
    WasiFdDup "env"."__wasi_fd_dup" (I32 I32) -> I32, Any, suspends Never, Everywhere, Status::Ready,
        "a second descriptor of an open file, stored at a pointer";
    ArgsGet "wasi_snapshot_preview1"."args_get" (I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "arguments";
    ArgsSizesGet "wasi_snapshot_preview1"."args_sizes_get" (I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "sizes of the arguments";
    ClockResGet "wasi_snapshot_preview1"."clock_res_get" (I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "resolution of a clock";
    ClockTimeGet "wasi_snapshot_preview1"."clock_time_get" (I32 I64 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "time of a clock";
    EnvironGet "wasi_snapshot_preview1"."environ_get" (I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "environment";
    EnvironSizesGet "wasi_snapshot_preview1"."environ_sizes_get" (I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "sizes of the environment";
    FdAdvise "wasi_snapshot_preview1"."fd_advise" (I32 I64 I64 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "advises on the use of a file";
    FdAllocate "wasi_snapshot_preview1"."fd_allocate" (I32 I64 I64) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "allocates space in a file";
    FdClose "wasi_snapshot_preview1"."fd_close" (I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "closes a descriptor";
    FdDatasync "wasi_snapshot_preview1"."fd_datasync" (I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "writes data of a file through";
    FdFdstatGet "wasi_snapshot_preview1"."fd_fdstat_get" (I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "type, flags and rights of a descriptor";
    FdFdstatSetFlags "wasi_snapshot_preview1"."fd_fdstat_set_flags" (I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "sets flags of a descriptor";
    FdFdstatSetRights "wasi_snapshot_preview1"."fd_fdstat_set_rights" (I32 I64 I64) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "drops rights of a descriptor";
    FdFilestatGet "wasi_snapshot_preview1"."fd_filestat_get" (I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "attributes of an open file";
    FdFilestatSetSize "wasi_snapshot_preview1"."fd_filestat_set_size" (I32 I64) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "sets the size of an open file";
    FdFilestatSetTimes "wasi_snapshot_preview1"."fd_filestat_set_times" (I32 I64 I64 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "sets the times of an open file";
    FdPread "wasi_snapshot_preview1"."fd_pread" (I32 I32 I32 I64 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "reads at an offset";
    FdPrestatGet "wasi_snapshot_preview1"."fd_prestat_get" (I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "describes a preopened folder";
    FdPrestatDirName "wasi_snapshot_preview1"."fd_prestat_dir_name" (I32 I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "name of a preopened folder";
    FdPwrite "wasi_snapshot_preview1"."fd_pwrite" (I32 I32 I32 I64 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "writes at an offset";
    FdRead "wasi_snapshot_preview1"."fd_read" (I32 I32 I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "reads; standard input is the input of the call";
    FdReaddir "wasi_snapshot_preview1"."fd_readdir" (I32 I32 I32 I64 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "lists a folder";
    FdRenumber "wasi_snapshot_preview1"."fd_renumber" (I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "moves a descriptor";
    FdSeek "wasi_snapshot_preview1"."fd_seek" (I32 I64 I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "moves the offset";
    FdSync "wasi_snapshot_preview1"."fd_sync" (I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "nothing to write through: checks the descriptor";
    FdTell "wasi_snapshot_preview1"."fd_tell" (I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "current offset";
    FdWrite "wasi_snapshot_preview1"."fd_write" (I32 I32 I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "writes; standard output and error go to the caller";
    PathCreateDirectory "wasi_snapshot_preview1"."path_create_directory" (I32 I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "creates a folder";
    PathFilestatGet "wasi_snapshot_preview1"."path_filestat_get" (I32 I32 I32 I32 I32) -> I32, Current, suspends May, Everywhere, Status::Ready,
        "attributes of a file; waits for a shared one";
    PathFilestatSetTimes "wasi_snapshot_preview1"."path_filestat_set_times" (I32 I32 I32 I32 I64 I64 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "sets the times of a file";
    PathLink "wasi_snapshot_preview1"."path_link" (I32 I32 I32 I32 I32 I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "creates a hard link";
    PathOpen "wasi_snapshot_preview1"."path_open" (I32 I32 I32 I32 I32 I64 I64 I32 I32) -> I32, Current, suspends May, Everywhere, Status::Ready,
        "opens a file; waits for a shared one";
    PathReadlink "wasi_snapshot_preview1"."path_readlink" (I32 I32 I32 I32 I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "target of a symbolic link";
    PathRemoveDirectory "wasi_snapshot_preview1"."path_remove_directory" (I32 I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "removes a folder";
    PathRename "wasi_snapshot_preview1"."path_rename" (I32 I32 I32 I32 I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "renames a file";
    PathSymlink "wasi_snapshot_preview1"."path_symlink" (I32 I32 I32 I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "creates a symbolic link";
    PathUnlinkFile "wasi_snapshot_preview1"."path_unlink_file" (I32 I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "removes a file";
    PollOneoff "wasi_snapshot_preview1"."poll_oneoff" (I32 I32 I32 I32) -> I32, Current, suspends May, Everywhere, Status::Ready,
        "waits for clocks and descriptors";
    ProcExit "wasi_snapshot_preview1"."proc_exit" (I32) -> Nothing, Current, suspends Never, Everywhere, Status::Ready,
        "ends the call with a return value";
    ProcRaise "wasi_snapshot_preview1"."proc_raise" (I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "there are no signals: answers errno 58 (notsup)";
    RandomGet "wasi_snapshot_preview1"."random_get" (I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "random bytes";
    SchedYield "wasi_snapshot_preview1"."sched_yield" () -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "gives way to others";
    SockAccept "wasi_snapshot_preview1"."sock_accept" (I32 I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "no descriptor is a socket: answers errno 57 (notsock)";
    SockRecv "wasi_snapshot_preview1"."sock_recv" (I32 I32 I32 I32 I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "no descriptor is a socket: answers errno 57 (notsock)";
    SockSend "wasi_snapshot_preview1"."sock_send" (I32 I32 I32 I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "no descriptor is a socket: answers errno 57 (notsock)";
    SockShutdown "wasi_snapshot_preview1"."sock_shutdown" (I32 I32) -> I32, Current, suspends Never, Everywhere, Status::Ready,
        "no descriptor is a socket: answers errno 57 (notsock)";
}
}
