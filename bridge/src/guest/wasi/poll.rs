//! `poll_oneoff`: clocks suspend, descriptors are always ready.

use super::process::clock;
use super::{MAX_LIST, Outcome};
use crate::guest::errno::{Errno, Stop};
use crate::guest::files::Target;
use crate::guest::{Args, Clock, Context, Guest, GuestMemoryExt, Operation, Sleep};

const SUBSCRIPTION_BYTES: u32 = 48;
const EVENT_BYTES: u32 = 32;
const EVENT_CLOCK: u8 = 0;
const EVENT_READ: u8 = 1;
const EVENT_WRITE: u8 = 2;
const CLOCK_ABSOLUTE: u16 = 1;

/// Room that a stream is said to have, bytes.
const WRITE_ROOM: u64 = 64 << 10;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Poll {
    First,
    /// The shortest clock has run out.
    AfterSleep,
}

impl Guest {
    /// `poll_oneoff(in, out, count, n_events)`
    pub(super) fn poll(&mut self, args: &Args, cx: &mut Context<'_>, poll: Poll) -> Outcome {
        let (input, output, count) = (args.u32(0), args.u32(1), args.u32(2));
        if count == 0 || count > MAX_LIST {
            return Err(Errno::Invalid.into());
        }
        let bytes = cx.host.read(input, count * SUBSCRIPTION_BYTES)?;
        let subscriptions: Vec<Subscription> =
            bytes.chunks_exact(SUBSCRIPTION_BYTES as usize).map(Subscription::read).collect();
        let slept = match poll {
            Poll::First => 0,
            Poll::AfterSleep => cx.host.now(Clock::Monotonic).saturating_sub(self.poll_began),
        };
        let mut shortest = u64::MAX;
        let mut waits = Vec::with_capacity(subscriptions.len());
        for subscription in &subscriptions {
            let wait = subscription.wait(slept, cx)?;
            shortest = shortest.min(wait);
            waits.push(wait);
        }
        if poll == Poll::First && shortest > 0 {
            self.poll_began = cx.host.now(Clock::Monotonic);
            return Err(Stop::Wait(Operation::Sleep(Sleep::lasting(shortest, cx.host))));
        }
        // All that are due by now. Where a clock has moved by less than the sleep took, it is the first to come.
        let mut events = Vec::new();
        for (subscription, wait) in subscriptions.iter().zip(waits) {
            if wait <= shortest {
                events.extend(self.event(subscription));
            }
        }
        cx.host.write(output, &events)?;
        Ok(cx.host.write_u32(args.u32(3), events.len() as u32 / EVENT_BYTES)?)
    }

    fn event(&self, subscription: &Subscription) -> [u8; EVENT_BYTES as usize] {
        let mut event = [0; EVENT_BYTES as usize];
        event[..8].copy_from_slice(&subscription.user_data);
        event[10] = subscription.kind;
        if subscription.kind == EVENT_CLOCK {
            return event;
        }
        match self.ready_bytes(subscription) {
            Ok(bytes) => event[16..24].copy_from_slice(&bytes.to_le_bytes()),
            Err(errno) => event[8..10].copy_from_slice(&errno.wasi().to_le_bytes()),
        }
        event
    }

    /// How many bytes can be read, or written, without waiting.
    fn ready_bytes(&self, subscription: &Subscription) -> Result<u64, Errno> {
        let open = self.files.descriptor(subscription.subject)?;
        if subscription.kind == EVENT_WRITE {
            return Ok(WRITE_ROOM);
        }
        let size = match open.target {
            Target::Stdin => self.invocation.input.len() as u64,
            _ => self.files.stat(subscription.subject)?.size,
        };
        Ok(size.saturating_sub(open.offset))
    }
}

struct Subscription {
    user_data: [u8; 8],
    kind: u8,
    /// The clock, or the descriptor.
    subject: u32,
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
            subject: u64::from_le_bytes(word(16)) as u32,
            timeout: u64::from_le_bytes(word(24)),
            flags: u64::from_le_bytes(word(40)) as u16,
        }
    }

    /// Nanoseconds until this is ready, in a poll that has `slept` for some already.
    fn wait(&self, slept: u64, cx: &Context<'_>) -> Result<u64, Stop> {
        match self.kind {
            EVENT_CLOCK => {}
            EVENT_READ | EVENT_WRITE => return Ok(0),
            _ => return Err(Errno::Invalid.into()),
        }
        let clock = clock(self.subject)?;
        Ok(if self.flags & CLOCK_ABSOLUTE != 0 {
            self.timeout.saturating_sub(cx.host.now(clock))
        } else {
            self.timeout.saturating_sub(slept)
        })
    }
}
