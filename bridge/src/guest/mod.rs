//! The guest kernel: what each host call means, once for every place a function runs.
//!
//! A [`Guest`] is the host side of one run. It does no I/O. A driver (browser engine or cluster) binds the imports of a
//! module to it:
//!
//! * a call that never waits: [`Guest::call`];
//! * a call that may wait, in two halves around the suspension: [`Guest::begin`] says whether there is an [`Operation`]
//!   to perform, the driver performs it while the function is suspended and hands over the [`Completion`]
//!   ([`Guest::complete`]), and [`Guest::finish`] gives the result once the function runs again.
//!
//! ```text
//!   guest code ── begin ──► Ready ───────────────────────────────► finish ──► result
//!                    ├────► Wait(operation) ─► suspend … complete ─► finish ──► result
//!                    │                                                └─► Allocate ─ malloc ─ allocated ─► finish
//!                    └────► Call(function) ─► the guest's function runs, and returns ─► finish ──► result
//! ```
//!
//! Halves nest: while `finish` has the driver call the guest's `malloc`, or between the halves of a call that calls a
//! function of the guest, there are further host calls. So what is pending is a stack.

mod calls;
mod errno;
mod files;
mod heap;
mod legacy;
mod libc;
mod mapping;
mod memory;
mod openmp;
mod sleep;
mod state;
#[cfg(test)]
mod testing;
mod threads;
mod wasi;

pub use memory::{GuestMemory, GuestMemoryExt, MAX_STRING_BYTES};
pub use openmp::MAX_SHARED;
pub use sleep::Sleep;

use crate::host::{Available, HostCall, Status, Suspends};
use crate::sorted_map::SortedMap;
use crate::state::{Chunk, LocalTier, RunId, StateError, Ticket};
use mapping::{MappingRequest, Mappings};
use std::ops::Range;
use thiserror::Error;

/// Most parameters any row of the table has.
pub const MAX_PARAMS: usize = 9;

/// Identifies a chained call within one run; what the guest holds as `call_id`. Counts from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u32);

/// What a chained call runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Another function of the same user.
    Function(String),
    /// An entry of this function's table, in a fresh instance.
    Pointer(u32),
    /// This function again, with another answer to `__faasm_get_idx`.
    Index(u32),
}

/// How a call ended, as its caller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallResult {
    /// Whatever the function returned; 1 where it failed.
    pub return_value: i32,
    pub output: Vec<u8>,
}

/// A clock of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Nanoseconds since 1970.
    Realtime,
    /// Nanoseconds since some fixed moment.
    Monotonic,
}

/// Where text of the guest goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// What the kernel needs from where it runs; nothing here waits.
pub trait Host: GuestMemory {
    /// Nanoseconds on `clock`.
    fn now(&self, clock: Clock) -> u64;

    /// Fills `target` with random bytes fit for keys.
    fn random(&mut self, target: &mut [u8]);

    /// Starts a chained call; its result is asked for later by the same id.
    fn start_call(&mut self, id: CallId, target: Target, input: Vec<u8>);

    /// Takes the result of a chained call if it is already here.
    fn take_finished(&mut self, id: CallId) -> Option<CallResult>;

    /// Passes on what the guest printed.
    fn print(&mut self, stream: Stream, bytes: &[u8]);

    /// The calls of the guest that led here, innermost first, one in a line.
    fn backtrace(&mut self) -> String;
}

/// What a driver performs while a function is suspended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Wait for a chained call; completes with [`Completion::Call`].
    AwaitCall(CallId),
    /// Wait until there is nothing left of it; completes with [`Completion::Done`].
    Sleep(Sleep),
    /// Read from the global tier, to the end where `length` is `None`; completes with [`Completion::State`].
    ReadState { key: String, offset: u64, length: Option<u64> },
    /// Write to the global tier; completes with [`Completion::Done`] once it is durable.
    WriteState { key: String, size: u64, chunks: Vec<Chunk> },
    /// The same, then read the whole value; completes with [`Completion::State`].
    ExchangeState { key: String, size: u64, chunks: Vec<Chunk> },
    /// Append one element to a list of the global tier; completes with [`Completion::Done`] once it is durable.
    AppendState { key: String, bytes: Vec<u8> },
    /// The first `count` elements of a list, one after the other; completes with [`Completion::Bytes`].
    ReadAppended { key: String, count: u32 },
    /// Empty a list; completes with [`Completion::Done`].
    ClearAppended { key: String },
    /// Wait for a lock of the local tier, by [`LocalTier::poll_lock`]; completes with [`Completion::Done`].
    AwaitLock(Ticket),
    /// Take the lock of a key for the whole cluster, for this run; completes with [`Completion::Done`] once it is held.
    LockGlobal { key: String },
    /// Release it; completes with [`Completion::Done`], or with [`Completion::Missing`] where the run had lost it.
    UnlockGlobal { key: String },
    /// Read a shared file of the cluster; completes with [`Completion::Bytes`], or [`Completion::Missing`].
    ReadFile { path: String },
}

