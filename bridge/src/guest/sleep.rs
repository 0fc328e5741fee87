//! Sleeping: when a sleep is over, on the clocks that the guest reads.

use super::{Clock, Host};

/// How far a clock may lag behind the timer that ends a sleep, nanoseconds. Browsers round their clocks to a millisecond.
const LAG: u64 = 4_000_000;

/// A sleep that a driver performs: it waits [`Sleep::left`], asks again, and goes on until there is nothing left.
///
/// So a sleep never returns before the guest's clocks have advanced by the requested time, however timers and clocks differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sleep(End);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// After some time, which the guest may measure with either clock.
    After {
        monotonic: u64,
        realtime: u64,
    },
    At {
        clock: Clock,
        time: u64,
    },
}

impl Sleep {
    /// Of that many nanoseconds from now.
    pub(super) fn lasting(nanoseconds: u64, host: &dyn Host) -> Self {
        let [monotonic, realtime] = [Clock::Monotonic, Clock::Realtime]
            .map(|clock| host.now(clock).saturating_add(nanoseconds));
        Self(End::After { monotonic, realtime })
    }

    /// Until a clock shows `time`, nanoseconds.
    pub(super) fn until(clock: Clock, time: u64) -> Self {
        Self(End::At { clock, time })
    }

    /// Nanoseconds still to wait, given what the clocks show; `None` once it is over.
    pub fn left(&self, now: impl Fn(Clock) -> u64) -> Option<u64> {
        let left =
            |clock, time: u64| Some(time.saturating_sub(now(clock))).filter(|left| *left > 0);
        match self.0 {
            End::At { clock, time } => left(clock, time),
            // A wall clock that somebody sets back does not make a sleep longer.
            End::After { monotonic, realtime } => left(Clock::Monotonic, monotonic)
                .or_else(|| left(Clock::Realtime, realtime).filter(|left| *left <= LAG)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    #[test]
    fn a_sleep_is_over_when_both_clocks_have_moved() {
        let sleep = Sleep(End::After { monotonic: 1000, realtime: 7000 });
        let at = |monotonic, realtime| {
            sleep.left(move |clock| if clock == Clock::Monotonic { monotonic } else { realtime })
        };
        assert_eq!(at(400, 6400), Some(600));
        assert_eq!(at(1000, 6990), Some(10));
        assert_eq!(at(1001, 7000), None);
        assert_eq!(at(999, 9000), Some(1));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_keep_anything_asleep() {
        let sleep = Sleep(End::After { monotonic: 1000, realtime: 90_000 * MILLISECOND });
        assert_eq!(sleep.left(|clock| if clock == Clock::Monotonic { 1000 } else { 5 }), None);
        let until = Sleep::until(Clock::Realtime, 90);
        assert_eq!(until.left(|_| 5), Some(85));
        assert_eq!(until.left(|_| 90), None);
    }
}
