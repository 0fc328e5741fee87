//! Clocks and waiting, in the older toolchain's layout: seconds in 64 bits, nanoseconds in 32.

use crate::guest::errno::{Errno, Stop};
use crate::guest::wasi::clock;
use crate::guest::{Args, Clock, Context, Fault, Guest, GuestMemoryExt, Operation, Sleep};

const NANOSECONDS: u64 = 1_000_000_000;

const TIMER_ABSOLUTE: u32 = 1;

/// Most descriptors in one `poll`.
const MAX_POLL: u32 = 1024;
const POLL_READ_WRITE: u16 = 1 | 4;
const POLL_INVALID: u16 = 0x20;
const POLLFD_BYTES: u32 = 8;

/// `struct timespec`, from nanoseconds.
pub(super) fn timespec(nanoseconds: u64) -> [u8; 16] {
    pair(nanoseconds / NANOSECONDS, nanoseconds % NANOSECONDS)
}

fn pair(seconds: u64, fraction: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&seconds.to_le_bytes());
    // A 32-bit field and padding, or a 64-bit field: the same bytes.
    bytes[8..].copy_from_slice(&fraction.to_le_bytes());
    bytes
}

/// Nanoseconds of the `struct timespec` at `pointer`.
pub(super) fn read_timespec(pointer: u32, cx: &Context<'_>) -> Result<u64, Stop> {
    cx.host.check(pointer, 16)?;
    let seconds = cx.host.read_u64(pointer)?;
    let nanoseconds = u64::from(cx.host.read_u32(pointer + 8)?);
    if seconds > i64::MAX as u64 || nanoseconds >= NANOSECONDS {
        return Err(Errno::Invalid.into());
    }
    Ok(seconds.saturating_mul(NANOSECONDS).saturating_add(nanoseconds))
}

/// Maps Linux's clocks to those of WASI, since hosts do not provide the differences.
fn linux_clock(id: u32) -> Result<Clock, Errno> {
    const REALTIME_COARSE: u32 = 5;
    match id {
        REALTIME_COARSE => Ok(Clock::Realtime),
        // Raw, coarse, and since boot.
        4 | 6 | 7 => Ok(Clock::Monotonic),
        _ => clock(id),
    }
}

/// `clock_gettime(clock, timespec)`
pub(super) fn clock_gettime(args: &Args, cx: &mut Context<'_>) -> Result<i32, Stop> {
    let now = cx.host.now(linux_clock(args.u32(1))?);
    cx.host.write(args.u32(2), &timespec(now))?;
    Ok(0)
}

/// `clock_getres(clock, timespec)`: a microsecond.
pub(super) fn clock_getres(args: &Args, cx: &mut Context<'_>) -> Result<i32, Stop> {
    linux_clock(args.u32(1))?;
    if args.u32(2) != 0 {
        cx.host.write(args.u32(2), &timespec(1000))?;
    }
    Ok(0)
}

/// `gettimeofday(timeval, timezone)`
pub(super) fn gettimeofday(args: &Args, cx: &mut Context<'_>) -> Result<i32, Stop> {
    let now = cx.host.now(Clock::Realtime);
    if args.u32(1) != 0 {
        cx.host.write(args.u32(1), &pair(now / NANOSECONDS, now % NANOSECONDS / 1000))?;
    }
    Ok(0)
}

/// `time(seconds)`
pub(super) fn time(args: &Args, cx: &mut Context<'_>) -> Result<i32, Stop> {
    let seconds = cx.host.now(Clock::Realtime) / NANOSECONDS;
    if args.u32(1) != 0 {
        cx.host.write_u64(args.u32(1), seconds)?;
    }
    Ok(seconds as i32)
}

/// `nanosleep(wanted, left)`
pub(super) fn nanosleep(args: &Args, cx: &Context<'_>) -> Result<i32, Stop> {
    sleep(read_timespec(args.u32(1), cx)?, cx)
}

/// `clock_nanosleep(clock, flags, wanted, left)`
pub(super) fn clock_nanosleep(args: &Args, cx: &Context<'_>) -> Result<i32, Stop> {
    let clock = linux_clock(args.u32(1))?;
    let wanted = read_timespec(args.u32(3), cx)?;
    if args.u32(2) & TIMER_ABSOLUTE == 0 {
        return sleep(wanted, cx);
    }
    match wanted > cx.host.now(clock) {
        true => Err(Stop::Wait(Operation::Sleep(Sleep::until(clock, wanted)))),
        false => Ok(0),
    }
}