/// How an [`Operation`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completion {
    Done,
    Call(CallResult),
    /// Size of the global value, if there is one, and the bytes asked for as far as they exist.
    State {
        size: Option<u64>,
        chunk: Chunk,
    },
    Bytes(Vec<u8>),
    /// What was to be read does not exist; the lock that was to be released, or that a write relied on, is not held any more.
    Missing,
    /// It could not be performed; ends the run.
    Failed(String),
}

/// Why a run ends before its function returns.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// Not an error: the guest asked to end with this return value.
    #[error("the function exited with {0}")]
    Exit(i32),
    #[error("bytes {pointer}..{} given to a host call lie outside guest memory, which has {size} bytes", u64::from(*.pointer) + .length)]
    OutOfBounds { pointer: u32, length: u64, size: u64 },
    #[error("the string at {pointer} has no NUL within {MAX_STRING_BYTES} bytes")]
    UnterminatedString { pointer: u32 },
    #[error("the string at {pointer} is not UTF-8")]
    NotUtf8 { pointer: u32 },
    #[error("{call} is not implemented yet: {reason}")]
    NotImplemented { call: HostCall, reason: &'static str },
    #[error("{import} works only in a Faasm cluster: run the function there")]
    ClusterOnly { import: String },
    #[error(
        "`{import}` is not part of the host interface: link the function without it, or have nothing call it"
    )]
    UnknownImport { import: String },
    #[error(transparent)]
    State(#[from] StateError),
    #[error("{call} failed: {message}")]
    Operation { call: HostCall, message: String },
    #[error(
        "{call} needs memory for what it hands out, and this function grows its memory by itself, exports no malloc, and was \
         not built: build it with `faasm-asyncify build`, or link it with -Wl,--export=malloc"
    )]
    NoMalloc { call: HostCall },
    #[error("there is no memory for the {bytes} bytes that a host call hands out")]
    OutOfMemory { bytes: u32 },
    /// The guest ended itself as by a trap.
    #[error("the function aborted: {why}")]
    Aborted { why: String },
    #[error("this run has the lock `{key}` already: it would wait for itself for ever")]
    Deadlock { key: String },
    #[error(
        "the lock of `{key}` was lost before it was released, since nobody renewed it for as long as its lease: others may have changed what it protects; take it again, pull, and repeat the work"
    )]
    LockLost { key: String },
    /// The driver broke the order of begin, complete and finish.
    #[error("host calls out of order at {call}")]
    Order { call: &'static str },
}

impl Fault {
    /// Stable identifier for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Fault::Exit(_) => "exit",
            Fault::OutOfBounds { .. }
            | Fault::UnterminatedString { .. }
            | Fault::NotUtf8 { .. } => "bad-pointer",
            Fault::NotImplemented { .. } => "not-implemented",
            Fault::ClusterOnly { .. } => "cluster-only",
            Fault::UnknownImport { .. } => "unknown-import",
            Fault::State(_) => "state",
            Fault::Operation { .. } => "operation-failed",
            Fault::NoMalloc { .. } => "no-malloc",
            Fault::OutOfMemory { .. } => "out-of-memory",
            Fault::Aborted { .. } => "trap",
            Fault::Deadlock { .. } => "deadlock",
            Fault::LockLost { .. } => "lock-lost",
            Fault::Order { .. } => "internal",
        }
    }
}

/// Arguments of a host call: one slot each, `i32` in the low half.
#[derive(Clone, Copy, Debug)]
struct Args([u64; MAX_PARAMS]);

impl Args {
    fn new(values: &[u64]) -> Self {
        let mut slots = [0; MAX_PARAMS];
        for (slot, value) in slots.iter_mut().zip(values) {
            *slot = *value;
        }
        Self(slots)
    }

