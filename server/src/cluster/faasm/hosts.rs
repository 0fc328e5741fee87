//! Signs of life of workers, and which of them may be dying.
//!
//! A batch that is sent while a dead worker is listed ends the planner, and a planner lists a worker for seconds after its last
//! heartbeat. So a call waits while any listed worker is *suspicious*:
//!
//! * its last heartbeat (`registerTs`, by the planner's clock) is older than a heartbeat and a bit, or
//! * its port refuses a connection or does not answer, and has answered before. A relay outside the cluster's network never
//!   reaches these ports, so a port that never answered says nothing. After a refusal the worker's process has ended, and one
//!   under the same address may have taken its place, so it stays suspicious until it has also registered again.
//!
//! # The clock of the planner
//!
//! `registerTs` is by the planner's clock, so the relay estimates by how much its own is ahead. Two things are certain. A heartbeat
//! is not from the future, so the offset is at most the relay's time at the answer minus `registerTs`, and the minimum of that over
//! all workers and answers bounds it from above. And a `registerTs` that is later than in the answer before was set after
//! that answer was asked for, so its age is at most the time since then, which bounds the offset from below. Clocks usually agree,
//! so the estimate is the value closest to 0 within these bounds. Clocks drift, so both bounds give way by a thousandth of the
//! time that passes; where new bounds contradict the old ones, a clock was set, and only the new ones count.
//!
//! A relay that is ahead takes all workers for old at first, asks again, and knows better after at most one heartbeat. One that is
//! behind takes a worker for younger than it is by at most the age of the youngest worker that it has seen. So a dead worker is
//! missed for longer than without an offset only where the relay is behind and has not yet seen any other worker's heartbeat.

use super::message::Host;
use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Shortest time between two connections to one worker's port.
const PROBE_PAUSE: Duration = Duration::from_millis(200);

/// The same for a port that has never answered.
const HOPELESS_PAUSE: Duration = Duration::from_secs(10);

/// A clock's drift: one in so many.
const DRIFT: u128 = 1000;

/// A moment by both of the relay's clocks.
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

/// Bounds of the relay's clock minus the planner's, milliseconds.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    lower: Option<i64>,
    upper: i64,
    at: Instant,
}

impl Bounds {
    /// The value closest to 0 within them.
    fn estimate(self) -> i64 {
        self.lower.unwrap_or(i64::MIN).max(0).min(self.upper)
    }

    /// What both say together.
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

/// What connections to a worker's port have shown.
#[derive(Clone, Copy, Debug, Default)]
struct Port {
    has_answered: bool,
    probed: Option<Instant>,
    /// Since when it has not answered, where it had before.
    silent: Option<Instant>,
    /// `registerTs` at the time of a refusal.
    refused_at: Option<i64>,
}

/// How a connection to a worker's port ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probed {
    Answers,
    Refuses,
    /// Nothing came back within the time for it, or there is no way to it.
    Silent,
}

#[derive(Clone, Debug)]
struct Sight {
    /// Milliseconds since 1970 by the planner's clock.
    registered: Option<i64>,
    port: Port,
}

/// A worker that may be dying, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suspect {
    pub(super) ip: String,
    pub(super) why: String,
}

/// All workers as they were last seen.
#[derive(Debug)]
pub(super) struct Watch {
    /// Longest time between two heartbeats.
    heartbeat: Duration,
    hosts: HashMap<String, Sight>,
    bounds: Option<Bounds>,
    /// When the last list was asked for.
    asked: Option<Moment>,
    /// Whether the last question for one was answered.
    is_answered: bool,
}

impl Watch {
    pub(super) fn new(heartbeat: Duration) -> Self {
        let hosts = HashMap::new();
        Self { heartbeat, hosts, bounds: None, asked: None, is_answered: false }
    }

    /// When the last list was asked for, unless a later question had no answer.
    pub(super) fn asked(&self) -> Option<Instant> {
        self.asked.filter(|_| self.is_answered).map(|asked| asked.at)
    }