fn sleep(nanoseconds: u64, cx: &Context<'_>) -> Result<i32, Stop> {
    match nanoseconds {
        0 => Ok(0),
        _ => Err(Stop::Wait(Operation::Sleep(Sleep::lasting(nanoseconds, cx.host)))),
    }
}

/// Timeout of a call that waits for descriptors.
#[derive(Clone, Copy)]
pub(super) enum Timeout {
    /// Negative: no timeout.
    Milliseconds(u32),
    /// Pointer to a `struct timespec`; NULL: no timeout.
    Timespec(u32),
    /// Pointer to a `struct timeval`; NULL: no timeout.
    Timeval(u32),
}

impl Timeout {
    /// Waits for the timeout; no descriptor is ready.
    fn wait(self, cx: &Context<'_>) -> Result<i32, Stop> {
        let nanoseconds = match self {
            Timeout::Milliseconds(time) => {
                u64::try_from(time as i32).ok().map(|time| time * 1_000_000)
            }
            Timeout::Timespec(0) | Timeout::Timeval(0) => None,
            Timeout::Timespec(pointer) => Some(read_timespec(pointer, cx)?),
            Timeout::Timeval(pointer) => {
                cx.host.check(pointer, 16)?;
                let (seconds, rest) = (cx.host.read_u64(pointer)?, cx.host.read_u64(pointer + 8)?);
                if seconds > i64::MAX as u64 {
                    return Err(Errno::Invalid.into());
                }
                let rest = rest.saturating_mul(1000);
                Some(seconds.saturating_mul(NANOSECONDS).saturating_add(rest))
            }
        };
        match nanoseconds {
            Some(nanoseconds) => sleep(nanoseconds, cx),
            // Without a timeout the call would never return, since no descriptor can become ready.
            None => Err(Errno::Interrupted.into()),
        }
    }
}

impl Guest {
    /// `poll(fds, count, timeout)`: open descriptors are ready; if none is, the call sleeps.
    pub(super) fn poll_descriptors(
        &self,
        args: &Args,
        timeout: Timeout,
        cx: &mut Context<'_>,
    ) -> Result<i32, Stop> {
        let (list, count) = (args.u32(1), args.u32(2));
        if count > MAX_POLL {
            return Err(Errno::Invalid.into());
        }
        cx.host.check(list, u64::from(count * POLLFD_BYTES))?;
        let mut ready = 0;
        for place in (0..count).map(|n| list + n * POLLFD_BYTES) {
            let (descriptor, wanted) = pollfd(place, cx)?;
            let got = match self.files.descriptor(descriptor) {
                _ if (descriptor as i32) < 0 => 0,
                Ok(_) => wanted & POLL_READ_WRITE,
                Err(_) => POLL_INVALID,
            };
            ready += i32::from(got != 0);
            cx.host.write(place + 6, &got.to_le_bytes())?;
        }
        if ready > 0 { Ok(ready) } else { timeout.wait(cx) }
    }

    /// `select(count, read, write, except, timeout)`: open descriptors are readable and writable, and never
    /// exceptional.
    pub(super) fn select(
        &self,
        args: &Args,
        timeout: Timeout,
        cx: &mut Context<'_>,
    ) -> Result<i32, Stop> {
        let count = args.u32(1);
        if count > MAX_POLL {
            return Err(Errno::Invalid.into());
        }
        let bytes = count.div_ceil(8).next_multiple_of(4);
        let sets = [2, 3, 4].map(|at| args.u32(at));
        let mut ready = 0;
        let mut exceptional = None;
        for (position, set) in sets.into_iter().enumerate().filter(|(_, set)| *set != 0) {
            let mut bits = cx.host.read(set, bytes)?;
            let is_in = |bits: &[u8], fd: u32| bits[fd as usize / 8] & 1 << (fd % 8) != 0;
            for descriptor in (0..count).filter(|fd| is_in(&bits, *fd)) {
                self.files.descriptor(descriptor)?;
                ready += i32::from(position < 2);
            }
            if position == 2 {
                bits.fill(0);
                exceptional = Some((set, bits));
            }
        }
        if let Some((set, bits)) = exceptional {
            cx.host.write(set, &bits)?;
        }
        // If no descriptor is ready, the sets for reading and writing are empty already.
        if ready > 0 { Ok(ready) } else { timeout.wait(cx) }
    }
}

fn pollfd(place: u32, cx: &Context<'_>) -> Result<(u32, u16), Fault> {
    Ok((cx.host.read_u32(place)?, cx.host.read_u32(place + 4)? as u16))
}