    fn u32(&self, position: usize) -> u32 {
        self.0[position] as u32
    }

    fn u64(&self, position: usize) -> u64 {
        self.0[position]
    }
}

/// Where the first half of a call that may wait leaves the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// No need to suspend; call [`Guest::finish`].
    Ready,
    /// Suspend, perform, [`Guest::complete`], resume, [`Guest::finish`].
    Wait(Operation),
    /// Call a function of the guest; once it has returned, [`Guest::finish`].
    Call(GuestCall),
}

/// A function of the guest that a host call calls: an entry of its table, which takes `i32`s and gives nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestCall {
    pub function: u32,
    pub arguments: Vec<u32>,
}

/// Where the second half leaves the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The call's result; to be dropped where the import has none.
    Return(i32),
    /// Call the guest's `malloc` with this size, hand the pointer to [`Guest::allocated`], and finish again.
    Allocate { bytes: u32 },
}

/// What a handler decides.
enum Flow {
    Return(i32),
    Wait(Operation),
    Allocate(Allocation),
    Call(GuestCall),
}

/// What guest memory is needed for.
enum Allocation {
    /// The output of an awaited call.
    Output(CallResult),
    /// A state value, or a part of it.
    Mapping(MappingRequest),
}

impl Allocation {
    fn bytes(&self) -> u32 {
        let bytes = match self {
            Allocation::Output(result) => result.output.len() as u64,
            Allocation::Mapping(request) => request.range.end - request.range.start,
        };
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

enum Stage {
    Waiting,
    Completed(Completion),
    Allocating(Allocation),
    Allocated(Allocation, u32),
    /// The function of the guest runs, or has returned.
    Calling,
}

struct Frame {
    call: HostCall,
    args: Args,
    stage: Stage,
    /// What a push took from the local tier, to give back if it does not come to its end.
    pushed: Option<Pushed>,
}

struct Pushed {
    key: String,
    ranges: Vec<Range<u64>>,
}

impl Pushed {
    fn of(operation: &Operation) -> Option<Self> {
        match operation {
            Operation::WriteState { key, chunks, .. }
            | Operation::ExchangeState { key, chunks, .. } => {
                let ranges = chunks.iter().map(Chunk::range).collect();
                Some(Self { key: key.clone(), ranges })
            }
            _ => None,
        }
    }

    fn restore(&self, tier: &mut LocalTier) {
        tier.restore_dirty(&self.key, &self.ranges);
    }
}

/// Who runs, and with what.
#[derive(Clone, Debug, Default)]
pub struct Invocation {
    /// Name of the function.
    pub function: String,
    pub input: Vec<u8>,
    /// Answer to `__faasm_get_idx`: 0, or what this call was chained with.
    pub index: u32,
    /// Command line after `argv[0]`, which is `function.wasm`.
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
}

/// What the kernel has to know of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModuleFacts {
    /// The driver can call the guest's own `malloc` for what the host hands out: outputs of awaited calls, mapped state.
    pub has_malloc: bool,
    /// Memory from the break is safe: the guest takes none that it was not given. Not of a module that grows memory by itself
    /// and has no fence.
    pub is_break_safe: bool,
    /// Address of the C library's `errno`, where the module shows it.
    pub errno: Option<u32>,
}

/// The host side of one run.
pub struct Guest {
    invocation: Invocation,
    output: Vec<u8>,
    /// Chained calls by id; `true` while nobody has awaited them.
    calls: SortedMap<CallId, bool>,
    frames: Vec<Frame>,
    /// The result of a call that had nothing to wait for, until [`Guest::finish`] is called, which is next.
    ready: Option<i32>,
    mappings: Mappings,
    /// This run's name among those that take locks, once it has taken one.
    run: Option<RunId>,
    /// Keys whose lock for the whole cluster this run holds.
    global_locks: Vec<String>,
    files: files::Files,
    module: ModuleFacts,
    heap: heap::Heap,
    keys: threads::Keys,
    openmp: openmp::OpenMp,
    /// When the poll that sleeps began, on the monotonic clock; there is one at a time.
    poll_began: u64,
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guest")
            .field("function", &self.invocation.function)
            .field("calls", &self.calls)
            .field("pending", &self.frames.len())
            .finish_non_exhaustive()
    }
}

/// What a handler may touch besides the guest itself.
struct Context<'a> {
    host: &'a mut dyn Host,
    tier: &'a mut LocalTier,
}

