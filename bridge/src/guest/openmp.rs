//! OpenMP with teams of one thread, which is a legal execution of any conforming program: a parallel region calls its
//! outlined function once, a loop gets its whole range, reductions and barriers do nothing.
//!
//! The calls are those that clang makes to its runtime (`kmp.h`, `kmp_csupport.cpp` of LLVM's openmp), and functions of
//! the OpenMP specification. A call that would wait for another thread, such as entering a critical section a second
//! time, is a fault instead of a hang.

use super::{Args, Clock, Context, Fault, Flow, Guest, GuestCall, GuestMemoryExt};
use crate::host::{HostCall, OpenMpCall};

/// Most shared variables of a region; the limit of LLVM's runtime.
pub const MAX_SHARED: u32 = 15;

/// Bytes of the thread number that the outlined function gets two pointers to, as global number and number in the team.
const THREAD_BYTES: u32 = 4;

/// Most nested dispatch loops, and most nested critical sections.
const MAX_NESTED: usize = 1024;

/// States of an OpenMP lock in guest memory.
const FREE: u32 = 0;
const HELD: u32 = 1;

const NANOSECONDS: f64 = 1e9;

/// OpenMP state of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenMp {
    /// Number of regions that enclose the running code.
    level: u32,
    max_active_levels: Option<u32>,
    default_device: u32,
    /// The critical sections that it has entered, by the address of their lock.
    critical: Vec<u32>,
    /// Dispatch loops, innermost last.
    loops: Vec<Loop>,
}

#[derive(Clone, Copy, Debug)]
struct Loop {
    lower: i64,
    upper: i64,
    step: i64,
    /// Its range was returned by `__kmpc_dispatch_next_*`.
    is_done: bool,
}

/// Type of a loop's counter.
#[derive(Clone, Copy)]
struct Width {
    is_long: bool,
    is_signed: bool,
}

impl Width {
    fn of(call: OpenMpCall) -> Self {
        use OpenMpCall as C;
        let (is_long, is_signed) = match call {
            C::KmpcForStaticInit4 | C::KmpcDispatchInit4 | C::KmpcDispatchNext4 => (false, true),
            C::KmpcForStaticInit4u | C::KmpcDispatchInit4u | C::KmpcDispatchNext4u => {
                (false, false)
            }
            C::KmpcForStaticInit8 | C::KmpcDispatchInit8 | C::KmpcDispatchNext8 => (true, true),
            _ => (true, false),
        };
        Self { is_long, is_signed }
    }

    fn widen(self, word: u32) -> i64 {
        if self.is_signed { i64::from(word as i32) } else { i64::from(word) }
    }

    fn bound(self, args: &Args, position: usize) -> i64 {
        if self.is_long { args.u64(position) as i64 } else { self.widen(args.u32(position)) }
    }

    /// The step is signed even if the loop is unsigned.
    fn step(self, args: &Args, position: usize) -> i64 {
        if self.is_long { args.u64(position) as i64 } else { i64::from(args.u32(position) as i32) }
    }

    fn read(self, pointer: u32, cx: &Context<'_>) -> Result<i64, Fault> {
        if self.is_long {
            return Ok(cx.host.read_u64(pointer)? as i64);
        }
        Ok(self.widen(cx.host.read_u32(pointer)?))
    }

    fn write(self, pointer: u32, value: i64, cx: &mut Context<'_>) -> Result<(), Fault> {
        match (pointer, self.is_long) {
            // The last pointer may be NULL.
            (0, _) => Ok(()),
            (_, true) => cx.host.write_u64(pointer, value as u64),
            (_, false) => cx.host.write_u32(pointer, value as u32),
        }
    }

    /// Whether a loop from `lower` to `upper` has no iterations; `up` is whether it counts upward.
    fn is_empty(self, lower: i64, upper: i64, up: bool) -> bool {
        let (first, last) = if up { (lower, upper) } else { (upper, lower) };
        if self.is_signed { last < first } else { (last as u64) < first as u64 }
    }
}

