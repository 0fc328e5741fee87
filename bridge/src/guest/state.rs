//! State calls: the guest's access to the two tiers.

use super::{
    Allocation, Args, Completion, Context, Fault, Flow, Guest, GuestMemoryExt, MappingRequest,
    Operation, Pushed,
};
use crate::host::{CoreCall, Grouped, HostCall, StateCall};
use crate::state::{Chunk, LocalTier, LockMode, LockOutcome, RunId, StateError, Value};
use std::ops::Range;

/// Calls that always access the local tier.
pub(super) fn is_about_state(call: HostCall) -> bool {
    matches!(call.grouped(), Grouped::State(_) | Grouped::Core(CoreCall::WriteStateFromFile))
}

impl Guest {
    pub(super) fn state_call(
        &mut self,
        call: StateCall,
        args: &Args,
        cx: &mut Context<'_>,
    ) -> Result<Flow, Fault> {
        use StateCall as C;
        let key = cx.host.read_string(args.u32(0))?;
        self.mappings.absorb(cx.host, cx.tier);
        let flow = match call {
            C::ReadState => read(&key, args, cx),
            C::ReadStatePtr => {
                let size = args.u32(1).into();
                self.map(&key, size, 0..size, cx)
            }
            C::ReadStateOffset => read_offset(&key, args, cx),
            C::ReadStateOffsetPtr => {
                let range = offset_range(&key, args, args.u32(3))?;
                self.map(&key, args.u32(1).into(), range, cx)
            }
            C::WriteState => write(&key, args, cx),
            C::WriteStateOffset => write_offset(&key, args, cx),
            C::FlagStateDirty => {
                let size = args.u32(1).into();
                cx.tier.flag_dirty(&key, size, 0..size)?;
                Ok(Flow::Return(0))
            }
            C::FlagStateOffsetDirty => {
                let range = offset_range(&key, args, args.u32(3))?;
                cx.tier.flag_dirty(&key, args.u32(1).into(), range)?;
                Ok(Flow::Return(0))
            }
            C::PushState => {
                self.pushes(&key, cx);
                Ok(send(cx.tier.take_dirty(&key), |size, chunks| Operation::WriteState {
                    key,
                    size,
                    chunks,
                }))
            }
            C::PushStatePartial => {
                self.pushes(&key, cx);
                let taken = cx.tier.take_dirty_ranges(&key);
                Ok(self.exchange(key, taken, cx))
            }
            C::PushStatePartialMask => {
                self.pushes(&key, cx);
                let mask = cx.host.read_string(args.u32(1))?;
                let taken = cx.tier.take_masked(&key, &mask)?;
                Ok(self.exchange(key, taken, cx))
            }
            C::PullState => {
                self.ask(&key, cx);
                Ok(Flow::Wait(Operation::ReadState { key, offset: 0, length: None }))
            }
            C::AppendState => {
                let bytes = cx.host.read(args.u32(1), args.u32(2))?;
                Ok(Flow::Wait(Operation::AppendState { key, bytes }))
            }
            C::ReadAppendedState => {
                Ok(Flow::Wait(Operation::ReadAppended { key, count: args.u32(3) }))
            }
            C::ClearAppendedState => Ok(Flow::Wait(Operation::ClearAppended { key })),
            C::LockStateRead => self.lock(key, LockMode::Read, cx),
            C::LockStateWrite => self.lock(key, LockMode::Write, cx),
            C::UnlockStateRead => Ok(self.unlock(&key, LockMode::Read, cx)),
            C::UnlockStateWrite => Ok(self.unlock(&key, LockMode::Write, cx)),
            C::SnapshotMemory => {
                self.check_fence(call.into(), cx)?;
                snapshot(key, cx)
            }
            C::RestoreMemory => {
                self.check_fence(call.into(), cx)?;
                Ok(Flow::Wait(Operation::ReadState { key, offset: 0, length: None }))
            }
            C::LockStateGlobal if self.global_locks.contains(&key) => Err(Fault::Deadlock { key }),
            C::LockStateGlobal => Ok(Flow::Wait(Operation::LockGlobal { key })),
            C::UnlockStateGlobal if self.global_locks.contains(&key) => {
                Ok(Flow::Wait(Operation::UnlockGlobal { key }))
            }
            // As with a local lock: nothing happens if the run does not hold it.
            C::UnlockStateGlobal => Ok(Flow::Return(0)),
        }?;
        if let Flow::Return(_) = flow {
            self.mappings.refresh(cx.host, cx.tier);
        }
        Ok(flow)
    }