impl Guest {
    pub fn new(invocation: Invocation, module: ModuleFacts) -> Self {
        Self {
            invocation,
            output: Vec::new(),
            calls: SortedMap::new(),
            frames: Vec::new(),
            ready: None,
            mappings: Mappings::default(),
            run: None,
            global_locks: Vec::new(),
            files: files::Files::default(),
            module,
            heap: heap::Heap::default(),
            keys: threads::Keys::default(),
            openmp: openmp::OpenMp::default(),
            poll_began: 0,
        }
    }

    /// Who runs, and with what.
    pub fn invocation(&self) -> &Invocation {
        &self.invocation
    }

    /// The output so far, and empties it.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Chained calls that nobody awaited.
    pub fn unawaited(&self) -> impl Iterator<Item = CallId> + '_ {
        self.calls.iter().filter(|(_, open)| **open).map(|(id, _)| *id)
    }

    /// Performs a call that never waits.
    ///
    /// # Errors
    /// A fault ends the run.
    pub fn call(
        &mut self,
        call: HostCall,
        args: &[u64],
        host: &mut dyn Host,
        tier: &mut LocalTier,
    ) -> Result<i32, Fault> {
        match self.handle(call, &Args::new(args), &mut Context { host, tier })? {
            Flow::Return(value) => Ok(value),
            Flow::Wait(_) | Flow::Allocate(_) | Flow::Call(_) => {
                Err(Fault::Order { call: call.row().name })
            }
        }
    }

    /// Performs a call that gives a number with a fraction; such calls never wait and take nothing.
    pub fn number(&self, call: HostCall, host: &mut dyn Host, tier: &mut LocalTier) -> f64 {
        Guest::openmp_number(call, &Context { host, tier })
    }

    /// First half of a call that may wait.
    ///
    /// # Errors
    /// A fault ends the run.
    pub fn begin(
        &mut self,
        call: HostCall,
        args: &[u64],
        host: &mut dyn Host,
        tier: &mut LocalTier,
    ) -> Result<Begin, Fault> {
        let args = Args::new(args);
        let flow = self.handle(call, &args, &mut Context { host, tier })?;
        let (stage, begin, pushed) = match flow {
            Flow::Return(value) => {
                self.ready = Some(value);
                return Ok(Begin::Ready);
            }
            Flow::Allocate(wanted) if !self.module.has_malloc => {
                let cx = &mut Context { host, tier };
                self.ready = Some(self.allocate(call, &args, wanted, cx)?);
                return Ok(Begin::Ready);
            }
            Flow::Allocate(wanted) => (Stage::Allocating(wanted), Begin::Ready, None),
            Flow::Call(called) => (Stage::Calling, Begin::Call(called), None),
            Flow::Wait(operation) => {
                self.mappings.absorb(host, tier);
                let pushed = Pushed::of(&operation);
                (Stage::Waiting, Begin::Wait(operation), pushed)
            }
        };
        self.frames.push(Frame { call, args, stage, pushed });
        Ok(begin)
    }

    /// Hands over how the operation of the innermost waiting call ended.
    ///
    /// # Errors
    /// When no call waits.
    pub fn complete(&mut self, completion: Completion) -> Result<(), Fault> {
        match self.frames.last_mut() {
            Some(Frame { stage: stage @ Stage::Waiting, .. }) => {
                *stage = Stage::Completed(completion);
                Ok(())
            }
            _ => Err(Fault::Order { call: "complete" }),
        }
    }

    /// Hands over what the guest's `malloc` returned.
    ///
    /// # Errors
    /// When no call waits for memory, or `malloc` had none.
    pub fn allocated(&mut self, pointer: u32) -> Result<(), Fault> {
        let Some(frame) = self.frames.last_mut() else {
            return Err(Fault::Order { call: "malloc" });
        };
        match std::mem::replace(&mut frame.stage, Stage::Waiting) {
            Stage::Allocating(wanted) if pointer == 0 => {
                Err(Fault::OutOfMemory { bytes: wanted.bytes() })
            }
            Stage::Allocating(wanted) => {
                frame.stage = Stage::Allocated(wanted, pointer);
                Ok(())
            }
            _ => Err(Fault::Order { call: "malloc" }),
        }
    }

    /// Second half of a call that may wait.
    ///
    /// # Errors
    /// A fault ends the run.
    pub fn finish(&mut self, host: &mut dyn Host, tier: &mut LocalTier) -> Result<Finish, Fault> {
        if let Some(value) = self.ready.take() {
            return Ok(Finish::Return(value));
        }
        let Some(Frame { call, args, stage, pushed }) = self.frames.pop() else {
            return Err(Fault::Order { call: "finish" });
        };
        if let Stage::Completed(_) = &stage {
            self.mappings.refresh(host, tier);
        }
        let context = &mut Context { host, tier };
        let flow = match stage {
            Stage::Allocating(wanted) => Flow::Allocate(wanted),
            Stage::Allocated(wanted, pointer) => {
                Flow::Return(self.fill(&args, wanted, pointer, context)?)
            }
            Stage::Calling => self.returned(call, &args, context)?,
            Stage::Completed(Completion::Failed(message)) => {
                if let Some(pushed) = pushed {
                    pushed.restore(context.tier);
                }
                return Err(Fault::Operation { call, message });
            }
            Stage::Completed(Completion::Missing) if let Some(pushed) = pushed => {
                pushed.restore(context.tier);
                return Err(Fault::LockLost { key: pushed.key });
            }
            Stage::Completed(completion) => self.resume(call, &args, completion, context)?,
            Stage::Waiting => return Err(Fault::Order { call: call.row().name }),
        };
        match flow {
            Flow::Return(value) => Ok(Finish::Return(value)),
            Flow::Allocate(wanted) if !self.module.has_malloc => {
                Ok(Finish::Return(self.allocate(call, &args, wanted, context)?))
            }
            Flow::Allocate(wanted) => {
                let bytes = wanted.bytes();
                let stage = Stage::Allocating(wanted);
                self.frames.push(Frame { call, args, stage, pushed });
                Ok(Finish::Allocate { bytes })
            }
            Flow::Wait(_) | Flow::Call(_) => Err(Fault::Order { call: call.row().name }),
        }
    }

    /// Takes memory from the break for what a call hands out, and fills it.
    fn allocate(
        &mut self,
        call: HostCall,
        args: &Args,
        wanted: Allocation,
        cx: &mut Context<'_>,
    ) -> Result<i32, Fault> {
        let pointer = self.hand_out(call, wanted.bytes(), cx)?;
        self.fill(args, wanted, pointer, cx)
    }

    /// Fills the memory for what a call hands out; gives the call's result.
    fn fill(
        &mut self,
        args: &Args,
        wanted: Allocation,
        pointer: u32,
        cx: &mut Context<'_>,
    ) -> Result<i32, Fault> {
        match wanted {
            Allocation::Output(result) => self.deliver_output(args, &result, pointer, cx),
            Allocation::Mapping(request) => {
                self.mappings.add(request, pointer, cx)?;
                self.mappings.refresh(cx.host, cx.tier);
                Ok(pointer as i32)
            }
        }
    }

    /// Ends a run whose memory is still there: what it wrote through mappings joins the local tier, its locks are free.
    pub fn end(&mut self, host: &mut dyn Host, tier: &mut LocalTier) {
        self.mappings.absorb(host, tier);
        self.abandon(tier);
    }

    /// Ends a run that was cut off: its locks are free, and what it was pushing counts as unsent.
    pub fn abandon(&mut self, tier: &mut LocalTier) {
        for frame in self.frames.drain(..) {
            if let Some(pushed) = frame.pushed {
                pushed.restore(tier);
            }
        }
        if let Some(run) = self.run.take() {
            tier.release(run);
        }
    }

    /// Gives every row its meaning. **This is the place where a new row is implemented.**
    fn handle(&mut self, call: HostCall, args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
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

            // Planned or cluster-only rows were answered above; numbers are asked for by `Guest::number`.
            C::ChainPy
            | C::GetPyUser
            | C::GetPyFunc
            | C::GetPyEntry
            | C::OmpGetWtime
            | C::OmpGetWtick => Err(Fault::Order { call: row.name }),
        }
    }

    /// Second half of what waited.
    fn resume(
        &mut self,
        call: HostCall,
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
                self.shared_file_arrived(call, args, bytes, cx)
            }
            (call, completion) => self.state_arrived(call, args, completion, cx),
        }
    }

    /// Second half of what called a function of the guest.
    fn returned(
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

/// Whether a driver must bind this row through begin and finish.
pub fn is_two_halved(call: HostCall) -> bool {
    call.row().suspends != Suspends::Never
}

#[cfg(test)]
mod tests;
