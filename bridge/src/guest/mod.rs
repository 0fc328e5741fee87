//! The guest kernel: the one implementation of each host call, for every place in which functions run.
//!
//! A [`Guest`] is the host side of one run. It does no I/O. A driver (browser engine or cluster) binds the imports of a
//! module to it:
//!
//! * a call that never waits: [`Guest::call`];
//! * a call that may wait, in two halves around the suspension: [`Guest::begin`] says whether there is an [`Operation`]
//!   to perform, the driver performs it while the function is suspended and passes the result to [`Guest::complete`],
//!   and [`Guest::finish`] returns the call's result once the function runs again.
//!
//! ```text
//!   guest code ── begin ──► Ready ───────────────────────────────► finish ──► result
//!                    ├────► Wait(operation) ─► suspend … complete ─► finish ──► result
//!                    │                                                └─► Allocate ─ malloc ─ allocated ─► finish
//!                    └────► Call(function) ─► the guest's function runs, and returns ─► finish ──► result
//! ```
//!
//! Halves nest: while the driver calls the guest's `malloc` for `finish`, or between the halves of a call that calls a
//! function of the guest, further host calls occur. So the pending calls are a stack.

mod calls;
mod dispatch;
mod errno;
mod fault;
mod files;
mod heap;
#[cfg(test)]
mod held_tests;
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

pub use fault::Fault;
pub use memory::{GuestMemory, GuestMemoryExt, MAX_STRING_BYTES};
pub use openmp::MAX_SHARED;
pub use sleep::Sleep;

use crate::host::{HostCall, Suspends};
use crate::sorted_map::SortedMap;
use crate::state::{Chunk, LocalTier, RunId, Ticket};
use bytes::Bytes;
use mapping::{MappingRequest, Mappings};
use rangemap::RangeSet;
use std::ops::Range;

/// Most parameters of any row of the table.
pub const MAX_PARAMS: usize = 9;

/// Identifies a chained call within one run; the guest's `call_id`. Counts from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u32);

/// What a chained call runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Another function of the same user.
    Function(String),
    /// An entry of this function's table, in a fresh instance.
    Pointer(u32),
    /// This function again, with another result of `__faasm_get_idx`.
    Index(u32),
}

/// How a call ended, as its caller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallResult {
    /// The function's return value; 1 if it failed.
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

/// Destination of text that the guest prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// What the kernel needs from its host; none of these calls waits.
pub trait Host: GuestMemory {
    /// Nanoseconds on `clock`.
    fn now(&self, clock: Clock) -> u64;

    /// Fills `target` with random bytes of cryptographic quality.
    fn random(&mut self, target: &mut [u8]);

    /// Starts a chained call; its result is requested later by the same id.
    fn start_call(&mut self, id: CallId, target: Target, input: Vec<u8>);

    /// Takes the result of a chained call if it is available.
    fn take_finished(&mut self, id: CallId) -> Option<CallResult>;

    /// Prints text of the guest.
    fn print(&mut self, stream: Stream, bytes: &[u8]);

    /// The guest's call stack, innermost frame first, one per line.
    fn backtrace(&mut self) -> String;
}

/// What a driver performs while a function is suspended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Wait for a chained call; completes with [`Completion::Call`].
    AwaitCall(CallId),
    /// Wait until [`Sleep::left`] is `None`; completes with [`Completion::Done`].
    Sleep(Sleep),
    /// Read from the global tier, to the end if `length` is `None`; completes with [`Completion::State`].
    ReadState { key: String, offset: u64, length: Option<u64> },
    /// Write to the global tier; completes with [`Completion::Done`] once it is durable.
    WriteState { key: String, size: u64, chunks: Vec<Chunk> },
    /// Write to the global tier, then read the whole value; completes with [`Completion::State`].
    ExchangeState { key: String, size: u64, chunks: Vec<Chunk> },
    /// Append one element to a list of the global tier; completes with [`Completion::Done`] once it is durable.
    AppendState { key: String, bytes: Vec<u8> },
    /// Read the first `count` elements of a list, concatenated; completes with [`Completion::Bytes`].
    ReadAppended { key: String, count: u32 },
    /// Empty a list; completes with [`Completion::Done`].
    ClearAppended { key: String },
    /// Wait for a lock of the local tier with [`LocalTier::poll_lock`]; completes with [`Completion::Done`].
    AwaitLock(Ticket),
    /// Take the cluster-wide lock of a key for this run; completes with [`Completion::Done`] once it is held.
    LockGlobal { key: String },
    /// Release the lock; completes with [`Completion::Done`], or with [`Completion::Missing`] if the run had lost it.
    UnlockGlobal { key: String },
    /// Read a shared file of the cluster; completes with [`Completion::Bytes`], or [`Completion::Missing`].
    ReadFile { path: String },
}

