//! Decides when a client connects, pings and gives up: times go in, actions come out.
//!
//! Times are durations since one arbitrary moment. The driver calls [`ReconnectTimer::step`] until it returns
//! [`Step::Wait`], and again at that time or after an event.

use std::time::Duration;

/// Delay before the first attempt to reconnect; doubles with each attempt that fails.
const FIRST_DELAY: Duration = Duration::from_millis(200);

/// Longest time between two attempts.
const LONGEST_DELAY: Duration = Duration::from_secs(15);

/// Time without received bytes, while a reply is awaited, after which the client pings.
const IDLE_TIME: Duration = Duration::from_secs(15);

/// Time limit for the answer to a ping. Doubles with each connection dropped because of it: a long frame counts only
/// once it is complete.
const TIME_LIMIT: Duration = Duration::from_secs(15);

/// Upper bound of that time limit.
const MAX_TIME_LIMIT: Duration = Duration::from_secs(240);

/// Time limit for the answer to a ping after a hint that the network changed.
const SHORT_TIME_LIMIT: Duration = Duration::from_secs(5);

/// What the driver has to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Wait until this time or an event.
    Wait(Option<Duration>),
    /// Open a connection and call [`ReconnectTimer::connecting`].
    Connect,
    /// Ping the relay.
    Ping,
    /// The connection is dead or does not open: drop it and call [`ReconnectTimer::lost`].
    Drop,
    /// The session was without a connection for too long: end it.
    GiveUp,
}

/// The timer of one session's connections.
#[derive(Debug)]
pub struct ReconnectTimer {
    state: State,
    give_up_after: Duration,
    /// When the session lost its connection.
    lost_at: Option<Duration>,
    /// Failed attempts in a row.
    attempts: u32,
    /// When the last attempt started.
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
        /// A ping was sent; the answer is due by then.
        due: Option<Duration>,
        /// Ping although no reply is awaited.
        probe: bool,
    },
    Over,
}

impl ReconnectTimer {
    /// A timer that connects at once, and gives up when it could not reconnect for `give_up_after`.
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

    /// The next action; `is_awaiting` tells whether a reply is awaited.
    pub fn step(&mut self, now: Duration, is_awaiting: bool) -> Step {
        match &mut self.state {
            State::Waiting { until } if now >= *until => Step::Connect,
            State::Opening { until } if now >= *until => Step::Drop,
            State::Waiting { until } | State::Opening { until } => Step::Wait(Some(*until)),
            State::Open { due: Some(due), .. } if now >= *due => {
                self.time_limit = (self.time_limit * 2).min(MAX_TIME_LIMIT);
                Step::Drop
            }
            State::Open { due: Some(due), .. } => Step::Wait(Some(*due)),
            State::Open { heard, due, probe } => {
                let quiet = *heard + IDLE_TIME;
                let time_limit = match *probe {
                    true => SHORT_TIME_LIMIT,
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

    /// A connection is being opened; `bound` is the time limit for its handshake.
    pub fn connecting(&mut self, now: Duration, bound: Duration) {
        self.attempted_at = now;
        self.state = State::Opening { until: now + bound };
    }

    /// The handshake is done.
    pub fn opened(&mut self, now: Duration) {
        self.lost_at = None;
        self.state = State::Open { heard: now, due: None, probe: false };
    }

    /// Bytes were received over the open connection.
    pub fn heard(&mut self, now: Duration) {
        if let State::Open { heard, due, .. } = &mut self.state {
            (*heard, *due) = (now, None);
        }
    }

    /// A frame was received over the open connection: it works, so delays and time limits start from their first
    /// values.
    pub fn carried(&mut self, now: Duration) {
        self.heard(now);
        self.attempts = 0;
        self.time_limit = TIME_LIMIT;
    }

    /// The connection was lost or did not open; `random` is between 0 and 1.
    pub fn lost(&mut self, now: Duration, random: f64) {
        let first = self.lost_at.is_none();
        let deadline = *self.lost_at.get_or_insert(now) + self.give_up_after;
        // The last attempt starts at the deadline, or after it if the machine was asleep.
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

    /// The network changed: do pending actions now.
    pub fn nudge(&mut self, now: Duration) {
        match &mut self.state {
            State::Waiting { until } => *until = (*until).min(now),
            State::Open { due, probe, .. } => (*due, *probe) = (None, true),
            State::Opening { .. } | State::Over => {}
        }
    }

    /// Connects without a delay, to try another transport.
    pub fn retry(&mut self, now: Duration) {
        self.state = State::Waiting { until: now };
    }
}
