//! WASI preview 1, as far as it needs no files: arguments, environment, clocks, random bytes, the three standard
//! descriptors, waiting, and exit.
//!
//! Follows the `wasi_snapshot_preview1` specification; error numbers and structure layouts are its own. Pointers outside
//! memory give `errno` 21 (`fault`), not a trap.

use super::{Args, Clock, Context, Fault, Flow, Guest, GuestMemoryExt, Operation, Stream};
use crate::host::HostCall;

/// The specification's error numbers that this module gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errno {
    Success = 0,
    BadDescriptor = 8,
    Fault = 21,
    IllegalSequence = 25,
    Invalid = 28,
    NotSupported = 52,
    NotASeekable = 70,
}

/// `filetype` of the standard descriptors.
const CHARACTER_DEVICE: u8 = 2;
const RIGHT_FD_READ: u64 = 1 << 1;
const RIGHT_FD_WRITE: u64 = 1 << 6;

const SUBSCRIPTION_BYTES: u32 = 48;
const EVENT_BYTES: u32 = 32;
const EVENT_CLOCK: u8 = 0;
const CLOCK_ABSOLUTE: u16 = 1;

/// Most entries a scatter list or a poll may have; a guest that asks for more gets `inval`.
const MAX_LIST: u32 = 1024;

pub(super) fn is_wasi(call: HostCall) -> bool {
    call.row().module == "wasi_snapshot_preview1"
}

/// What the run has open.
#[derive(Debug, Default)]
pub(super) struct Descriptors {
    closed: [bool; 3],
    /// How much of standard input was read.
    stdin_offset: usize,
}

impl Descriptors {
    fn check(&self, descriptor: u32) -> Result<u32, Errno> {
        match self.closed.get(descriptor as usize) {
            Some(false) => Ok(descriptor),
            _ => Err(Errno::BadDescriptor),
        }
    }
}

/// Why a WASI call stops short: an error number for the guest, or the end of the run.
enum Stop {
    Errno(Errno),
    Fault(Fault),
    Wait(Operation),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Stop::Errno(errno)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::OutOfBounds { .. } => Stop::Errno(Errno::Fault),
            Fault::NotUtf8 { .. } => Stop::Errno(Errno::IllegalSequence),
            other => Stop::Fault(other),
        }
    }
}

type Outcome = Result<(), Stop>;

fn to_flow(outcome: Outcome) -> Result<Flow, Fault> {
    match outcome {
        Ok(()) => Ok(Flow::Return(Errno::Success as i32)),
        Err(Stop::Errno(errno)) => Ok(Flow::Return(errno as i32)),
        Err(Stop::Wait(operation)) => Ok(Flow::Wait(operation)),
        Err(Stop::Fault(fault)) => Err(fault),
    }
}

impl Guest {
    pub(super) fn wasi_call(
        &mut self,
        call: HostCall,
        args: &Args,
        cx: &mut Context<'_>,
    ) -> Result<Flow, Fault> {
        use HostCall as C;
        to_flow(match call {
            C::ArgsGet => strings(&self.arguments(), args, cx),
            C::ArgsSizesGet => string_sizes(&self.arguments(), args, cx),
            C::EnvironGet => strings(&self.environment(), args, cx),
            C::EnvironSizesGet => string_sizes(&self.environment(), args, cx),
            C::ClockResGet => clock_resolution(args, cx),
            C::ClockTimeGet => clock_time(args, cx),
            C::FdClose => self.fd_close(args),
            C::FdFdstatGet => self.fd_fdstat_get(args, cx),
            C::FdFdstatSetFlags => self.wasi.check(args.u32(0)).map(drop).map_err(Stop::from),
            C::FdFilestatGet => self.fd_filestat_get(args, cx),
            // No folder is preopened.
            C::FdPrestatGet | C::FdPrestatDirName => Err(Errno::BadDescriptor.into()),
            C::FdRead => self.fd_read(args, cx),
            C::FdSeek | C::FdTell => {
                let open = self.wasi.check(args.u32(0));
                Err(open.err().unwrap_or(Errno::NotASeekable).into())
            }
            C::FdWrite => self.fd_write(args, cx),
            C::PollOneoff => poll(args, cx, Poll::First),
            C::ProcExit => Err(Stop::Fault(Fault::Exit(args.u32(0) as i32))),
            C::RandomGet => random(args, cx),
            C::SchedYield => Ok(()),
            // Rows the table plans were answered with `NotSupported` before.
            _ => Err(Errno::NotSupported.into()),
        })
    }

