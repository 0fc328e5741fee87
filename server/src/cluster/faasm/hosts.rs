//! Health of the workers: heartbeats and ports.
//!
//! A batch that is sent while a dead worker is listed crashes the planner, and a planner lists a worker for seconds
//! after its last heartbeat. So calls wait while any listed worker is *suspect*:
//!
//! * its last heartbeat (`registerTs`, by the planner's clock) is older than the heartbeat interval plus a margin, or
//! * its port refuses a connection or does not answer, and has answered before. A relay outside the cluster's network
//!   cannot reach these ports, so a port that never answered is ignored. A refusal means that the worker's process has
//!   exited. A new worker may then have the same address, so the worker stays suspect until it has registered again.
//!
//! # The clock of the planner
//!
//! `registerTs` is by the planner's clock, so the relay estimates the offset by which its own clock is ahead. A
//! heartbeat is never from the future, so the offset is at most the relay's time at the response minus `registerTs`;
//! the minimum over all workers and responses is an upper bound. A `registerTs` that is later than in the previous
//! response was set after that response was requested, so its age is at most the time since then, which gives a lower
//! bound. Clocks usually agree, so the estimate is the value closest to 0 within these bounds. Clocks drift, so both
//! bounds widen by a thousandth of the elapsed time; if new bounds contradict the old ones, a clock was adjusted, and
//! only the new bounds count.
//!
//! If the relay's clock is ahead, all heartbeats look old at first; after at most one heartbeat interval the estimate
//! is right. If it is behind, a heartbeat looks younger than it is, by at most the age of the youngest heartbeat seen.
//! So an offset delays the detection of a dead worker only if the relay's clock is behind and the relay has not yet
//! seen another worker's heartbeat.

use super::message::Host;
use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Shortest interval between two probes of a worker's port.
const PROBE_PAUSE: Duration = Duration::from_millis(200);

/// Shortest interval between two probes of a port that has never answered.
const HOPELESS_PAUSE: Duration = Duration::from_secs(10);

/// Drift of a clock: one part in this number.
const DRIFT: u128 = 1000;

/// A moment, by the relay's monotonic clock and its wall clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) at: Instant,
    /// Milliseconds since 1970.
    wall: i64,
}

impl Moment {
    pub(super) fn now() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { at: Instant::now(), wall: millis(wall) }
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Bounds of the offset: the relay's clock minus the planner's, milliseconds.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    lower: Option<i64>,
    upper: i64,
    at: Instant,
}

impl Bounds {
    /// The value closest to 0 within the bounds.
    fn estimate(self) -> i64 {
        self.lower.unwrap_or(i64::MIN).max(0).min(self.upper)
    }

    /// The intersection of both bounds.
    fn with_older(self, older: Bounds) -> Bounds {
        let passed = self.at.saturating_duration_since(older.at).as_millis();
        let drift = i64::try_from(passed / DRIFT).unwrap_or(i64::MAX);
        let upper = older.upper.saturating_add(drift).min(self.upper);
        let older_lower = older.lower.map(|lower| lower.saturating_sub(drift));
        let lower = older_lower.max(self.lower);
        if lower.is_some_and(|lower| lower > upper) {
            return self;
        }
        Bounds { lower, upper, at: self.at }
    }
}

/// Results of probes of a worker's port.
#[derive(Clone, Copy, Debug, Default)]
struct Port {
    has_answered: bool,
    probed: Option<Instant>,
    /// Since when the port has not answered, if it had answered before.
    silent: Option<Instant>,
    /// `registerTs` when the port refused a connection.
    refused_at: Option<i64>,
}

/// Result of a probe of a worker's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probed {
    Answers,
    Refuses,
    /// No answer within the time limit, or no route.
    Silent,
}

#[derive(Clone, Debug)]
struct Sight {
    /// Milliseconds since 1970 by the planner's clock.
    registered: Option<i64>,
    port: Port,
}

/// A worker that may be dead, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suspect {
    pub(super) ip: String,
    pub(super) why: String,
}

/// The last known state of all workers.
#[derive(Debug)]
pub(super) struct Watch {
    /// Longest interval between two heartbeats.
    heartbeat: Duration,
    hosts: HashMap<String, Sight>,
    bounds: Option<Bounds>,
    /// When the last list was requested.
    asked: Option<Moment>,
    /// Whether the last request for a list succeeded.
    is_answered: bool,
    /// The number of departed workers so far.
    departures: u64,
}

impl Watch {
    pub(super) fn new(heartbeat: Duration) -> Self {
        let hosts = HashMap::new();
        Self { heartbeat, hosts, bounds: None, asked: None, is_answered: false, departures: 0 }
    }

    /// When the last list was requested, unless a later request failed.
    pub(super) fn asked(&self) -> Option<Instant> {
        self.asked.filter(|_| self.is_answered).map(|asked| asked.at)
    }

    /// The number of departed workers so far.
    pub(super) fn departures(&self) -> u64 {
        self.departures
    }

    pub(super) fn workers(&self) -> usize {
        self.hosts.len()
    }

