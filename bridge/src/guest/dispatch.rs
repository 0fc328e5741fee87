//! From a row of the host table to its meaning: the first half of each call, and the second half of those that wait or call the
//! guest. **A new row is implemented from here**; the compiler names the `match` that lacks it.

use super::{Args, Completion, Context, Fault, Flow, Guest, Operation, Sleep, calls};
use crate::host::{Available, HostCall, Status};

impl Guest {
    /// Gives every row its meaning. **This is the place where a new row is implemented.**
    pub(super) fn handle(
        &mut self,
        call: HostCall,
        args: &Args,
        cx: &mut Context<'_>,
    ) -> Result<Flow, Fault> {
        let row = call.row();
        if row.available == Available::Cluster {
            return Err(Fault::ClusterOnly { import: call.to_string() });
        }
        if let Status::Planned(reason) = row.status {
            return Err(Fault::NotImplemented { call, reason });
        }
        use HostCall as C;
        match call {
            C::ReadInput => self.read_input(args, cx),
            C::WriteOutput => self.write_output(args, cx),
            C::ChainName => self.chain_name(args, cx),
            C::ChainPtr => self.chain_ptr(args, cx),
            C::ChainThis => self.chain_this(args, cx),
            C::GetIdx => Ok(Flow::Return(self.invocation.index as i32)),
            C::AwaitCall | C::AwaitCallOutput => self.await_call(call, args, cx),
            C::ConfFlag => calls::conf_flag(args, cx),
            C::Backtrace => calls::backtrace(args, cx),
            C::MigratePoint => calls::migrate_point(args, cx),
            C::Sleep => Ok(match args.u64(0) {
                0 => Flow::Return(0),
                nanoseconds => Flow::Wait(Operation::Sleep(Sleep::lasting(nanoseconds, cx.host))),
            }),
            // One thread: a region has no other members to wait for or to merge with.
            C::SmReduce
            | C::SmCriticalLocal
            | C::SmCriticalLocalEnd
            | C::SmVar
            | C::SmArray
            | C::SmRaw
            | C::HostInterfaceTest
            | C::EmscriptenNotifyMemoryGrowth => Ok(Flow::Return(0)),

            C::ReadState
            | C::ReadStatePtr
            | C::ReadStateOffset
            | C::ReadStateOffsetPtr
            | C::WriteState
            | C::WriteStateOffset
            | C::FlagStateDirty
            | C::FlagStateOffsetDirty
            | C::PushState
            | C::PushStatePartial
            | C::PushStatePartialMask
            | C::PullState
            | C::AppendState
            | C::ReadAppendedState
            | C::ClearAppendedState
            | C::LockStateRead
            | C::LockStateWrite
            | C::UnlockStateRead
            | C::UnlockStateWrite
            | C::SnapshotMemory
            | C::RestoreMemory
            | C::LockStateGlobal
            | C::UnlockStateGlobal => self.state_call(call, args, cx),
            C::WriteStateFromFile => self.write_state_from_file(args, cx),

            C::ArgsGet
            | C::ArgsSizesGet
            | C::ClockResGet
            | C::ClockTimeGet
            | C::EnvironGet
            | C::EnvironSizesGet
            | C::FdAdvise
            | C::FdAllocate
            | C::FdClose
            | C::FdDatasync
            | C::FdFdstatGet
            | C::FdFdstatSetFlags
            | C::FdFdstatSetRights
            | C::FdFilestatGet
            | C::FdFilestatSetSize
            | C::FdFilestatSetTimes
            | C::FdPread
            | C::FdPrestatGet
            | C::FdPrestatDirName
            | C::FdPwrite
            | C::FdRead
            | C::FdReaddir
            | C::FdRenumber
            | C::FdSeek
            | C::FdSync
            | C::FdTell
            | C::FdWrite
            | C::WasiFdDup
            | C::PathCreateDirectory
            | C::PathFilestatGet
            | C::PathFilestatSetTimes
            | C::PathLink
            | C::PathOpen
            | C::PathReadlink
            | C::PathRemoveDirectory
            | C::PathRename
            | C::PathSymlink
            | C::PathUnlinkFile
            | C::PollOneoff
            | C::ProcExit
            | C::ProcRaise
            | C::RandomGet
            | C::SchedYield
            | C::SockAccept
            | C::SockRecv
            | C::SockSend
            | C::SockShutdown => self.wasi_call(call, args, cx),

            C::Syscall0
            | C::Syscall1
            | C::Syscall2
            | C::Syscall3
            | C::Syscall4
            | C::Syscall5
            | C::Syscall6
            | C::Puts
            | C::Getrlimit => self.legacy_call(call, args, cx),

            C::Sbrk
            | C::Mmap
            | C::Munmap
            | C::ReadConfig
            | C::DebugCopy
            | C::Println
            | C::CopyTls
            | C::Exit
            | C::ExitAtOnce
            | C::Abort
            | C::Raise
            | C::CxaAllocateException
            | C::CxaFreeException
            | C::CxaThrow
            | C::CxaRethrow
            | C::CxaBeginCatch
            | C::CxaEndCatch
            | C::CxaPureVirtual
            | C::Dup
            | C::Ioctl
            | C::Tmpfile
            | C::Pipe
            | C::Ttyname
            | C::Uname
            | C::Getcwd
            | C::Chdir
            | C::Getpid
            | C::Getppid
            | C::Getuid
            | C::Geteuid
            | C::Getgid
            | C::Getegid
            | C::Getpwuid
            | C::Getpwnam
            | C::Signal
            | C::Kill
            | C::Fork
            | C::Wait
            | C::Execv
            | C::Execve
            | C::System
            | C::Syscall
            | C::Setrlimit
            | C::Socket
            | C::Connect
            | C::Bind
            | C::Listen
            | C::Accept
            | C::Gethostbyname => self.libc_call(call, args, cx),

            C::PthreadMutexInit
            | C::PthreadMutexDestroy
            | C::PthreadMutexLock
            | C::PthreadMutexTrylock
            | C::PthreadMutexUnlock
            | C::PthreadMutexattrInit
            | C::PthreadMutexattrDestroy
            | C::PthreadMutexattrSettype
            | C::PthreadRwlockInit
            | C::PthreadRwlockDestroy
            | C::PthreadRwlockRdlock
            | C::PthreadRwlockWrlock
            | C::PthreadRwlockUnlock
            | C::PthreadCondInit
            | C::PthreadCondDestroy
            | C::PthreadCondSignal
            | C::PthreadCondBroadcast
            | C::PthreadAttrInit
            | C::PthreadAttrDestroy
            | C::PthreadAttrSetstacksize
            | C::PthreadAttrSetdetachstate
            | C::PthreadSelf
            | C::PthreadEqual
            | C::PthreadOnce
            | C::PthreadKeyCreate
            | C::PthreadKeyDelete
            | C::PthreadSetspecific
            | C::PthreadGetspecific => self.thread_call(call, args, cx),

            C::KmpcForkCall
            | C::KmpcPushNumThreads
            | C::KmpcSerializedParallel
            | C::KmpcEndSerializedParallel
            | C::KmpcGlobalThreadNum
            | C::KmpcGlobalNumThreads
            | C::KmpcBoundThreadNum
            | C::KmpcBoundNumThreads
            | C::KmpcBarrier
            | C::KmpcFlush
            | C::KmpcMaster
            | C::KmpcEndMaster
            | C::KmpcMasked
            | C::KmpcEndMasked
            | C::KmpcSingle
            | C::KmpcEndSingle
            | C::KmpcCopyprivate
            | C::KmpcOrdered
            | C::KmpcEndOrdered
            | C::KmpcCritical
            | C::KmpcCriticalWithHint
            | C::KmpcEndCritical
            | C::KmpcReduce
            | C::KmpcEndReduce
            | C::KmpcReduceNowait
            | C::KmpcEndReduceNowait
            | C::KmpcForStaticInit4
            | C::KmpcForStaticInit4u
            | C::KmpcForStaticInit8
            | C::KmpcForStaticInit8u
            | C::KmpcForStaticFini
            | C::KmpcDispatchInit4
            | C::KmpcDispatchInit4u
            | C::KmpcDispatchInit8
            | C::KmpcDispatchInit8u
            | C::KmpcDispatchNext4
            | C::KmpcDispatchNext4u
            | C::KmpcDispatchNext8
            | C::KmpcDispatchNext8u
            | C::KmpcDispatchFini4
            | C::KmpcDispatchFini4u
            | C::KmpcDispatchFini8
            | C::KmpcDispatchFini8u
            | C::KmpcDispatchDeinit
            | C::OmpGetThreadNum
            | C::OmpGetNumThreads
            | C::OmpGetMaxThreads
            | C::OmpGetThreadLimit
            | C::OmpGetNumProcs
            | C::OmpInParallel
            | C::OmpGetLevel
            | C::OmpGetActiveLevel
            | C::OmpGetMaxActiveLevels
            | C::OmpSetMaxActiveLevels
            | C::OmpSetNumThreads
            | C::OmpGetDynamic
            | C::OmpSetDynamic
            | C::OmpGetNested
            | C::OmpSetNested
            | C::OmpGetDefaultDevice
            | C::OmpSetDefaultDevice
            | C::OmpGetNumDevices
            | C::OmpIsInitialDevice
            | C::OmpInitLock
            | C::OmpDestroyLock
            | C::OmpSetLock
            | C::OmpUnsetLock
            | C::OmpTestLock => self.openmp_call(call, args, cx),

            // Planned and cluster-only rows returned a fault above; rows that return `f64` go through `Guest::number`.
            C::ChainPy
            | C::GetPyUser
            | C::GetPyFunc
            | C::GetPyEntry
            | C::OmpGetWtime
            | C::OmpGetWtick => Err(Fault::Order { call: row.name }),
        }
    }

