//! Circuit breaker: opens after several failures in a row; after a pause one harmless probe request decides whether it
//! closes.

use super::lock;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// Consecutive failures that open the breaker.
const FAILURES: u32 = 5;

/// How long the breaker stays open at first; doubled after each failed probe, up to the longest.
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// The end of the open period, and its length.
    open: Option<(Instant, Duration)>,
    is_probing: bool,
}

/// Which requests are allowed.
#[derive(Debug)]
pub(super) enum BreakerState<'a> {
    Anything,
    /// No request for this long.
    Nothing(Duration),
    /// One probe; the caller reports its result.
    Probe(Probe<'a>),
}

/// The probe. If it is dropped without a result, it has failed.
#[derive(Debug)]
pub(super) struct Probe<'a>(Option<&'a Breaker>);

impl Probe<'_> {
    pub(super) fn succeeded(mut self) {
        if let Some(breaker) = self.0.take() {
            breaker.succeeded();
        }
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        if let Some(breaker) = self.0.take() {
            breaker.reopen();
        }
    }
}

impl Breaker {
    pub(super) fn state_at(&self, now: Instant) -> BreakerState<'_> {
        let mut state = lock(&self.0);
        let Some((until, pause)) = state.open else { return BreakerState::Anything };
        let left = until.saturating_duration_since(now);
        if !left.is_zero() {
            return BreakerState::Nothing(left);
        }
        if state.is_probing {
            return BreakerState::Nothing(pause.min(SHORTEST));
        }
        state.is_probing = true;
        BreakerState::Probe(Probe(Some(self)))
    }

    pub(super) fn succeeded(&self) {
        *lock(&self.0) = State::default();
    }

    pub(super) fn failed(&self) {
        let mut state = lock(&self.0);
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES && state.open.is_none() {
            state.open = Some((Instant::now() + SHORTEST, SHORTEST));
        }
    }

    fn reopen(&self) {
        let mut state = lock(&self.0);
        let pause = state.open.map_or(SHORTEST, |(_, pause)| (2 * pause).min(LONGEST));
        state.open = Some((Instant::now() + pause, pause));
        state.is_probing = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A moment after the start.
    fn later(pause: Duration) -> Instant {
        Instant::now() + pause
    }

    fn may_ask(breaker: &Breaker) -> bool {
        matches!(breaker.state_at(Instant::now()), BreakerState::Anything)
    }

    fn is_closed_to_all(breaker: &Breaker, now: Instant) -> bool {
        matches!(breaker.state_at(now), BreakerState::Nothing(_))
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_question_closes_it() {
        let breaker = Breaker::default();
        for _ in 1..FAILURES {
            breaker.failed();
        }
        breaker.succeeded();
        for _ in 1..FAILURES {
            breaker.failed();
            assert!(may_ask(&breaker), "in a row");
        }
        breaker.failed();
        assert!(is_closed_to_all(&breaker, Instant::now()));
        let BreakerState::Probe(probe) = breaker.state_at(later(SHORTEST)) else {
            panic!("it is time")
        };
        assert!(is_closed_to_all(&breaker, later(SHORTEST)), "one at a time");
        drop(probe);
        assert!(is_closed_to_all(&breaker, later(SHORTEST)), "twice as long");
        let BreakerState::Probe(probe) = breaker.state_at(later(2 * SHORTEST)) else {
            panic!("it is time")
        };
        probe.succeeded();
        assert!(may_ask(&breaker));
    }

    #[test]
    fn it_never_stays_open_longer_than_it_may() {
        let breaker = Breaker::default();
        (0..FAILURES).for_each(|_| breaker.failed());
        for _ in 0..40 {
            assert!(matches!(breaker.state_at(later(LONGEST)), BreakerState::Probe(_)));
        }
    }
}
