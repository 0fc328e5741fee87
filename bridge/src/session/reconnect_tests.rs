//! The reconnect timer in virtual time.

use super::{ReconnectTimer, Step};
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);

/// The timer, the time, and the behaviour of the network.
struct World {
    reconnect: ReconnectTimer,
    now: Duration,
}

impl World {
    fn new(give_up_after: Duration) -> Self {
        Self { reconnect: ReconnectTimer::new(give_up_after), now: Duration::from_secs(1000) }
    }

    fn open(give_up_after: Duration) -> Self {
        let mut world = Self::new(give_up_after);
        assert_eq!(world.step(true), Step::Connect);
        world.reconnect.connecting(world.now, BOUND);
        world.reconnect.opened(world.now);
        world
    }

    fn step(&mut self, is_awaiting: bool) -> Step {
        self.reconnect.step(self.now, is_awaiting)
    }

    /// Advances the time to the next action and returns it.
    fn next(&mut self, is_awaiting: bool) -> Step {
        loop {
            match self.step(is_awaiting) {
                Step::Wait(Some(until)) => {
                    assert!(until > self.now, "the driver would spin");
                    self.now = until;
                }
                step => return step,
            }
        }
    }

    /// Lets attempts fail at once until the timer gives up; returns the delays before them.
    fn fail(&mut self) -> Vec<Duration> {
        let mut pauses = Vec::new();
        loop {
            let before = self.now;
            match self.next(true) {
                Step::Connect => {
                    pauses.push(self.now - before);
                    self.reconnect.connecting(self.now, BOUND);
                    self.reconnect.lost(self.now, 1.0);
                }
                Step::GiveUp => return pauses,
                step => panic!("{step:?}"),
            }
        }
    }
}

#[test]
fn pauses_double_up_to_a_bound_until_it_gives_up() {
    let mut world = World::open(5 * MINUTE);
    let began = world.now;
    world.reconnect.lost(world.now, 1.0);
    let pauses = world.fail();
    let expected = [200, 400, 800, 1600, 3200, 6400, 12_800, 15_000, 15_000];
    assert_eq!(pauses[..9], expected.map(Duration::from_millis));
    assert_eq!(world.now - began, 5 * MINUTE, "the last attempt begins at the deadline");
}

#[test]
fn pauses_are_spread() {
    let pause = |random| {
        let mut world = World::open(MINUTE);
        world.reconnect.lost(world.now, random);
        let before = world.now;
        assert_eq!(world.next(true), Step::Connect);
        world.now - before
    };
    assert_eq!(pause(0.0), Duration::from_millis(100));
    assert_eq!(pause(1.0), Duration::from_millis(200));
}

#[test]
fn an_opened_connection_restarts_the_give_up_time() {
    let mut world = World::open(MINUTE);
    for _ in 0..100 {
        world.reconnect.lost(world.now, 1.0);
        world.now += MINUTE / 2;
        assert_eq!(world.step(true), Step::Connect);
        world.reconnect.connecting(world.now, BOUND);
        world.reconnect.opened(world.now);
    }
    // Only a received frame resets the delay: connections that transmit nothing are not tried ever faster.
    world.reconnect.lost(world.now, 1.0);
    let before = world.now;
    assert_eq!(world.next(true), Step::Connect);
    assert!(world.now - before >= Duration::from_secs(15));
    world.reconnect.connecting(world.now, BOUND);
    world.reconnect.opened(world.now);
    world.reconnect.carried(world.now);
    world.reconnect.lost(world.now, 1.0);
    let before = world.now;
    assert_eq!(world.next(true), Step::Connect);
    assert_eq!(world.now - before, Duration::from_millis(200));
}

#[test]
fn a_machine_that_slept_tries_once_more_before_giving_up() {
    let mut world = World::open(MINUTE);
    world.reconnect.lost(world.now, 0.0);
    assert_eq!(world.next(true), Step::Connect);
    world.reconnect.connecting(world.now, BOUND);
    world.now += 60 * MINUTE;
    assert_eq!(world.step(true), Step::Drop);
    world.reconnect.lost(world.now, 0.0);
    assert_eq!(world.step(true), Step::Connect);
    world.reconnect.connecting(world.now, BOUND);
    world.reconnect.lost(world.now, 0.0);
    assert_eq!(world.step(true), Step::GiveUp);
}

#[test]
fn without_time_to_reconnect_the_first_loss_is_the_end() {
    let mut world = World::open(Duration::ZERO);
    world.reconnect.lost(world.now, 0.0);
    assert_eq!(world.step(true), Step::GiveUp);
}

#[test]
fn an_attempt_that_does_not_open_is_dropped() {
    let mut world = World::new(MINUTE);
    assert_eq!(world.step(false), Step::Connect);
    world.reconnect.connecting(world.now, BOUND);
    let began = world.now;
    assert_eq!(world.next(false), Step::Drop);
    assert_eq!(world.now - began, BOUND);
}

#[test]
fn it_pings_after_silence_only_while_a_reply_is_awaited() {
    let mut world = World::open(MINUTE);
    assert_eq!(world.step(false), Step::Wait(None));
    world.now += MINUTE;
    assert_eq!(world.step(true), Step::Ping, "nothing was received for the quiet time");
    world.now += Duration::from_secs(1);
    world.reconnect.carried(world.now);
    let heard = world.now;
    assert_eq!(world.next(true), Step::Ping);
    assert_eq!(world.now - heard, Duration::from_secs(15));
    // The answer is due even if no reply is awaited any more.
    assert_eq!(world.next(false), Step::Drop);
    assert_eq!(world.now - heard, Duration::from_secs(30));
}

#[test]
fn the_ping_time_limit_doubles_until_a_frame_arrives() {
    let mut world = World::open(MINUTE);
    let silence = |world: &mut World| {
        let opened = world.now;
        assert_eq!(world.next(true), Step::Ping);
        assert_eq!(world.next(true), Step::Drop);
        let silence = world.now - opened;
        world.reconnect.lost(world.now, 0.0);
        assert_eq!(world.next(true), Step::Connect);
        world.reconnect.connecting(world.now, BOUND);
        world.reconnect.opened(world.now);
        silence.as_secs()
    };
    let silences: Vec<u64> = (0..6).map(|_| silence(&mut world)).collect();
    assert_eq!(silences, [30, 45, 75, 135, 255, 255]);
    world.reconnect.carried(world.now);
    assert_eq!(silence(&mut world), 30);
}

#[test]
fn a_hint_that_the_network_changed_acts_at_once() {
    let mut world = World::open(MINUTE);
    world.reconnect.nudge(world.now);
    let before = world.now;
    assert_eq!(world.step(false), Step::Ping);
    assert_eq!(world.next(false), Step::Drop);
    assert_eq!(world.now - before, Duration::from_secs(5));
    world.reconnect.lost(world.now, 1.0);
    assert!(matches!(world.step(false), Step::Wait(_)));
    world.reconnect.nudge(world.now);
    assert_eq!(world.step(false), Step::Connect);
}