impl Operation {
    /// Key of its value, list or lock.
    fn key(&self) -> Option<&str> {
        match self {
            Operation::ReadState { key, .. }
            | Operation::WriteState { key, .. }
            | Operation::ExchangeState { key, .. }
            | Operation::AppendState { key, .. }
            | Operation::ReadAppended { key, .. }
            | Operation::ClearAppended { key }
            | Operation::LockGlobal { key }
            | Operation::UnlockGlobal { key } => Some(key),
            Operation::AwaitCall(_)
            | Operation::Sleep(_)
            | Operation::AwaitLock(_)
            | Operation::ReadFile { .. } => None,
        }
    }
}

impl Operation {
    /// Bytes of data that it contains.
    pub fn bytes(&self) -> usize {
        match self {
            Operation::WriteState { chunks, .. } | Operation::ExchangeState { chunks, .. } => {
                chunks.iter().map(|chunk| chunk.bytes.len() + size_of::<Chunk>()).sum()
            }
            Operation::AppendState { bytes, .. } => bytes.len(),
            _ => 0,
        }
    }
}

/// How an [`Operation`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completion {
    Done,
    Call(CallResult),
    /// Size of the global value, if it exists, and the requested bytes as far as they exist.
    State {
        size: Option<u64>,
        chunk: Chunk,
    },
    Bytes(Vec<u8>),
    /// The file does not exist; or the lock to be released, or on which a write relied, is no longer held.
    Missing,
    /// The operation failed; ends the run.
    Failed(String),
}

impl Completion {
    /// Bytes of data that it contains.
    pub fn bytes(&self) -> usize {
        match self {
            Completion::State { chunk, .. } => chunk.bytes.len(),
            Completion::Bytes(bytes) => bytes.len(),
            Completion::Call(result) => result.output.len(),
            Completion::Done | Completion::Missing | Completion::Failed(_) => 0,
        }
    }
}

/// Arguments of a host call: one 64-bit slot each, an `i32` in the low half.
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

/// What the driver has to do after the first half of a call that may wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Do not suspend; call [`Guest::finish`].
    Ready,
    /// Suspend, perform, [`Guest::complete`], resume, [`Guest::finish`].
    Wait(Operation),
    /// Call a function of the guest; once it has returned, [`Guest::finish`].
    Call(GuestCall),
}

/// A function of the guest that a host call calls: an entry of its table that takes `i32`s and has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestCall {
    pub function: u32,
    pub arguments: Vec<u32>,
}

/// What the driver has to do after the second half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The call's result; ignore it if the import has no result.
    Return(i32),
    /// Call the guest's `malloc` with this size, pass the pointer to [`Guest::allocated`], and finish again.
    Allocate { bytes: u32 },
}

/// The result of a handler.
enum Flow {
    Return(i32),
    Wait(Operation),
    Allocate(Allocation),
    Call(GuestCall),
}

/// Why guest memory is needed.
enum Allocation {
    /// The output of an awaited call.
    Output(CallResult),
    /// A state value, or a range of it.
    Mapping(MappingRequest),
}

impl Allocation {
    /// Key of the value to be mapped.
    fn key(&self) -> Option<&str> {
        match self {
            Allocation::Output(_) => None,
            Allocation::Mapping(request) => Some(&request.key),
        }
    }

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
    /// The function of the guest is running or has returned.
    Calling,
}

struct Frame {
    call: HostCall,
    args: Args,
    stage: Stage,
    /// Key of the state call: the guest may overwrite it in its memory before the call completes.
    key: Option<String>,
    /// What a push took from the local tier, to be restored if it does not complete.
    pushed: Option<Pushed>,
}

impl Frame {
    /// Cleans up a call that will not complete.
    fn give_up(self, tier: &mut LocalTier) {
        if let Some(pushed) = self.pushed {
            pushed.restore(tier);
        }
        if let Some(key) = self.key {
            tier.let_go(&key);
        }
    }