    /// Second half of the state calls; `key` was read in the first half, since the guest may have overwritten it.
    pub(super) fn state_arrived(
        &mut self,
        (call, key): (HostCall, &str),
        args: &Args,
        completion: Completion,
        cx: &mut Context<'_>,
    ) -> Result<Flow, Fault> {
        use HostCall as C;
        let flow = match (call, completion) {
            (C::ReadState, Completion::State { size, chunk }) => {
                read_arrived(key, args, size, &chunk, cx)
            }
            (C::ReadStatePtr, Completion::State { size, chunk }) => {
                cx.tier.take_in(key, size, &chunk)?;
                let size = args.u32(1).into();
                self.map(key, size, 0..size, cx)
            }
            (C::ReadStateOffset, Completion::State { size, chunk }) => {
                cx.tier.take_in(key, size, &chunk)?;
                copy_range(key, args, cx)
            }
            (C::ReadStateOffsetPtr, Completion::State { size, chunk }) => {
                cx.tier.take_in(key, size, &chunk)?;
                let range = offset_range(key, args, args.u32(3))?;
                self.map(key, args.u32(1).into(), range, cx)
            }
            (C::PullState, Completion::State { size, chunk }) => {
                let run = self.name(cx.tier);
                pull_arrived(run, key, args, size, &chunk, cx)
            }
            (
                C::PushStatePartial | C::PushStatePartialMask,
                Completion::State { size: Some(_), chunk },
            ) => {
                let run = self.name(cx.tier);
                cx.tier.refresh(run, key, &chunk.bytes)?;
                Ok(Flow::Return(0))
            }
            (C::RestoreMemory, Completion::State { size, chunk }) => {
                let flow = restore(key, size, &chunk, cx)?;
                // The allocations of the snapshot are valid again; mapped values are not part of it.
                self.heap.give_up(cx.host);
                self.mappings.restore_in_guest(cx.host);
                Ok(flow)
            }
            (C::LockStateGlobal, Completion::Done) => {
                self.global_locks.push(key.to_owned());
                Ok(Flow::Return(0))
            }
            (C::UnlockStateGlobal, Completion::Done) => {
                self.global_locks.retain(|held| held != key);
                Ok(Flow::Return(0))
            }
            (C::UnlockStateGlobal, Completion::Missing) => {
                Err(Fault::LockLost { key: key.to_owned() })
            }
            (C::ReadAppendedState, Completion::Bytes(bytes)) => {
                let count = bytes.len().min(args.u32(2) as usize);
                cx.host.write(args.u32(1), &bytes[..count])?;
                Ok(Flow::Return(count as i32))
            }
            (
                C::PushState
                | C::SnapshotMemory
                | C::AppendState
                | C::ClearAppendedState
                | C::LockStateRead
                | C::LockStateWrite,
                Completion::Done,
            ) => Ok(Flow::Return(0)),
            _ => Err(Fault::Order { call: call.row().name }),
        }?;
        self.mappings.refresh(cx.host, cx.tier);
        Ok(flow)
    }

    /// A restored guest would take the pages behind a fence for its own.
    fn check_fence(&self, call: HostCall, cx: &Context<'_>) -> Result<(), Fault> {
        if !(cx.host.wants_fence() && self.heap.is_used()) {
            return Ok(());
        }
        let message = "this function grows its memory by itself, and the host has allocated memory in it: link it with \
             -Wl,--export=malloc"
            .to_owned();
        Err(Fault::Operation { call, message })
    }

