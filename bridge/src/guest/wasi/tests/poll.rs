//! Waiting for clocks and descriptors.

use super::*;
use crate::guest::{Begin, Clock, Finish, Host, Sleep};

#[test]
fn polling_descriptors() {
    let mut run = Run::new(b"input");
    for (slot, kind, descriptor) in [(0_usize, 1, 0), (48, 2, 1), (96, 1, 9)] {
        run.host.memory[slot] = slot as u8 + 1;
        run.host.memory[slot + 8] = kind;
        run.host.memory[slot + 16] = descriptor;
    }
    assert_eq!(run.ready(C::PollOneoff, &[0, 400, 3, 300]), 0);
    assert_eq!(run.host.read_u32(300), Ok(3));
    assert_eq!((run.bytes(408, 3), run.host.read_u64(416)), (vec![0, 0, 1], Ok(5)));
    assert_eq!(run.bytes(432 + 8, 3), [0, 0, 2]);
    assert_eq!(run.bytes(464 + 8, 3), [8, 0, 1], "not open");
    run.host.memory[8] = 3;
    assert_eq!(run.ready(C::PollOneoff, &[0, 400, 3, 300]), 28);
}

/// Writes a subscription to a clock, with its number as user data.
fn clock(run: &mut Run, number: u32, clock: Clock, timeout: u64, absolute: bool) {
    let (at, id) = (number * 48, u32::from(clock == Clock::Monotonic));
    run.put(at, &u64::from(number).to_le_bytes());
    run.put(at + 16, &id.to_le_bytes());
    run.put(at + 24, &timeout.to_le_bytes());
    run.put(at + 40, &u16::from(absolute).to_le_bytes());
}

fn begin(run: &mut Run, count: u32) -> Sleep {
    match run.begin(C::PollOneoff, &[0, 400, count.into(), 300]) {
        Ok(Begin::Wait(Operation::Sleep(sleep))) => sleep,
        other => panic!("{other:?}"),
    }
}

/// Performs the sleep, with clocks that advance by `tick` at a time; returns the user data of the events.
fn poll(run: &mut Run, count: u32, tick: u64) -> Vec<u64> {
    let sleep = begin(run, count);
    while sleep.left(|clock| run.host.now(clock)).is_some() {
        run.host.now += tick;
    }
    events(run)
}

fn events(run: &mut Run) -> Vec<u64> {
    run.guest.complete(Completion::Done).unwrap();
    assert_eq!(run.finish(), Ok(Finish::Return(0)));
    let events = run.host.read_u32(300).unwrap();
    (0..events).map(|event| run.host.read_u64(400 + event * 32).unwrap()).collect()
}

#[test]
fn polling_reports_the_clocks_that_are_due() {
    let mut run = Run::new(b"");
    run.host.now = 1_000;
    clock(&mut run, 0, Clock::Monotonic, 60, false);
    clock(&mut run, 1, Clock::Monotonic, 1_100, true);
    clock(&mut run, 2, Clock::Monotonic, 200, false);
    assert_eq!(poll(&mut run, 3, 1), [0]);
    assert_eq!(run.host.now, 1_060);
    assert_eq!(poll(&mut run, 3, 1), [1]);
    assert_eq!(run.host.now, 1_100);
    // The clocks tick rarely: two subscriptions are due at once, and the third is not.
    clock(&mut run, 1, Clock::Monotonic, 1_150, true);
    assert_eq!(poll(&mut run, 3, 70), [0, 1]);
    // If one subscription is due already, the poll does not wait.
    clock(&mut run, 1, Clock::Monotonic, 1_000, true);
    assert_eq!(run.ready(C::PollOneoff, &[0, 400, 3, 300]), 0);
    assert_eq!((run.host.read_u32(300), run.host.read_u64(400)), (Ok(1), Ok(1)));
}

#[test]
fn a_wall_clock_that_is_set_back_makes_nothing_due() {
    let mut run = Run::new(b"");
    (run.host.now, run.host.wall) = (1_000, 1 << 40);
    clock(&mut run, 0, Clock::Monotonic, 60, false);
    clock(&mut run, 1, Clock::Realtime, (1 << 40) + 1_050, true);
    let sleep = begin(&mut run, 2);
    assert_eq!(sleep.left(|clock| run.host.now(clock)), Some(50));
    (run.host.now, run.host.wall) = (1_050, 0);
    // Fifty nanoseconds have passed, and neither subscription is due.
    assert_eq!(sleep.left(|clock| run.host.now(clock)), Some(10));
    run.host.now = 1_060;
    assert_eq!(sleep.left(|clock| run.host.now(clock)), None);
    assert_eq!(events(&mut run), [0]);
    // The clock is set back after it ended the sleep: the poll reports the earliest subscription, not none.
    (run.host.now, run.host.wall) = (2_000, 1 << 40);
    clock(&mut run, 1, Clock::Realtime, (1 << 40) + 2_050, true);
    clock(&mut run, 0, Clock::Realtime, (1 << 40) + 2_070, true);
    begin(&mut run, 2);
    (run.host.now, run.host.wall) = (2_050, 0);
    assert_eq!(events(&mut run), [1]);
}

#[test]
fn a_poll_does_not_read_its_subscriptions_again() {
    let mut run = Run::new(b"");
    clock(&mut run, 0, Clock::Monotonic, 60, false);
    clock(&mut run, 1, Clock::Monotonic, 80, false);
    begin(&mut run, 2);
    run.host.now = 60;
    // Mapped state or an output has overwritten the subscriptions.
    run.host.memory[..96].fill(0xff);
    assert_eq!(events(&mut run), [0]);
}