    /// Updates the state from a list of all workers.
    pub(super) fn note_list(&mut self, hosts: &[Host], asked: Moment, answered: Moment) {
        let mut upper = i64::MAX;
        let mut lower = None;
        let mut seen = HashMap::with_capacity(hosts.len());
        for host in hosts {
            let registered = host.registered.milliseconds();
            let before = self.hosts.get(&host.ip);
            if let Some(registered) = registered {
                upper = upper.min(answered.wall.saturating_sub(registered));
                let has_moved =
                    before.and_then(|before| before.registered).is_some_and(|at| at < registered);
                if let Some(previous) = self.asked.filter(|_| has_moved) {
                    let age = millis(answered.at.saturating_duration_since(previous.at));
                    let ahead = asked.wall.saturating_sub(registered).saturating_sub(age);
                    lower = lower.max(Some(ahead));
                }
            }
            let mut port = before.map(|before| before.port).unwrap_or_default();
            if port.refused_at.is_some_and(|at| registered.is_none_or(|now| now != at)) {
                port.refused_at = None;
            }
            seen.insert(host.ip.clone(), Sight { registered, port });
        }
        let has_left = self.hosts.keys().any(|ip| !seen.contains_key(ip));
        self.departures += u64::from(has_left);
        self.hosts = seen;
        if upper < i64::MAX {
            let bounds = Bounds { lower, upper, at: answered.at };
            self.bounds = Some(match self.bounds {
                Some(older) => bounds.with_older(older),
                None => bounds,
            });
        }
        self.asked = Some(asked);
        self.is_answered = true;
    }

    /// The request for a list failed. Earlier observations remain: the bounds of the offset, and which ports have
    /// answered.
    pub(super) fn note_failure(&mut self) {
        self.is_answered = false;
    }

    /// Selects the workers to probe now and records the probe: those whose port has answered before, or the others.
    pub(super) fn take_probes(&mut self, have_answered: bool, now: Instant) -> Vec<String> {
        let pause = if have_answered { PROBE_PAUSE } else { HOPELESS_PAUSE };
        let due = self.hosts.iter_mut().filter(|(_, sight)| {
            let Port { has_answered, probed, .. } = sight.port;
            let is_due = probed.is_none_or(|at| now.saturating_duration_since(at) >= pause);
            has_answered == have_answered && is_due
        });
        let due = due.map(|(ip, sight)| {
            sight.port.probed = Some(now);
            ip.clone()
        });
        due.collect()
    }

    pub(super) fn note_probe(&mut self, ip: &str, probed: Probed, now: Instant) {
        let Some(sight) = self.hosts.get_mut(ip) else { return };
        let port = &mut sight.port;
        match probed {
            Probed::Answers => {
                port.has_answered = true;
                port.silent = None;
            }
            Probed::Refuses | Probed::Silent if !port.has_answered => {}
            Probed::Refuses => {
                port.silent.get_or_insert(now);
                port.refused_at = sight.registered;
            }
            Probed::Silent => {
                port.silent.get_or_insert(now);
            }
        }
    }

    /// The age of a worker's last heartbeat.
    pub(super) fn age(&self, ip: &str, now: Moment) -> Option<Duration> {
        let registered = self.hosts.get(ip)?.registered?;
        let planners = now.wall.saturating_sub(self.bounds?.estimate());
        let age = planners.saturating_sub(registered).max(0);
        Some(Duration::from_millis(u64::try_from(age).unwrap_or_default()))
    }

    /// A listed worker that may be dead; the first by address if there are several.
    pub(super) fn suspect(&self, now: Moment) -> Option<Suspect> {
        let suspects = self.hosts.keys().filter_map(|ip| self.suspicion(ip, now));
        suspects.min_by(|a, b| a.ip.cmp(&b.ip))
    }

    fn suspicion(&self, ip: &str, now: Moment) -> Option<Suspect> {
        let port = self.hosts.get(ip)?.port;
        let why = match self.age(ip, now) {
            Some(age) if age > self.heartbeat => {
                let seconds = age.as_secs_f64();
                format!("its last heartbeat is {seconds:.1} s old")
            }
            _ if port.silent.is_some() => "its port no longer answers".to_owned(),
            _ if port.refused_at.is_some() => {
                "its port was closed, and it has not registered since".to_owned()
            }
            _ => return None,
        };
        Some(Suspect { ip: ip.to_owned(), why })
    }

    /// Why calls on a worker will not end: it is no longer listed, or its port has not answered for two heartbeat
    /// intervals.
    pub(super) fn why_gone(&self, ip: &str, now: Instant) -> Option<String> {
        let Some(sight) = self.hosts.get(ip) else {
            return Some(format!("worker {ip} is gone: the planner no longer lists it"));
        };
        let silent = now.saturating_duration_since(sight.port.silent?);
        let seconds = silent.as_secs_f64();
        (silent > 2 * self.heartbeat)
            .then(|| format!("worker {ip} is gone: its port has not answered for {seconds:.1} s"))
    }
}

#[cfg(test)]
mod tests;