    /// Address of a range of a value, which is mapped if it is not yet.
    fn map(
        &mut self,
        key: &str,
        size: u64,
        range: Range<u64>,
        cx: &mut Context<'_>,
    ) -> Result<Flow, Fault> {
        let value = cx.tier.open(key, size)?;
        if let Some(operation) = fetch_missing(key, value, range.clone()) {
            return Ok(Flow::Wait(operation));
        }
        match self.mappings.find(key, &range) {
            Some(pointer) => Ok(Flow::Return(pointer as i32)),
            None => {
                let request = MappingRequest { key: key.to_owned(), range };
                Ok(Flow::Allocate(Allocation::Mapping(request)))
            }
        }
    }

    /// The id of this run in the tier.
    fn name(&mut self, tier: &mut LocalTier) -> RunId {
        *self.run.get_or_insert_with(|| tier.new_run())
    }

    fn ask(&mut self, key: &str, cx: &mut Context<'_>) {
        let run = self.name(cx.tier);
        cx.tier.ask(run, key);
    }

    /// A push is about to take what there is to push.
    fn pushes(&mut self, key: &str, cx: &Context<'_>) {
        self.pushing = Some(Pushed::new(key, cx.tier));
    }

    /// A partial push of what there is to push.
    fn exchange(
        &mut self,
        key: String,
        taken: Option<(u64, Vec<Chunk>)>,
        cx: &mut Context<'_>,
    ) -> Flow {
        if taken.is_some() {
            self.ask(&key, cx);
        }
        send(taken, |size, chunks| Operation::ExchangeState { key, size, chunks })
    }

    fn lock(&mut self, key: String, mode: LockMode, cx: &mut Context<'_>) -> Result<Flow, Fault> {
        let run = self.name(cx.tier);
        match cx.tier.lock(run, &key, mode)? {
            LockOutcome::Held => Ok(Flow::Return(0)),
            LockOutcome::Wait(ticket) => Ok(Flow::Wait(Operation::AwaitLock(ticket))),
            LockOutcome::Deadlock => Err(Fault::Deadlock { key }),
        }
    }

    fn unlock(&mut self, key: &str, mode: LockMode, cx: &mut Context<'_>) -> Flow {
        if let Some(run) = self.run {
            cx.tier.unlock(run, key, mode);
        }
        Flow::Return(0)
    }
}

/// A push of `taken`, if anything is to be pushed.
fn send(
    taken: Option<(u64, Vec<Chunk>)>,
    operation: impl FnOnce(u64, Vec<Chunk>) -> Operation,
) -> Flow {
    match taken {
        Some((size, chunks)) => Flow::Wait(operation(size, chunks)),
        None => Flow::Return(0),
    }
}

/// The range given by the arguments `(key, total, off, …)`.
fn offset_range(key: &str, args: &Args, length: u32) -> Result<Range<u64>, StateError> {
    LocalTier::range(key, args.u32(1).into(), args.u32(2).into(), length.into())
}

/// One request that covers every missing byte of `range`; present bytes are kept when the result arrives.
fn fetch_missing(key: &str, value: &Value, range: Range<u64>) -> Option<Operation> {
    let gap = value.gap(range)?;
    Some(Operation::ReadState {
        key: key.to_owned(),
        offset: gap.start,
        length: Some(gap.end - gap.start),
    })
}

/// `__faasm_read_state(key, buf, len) -> size`; if `len` is 0, only the size.
fn read(key: &str, args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
    let size_only = args.u32(2) == 0;
    match cx.tier.get(key) {
        Some(value) if size_only => Ok(Flow::Return(value.size() as i32)),
        Some(value) => match fetch_missing(key, value, 0..value.size()) {
            Some(operation) => Ok(Flow::Wait(operation)),
            None => copy_whole(key, args, cx),
        },
        None => {
            let (key, length) = (key.to_owned(), size_only.then_some(0));
            Ok(Flow::Wait(Operation::ReadState { key, offset: 0, length }))
        }
    }
}

fn read_arrived(
    key: &str,
    args: &Args,
    size: Option<u64>,
    chunk: &Chunk,
    cx: &mut Context<'_>,
) -> Result<Flow, Fault> {
    if args.u32(2) == 0 {
        // Another run may have created the value here meanwhile.
        let local = cx.tier.get(key).map(Value::size);
        return Ok(Flow::Return(local.or(size).unwrap_or(0) as i32));
    }
    if !cx.tier.take_in(key, size, chunk)? {
        return Ok(Flow::Return(0));
    }
    copy_whole(key, args, cx)
}

