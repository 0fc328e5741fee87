//! Health of the workers in virtual time.

use super::*;
use crate::cluster::faasm::message::Stamp;

const HEARTBEAT: Duration = Duration::from_millis(2500);

/// A relay and a planner whose clocks differ, in virtual time.
struct Clocks {
    start: Instant,
    /// The relay's clock minus the planner's, milliseconds.
    offset: i64,
}

impl Clocks {
    fn new(offset: i64) -> Self {
        Self { start: Instant::now(), offset }
    }

    /// The moment after this many milliseconds.
    fn at(&self, passed: u64) -> Moment {
        let wall = 1_000_000 + i64::try_from(passed).unwrap() + self.offset;
        Moment { at: self.start + Duration::from_millis(passed), wall }
    }

    /// A worker whose last heartbeat was after this many milliseconds.
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
    assert_eq!(watch.departures(), 1);
    clocks.list(&mut watch, 4900, &[("a", 4800), ("b", 3650)]);
    assert_eq!(watch.departures(), 1, "it came");
}

/// Offsets of up to days.
const OFFSETS: [i64; 7] = [0, 40, -40, 3000, -3000, 200_000_000, -200_000_000];

#[test]
fn ages_are_right_within_a_question_whatever_the_clocks_say() {
    for offset in OFFSETS {
        let clocks = Clocks::new(offset);
        let mut watch = Watch::new(HEARTBEAT);
        // Heartbeats every two seconds from 500 ms on, requests every 250 ms.
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
            // The other worker's last heartbeat was at 2000.
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
    assert!(is_suspect(&watch, clocks.at(1001)), "the offset is still unknown");
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
            clocks.list(&mut watch, 1000 * second, &[("a", 1000 * i64::try_from(second).unwrap())]);
        }
        clocks.offset = after;
        for second in 10..13_u64 {
            clocks.list(&mut watch, 1000 * second, &[("a", 1000 * i64::try_from(second).unwrap())]);
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
    assert_eq!(watch.take_probes(false, now.at), ["a"]);
    watch.note_probe("a", Probed::Refuses, now.at);
    watch.note_probe("a", Probed::Silent, now.at);
    assert_eq!(watch.suspect(now), None);
    assert!(watch.take_probes(false, clocks.at(9000).at).is_empty());
    assert!(watch.take_probes(true, clocks.at(9000).at).is_empty());
    assert_eq!(watch.take_probes(false, clocks.at(10_010).at), ["a"]);
}

#[test]
fn a_port_that_answered_and_does_not_any_more_is_suspicious_and_then_gone() {
    let clocks = Clocks::new(0);
    let mut watch = Watch::new(HEARTBEAT);
    clocks.list(&mut watch, 0, &[("a", 0), ("b", 0)]);
    watch.note_probe("a", Probed::Answers, clocks.at(1).at);
    watch.note_probe("b", Probed::Answers, clocks.at(1).at);
    assert_eq!(watch.suspect(clocks.at(10)), None);
    assert_eq!(watch.take_probes(true, clocks.at(100).at).len(), 2);
    assert!(watch.take_probes(true, clocks.at(250).at).is_empty(), "each 200 ms");
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
    assert!(watch.why_gone("b", clocks.at(5601).at).unwrap().contains("no longer lists it"));
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
        let host = Host { ip: "a".into(), registered: Stamp::of(registered), ..Host::default() };
        watch.note_list(&[host], clocks.at(0), clocks.at(1));
        watch.suspect(clocks.at(2));
        watch.age("a", clocks.at(2));
    }
    watch.note_list(&[Host::default()], clocks.at(0), clocks.at(1));
    assert_eq!(watch.suspect(clocks.at(9000)), None, "a missing registerTs is ignored");
}