impl Guest {
    pub(super) fn openmp_call(
        &mut self,
        call: OpenMpCall,
        args: &Args,
        cx: &mut Context<'_>,
    ) -> Result<Flow, Fault> {
        use OpenMpCall as C;
        let state = &mut self.openmp;
        let value = match call {
            C::KmpcForkCall => return self.fork(args, cx),
            C::KmpcSerializedParallel => {
                state.level = state.level.saturating_add(1);
                0
            }
            C::KmpcEndSerializedParallel => {
                state.level = state.level.saturating_sub(1);
                0
            }
            C::KmpcCritical | C::KmpcCriticalWithHint => {
                let lock = args.u32(2);
                if state.critical.contains(&lock) {
                    return Err(Fault::Deadlock { key: format!("critical section at {lock}") });
                }
                if state.critical.len() >= MAX_NESTED {
                    return Err(too_deep(call.into(), "critical sections"));
                }
                state.critical.push(lock);
                0
            }
            C::KmpcEndCritical => {
                state.critical.retain(|lock| *lock != args.u32(2));
                0
            }
            C::KmpcMasked => i32::from(args.u32(2) == 0),
            C::KmpcForStaticInit4
            | C::KmpcForStaticInit4u
            | C::KmpcForStaticInit8
            | C::KmpcForStaticInit8u => static_loop(Width::of(call), args, cx)?,
            C::KmpcDispatchInit4
            | C::KmpcDispatchInit4u
            | C::KmpcDispatchInit8
            | C::KmpcDispatchInit8u => {
                let width = Width::of(call);
                let [lower, upper] = [3, 4].map(|at| width.bound(args, at));
                let step = width.step(args, 5);
                if state.loops.len() >= MAX_NESTED {
                    return Err(too_deep(call.into(), "loops that hand out ranges"));
                }
                state.loops.push(Loop { lower, upper, step, is_done: false });
                0
            }
            C::KmpcDispatchNext4
            | C::KmpcDispatchNext4u
            | C::KmpcDispatchNext8
            | C::KmpcDispatchNext8u => state.next_range(Width::of(call), args, cx)?,

            C::OmpGetLevel => state.level as i32,
            C::OmpGetMaxActiveLevels => state.max_active_levels.unwrap_or(1) as i32,
            C::OmpSetMaxActiveLevels => {
                if args.u32(0) as i32 >= 0 {
                    state.max_active_levels = Some(args.u32(0));
                }
                0
            }
            C::OmpGetDefaultDevice => state.default_device as i32,
            C::OmpSetDefaultDevice => {
                state.default_device = args.u32(0);
                0
            }
            C::OmpInitLock | C::OmpDestroyLock | C::OmpUnsetLock => {
                cx.host.write_u32(args.u32(0), FREE)?;
                0
            }
            C::OmpSetLock | C::OmpTestLock => {
                let lock = args.u32(0);
                match (cx.host.read_u32(lock)?, call) {
                    (FREE, _) => {
                        cx.host.write_u32(lock, HELD)?;
                        1
                    }
                    (_, C::OmpTestLock) => 0,
                    _ => return Err(Fault::Deadlock { key: format!("OpenMP lock at {lock}") }),
                }
            }
            // This thread runs the block, on behalf of all.
            C::KmpcMaster
            | C::KmpcSingle
            | C::KmpcReduce
            | C::KmpcReduceNowait
            | C::KmpcGlobalNumThreads
            | C::KmpcBoundNumThreads
            | C::OmpGetNumThreads
            | C::OmpGetMaxThreads
            | C::OmpGetThreadLimit
            | C::OmpGetNumProcs
            | C::OmpIsInitialDevice => 1,
            // The thread's number; barriers, flushes and ends of blocks, which wait for no other thread.
            _ => 0,
        };
        Ok(Flow::Return(value))
    }

    /// `omp_get_wtime`, `omp_get_wtick`: seconds.
    pub(super) fn openmp_number(call: HostCall, cx: &Context<'_>) -> f64 {
        const MICROSECOND: f64 = 1e-6;
        match call {
            HostCall::OmpGetWtick => MICROSECOND,
            _ => cx.host.now(Clock::Monotonic) as f64 / NANOSECONDS,
        }
    }