    pub(super) fn workers(&self) -> usize {
        self.hosts.len()
    }

    /// A list of all workers.
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

    /// No list came. What was seen before stays: it bounds the offset, and says which ports have answered.
    pub(super) fn note_failure(&mut self) {
        self.is_answered = false;
    }

    /// Workers whose port is to be tried now, which this notes: those that have answered before, or the others.
    pub(super) fn to_probe(&mut self, have_answered: bool, now: Instant) -> Vec<String> {
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

    /// How old a worker's last heartbeat is.
    pub(super) fn age(&self, ip: &str, now: Moment) -> Option<Duration> {
        let registered = self.hosts.get(ip)?.registered?;
        let planners = now.wall.saturating_sub(self.bounds?.estimate());
        let age = planners.saturating_sub(registered).max(0);
        Some(Duration::from_millis(u64::try_from(age).unwrap_or_default()))
    }

    /// A listed worker that may be dying; of several, the first by its address.
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
            _ if port.silent.is_some() => "its port does not answer any more".to_owned(),
            _ if port.refused_at.is_some() => {
                "its port was closed, and it has not registered since".to_owned()
            }
            _ => return None,
        };
        Some(Suspect { ip: ip.to_owned(), why })
    }

    /// Why calls on a worker will not end: it is listed no more, or its port has been silent for two heartbeats.
    pub(super) fn why_gone(&self, ip: &str, now: Instant) -> Option<String> {
        let Some(sight) = self.hosts.get(ip) else {
            return Some(format!("worker {ip} is gone: the planner lists it no more"));
        };
        let silent = now.saturating_duration_since(sight.port.silent?);
        let seconds = silent.as_secs_f64();
        (silent > 2 * self.heartbeat)
            .then(|| format!("worker {ip} is gone: its port has not answered for {seconds:.1} s"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::Stamp;
    use super::*;

    const HEARTBEAT: Duration = Duration::from_millis(2500);

    /// A relay and a planner whose clocks differ, in virtual time.
    struct Clocks {
        start: Instant,
        /// The relay's minus the planner's, milliseconds.
        offset: i64,
    }

    impl Clocks {
        fn new(offset: i64) -> Self {
            Self { start: Instant::now(), offset }
        }

        /// After so many milliseconds.
        fn at(&self, passed: u64) -> Moment {
            let wall = 1_000_000 + i64::try_from(passed).unwrap() + self.offset;
            Moment { at: self.start + Duration::from_millis(passed), wall }
        }

        /// A worker with its last heartbeat after so many milliseconds.
        fn host(&self, ip: &str, heartbeat: i64) -> Host {
            let registered = Stamp::of(1_000_000 + heartbeat);
            Host { ip: ip.to_owned(), slots: 4, registered, ..Host::default() }
        }

        fn list(&self, watch: &mut Watch, passed: u64, hosts: &[(&str, i64)]) {
            let hosts: Vec<Host> = hosts.iter().map(|(ip, at)| self.host(ip, *at)).collect();
            watch.note_list(&hosts, self.at(passed), self.at(passed + 1));
        }
    }

    fn is_suspect(watch: &Watch, now: Moment) -> bool {
        watch.suspect(now).is_some()
    }

    #[test]
    fn a_worker_is_suspicious_after_a_heartbeat_and_a_bit() {
        let clocks = Clocks::new(0);
        let mut watch = Watch::new(HEARTBEAT);
        clocks.list(&mut watch, 3000, &[("a", 2000), ("b", 1000)]);
        assert_eq!(watch.suspect(clocks.at(3001)), None);
        assert_eq!(watch.age("a", clocks.at(3400)), Some(Duration::from_millis(1400)));
        let suspect = watch.suspect(clocks.at(3600)).unwrap();
        assert_eq!(suspect.ip, "b");
        assert!(suspect.why.contains("2.6 s old"), "{suspect:?}");
        clocks.list(&mut watch, 3700, &[("a", 2000), ("b", 3650)]);
        assert_eq!(watch.suspect(clocks.at(3701)), None);
        clocks.list(&mut watch, 3800, &[("b", 3650)]);
        assert_eq!((watch.suspect(clocks.at(4800)), watch.workers()), (None, 1), "a is gone");
    }

    /// Which planner's clock a relay can have, within days.
    const OFFSETS: [i64; 7] = [0, 40, -40, 3000, -3000, 200_000_000, -200_000_000];

    #[test]
    fn ages_are_right_within_a_question_whatever_the_clocks_say() {
        for offset in OFFSETS {
            let clocks = Clocks::new(offset);
            let mut watch = Watch::new(HEARTBEAT);
            // Heartbeats each two seconds from 500 ms on, questions each 250 ms.
            for question in 0..40_u64 {
                let passed = 10 + 250 * question;
                let last = (i64::try_from(passed).unwrap() - 500).div_euclid(2000) * 2000 + 500;
                clocks.list(&mut watch, passed, &[("a", last)]);
                if passed > 2600 {
                    let age = watch.age("a", clocks.at(passed)).unwrap().as_millis();
                    let age = i64::try_from(age).unwrap();
                    let real = i64::try_from(passed).unwrap() - last;
                    assert!((age - real).abs() <= 260, "{offset}: {age} and not {real}");
                }
            }
        }
    }

    #[test]
    fn a_dead_worker_is_found_in_time_whatever_the_clocks_say() {
        for offset in OFFSETS {
            let clocks = Clocks::new(offset);
            let mut watch = Watch::new(HEARTBEAT);
            for question in 0..=16_u64 {
                let passed = 250 * question;
                // The other worker's last one was at 2000.
                let last = i64::try_from(passed / 2000 * 2000).unwrap();
                clocks.list(&mut watch, passed, &[("a", last), ("b", last.min(2000))]);
            }
            assert!(!is_suspect(&watch, clocks.at(4001)), "{offset}");
            clocks.list(&mut watch, 4900, &[("a", 4000), ("b", 2000)]);
            let suspect = watch.suspect(clocks.at(4901)).unwrap();
            assert_eq!(suspect.ip, "b", "{offset}");
        }
    }

    #[test]
    fn a_relay_whose_clock_is_ahead_waits_for_one_heartbeat_at_most() {
        let clocks = Clocks::new(60_000);
        let mut watch = Watch::new(HEARTBEAT);
        clocks.list(&mut watch, 1000, &[("a", 0)]);
        assert!(is_suspect(&watch, clocks.at(1001)), "nobody knows yet");
        clocks.list(&mut watch, 1200, &[("a", 0)]);
        assert!(is_suspect(&watch, clocks.at(1201)));
        clocks.list(&mut watch, 2200, &[("a", 2000)]);
        assert!(!is_suspect(&watch, clocks.at(2201)));
    }

    #[test]
    fn a_clock_that_is_set_is_learned_again() {
        for (before, after) in [(0, 5000), (0, -5000), (5000, -5000)] {
            let mut clocks = Clocks::new(before);
            let mut watch = Watch::new(HEARTBEAT);
            for second in 0..10_u64 {
                clocks.list(
                    &mut watch,
                    1000 * second,
                    &[("a", 1000 * i64::try_from(second).unwrap())],
                );
            }
            clocks.offset = after;
            for second in 10..13_u64 {
                clocks.list(
                    &mut watch,
                    1000 * second,
                    &[("a", 1000 * i64::try_from(second).unwrap())],
                );
            }
            let age = watch.age("a", clocks.at(12_000)).unwrap();
            assert!(age <= Duration::from_millis(1010), "{before} to {after}: {age:?}");
            clocks.list(&mut watch, 16_000, &[("a", 12_000)]);
            assert!(is_suspect(&watch, clocks.at(16_001)), "{before} to {after}");
        }
    }

    #[test]
    fn a_port_that_never_answered_says_nothing_and_is_rarely_tried() {
        let clocks = Clocks::new(0);
        let mut watch = Watch::new(HEARTBEAT);
        clocks.list(&mut watch, 0, &[("a", 0)]);
        let now = clocks.at(10);
        assert_eq!(watch.to_probe(false, now.at), ["a"]);
        watch.note_probe("a", Probed::Refuses, now.at);
        watch.note_probe("a", Probed::Silent, now.at);
        assert_eq!(watch.suspect(now), None);
        assert!(watch.to_probe(false, clocks.at(9000).at).is_empty());
        assert!(watch.to_probe(true, clocks.at(9000).at).is_empty());
        assert_eq!(watch.to_probe(false, clocks.at(10_010).at), ["a"]);
    }

    #[test]
    fn a_port_that_answered_and_does_not_any_more_is_suspicious_and_then_gone() {
        let clocks = Clocks::new(0);
        let mut watch = Watch::new(HEARTBEAT);
        clocks.list(&mut watch, 0, &[("a", 0), ("b", 0)]);
        watch.note_probe("a", Probed::Answers, clocks.at(1).at);
        watch.note_probe("b", Probed::Answers, clocks.at(1).at);
        assert_eq!(watch.suspect(clocks.at(10)), None);
        assert_eq!(watch.to_probe(true, clocks.at(100).at).len(), 2);
        assert!(watch.to_probe(true, clocks.at(250).at).is_empty(), "each 200 ms");
        watch.note_probe("a", Probed::Silent, clocks.at(300).at);
        assert_eq!(watch.suspect(clocks.at(301)).unwrap().ip, "a");
        watch.note_probe("a", Probed::Silent, clocks.at(5000).at);
        assert_eq!(watch.why_gone("a", clocks.at(5200).at), None);
        let why = watch.why_gone("a", clocks.at(5400).at).unwrap();
        assert!(why.contains("worker a") && why.contains("5.1 s"), "{why}");
        assert_eq!(watch.why_gone("b", clocks.at(5400).at), None);
        watch.note_probe("a", Probed::Answers, clocks.at(5500).at);
        clocks.list(&mut watch, 5500, &[("a", 5000), ("b", 5000)]);
        assert_eq!(watch.suspect(clocks.at(5501)), None);
        clocks.list(&mut watch, 5600, &[("a", 5000)]);
        assert!(watch.why_gone("b", clocks.at(5601).at).unwrap().contains("lists it no more"));
    }

    #[test]
    fn a_worker_whose_process_ended_has_to_register_again() {
        let clocks = Clocks::new(0);
        let mut watch = Watch::new(HEARTBEAT);
        clocks.list(&mut watch, 0, &[("a", 0)]);
        watch.note_probe("a", Probed::Answers, clocks.at(1).at);
        watch.note_probe("a", Probed::Refuses, clocks.at(300).at);
        watch.note_probe("a", Probed::Answers, clocks.at(800).at);
        clocks.list(&mut watch, 900, &[("a", 0)]);
        let suspect = watch.suspect(clocks.at(901)).unwrap();
        assert!(suspect.why.contains("not registered since"), "{suspect:?}");
        clocks.list(&mut watch, 1100, &[("a", 1000)]);
        assert_eq!(watch.suspect(clocks.at(1101)), None);
    }

    #[test]
    fn numbers_that_no_clock_shows_do_no_harm() {
        let clocks = Clocks::new(0);
        let mut watch = Watch::new(HEARTBEAT);
        for registered in [i64::MIN, i64::MAX, 0, -1] {
            let host =
                Host { ip: "a".into(), registered: Stamp::of(registered), ..Host::default() };
            watch.note_list(&[host], clocks.at(0), clocks.at(1));
            watch.suspect(clocks.at(2));
            watch.age("a", clocks.at(2));
        }
        watch.note_list(&[Host::default()], clocks.at(0), clocks.at(1));
        assert_eq!(watch.suspect(clocks.at(9000)), None, "no registerTs says nothing");
    }
}