    /// Second half of a call that waited; `key` is that of a state call.
    pub(super) fn resume(
        &mut self,
        (call, key): (HostCall, Option<&str>),
        args: &Args,
        completion: Completion,
        cx: &mut Context<'_>,
    ) -> Result<Flow, Fault> {
        use HostCall as C;
        match (call, completion) {
            (C::AwaitCall | C::AwaitCallOutput, Completion::Call(result)) => {
                self.awaited(call, args, result, cx)
            }
            (C::PollOneoff, Completion::Done) => self.wasi_woken(args, cx),
            (C::Syscall2 | C::Syscall3 | C::Syscall4 | C::Syscall6, Completion::Done) => {
                Ok(self.legacy_woken())
            }
            (C::Sleep, Completion::Done) => Ok(Flow::Return(0)),
            (
                C::PathOpen
                | C::PathFilestatGet
                | C::WriteStateFromFile
                | C::Syscall2
                | C::Syscall3
                | C::Syscall4
                | C::Syscall6,
                completion @ (Completion::Bytes(_) | Completion::Missing),
            ) => {
                let bytes = match completion {
                    Completion::Bytes(bytes) => Some(bytes),
                    _ => None,
                };
                self.shared_file_arrived((call, key), args, bytes, cx)
            }
            (call, completion) => {
                let key = key.unwrap_or_default();
                self.state_arrived((call, key), args, completion, cx)
            }
        }
    }

    /// Second half of a call that called a function of the guest.
    pub(super) fn returned(
        &mut self,
        call: HostCall,
        args: &Args,
        cx: &mut Context<'_>,
    ) -> Result<Flow, Fault> {
        match call {
            HostCall::KmpcForkCall => Ok(self.fork_returned()),
            HostCall::PthreadOnce => Guest::once_returned(args, cx),
            _ => Err(Fault::Order { call: call.row().name }),
        }
    }
}