    /// `__kmpc_fork_call(loc, count, function, shared)`: the function gets two pointers to its thread's number, and the
    /// pointers to the shared variables.
    fn fork(&mut self, args: &Args, cx: &mut Context<'_>) -> Result<Flow, Fault> {
        let (count, function, shared) = (args.u32(1), args.u32(2), args.u32(3));
        if count > MAX_SHARED {
            let message =
                format!("a parallel region has {count} shared variables, more than {MAX_SHARED}");
            return Err(Fault::Operation { call: HostCall::KmpcForkCall, message });
        }
        cx.host.check(shared, u64::from(count) * 4)?;
        let thread = self.thread_number(args.u32(0), cx)?;
        let mut arguments = vec![thread, thread];
        for position in 0..count {
            arguments.push(cx.host.read_u32(shared + position * 4)?);
        }
        self.openmp.level = self.openmp.level.saturating_add(1);
        Ok(Flow::Call(GuestCall { function, arguments }))
    }

    /// Address of a 0 in guest memory. The source location that the compiler passes (`ident_t`) begins with one, so
    /// that no memory is needed for it.
    fn thread_number(&mut self, place: u32, cx: &mut Context<'_>) -> Result<u32, Fault> {
        if place != 0 && cx.host.read_u32(place) == Ok(0) {
            return Ok(place);
        }
        let call = HostCall::KmpcForkCall;
        if self.module.has_malloc {
            let message = format!(
                "the source location of a parallel region, at {place}, does not begin with a 0"
            );
            return Err(Fault::Operation { call, message });
        }
        let thread = self.hand_out(call, THREAD_BYTES, cx)?;
        cx.host.write_u32(thread, 0)?;
        Ok(thread)
    }

    /// Second half of `__kmpc_fork_call`.
    pub(super) fn fork_returned(&mut self) -> Flow {
        self.openmp.level = self.openmp.level.saturating_sub(1);
        Flow::Return(0)
    }
}

impl OpenMp {
    /// `__kmpc_dispatch_next_*(loc, thread, last, lower, upper, step) -> more`
    fn next_range(
        &mut self,
        width: Width,
        args: &Args,
        cx: &mut Context<'_>,
    ) -> Result<i32, Fault> {
        let Some(innermost) = self.loops.last_mut() else { return Ok(0) };
        let Loop { lower, upper, step, is_done } = *innermost;
        if is_done || width.is_empty(lower, upper, step >= 0) {
            self.loops.pop();
            return Ok(0);
        }
        innermost.is_done = true;
        let flag = Width { is_long: false, is_signed: true };
        flag.write(args.u32(2), 1, cx)?;
        for (position, value) in [(3, lower), (4, upper), (5, step)] {
            width.write(args.u32(position), value, cx)?;
        }
        Ok(1)
    }
}

fn too_deep(call: HostCall, what: &str) -> Fault {
    let message = format!("more than {MAX_NESTED} nested {what}");
    Fault::Operation { call, message }
}

/// `__kmpc_for_static_init_*(loc, thread, schedule, last, lower, upper, stride, step, chunk)`: keeps the bounds, and
/// sets the stride past them, so that a chunked loop has one chunk.
fn static_loop(width: Width, args: &Args, cx: &mut Context<'_>) -> Result<i32, Fault> {
    let [last, lower, upper, stride] = [3, 4, 5, 6].map(|at| args.u32(at));
    let step = width.step(args, 7);
    let (first, end) = (width.read(lower, cx)?, width.read(upper, cx)?);
    let up = step > 0;
    let is_empty = width.is_empty(first, end, up);
    let span = match up {
        _ if is_empty => step,
        true => end.wrapping_sub(first).wrapping_add(1),
        false => first.wrapping_sub(end).wrapping_add(1).wrapping_neg(),
    };
    let flag = Width { is_long: false, is_signed: true };
    flag.write(last, i64::from(!is_empty), cx)?;
    width.write(stride, span, cx)?;
    Ok(0)
}
