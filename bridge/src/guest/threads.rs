//! POSIX threads, of which there is one: mutexes, condition variables, thread-specific values, and `pthread_once`.

use super::{Args, Context, Fault, Flow, Guest, GuestCall, GuestMemoryExt};
use crate::host::ThreadCall;
use crate::sorted_map::SortedMap;

/// The only thread.
const THREAD: i32 = 1;

/// `EINVAL` in WASI's numbering; these calls return error numbers.
const INVALID: i32 = 28;

/// Most keys of thread-specific values, `PTHREAD_KEYS_MAX` of musl.
const MAX_KEYS: u32 = 128;
/// `EAGAIN` in WASI's numbering.
const AGAIN: i32 = 6;

/// States of a `pthread_once_t`, which is initially 0.
mod once {
    pub(super) const RUNNING: u32 = 1;
    pub(super) const DONE: u32 = 2;
}

/// The keys of a run, with the values of the only thread.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys(SortedMap<u32, u32>);

impl Keys {
    /// An unused key, from 1 on: 0 is the value of an uninitialised one.
    fn create(&mut self) -> Option<u32> {
        let key = (1..=MAX_KEYS).find(|key| !self.0.contains_key(key))?;
        self.0.insert(key, 0);
        Some(key)
    }
}

impl Guest {
    pub(super) fn thread_call(
        &mut self,
        call: ThreadCall,
        args: &Args,
        cx: &mut Context<'_>,
    ) -> Result<Flow, Fault> {
        use ThreadCall as C;
        let value = match call {
            C::PthreadSelf => THREAD,
            C::PthreadEqual => i32::from(args.u32(0) == args.u32(1)),
            C::PthreadOnce => return once_call(args, cx),
            C::PthreadKeyCreate => match self.keys.create() {
                Some(key) => {
                    cx.host.write_u32(args.u32(0), key)?;
                    0
                }
                None => AGAIN,
            },
            C::PthreadKeyDelete => self.keys.0.remove(&args.u32(0)).map_or(INVALID, |_| 0),
            C::PthreadSetspecific => match self.keys.0.get_mut(&args.u32(0)) {
                Some(value) => {
                    *value = args.u32(1);
                    0
                }
                None => INVALID,
            },
            C::PthreadGetspecific => self.keys.0.get(&args.u32(0)).copied().unwrap_or(0) as i32,
            // Mutexes, condition variables, attributes: no other thread has to be excluded or woken.
            _ => 0,
        };
        Ok(Flow::Return(value))
    }

    /// Second half of `pthread_once`.
    pub(super) fn once_returned(args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
        cx.host.write_u32(args.u32(0), once::DONE)?;
        Ok(Flow::Return(0))
    }
}

/// `pthread_once(control, function)`
fn once_call(args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
    let (control, function) = (args.u32(0), args.u32(1));
    match cx.host.read_u32(control)? {
        once::RUNNING => Err(Fault::Deadlock { key: format!("pthread_once at {control}") }),
        once::DONE => Ok(Flow::Return(0)),
        _ => {
            cx.host.write_u32(control, once::RUNNING)?;
            Ok(Flow::Call(GuestCall { function, arguments: Vec::new() }))
        }
    }
}