    /// Second half of `poll_oneoff`.
    pub(super) fn wasi_woken(&mut self, args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
        to_flow(poll(args, cx, Poll::AfterSleep))
    }

    fn arguments(&self) -> Vec<String> {
        let name = std::iter::once(self.invocation.function.clone());
        name.chain(self.invocation.args.iter().cloned()).collect()
    }

    fn environment(&self) -> Vec<String> {
        self.invocation.env.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    fn fd_close(&mut self, args: &Args) -> Outcome {
        let descriptor = self.wasi.check(args.u32(0))?;
        self.wasi.closed[descriptor as usize] = true;
        Ok(())
    }

    fn fd_fdstat_get(&mut self, args: &Args, cx: &mut Context<'_>) -> Outcome {
        let descriptor = self.wasi.check(args.u32(0))?;
        let rights = if descriptor == 0 { RIGHT_FD_READ } else { RIGHT_FD_WRITE };
        let mut stat = [0; 24];
        stat[0] = CHARACTER_DEVICE;
        stat[8..16].copy_from_slice(&rights.to_le_bytes());
        Ok(cx.host.write(args.u32(1), &stat)?)
    }

    fn fd_filestat_get(&mut self, args: &Args, cx: &mut Context<'_>) -> Outcome {
        self.wasi.check(args.u32(0))?;
        let mut stat = [0; 64];
        stat[16] = CHARACTER_DEVICE;
        Ok(cx.host.write(args.u32(1), &stat)?)
    }

    fn fd_read(&mut self, args: &Args, cx: &mut Context<'_>) -> Outcome {
        if self.wasi.check(args.u32(0))? != 0 {
            return Err(Errno::BadDescriptor.into());
        }
        let mut total = 0;
        for (pointer, length) in scatter_list(args, cx)? {
            let rest = self.invocation.input.get(self.wasi.stdin_offset..).unwrap_or_default();
            let count = rest.len().min(length as usize);
            cx.host.write(pointer, &rest[..count])?;
            self.wasi.stdin_offset += count;
            total += count as u32;
        }
        Ok(cx.host.write_u32(args.u32(3), total)?)
    }

    fn fd_write(&mut self, args: &Args, cx: &mut Context<'_>) -> Outcome {
        let stream = match self.wasi.check(args.u32(0))? {
            1 => Stream::Stdout,
            2 => Stream::Stderr,
            _ => return Err(Errno::BadDescriptor.into()),
        };
        let mut bytes = Vec::new();
        for (pointer, length) in scatter_list(args, cx)? {
            bytes.extend(cx.host.read(pointer, length)?);
        }
        if !bytes.is_empty() {
            cx.host.print(stream, &bytes);
        }
        Ok(cx.host.write_u32(args.u32(3), bytes.len() as u32)?)
    }
}

/// The `(pointer, length)` pairs of arguments 1 and 2.
fn scatter_list(args: &Args, cx: &Context<'_>) -> Result<Vec<(u32, u32)>, Stop> {
    let (list, count) = (args.u32(1), args.u32(2));
    if count > MAX_LIST {
        return Err(Errno::Invalid.into());
    }
    let bytes = cx.host.read(list, count * 8)?;
    let word =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    Ok((0..count as usize).map(|n| (word(n * 8), word(n * 8 + 4))).collect())
}

fn strings(strings: &[String], args: &Args, cx: &mut Context<'_>) -> Outcome {
    let (mut pointers, mut at) = (args.u32(0), args.u32(1));
    for string in strings {
        cx.host.write_u32(pointers, at)?;
        cx.host.write(at, string.as_bytes())?;
        at = at.wrapping_add(string.len() as u32);
        cx.host.write(at, &[0])?;
        (pointers, at) = (pointers.wrapping_add(4), at.wrapping_add(1));
    }
    Ok(())
}

fn string_sizes(strings: &[String], args: &Args, cx: &mut Context<'_>) -> Outcome {
    let bytes: usize = strings.iter().map(|string| string.len() + 1).sum();
    cx.host.write_u32(args.u32(0), strings.len() as u32)?;
    Ok(cx.host.write_u32(args.u32(1), bytes as u32)?)
}

fn clock(id: u32) -> Result<Clock, Errno> {
    match id {
        0 => Ok(Clock::Realtime),
        // CPU time of a run is not measured apart; the specification lets it be the monotonic clock.
        1..=3 => Ok(Clock::Monotonic),
        _ => Err(Errno::Invalid),
    }
}

fn clock_resolution(args: &Args, cx: &mut Context<'_>) -> Outcome {
    const MICROSECOND: u64 = 1000;
    clock(args.u32(0))?;
    Ok(cx.host.write_u64(args.u32(1), MICROSECOND)?)
}

fn clock_time(args: &Args, cx: &mut Context<'_>) -> Outcome {
    let now = cx.host.now(clock(args.u32(0))?);
    Ok(cx.host.write_u64(args.u32(2), now)?)
}

fn random(args: &Args, cx: &mut Context<'_>) -> Outcome {
    const STEP: u32 = 64 * 1024;
    let (mut at, mut left) = (args.u32(0), args.u32(1));
    while left > 0 {
        let mut bytes = vec![0; left.min(STEP) as usize];
        cx.host.random(&mut bytes);
        cx.host.write(at, &bytes)?;
        (at, left) = (at.wrapping_add(bytes.len() as u32), left - bytes.len() as u32);
    }
    Ok(())
}

#[derive(PartialEq, Eq)]
enum Poll {
    First,
    /// The shortest clock has run out.
    AfterSleep,
}

/// `poll_oneoff(in, out, count, n_events)`: standard descriptors are always ready, clocks suspend.
fn poll(args: &Args, cx: &mut Context<'_>, poll: Poll) -> Outcome {
    let (input, output, count) = (args.u32(0), args.u32(1), args.u32(2));
    if count == 0 || count > MAX_LIST {
        return Err(Errno::Invalid.into());
    }
    let bytes = cx.host.read(input, count * SUBSCRIPTION_BYTES)?;
    let subscriptions: Vec<Subscription> =
        bytes.chunks_exact(SUBSCRIPTION_BYTES as usize).map(Subscription::read).collect();
    let mut shortest = u64::MAX;
    let mut waits = Vec::with_capacity(subscriptions.len());
    for subscription in &subscriptions {
        let wait = subscription.wait(cx)?;
        shortest = shortest.min(wait);
        waits.push(wait);
    }
    if poll == Poll::First && shortest > 0 {
        return Err(Stop::Wait(Operation::Sleep { nanoseconds: shortest }));
    }
    let mut events = Vec::new();
    for (subscription, wait) in subscriptions.iter().zip(waits) {
        if wait <= shortest {
            let mut event = [0; EVENT_BYTES as usize];
            event[..8].copy_from_slice(&subscription.user_data);
            event[10] = subscription.kind;
            events.extend(event);
        }
    }
    cx.host.write(output, &events)?;
    Ok(cx.host.write_u32(args.u32(3), events.len() as u32 / EVENT_BYTES)?)
}

struct Subscription {
    user_data: [u8; 8],
    kind: u8,
    clock: u32,
    timeout: u64,
    flags: u16,
}

impl Subscription {
    fn read(bytes: &[u8]) -> Self {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            word
        };
        Self {
            user_data: word(0),
            kind: bytes[8],
            clock: u64::from_le_bytes(word(16)) as u32,
            timeout: u64::from_le_bytes(word(24)),
            flags: u64::from_le_bytes(word(40)) as u16,
        }
    }

    /// Nanoseconds until this is ready.
    fn wait(&self, cx: &Context<'_>) -> Result<u64, Stop> {
        if self.kind != EVENT_CLOCK {
            return Ok(0);
        }
        let clock = clock(self.clock)?;
        Ok(if self.flags & CLOCK_ABSOLUTE != 0 {
            self.timeout.saturating_sub(cx.host.now(clock))
        } else {
            self.timeout
        })
    }
}