fn copy_whole(key: &str, args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
    let Some(value) = cx.tier.get(key) else { return Ok(Flow::Return(0)) };
    let count = value.size().min(u64::from(args.u32(2)));
    cx.host.write(args.u32(1), value.read(0..count))?;
    Ok(Flow::Return(value.size() as i32))
}

/// `__faasm_read_state_offset(key, total, off, buf, len)`
fn read_offset(key: &str, args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
    let range = offset_range(key, args, args.u32(4))?;
    let value = cx.tier.open(key, args.u32(1).into())?;
    match fetch_missing(key, value, range) {
        Some(operation) => Ok(Flow::Wait(operation)),
        None => copy_range(key, args, cx),
    }
}

fn copy_range(key: &str, args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
    let range = offset_range(key, args, args.u32(4))?;
    let value = cx.tier.open(key, args.u32(1).into())?;
    cx.host.write(args.u32(3), value.read(range))?;
    Ok(Flow::Return(args.u32(4) as i32))
}

/// `__faasm_write_state(key, ptr, len)`
fn write(key: &str, args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
    let bytes = cx.host.read(args.u32(1), args.u32(2))?;
    cx.tier.write(key, bytes.len() as u64, 0, &bytes)?;
    Ok(Flow::Return(0))
}

/// `__faasm_write_state_offset(key, total, off, ptr, len)`
fn write_offset(key: &str, args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
    let bytes = cx.host.read(args.u32(3), args.u32(4))?;
    cx.tier.write(key, args.u32(1).into(), args.u32(2).into(), &bytes)?;
    Ok(Flow::Return(0))
}

/// `__faasm_pull_state(key, len)`; with `len` 0 the value may have any size.
fn pull_arrived(
    run: RunId,
    key: &str,
    args: &Args,
    size: Option<u64>,
    chunk: &Chunk,
    cx: &mut Context<'_>,
) -> Result<Flow, Fault> {
    let asked = u64::from(args.u32(1));
    match size {
        Some(have) if asked != 0 && have != asked => {
            let key = key.to_owned();
            return Err(StateError::SizeMismatch { key, have, asked }.into());
        }
        Some(_) => cx.tier.replace(run, key, &chunk.bytes)?,
        // No global value: the local one stays, and a value that was never written is zeros.
        None if cx.tier.get(key).is_none() && asked != 0 => {
            let zeros = vec![0; cx.tier.open(key, asked)?.size() as usize];
            cx.tier.replace(run, key, &zeros)?;
        }
        None => {}
    }
    Ok(Flow::Return(0))
}

/// `__faasm_snapshot_memory(key)`: the whole memory, as the value of a key.
fn snapshot(key: String, cx: &mut Context<'_>) -> Result<Flow, Fault> {
    let size = u32::try_from(cx.host.size()).unwrap_or(u32::MAX);
    let memory = cx.host.read(0, size)?;
    cx.tier.write(&key, memory.len() as u64, 0, &memory)?;
    Ok(send(cx.tier.take_dirty(&key), |size, chunks| Operation::WriteState { key, size, chunks }))
}

/// `__faasm_restore_memory(key)`: restores the memory; pages added since the snapshot stay as they are.
fn restore(
    key: &str,
    size: Option<u64>,
    chunk: &Chunk,
    cx: &mut Context<'_>,
) -> Result<Flow, Fault> {
    const PAGE_BYTES: u64 = 64 << 10;
    let call = HostCall::RestoreMemory;
    if size.is_none() {
        let message =
            format!("there is no snapshot `{key}`: take one with __faasm_snapshot_memory");
        return Err(Fault::Operation { call, message });
    }
    let missing = (chunk.bytes.len() as u64).saturating_sub(cx.host.size());
    let pages = u32::try_from(missing.div_ceil(PAGE_BYTES)).unwrap_or(u32::MAX);
    if pages > 0 && cx.host.grow(pages).is_none() {
        let bytes = u32::try_from(missing).unwrap_or(u32::MAX);
        return Err(Fault::OutOfMemory { bytes });
    }
    cx.host.write(0, &chunk.bytes)?;
    Ok(Flow::Return(0))
}
