//! Sleeping, measured on the clocks that the guest reads.

use super::{Clock, Host};

/// Longest lag of a clock behind the timer that ends a sleep, nanoseconds. Browsers round their clocks to a
/// millisecond.
const LAG: u64 = 4_000_000;

/// A sleep that a driver performs: it waits [`Sleep::left`] and repeats that until `left` is `None`.
///
/// So a sleep never returns before the guest's clocks have advanced by the requested time, even if timers and clocks
/// differ.
///
/// It has one or more ends, and is over with the first of them: one after a duration, and one for each clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sleep([Option<End>; 3]);

/// An end of a sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// After a duration, which the guest may measure with either clock.
    After {
        monotonic: u64,
        realtime: u64,
    },
    At {
        clock: Clock,
        time: u64,
    },
}

impl End {
    /// So many nanoseconds from now.
    pub(super) fn after(nanoseconds: u64, host: &dyn Host) -> Self {
        let [monotonic, realtime] = [Clock::Monotonic, Clock::Realtime]
            .map(|clock| host.now(clock).saturating_add(nanoseconds));
        End::After { monotonic, realtime }
    }

    /// Nanoseconds until then, given the clocks; `None` once it is due.
    pub(super) fn left(self, now: impl Fn(Clock) -> u64) -> Option<u64> {
        let left =
            |clock, time: u64| Some(time.saturating_sub(now(clock))).filter(|left| *left > 0);
        match self {
            End::At { clock, time } => left(clock, time),
            // A wall clock that is set back does not make a sleep longer.
            End::After { monotonic, realtime } => left(Clock::Monotonic, monotonic)
                .or_else(|| left(Clock::Realtime, realtime).filter(|left| *left <= LAG)),
        }
    }

    /// The end's position in a sleep, which has one end of each kind; and its order within the kind.
    fn kind(self) -> (usize, u64) {
        match self {
            End::After { monotonic, .. } => (0, monotonic),
            End::At { clock: Clock::Monotonic, time } => (1, time),
            End::At { clock: Clock::Realtime, time } => (2, time),
        }
    }
}

impl Sleep {
    /// Sleeps for so many nanoseconds from now.
    pub(super) fn lasting(nanoseconds: u64, host: &dyn Host) -> Self {
        Self::to_first([End::after(nanoseconds, host)])
    }

    /// Sleeps until a clock reaches `time`, nanoseconds.
    pub(super) fn until(clock: Clock, time: u64) -> Self {
        Self::to_first([End::At { clock, time }])
    }

    /// Sleeps until the first of several ends.
    pub(super) fn to_first(ends: impl IntoIterator<Item = End>) -> Self {
        let mut first = [None; 3];
        for end in ends {
            let (kind, time) = end.kind();
            if first[kind].is_none_or(|other: End| time < other.kind().1) {
                first[kind] = Some(end);
            }
        }
        Self(first)
    }

    /// Nanoseconds left to wait, given the clocks; `None` once it is over.
    pub fn left(&self, now: impl Fn(Clock) -> u64) -> Option<u64> {
        let mut least = None;
        for end in self.0.iter().flatten() {
            let left = end.left(&now)?;
            least = Some(least.map_or(left, |least: u64| least.min(left)));
        }
        least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    #[test]
    fn a_sleep_is_over_when_both_clocks_have_moved() {
        let sleep = Sleep::to_first([End::After { monotonic: 1000, realtime: 7000 }]);
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
        let end = End::After { monotonic: 1000, realtime: 90_000 * MILLISECOND };
        let sleep = Sleep::to_first([end]);
        assert_eq!(sleep.left(|clock| if clock == Clock::Monotonic { 1000 } else { 5 }), None);
        let until = Sleep::until(Clock::Realtime, 90);
        assert_eq!(until.left(|_| 5), Some(85));
        assert_eq!(until.left(|_| 90), None);
    }

    #[test]
    fn a_sleep_is_over_with_the_first_of_its_ends() {
        let at = |clock, time| End::At { clock, time };
        let sleep = Sleep::to_first([
            End::After { monotonic: 1000, realtime: 7000 },
            at(Clock::Realtime, 6900),
            at(Clock::Monotonic, 1200),
            at(Clock::Realtime, 6950),
        ]);
        let left = |monotonic, realtime| {
            sleep.left(move |clock| if clock == Clock::Monotonic { monotonic } else { realtime })
        };
        assert_eq!(left(800, 6800), Some(100));
        assert_eq!(left(890, 6900), None);
        // The wall clock was set back: the elapsed time counts.
        assert_eq!(left(950, 3), Some(50));
        assert_eq!(left(1000, 7000), None);
        // Only the monotonic clock counts.
        let sleep = Sleep::to_first([at(Clock::Realtime, 6900), at(Clock::Monotonic, 1200)]);
        assert_eq!(sleep.left(|clock| if clock == Clock::Monotonic { 1150 } else { 3 }), Some(50));
        assert_eq!(sleep.left(|clock| if clock == Clock::Monotonic { 1200 } else { 3 }), None);
    }
}
