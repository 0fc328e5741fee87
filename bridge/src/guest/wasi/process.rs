//! A program's environment: arguments, environment variables, clocks, random bytes.

use super::Outcome;
use crate::guest::errno::Errno;
use crate::guest::{Args, Clock, Context, Fault, Guest, GuestMemoryExt};

/// `argv[0]` of every function: a Faasm cluster passes the same to every function.
const PROGRAM: &str = "function.wasm";

impl Guest {
    pub(super) fn arguments(&self) -> Vec<String> {
        let name = std::iter::once(PROGRAM.to_owned());
        name.chain(self.invocation.args.iter().cloned()).collect()
    }

    pub(super) fn environment(&self) -> Vec<String> {
        self.invocation.env.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}

pub(super) fn strings(strings: &[String], args: &Args, cx: &mut Context<'_>) -> Outcome {
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

pub(super) fn string_sizes(strings: &[String], args: &Args, cx: &mut Context<'_>) -> Outcome {
    let bytes: usize = strings.iter().map(|string| string.len() + 1).sum();
    cx.host.write_u32(args.u32(0), strings.len() as u32)?;
    Ok(cx.host.write_u32(args.u32(1), bytes as u32)?)
}

pub(in crate::guest) fn clock(id: u32) -> Result<Clock, Errno> {
    match id {
        0 => Ok(Clock::Realtime),
        // The CPU time of a run is not measured; the specification allows the monotonic clock instead.
        1..=3 => Ok(Clock::Monotonic),
        _ => Err(Errno::Invalid),
    }
}

pub(super) fn clock_resolution(args: &Args, cx: &mut Context<'_>) -> Outcome {
    const MICROSECOND: u64 = 1000;
    clock(args.u32(0))?;
    Ok(cx.host.write_u64(args.u32(1), MICROSECOND)?)
}

pub(super) fn clock_time(args: &Args, cx: &mut Context<'_>) -> Outcome {
    let now = cx.host.now(clock(args.u32(0))?);
    Ok(cx.host.write_u64(args.u32(2), now)?)
}

pub(super) fn random(args: &Args, cx: &mut Context<'_>) -> Outcome {
    Ok(fill_random(args.u32(0), args.u32(1), cx)?)
}

pub(in crate::guest) fn fill_random(
    mut at: u32,
    mut left: u32,
    cx: &mut Context<'_>,
) -> Result<(), Fault> {
    const STEP: u32 = 64 * 1024;
    cx.host.check(at, left.into())?;
    while left > 0 {
        let mut bytes = vec![0; left.min(STEP) as usize];
        cx.host.random(&mut bytes);
        cx.host.write(at, &bytes)?;
        (at, left) = (at.wrapping_add(bytes.len() as u32), left - bytes.len() as u32);
    }
    Ok(())
}