    /// Bytes that it holds.
    fn held_bytes(&self) -> usize {
        match &self.stage {
            Stage::Completed(completion) => completion.bytes(),
            Stage::Allocating(Allocation::Output(result))
            | Stage::Allocated(Allocation::Output(result), _) => result.output.len(),
            _ => 0,
        }
    }
}

/// A push under way: the bytes that are dirty again if it fails. Others that it sent were not written here, and may be older than
/// what the cluster has by then.
struct Pushed {
    key: String,
    unsent: Vec<Range<u64>>,
}

impl Pushed {
    /// Before the push takes anything.
    fn new(key: &str, tier: &LocalTier) -> Self {
        Self { key: key.to_owned(), unsent: tier.unsent(key) }
    }

    /// What is left of it by what the push has taken.
    fn of(mut self, operation: &Operation) -> Self {
        if let Operation::WriteState { chunks, .. } | Operation::ExchangeState { chunks, .. } =
            operation
        {
            let taken: RangeSet<u64> = chunks.iter().map(Chunk::range).collect();
            let unsent: RangeSet<u64> = self.unsent.into_iter().collect();
            self.unsent = unsent.intersection(&taken).collect();
        }
        self
    }

    fn restore(&self, tier: &mut LocalTier) {
        tier.restore_dirty(&self.key, &self.unsent);
    }
}

/// The function to run, and its input.
#[derive(Clone, Debug, Default)]
pub struct Invocation {
    /// Name of the function.
    pub function: String,
    pub input: Bytes,
    /// Answer to `__faasm_get_idx`: 0, or what this call was chained with.
    pub index: u32,
    /// Command line after `argv[0]`, which is `function.wasm`.
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
}

/// What the kernel needs to know about a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModuleFacts {
    /// The driver can call the guest's own `malloc` for outputs of awaited calls and mapped state.
    pub has_malloc: bool,
    /// Memory above the break is safe: the guest uses no memory that was not allocated to it. False for a module that
    /// grows memory by itself and has no fence.
    pub is_break_safe: bool,
    /// Address of the C library's `errno`, if the module reveals it.
    pub errno: Option<u32>,
}

