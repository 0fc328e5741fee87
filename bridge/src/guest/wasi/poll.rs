//! `poll_oneoff`: clocks suspend, descriptors are always ready.

use super::process::clock;
use super::{MAX_LIST, Outcome};
use crate::guest::errno::{Errno, Stop};
use crate::guest::files::Target;
use crate::guest::sleep::{End, Sleep};
use crate::guest::{Args, Context, Guest, GuestMemoryExt, Operation};

const SUBSCRIPTION_BYTES: u32 = 48;
const EVENT_BYTES: u32 = 32;
const EVENT_CLOCK: u8 = 0;
const EVENT_READ: u8 = 1;
const EVENT_WRITE: u8 = 2;
const CLOCK_ABSOLUTE: u16 = 1;

/// Number of bytes that a stream is reported to accept.
const WRITE_BYTES: u64 = 64 << 10;

impl Guest {
    /// `poll_oneoff(in, out, count, n_events)`
    pub(super) fn poll(&mut self, args: &Args, cx: &mut Context<'_>) -> Outcome {
        let (input, count) = (args.u32(0), args.u32(2));
        if count == 0 || count > MAX_LIST {
            return Err(Errno::Invalid.into());
        }
        let bytes = cx.host.read(input, count * SUBSCRIPTION_BYTES)?;
        let subscriptions = bytes.chunks_exact(SUBSCRIPTION_BYTES as usize).map(Subscription::read);
        let polled = subscriptions
            .map(|subscription| Ok((subscription.end(cx)?, subscription)))
            .collect::<Result<Polled, Errno>>()?;
        let ends: Option<Vec<End>> =
            polled.iter().map(|(end, _)| end.filter(|end| left(*end, cx).is_some())).collect();
        match ends {
            None => self.report(&polled, args, cx),
            Some(ends) => {
                self.polled = polled;
                Err(Stop::Wait(Operation::Sleep(Sleep::to_first(ends))))
            }
        }
    }

    /// Second half: a clock of a poll has expired. The subscriptions are those read in the first half.
    pub(super) fn poll_slept(&mut self, args: &Args, cx: &mut Context<'_>) -> Outcome {
        let polled = std::mem::take(&mut self.polled);
        self.report(&polled, args, cx)
    }

    /// Writes the events of all subscriptions that are ready.
    fn report(&self, polled: &Polled, args: &Args, cx: &mut Context<'_>) -> Outcome {
        let left = |end: &Option<End>| end.and_then(|end| left(end, cx)).unwrap_or(0);
        // One was due when the sleep ended. If its clock was set back since, the earliest is reported.
        let least = polled.iter().map(|(end, _)| left(end)).min().unwrap_or(0);
        let ready = polled.iter().filter(|(end, _)| left(end) == least);
        let events: Vec<u8> =
            ready.flat_map(|(_, subscription)| self.event(subscription)).collect();
        cx.host.write(args.u32(1), &events)?;
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

    /// Number of bytes that can be read or written without waiting.
    fn ready_bytes(&self, subscription: &Subscription) -> Result<u64, Errno> {
        let open = self.files.descriptor(subscription.subject)?;
        if subscription.kind == EVENT_WRITE {
            return Ok(WRITE_BYTES);
        }
        let size = match open.target {
            Target::Stdin => self.invocation.input.len() as u64,
            _ => self.files.stat(subscription.subject)?.size,
        };
        Ok(size.saturating_sub(open.offset))
    }
}

/// The subscriptions of a poll, and when each is ready.
pub(in crate::guest) type Polled = Vec<(Option<End>, Subscription)>;

pub(in crate::guest) struct Subscription {
    user_data: [u8; 8],
    kind: u8,
    /// The id of the clock, or the descriptor.
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

    /// When this is ready; `None` if it is ready at once.
    fn end(&self, cx: &Context<'_>) -> Result<Option<End>, Errno> {
        match self.kind {
            EVENT_CLOCK => {}
            EVENT_READ | EVENT_WRITE => return Ok(None),
            _ => return Err(Errno::Invalid),
        }
        let clock = clock(self.subject)?;
        Ok(Some(if self.flags & CLOCK_ABSOLUTE != 0 {
            End::At { clock, time: self.timeout }
        } else {
            End::after(self.timeout, cx.host)
        }))
    }
}

/// Nanoseconds until then; `None` once it is due.
fn left(end: End, cx: &Context<'_>) -> Option<u64> {
    end.left(|clock| cx.host.now(clock))
}
