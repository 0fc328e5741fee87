//! From a row of the host table to its meaning: the first half of each call, by the group of its row, and the second half of
//! those that wait or call the guest. **A new row is implemented from here**; the compiler names the `match` of its group that
//! lacks it.

use super::{Args, Completion, Context, Fault, Flow, Guest, Operation, Sleep, calls};
use crate::host::{Available, CoreCall, Grouped, HostCall, Status};

impl Guest {
    /// Gives every row its meaning, which the group of the row implements.
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
        match call.grouped() {
            Grouped::Core(call) => self.core_call(call, args, cx),
            Grouped::State(call) => self.state_call(call, args, cx),
            Grouped::Wasi(call) => self.wasi_call(call, args, cx),
            Grouped::Legacy(call) => self.legacy_call(call, args, cx),
            Grouped::Libc(call) => self.libc_call(call, args, cx),
            Grouped::Thread(call) => self.thread_call(call, args, cx),
            Grouped::OpenMp(call) => self.openmp_call(call, args, cx),
            // Numbers are asked for by `Guest::number`; planned and cluster-only rows were answered above.
            Grouped::Number(_) | Grouped::Python(_) => Err(Fault::Order { call: row.name }),
        }
    }

    fn core_call(
        &mut self,
        call: CoreCall,
        args: &Args,
        cx: &mut Context<'_>,
    ) -> Result<Flow, Fault> {
        use CoreCall as C;
        match call {
            C::ReadInput => self.read_input(args, cx),
            C::WriteOutput => self.write_output(args, cx),
            C::ChainName => self.chain_name(args, cx),
            C::ChainPtr => self.chain_ptr(args, cx),
            C::ChainThis => self.chain_this(args, cx),
            C::GetIdx => Ok(Flow::Return(self.invocation.index as i32)),
            C::AwaitCall | C::AwaitCallOutput => self.await_call(call.into(), args, cx),
            C::WriteStateFromFile => self.write_state_from_file(args, cx),
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