/// The host side of one run.
pub struct Guest {
    invocation: Invocation,
    output: Vec<u8>,
    /// Chained calls by id; `true` until they are awaited.
    calls: SortedMap<CallId, bool>,
    frames: Vec<Frame>,
    /// The result of a call that did not have to wait, until the next call of [`Guest::finish`].
    ready: Option<i32>,
    /// Of the push that is about to wait.
    pushing: Option<Pushed>,
    mappings: Mappings,
    /// This run's id in the local tier, once it has one.
    run: Option<RunId>,
    /// Keys whose cluster-wide lock this run holds.
    global_locks: Vec<String>,
    files: files::Files,
    module: ModuleFacts,
    heap: heap::Heap,
    keys: threads::Keys,
    openmp: openmp::OpenMp,
    /// The subscriptions of the `poll_oneoff` that is sleeping; there is at most one.
    polled: wasi::Polled,
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

/// What a handler may access besides the guest itself.
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
            pushing: None,
            mappings: Mappings::default(),
            run: None,
            global_locks: Vec::new(),
            files: files::Files::default(),
            module,
            heap: heap::Heap::default(),
            keys: threads::Keys::default(),
            openmp: openmp::OpenMp::default(),
            polled: Vec::new(),
        }
    }

    /// The function to run, and its input.
    pub fn invocation(&self) -> &Invocation {
        &self.invocation
    }

    /// Takes the output written so far.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Whether a half of this call may access the local tier; for any other call the driver may pass an empty one.
    pub fn uses_tier(&self, call: HostCall) -> bool {
        let waits = may_suspend(call);
        state::is_about_state(call)
            || waits && !self.mappings.is_empty()
            || waits && self.frames.iter().any(|frame| frame.key.is_some())
    }

    /// Bytes held outside the guest's memory, without the input: output, mappings, files, chained calls, and results of
    /// host calls that the guest has not received.
    pub fn held_bytes(&self) -> u64 {
        let frames: usize = self.frames.iter().map(Frame::held_bytes).sum();
        let calls = self.calls.len() * size_of::<(CallId, bool)>();
        (self.output.len() + frames + calls) as u64
            + self.mappings.held_bytes()
            + self.files.held_bytes()
    }

    /// Chained calls that were not awaited.
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

    /// Performs a call that returns an `f64`; such calls never wait and take no arguments.
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
        self.pushing = None;
        let flow = self.handle(call, &args, &mut Context { host, tier })?;
        let (stage, begin, key, pushed) = match flow {
            Flow::Return(value) => {
                self.ready = Some(value);
                return Ok(Begin::Ready);
            }
            Flow::Allocate(wanted) if !self.module.has_malloc => {
                let cx = &mut Context { host, tier };
                self.ready = Some(self.allocate(call, &args, wanted, cx)?);
                return Ok(Begin::Ready);
            }
            Flow::Allocate(wanted) => {
                let key = wanted.key().map(str::to_owned);
                (Stage::Allocating(wanted), Begin::Ready, key, None)
            }
            Flow::Call(called) => (Stage::Calling, Begin::Call(called), None, None),
            Flow::Wait(operation) => {
                let key = match call {
                    // The operation's key is the file's, not the value's.
                    HostCall::WriteStateFromFile => Some(host.read_string(args.u32(0))?),
                    _ => operation.key().map(str::to_owned),
                };
                let pushed = self.pushing.take().map(|pushed| pushed.of(&operation));
                (Stage::Waiting, Begin::Wait(operation), key, pushed)
            }
        };
        if let Some(key) = &key {
            tier.hold(key);
        }
        if let Begin::Wait(_) = begin {
            self.mappings.absorb(host, tier);
        }
        self.frames.push(Frame { call, args, stage, key, pushed });
        Ok(begin)
    }

    /// Passes the result of the operation of the innermost waiting call.
    ///
    /// # Errors
    /// If no call waits.
    pub fn complete(&mut self, completion: Completion) -> Result<(), Fault> {
        match self.frames.last_mut() {
            Some(Frame { stage: stage @ Stage::Waiting, .. }) => {
                *stage = Stage::Completed(completion);
                Ok(())
            }
            _ => Err(Fault::Order { call: "complete" }),
        }
    }

    /// Passes the result of the guest's `malloc`.
    ///
    /// # Errors
    /// If no call waits for memory, or `malloc` returned NULL.
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
    pub fn finish(
        &mut self,
        call: HostCall,
        host: &mut dyn Host,
        tier: &mut LocalTier,
    ) -> Result<Finish, Fault> {
        if let Some(value) = self.ready.take() {
            return Ok(Finish::Return(value));
        }
        // An exception of the guest has unwound past the calls above it.
        let left = self.frames.iter().rposition(|frame| frame.call == call);
        for frame in self.frames.drain(left.map_or(0, |position| position + 1)..) {
            frame.give_up(tier);
        }
        let Some(frame) = self.frames.pop() else {
            return Err(Fault::Order { call: "finish" });
        };
        let key = frame.key.clone();
        let finished = self.finish_frame(frame, host, tier);
        let goes_on = matches!(finished, Ok(Finish::Allocate { .. }));
        if let (Some(key), false) = (key, goes_on) {
            tier.let_go(&key);
        }
        finished
    }

    fn finish_frame(
        &mut self,
        Frame { call, args, stage, key, pushed }: Frame,
        host: &mut dyn Host,
        tier: &mut LocalTier,
    ) -> Result<Finish, Fault> {
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
            Stage::Completed(completion) => {
                self.resume((call, key.as_deref()), &args, completion, context)?
            }
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
                self.frames.push(Frame { call, args, stage, key, pushed });
                Ok(Finish::Allocate { bytes })
            }
            Flow::Wait(_) | Flow::Call(_) => Err(Fault::Order { call: call.row().name }),
        }
    }

    /// Allocates memory from the break for what a call returns, and fills it.
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

    /// Fills the memory for what a call returns; returns the call's result.
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

    /// Ends a run whose memory still exists: absorbs its writes through mappings, and releases its locks.
    pub fn end(&mut self, host: &mut dyn Host, tier: &mut LocalTier) {
        self.mappings.absorb(host, tier);
        self.abandon(tier);
    }

    /// Ends a run that was cut off: releases its locks, and marks what it was pushing as dirty again.
    pub fn abandon(&mut self, tier: &mut LocalTier) {
        for frame in self.frames.drain(..) {
            frame.give_up(tier);
        }
        self.mappings.release(tier);
        if let Some(run) = self.run.take() {
            tier.release(run);
        }
    }
}

/// Whether a driver must bind this row through begin and finish.
pub fn may_suspend(call: HostCall) -> bool {
    call.row().suspends != Suspends::Never
}

#[cfg(test)]
mod tests;
