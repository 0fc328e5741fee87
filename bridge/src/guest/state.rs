//! State calls: the guest's side of the two tiers.

use super::{Args, Context, Fault, Flow, GuestMemoryExt, Operation};
use crate::state::{Chunk, LocalTier, StateError, Value};
use std::ops::Range;

fn key(args: &Args, cx: &Context<'_>) -> Result<String, Fault> {
    cx.host.read_string(args.u32(0))
}

/// One request that brings every missing byte of `range`; what it brings twice is ignored when it arrives.
fn fetch_missing(key: &str, value: &Value, range: Range<u64>) -> Option<Operation> {
    let missing = value.missing(range);
    let (first, last) = (missing.first()?, missing.last()?);
    Some(Operation::ReadState {
        key: key.to_owned(),
        offset: first.start,
        length: Some(last.end - first.start),
    })
}

/// `__faasm_read_state(key, buf, len) -> size`; with `len` 0 only the size.
pub(super) fn read(args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
    let key = key(args, cx)?;
    let size_only = args.u32(2) == 0;
    match cx.tier.get(&key) {
        Some(value) if size_only => Ok(Flow::Return(value.size() as i32)),
        Some(value) => match fetch_missing(&key, value, 0..value.size()) {
            Some(operation) => Ok(Flow::Wait(operation)),
            None => copy_whole(&key, args, cx),
        },
        None => {
            let length = size_only.then_some(0);
            Ok(Flow::Wait(Operation::ReadState { key, offset: 0, length }))
        }
    }
}

pub(super) fn read_arrived(
    args: &Args,
    size: Option<u64>,
    chunk: &Chunk,
    cx: &mut Context<'_>,
) -> Result<Flow, Fault> {
    let key = key(args, cx)?;
    if args.u32(2) == 0 {
        // Another run may have made the value here meanwhile.
        let local = cx.tier.get(&key).map(Value::size);
        return Ok(Flow::Return(local.or(size).unwrap_or(0) as i32));
    }
    if !take_in(&key, size, chunk, cx.tier)? {
        return Ok(Flow::Return(0));
    }
    copy_whole(&key, args, cx)
}

/// Puts what a read brought into the local tier; `false` where neither tier has the value.
///
/// Bytes that the global tier does not have read as zero.
fn take_in(
    key: &str,
    size: Option<u64>,
    chunk: &Chunk,
    tier: &mut LocalTier,
) -> Result<bool, StateError> {
    match (size, tier.get(key).map(Value::size)) {
        (Some(size), _) => tier.fill(key, size, chunk)?,
        (None, Some(size)) => {
            let zeros = Chunk { offset: 0, bytes: vec![0; size as usize] };
            tier.fill(key, size, &zeros)?;
        }
        (None, None) => return Ok(false),
    }
    Ok(true)
}

fn copy_whole(key: &str, args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
    let Some(value) = cx.tier.get(key) else { return Ok(Flow::Return(0)) };
    let count = value.size().min(u64::from(args.u32(2)));
    cx.host.write(args.u32(1), value.read(0..count))?;
    Ok(Flow::Return(value.size() as i32))
}

/// `__faasm_read_state_offset(key, total, off, buf, len)`
pub(super) fn read_offset(args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
    let key = key(args, cx)?;
    let (size, offset, length) = (args.u32(1), args.u32(2), args.u32(4));
    let range = LocalTier::range(&key, size.into(), offset.into(), length.into())?;
    let value = cx.tier.open(&key, size.into())?;
    match fetch_missing(&key, value, range) {
        Some(operation) => Ok(Flow::Wait(operation)),
        None => copy_range(&key, args, cx),
    }
}

pub(super) fn read_offset_arrived(
    args: &Args,
    size: Option<u64>,
    chunk: &Chunk,
    cx: &mut Context<'_>,
) -> Result<Flow, Fault> {
    let key = key(args, cx)?;
    take_in(&key, size, chunk, cx.tier)?;
    copy_range(&key, args, cx)
}

fn copy_range(key: &str, args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
    let (size, offset, length) = (args.u32(1), args.u32(2), args.u32(4));
    let range = LocalTier::range(key, size.into(), offset.into(), length.into())?;
    let value = cx.tier.open(key, size.into())?;
    cx.host.write(args.u32(3), value.read(range))?;
    Ok(Flow::Return(length as i32))
}

/// `__faasm_write_state(key, ptr, len)`
pub(super) fn write(args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
    let key = key(args, cx)?;
    let bytes = cx.host.read(args.u32(1), args.u32(2))?;
    cx.tier.write(&key, bytes.len() as u64, 0, &bytes)?;
    Ok(Flow::Return(0))
}

/// `__faasm_write_state_offset(key, total, off, ptr, len)`
pub(super) fn write_offset(args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
    let key = key(args, cx)?;
    let bytes = cx.host.read(args.u32(3), args.u32(4))?;
    cx.tier.write(&key, args.u32(1).into(), args.u32(2).into(), &bytes)?;
    Ok(Flow::Return(0))
}

/// `__faasm_flag_state_dirty(key, total)`
pub(super) fn flag_dirty(args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
    let key = key(args, cx)?;
    let size = u64::from(args.u32(1));
    cx.tier.flag_dirty(&key, size, 0..size)?;
    Ok(Flow::Return(0))
}

/// `__faasm_flag_state_offset_dirty(key, total, off, len)`
pub(super) fn flag_offset_dirty(args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
    let key = key(args, cx)?;
    let (size, offset, length) = (args.u32(1), args.u32(2), args.u32(3));
    let range = LocalTier::range(&key, size.into(), offset.into(), length.into())?;
    cx.tier.flag_dirty(&key, size.into(), range)?;
    Ok(Flow::Return(0))
}

/// `__faasm_push_state(key)`
pub(super) fn push(args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
    let key = key(args, cx)?;
    match cx.tier.take_dirty(&key) {
        Some((size, chunks)) => Ok(Flow::Wait(Operation::WriteState { key, size, chunks })),
        None => Ok(Flow::Return(0)),
    }
}

/// `__faasm_pull_state(key, len)`; `len` 0 takes whatever size the value has.
pub(super) fn pull(args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
    let key = key(args, cx)?;
    Ok(Flow::Wait(Operation::ReadState { key, offset: 0, length: None }))
}

pub(super) fn pull_arrived(
    args: &Args,
    size: Option<u64>,
    chunk: Chunk,
    cx: &mut Context<'_>,
) -> Result<Flow, Fault> {
    let key = key(args, cx)?;
    let asked = u64::from(args.u32(1));
    match size {
        Some(have) if asked != 0 && have != asked => {
            return Err(StateError::SizeMismatch { key, have, asked }.into());
        }
        Some(_) => cx.tier.replace(&key, chunk.bytes)?,
        // Nothing to pull: what is here stays, and a key nobody wrote is a value of zeros.
        None if cx.tier.get(&key).is_none() && asked != 0 => {
            let zeros = vec![0; cx.tier.open(&key, asked)?.size() as usize];
            cx.tier.replace(&key, zeros)?;
        }
        None => {}
    }
    Ok(Flow::Return(0))
}
