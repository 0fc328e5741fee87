//! The rows of the host interface. Adding a host call starts here; the compiler then names what is missing.
//!
//! Signatures and meaning follow Faasm's public host interface and WASI preview 1 (`witx` of `wasi_snapshot_preview1`).

use super::{Available, Era, Returns, Row, Status, Suspends, ValType};

macro_rules! host_calls {
    ($($variant:ident $module:literal . $name:literal ($($param:ident)*) -> $returns:ident,
        $era:ident, suspends $suspends:ident, $available:ident, $status:expr, $summary:literal;)*) => {
        /// One import of the host interface; the variants are the rows of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum HostCall {
            $(#[doc = concat!("`", $module, ".", $name, "`: ", $summary)] $variant,)*
        }

        impl HostCall {
            /// Every row, in the order of [`HostCall::index`].
            pub const ALL: &'static [HostCall] = &[$(HostCall::$variant),*];

            /// What the table says of this call.
            pub fn row(self) -> &'static Row {
                match self {
                    $(HostCall::$variant => &Row {
                        module: $module,
                        name: $name,
                        params: &[$(ValType::$param),*],
                        returns: Returns::$returns,
                        era: Era::$era,
                        suspends: Suspends::$suspends,
                        available: Available::$available,
                        status: $status,
                        summary: $summary,
                    },)*
                }
            }

            /// The row an import belongs to.
            pub fn by_import(module: &str, name: &str) -> Option<HostCall> {
                match (module, name) {
                    $(($module, $name) => Some(HostCall::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

impl HostCall {
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
    ChainPy "env"."__faasm_chain_py" (I32 I32 I32) -> I32, Any, suspends Never, Cluster, Status::Planned("needs the Python runtime of a cluster"),
        "starts a Python entry";
    AwaitCall "env"."__faasm_await_call" (I32) -> I32, Any, suspends May, Everywhere, Status::Ready,
        "waits for a call and gives its return value";
    AwaitCallOutput "env"."__faasm_await_call_output" (I32 I32 I32) -> I32, Any, suspends May, Everywhere, Status::Ready,
        "waits for a call and gives its return value and output";
    GetIdx "env"."__faasm_get_idx" () -> I32, Legacy, suspends Never, Everywhere, Status::Ready,
        "index this instance was chained with";
    GetPyUser "env"."__faasm_get_py_user" (I32 I32) -> Nothing, Any, suspends Never, Cluster, Status::Planned("needs the Python runtime of a cluster"),
        "user of the Python call";
    GetPyFunc "env"."__faasm_get_py_func" (I32 I32) -> Nothing, Any, suspends Never, Cluster, Status::Planned("needs the Python runtime of a cluster"),
        "function of the Python call";
    GetPyEntry "env"."__faasm_get_py_entry" (I32 I32) -> Nothing, Any, suspends Never, Cluster, Status::Planned("needs the Python runtime of a cluster"),
        "entry of the Python call";
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
    ReadState "env"."__faasm_read_state" (I32 I32 I32) -> I32OrNothing, Any, suspends May, Everywhere, Status::Ready,
        "copies a state value; with length 0 gives its size";
    ReadStatePtr "env"."__faasm_read_state_ptr" (I32 I32) -> I32, Any, suspends May, Everywhere, Status::Ready,
        "maps a state value into guest memory";
    ReadStateOffset "env"."__faasm_read_state_offset" (I32 I32 I32 I32 I32) -> I32OrNothing, Any, suspends May, Everywhere, Status::Ready,
        "copies a chunk of a state value";
    ReadStateOffsetPtr "env"."__faasm_read_state_offset_ptr" (I32 I32 I32 I32) -> I32, Any, suspends May, Everywhere, Status::Ready,
        "maps a chunk of a state value into guest memory";
    WriteState "env"."__faasm_write_state" (I32 I32 I32) -> I32OrNothing, Any, suspends Never, Everywhere, Status::Ready,
        "writes a whole state value locally";
    WriteStateOffset "env"."__faasm_write_state_offset" (I32 I32 I32 I32 I32) -> I32OrNothing, Any, suspends Never, Everywhere, Status::Ready,
        "writes a chunk of a state value locally";
    WriteStateFromFile "env"."__faasm_write_state_from_file" (I32 I32) -> I32, Any, suspends May, Everywhere, Status::Ready,
        "writes a state value from a file, gives its size; -1 without the file";
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
    // A system call waits only where the C library makes one that can, with that many arguments: 2 are `nanosleep`, and
    // `stat`, `access` and `open` of a shared file; 3 are `poll`, and `open` with a mode; 4 are `clock_nanosleep`, and the
    // `…at` forms. The others never wait, and what calls only them is not instrumented.
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
    Syscall6 "env"."__syscall6" (I32 I32 I32 I32 I32 I32 I32) -> I32, Legacy, suspends Never, Everywhere, Status::Ready,
        "i386 system call with 6 arguments";
    Puts "env"."puts" (I32) -> I32, Legacy, suspends Never, Everywhere, Status::Ready,
        "prints a line";
    Getrlimit "env"."getrlimit" (I32 I32) -> I32, Legacy, suspends Never, Everywhere, Status::Ready,
        "resource limits";
    Sleep "faasm_bridge"."sleep" (I64) -> Nothing, Current, suspends May, Everywhere, Status::Ready,
        "waits so many nanoseconds; the rewriter puts it where Emscripten's sleep polls the clock";
    EmscriptenNotifyMemoryGrowth "env"."emscripten_notify_memory_growth" (I32) -> Nothing, Current, suspends Never, Everywhere, Status::Ready,
        "says that memory has grown, which the host sees itself";
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
