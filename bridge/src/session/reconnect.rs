//! When a client connects, asks for a sign of life, and gives up: the time goes in, what to do comes out.
//!
//! Times are durations since any one moment. The driver calls [`ReconnectTimer::step`] until it says to wait, and again when that
//! time has come or something happened.

use std::time::Duration;

/// Before the first attempt to connect again; doubles with each one that fails.
const FIRST_DELAY: Duration = Duration::from_millis(200);

/// Longest time between two attempts.
const LONGEST_DELAY: Duration = Duration::from_secs(15);

/// Silence while a reply is awaited, before a sign of life is asked for.
const QUIET: Duration = Duration::from_secs(15);

/// How long that sign may take. Doubles with each connection given up for it, for a long frame may be on its way that
/// shows only when all of it is here.
const TIME_LIMIT: Duration = Duration::from_secs(15);

/// Longest that becomes.
const LONGEST_PATIENCE: Duration = Duration::from_secs(240);

/// The same after a hint that the network changed.
const SHORT_PATIENCE: Duration = Duration::from_secs(5);

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, until this time or an event.
    Wait(Option<Duration>),
    /// Open a connection and say [`ReconnectTimer::connecting`].
    Connect,
    /// Ask for a sign of life.
    Ping,
    /// The connection is dead, or does not open: drop it and say [`ReconnectTimer::lost`].
    Drop,
    /// It took too long to get a connection again: end the session.
    GiveUp,
}

/// Times of one session's connections.
#[derive(Debug)]
pub struct ReconnectTimer {
    state: State,
    give_up_after: Duration,
    /// When the session lost its connection.
    lost_at: Option<Duration>,
    /// Attempts in a row that led to nothing.
    attempts: u32,
    /// When the last of them began.
    attempted_at: Duration,
    time_limit: Duration,
}

#[derive(Debug)]
enum State {
    Waiting {
        until: Duration,
    },
    Opening {
        until: Duration,
    },
    Open {
        heard: Duration,
        /// A sign of life was asked for; it is due by then.
        due: Option<Duration>,
        /// Ask for one although nothing is awaited.
        probe: bool,
    },
    Over,
}

impl ReconnectTimer {
    /// A link that connects at once, and once connected tries for so long to be it again.
    pub fn new(give_up_after: Duration) -> Self {
        Self {
            state: State::Waiting { until: Duration::ZERO },
            give_up_after,
            lost_at: None,
            attempts: 0,
            attempted_at: Duration::ZERO,
            time_limit: TIME_LIMIT,
        }
    }

    /// What to do; `is_awaiting` tells whether a reply is awaited.
    pub fn step(&mut self, now: Duration, is_awaiting: bool) -> Step {
        match &mut self.state {
            State::Waiting { until } if now >= *until => Step::Connect,
            State::Opening { until } if now >= *until => Step::Drop,
            State::Waiting { until } | State::Opening { until } => Step::Wait(Some(*until)),
            State::Open { due: Some(due), .. } if now >= *due => {
                self.time_limit = (self.time_limit * 2).min(LONGEST_PATIENCE);
                Step::Drop
            }
            State::Open { due: Some(due), .. } => Step::Wait(Some(*due)),
            State::Open { heard, due, probe } => {
                let quiet = *heard + QUIET;
                let time_limit = match *probe {
                    true => SHORT_PATIENCE,
                    false if !is_awaiting => return Step::Wait(None),
                    false if now < quiet => return Step::Wait(Some(quiet)),
                    false => self.time_limit,
                };
                *probe = false;
                *due = Some(now + time_limit);
                Step::Ping
            }
            State::Over => Step::GiveUp,
        }
    }

    /// A connection is being opened and may take so long to shake hands.
    pub fn connecting(&mut self, now: Duration, bound: Duration) {
        self.attempted_at = now;
        self.state = State::Opening { until: now + bound };
    }

    /// The handshake is done.
    pub fn opened(&mut self, now: Duration) {
        self.lost_at = None;
        self.state = State::Open { heard: now, due: None, probe: false };
    }

    /// Bytes came over the open connection.
    pub fn heard(&mut self, now: Duration) {
        if let State::Open { heard, due, .. } = &mut self.state {
            (*heard, *due) = (now, None);
        }
    }

    /// A frame came over the open connection: it carries, so the next one need not be waited for longer each time.
    pub fn carried(&mut self, now: Duration) {
        self.heard(now);
        self.attempts = 0;
        self.time_limit = TIME_LIMIT;
    }

    /// The connection is gone, or did not open; `random` is from 0 to 1.
    pub fn lost(&mut self, now: Duration, random: f64) {
        let first = self.lost_at.is_none();
        let deadline = *self.lost_at.get_or_insert(now) + self.give_up_after;
        // The last attempt begins at the deadline or, where the machine slept over it, after that.
        let was_last = !first && self.attempted_at >= deadline;
        if was_last || self.give_up_after.is_zero() {
            self.state = State::Over;
            return;
        }
        let longest = FIRST_DELAY.saturating_mul(1 << self.attempts.min(10)).min(LONGEST_DELAY);
        let delay = longest.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0));
        self.attempts += 1;
        self.state = State::Waiting { until: (now + delay).min(deadline.max(now)) };
    }

    /// The network changed: do now what would be done later.
    pub fn nudge(&mut self, now: Duration) {
        match &mut self.state {
            State::Waiting { until } => *until = (*until).min(now),
            State::Open { due, probe, .. } => (*due, *probe) = (None, true),
            State::Opening { .. } | State::Over => {}
        }
    }

    /// Connects without a pause, for another way to connect is to be tried.
    pub fn retry(&mut self, now: Duration) {
        self.state = State::Waiting { until: now };
    }
}
